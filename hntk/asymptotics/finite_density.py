r"""The distribution of the eigenvalues of an exact kernel of finite size.

By :mod:`hntk.asymptotics.resolvent` with the norms of :mod:`hntk.asymptotics.norms`. Norms have no bound, so the
spectrum has no edges and no atoms: what is an atom in the limit, of n − p eigenvalues, is as wide as the kernel's
diagonal varies. The density is $\mathrm{Im}\,m(x + i\eta)/\pi$ on a grid that is refined until straight lines between
its points carry its mass; η, .03 of the diagonal's deviation, makes the points of the norms' quadrature one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from hntk.asymptotics.coefficients import Kind, Net
from hntk.asymptotics.kernel import LimitingKernel, limiting_kernel
from hntk.asymptotics.law import MixtureLaw
from hntk.asymptotics.norms import dense_points

# η by the deviation of the diagonal, and at least by the spectrum's scale
SMOOTHING, LEAST = 0.03, 1e-6
# points of the first grid, mass that a straight line between two may miss, and looks
FIRST, MISSED, LOOKS = 400, 1e-6, 8
# by which the total mass may differ from 1 before it is made so
MASS = 0.02


@dataclass(frozen=True)
class FiniteSizeDensity:
    """A distribution of eigenvalues on a grid, spikes apart.

    Attributes
    ----------
    grid : (j,) ascending eigenvalues.
    values : (j,) density at them.
    shares : (j,) distribution function at them, from 0 to 1.
    """

    grid: Float[np.ndarray, " j"]
    values: Float[np.ndarray, " j"]
    shares: Float[np.ndarray, " j"]

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """None: no share of the eigenvalues is the same."""
        return ()

    def density(self, x: object) -> Float[np.ndarray, ...]:
        """Zero off the grid."""
        return np.interp(np.asarray(x, dtype=float), self.grid, self.values, left=0.0, right=0.0)

    def cdf(self, x: object) -> Float[np.ndarray, ...]:
        """Share of the eigenvalues that are at most x."""
        given = np.clip(np.asarray(x, dtype=float), self.grid[0], self.grid[-1])
        return np.asarray(PchipInterpolator(self.grid, self.shares)(given))

    def quantiles(self, shares: object) -> Float[np.ndarray, ...]:
        """The smallest x with cdf(x) ≥ share, for shares in (0, 1)."""
        rising = np.concatenate([[True], np.diff(self.shares) > 0])
        return np.interp(np.asarray(shares, dtype=float), self.shares[rising], self.grid[rising])


def finite_size_density(
    law: MixtureLaw, n: int, net: Net, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> FiniteSizeDensity:
    """Of the eigenvalues of the exact CK or NTK of n samples in p dimensions.

    Parameters
    ----------
    law : of the data.
    n : number of samples.
    net : one activation per layer.
    kernel : ``"ck"`` or ``"ntk"``.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.

    Raises
    ------
    ValueError
        If n or the net does not fit, or the net is given by coefficients.
    ArithmeticError
        If the total mass is not near 1.

    Examples
    --------
    The kernel has its least eigenvalues nearer to 0 than in the limit:

    >>> import numpy as np
    >>> from hntk.asymptotics import limiting_density
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> found = finite_size_density(law, 200, ["relu"] * 3), limiting_density(law, 200, ["relu"] * 3)
    >>> [round(float(density.quantiles(0.01)), 4) for density in found]
    [0.0248, 0.0256]
    """
    sized = limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq, finite_size=True, quadrature=dense_points)
    return _sampled(sized)


def _sampled(kernel: LimitingKernel) -> FiniteSizeDensity:
    bulk, shift = kernel.bulk, kernel.coefficients.shift
    diagonal = bulk.diagonal
    mean = np.sum(diagonal.shares * diagonal.shifts, axis=1, keepdims=True)
    deviations = np.sqrt(np.sum(diagonal.shares * (diagonal.shifts - mean) ** 2, axis=1))
    eta = max(SMOOTHING * float(np.min(deviations)), LEAST * bulk.scale)
    low = float(np.min(diagonal.shifts)) - 10 * eta
    high = low + bulk.scale
    spread = eta * np.geomspace(1, (high - low) / eta, FIRST // 2)
    x = np.unique(np.concatenate([low + spread, low + (high - low) * np.linspace(0, 1, FIRST)]))
    x = x[np.append(True, np.diff(x) > eta / FIRST)]

    def density(places: np.ndarray) -> np.ndarray:
        # z = 0 is no eigenvalue here, but a point where nothing is solved
        z = places + 1j * eta
        return np.imag(bulk.at(z).stieltjes) / np.pi

    values = density(x)
    left = np.arange(len(x) - 1)
    for _ in range(LOOKS):
        middle = (x[left + 1] + x[left]) / 2
        found = density(middle)
        coarse = np.abs(found - (values[left + 1] + values[left]) / 2) * (x[left + 1] - x[left]) > MISSED
        order = np.argsort(np.append(x, middle), kind="stable")
        x, values = np.append(x, middle)[order], np.append(values, found)[order]
        # halves of the intervals that were coarse: the points added so far have moved theirs to the right
        starts = left[coarse] + np.flatnonzero(coarse)
        left = np.concatenate([starts, starts + 1])
        left.sort()
        if left.size == 0:
            break
    shares = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(x))])
    if abs(shares[-1] - 1) > MASS:
        raise ArithmeticError(f"the density of a finite size has mass {shares[-1]:.4g}, not 1: it is not resolved.")
    return FiniteSizeDensity(x + shift, values / shares[-1], shares / shares[-1])
