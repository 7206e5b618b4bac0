r"""Linear filters of the labels by a kernel's spectrum, as sums of resolvents.

Training gives dual weights $\beta = h(\tilde K)\,y$ and residuals $y - \tilde K\beta = r(\tilde K)\,y$. Here both are
sums over the same nodes, $h = \sum_k\omega_k(\tilde K - \zeta_k)^{-1}$ and $r = \sum_k\rho_k(\tilde K - \zeta_k)^{-1}$:
for ridge regression one node, ζ = −λ, ω = 1, ρ = λ; for gradient flow the trapezoidal rule on a hyperbola around the
spectrum, for the integrals

$$e^{-s\tilde K} = \frac1{2\pi i}\int e^{sw}(w + \tilde K)^{-1}dw,\qquad
\tilde K^{-1}(I - e^{-s\tilde K}) = \frac1{2\pi i}\int\frac{e^{sw}}w(w + \tilde K)^{-1}dw$$

(the second encloses w = 0 as well, so nothing is singular, whatever $\tilde K$). Its error falls like $10^{-N}$ for 2N
nodes, for every spectrum and time at once. Source: Weideman and Trefethen, Parabolic and hyperbolic contours (2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

# of the hyperbola in the upper half plane, with Weideman and Trefethen's constants for its shape
NODES = 13
LEAST = 1e-290
ANGLE, SPACING, SIZE = 1.172104229, 1.081792140, 4.492075287


@dataclass(frozen=True)
class LabelFilter:
    """Nodes ζ_k with the weights of β and of the residuals.

    Attributes
    ----------
    nodes : (q,) ζ_k.
    dual, residual : (q,) ω_k, ρ_k.
    """

    nodes: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]
    dual: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]
    residual: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]


def ridge_filter(ridge: float) -> LabelFilter:
    """β = (K̃ + λ)⁻¹ y."""
    return LabelFilter(np.array([-float(ridge)]), np.ones(1), np.array([float(ridge)]))


def flow_filter(time: float) -> LabelFilter:
    """β = K̃⁻¹(I − exp(−sK̃)) y, what gradient flow on the squared error ½‖y − f‖² reaches at time s > 0.

    Raises
    ------
    ValueError
        If the time is so small that one over it overflows.
    """
    if time < LEAST:
        raise ValueError(f"time must be at least {LEAST:g}, got {time!r}: before training all scores are 0.")
    step = SPACING / NODES
    u = (np.arange(-NODES, NODES) + 0.5) * step
    size = SIZE * NODES / time
    w = size * (1 + np.sin(1j * u - ANGLE))
    weights = step / (2j * np.pi) * np.exp(time * w) * 1j * size * np.cos(1j * u - ANGLE)
    return LabelFilter(-w, weights / w, weights)
