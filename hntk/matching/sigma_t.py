r"""The two-level activation $\sigma_T(t) = a\,1\{t < s_1 \text{ or } t > s_2\}$ of Gu et al. (2022).

With $u = s/\tau$ and $q = \Phi(u_2) - \Phi(u_1)$: $e_1\tau = a(\varphi(u_2) - \varphi(u_1))$,
$e_2\tau^2 = a(u_2\varphi(u_2) - u_1\varphi(u_1))$, $s_2 = a(2q - 1)e_2$. The amplitude is eliminated. Two equations in
$(u_1, u_2)$ remain and are solved from a grid of starts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

from hntk.activations.gaussian_cells import density
from hntk.activations.step_function import StepFunction
from hntk.matching.targets import TOLERANCE, Target

STARTS = np.array([-3.0, -2.2, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.2, 3.0])
# thresholds beyond so many standard deviations are no solutions
REACH = 5.0


@lru_cache(maxsize=1024)
def sigma_t(target: Target) -> StepFunction | None:
    """Return the σ_T of least variance that reaches a canonical target with its S_2, or None."""
    starts = [(low, high) for low in STARTS for high in STARTS if low < high]
    solutions = [s for s in (_solve(target, np.array(start)) for start in starts) if s is not None]
    return min(solutions, key=lambda s: s.variance, default=None)


def _solve(target: Target, start: np.ndarray) -> StepFunction | None:
    with np.errstate(all="ignore"):
        u = scipy.optimize.root(lambda u: _mismatch(target, u), start, tol=1e-14).x
        if not np.all(np.isfinite(u)) or np.max(np.abs(u)) > REACH or u[1] - u[0] < 1e-6:
            return None
        if np.max(np.abs(_mismatch(target, u))) > TOLERANCE / 10:
            return None
    a = _amplitude(target, u)
    return StepFunction(u, np.array([a, 0.0, a]))


def _per_amplitude(u: np.ndarray) -> np.ndarray:
    """Return (E_1, E_2) at amplitude 1."""
    at_threshold = density(u)
    return np.array([at_threshold[1] - at_threshold[0], u[1] * at_threshold[1] - u[0] * at_threshold[0]])


def _amplitude(target: Target, u: np.ndarray) -> float:
    """Return the amplitude that fits E_1 and E_2 best."""
    unit = _per_amplitude(u)
    return float(unit @ [target.e1, target.e2] / (unit @ unit))


def _mismatch(target: Target, u: np.ndarray) -> np.ndarray:
    """Return the misses of the direction of (E_1, E_2), and of S_2 at the best amplitude."""
    unit = _per_amplitude(u)
    direction = (target.e1 * unit[1] - target.e2 * unit[0]) / np.sqrt(unit @ unit)
    q = scipy.special.ndtr(u[1]) - scipy.special.ndtr(u[0])
    s2 = _amplitude(target, u) ** 2 * (2 * q - 1) * unit[1]
    return np.array([direction, s2 - (0.0 if target.s2 is None else target.s2)])
