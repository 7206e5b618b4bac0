r"""The distribution of the eigenvalues of an exact kernel at finite size.

It follows from :mod:`hntk.asymptotics.bulk` with the norms of :mod:`hntk.asymptotics.sample_norms`. Norms are not
bounded, so this distribution has no edges and no atoms: an atom of n − p eigenvalues in the limit becomes as wide as
the kernel's diagonal varies. The density of the bulk is $\mathrm{Im}\,m(x + i\eta)/\pi$ on a grid, which is refined
until straight lines between its points carry the mass. η is .03 of the diagonal's deviation, enough to smooth over the
points of the norms' quadrature.

The few other directions move eigenvalues and make spikes, so the distribution function has steps of 1/n. With
$N = B^{-1} + D$ of :mod:`hntk.asymptotics.limiting_spikes`, $\det(\tilde K - z)$ is $\det N(z)$ times the bulk's
determinant. Below x there are therefore

$$\xi(x) = \#\{\text{eigenvalues of B below 0}\} - \frac1\pi\sum_j\arg\lambda_j(N(x + i\eta))$$

more eigenvalues than the bulk has (Krein's spectral shift; docs/theory.md, "Spectra"). $\mathrm{Im}\,N \succeq 0$, so
all arguments lie between 0 and π.

A centred kernel P K P has n − 1 eigenvalues beside the 0 of the vector 1, which is left out. In N its infinite
eigenvalue of B counts as one that lies below no x.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Bool, Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.distribution import EigenvalueDistribution
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.spiked_kernel import SpikedKernel

# η, relative to the deviation of the diagonal; and its least value, relative to the spectrum's scale.
SMOOTHING, LEAST_SMOOTHING = 0.03, 1e-6
# Points of each of the two first grids, and how often intervals are halved at most.
FIRST_POINTS, REFINEMENTS = 400, 8
# The mass that a straight line between two points may miss.
MISSED_MASS = 1e-6
# Intervals that hold more than this many moved eigenvalues are halved until they are so narrow, relative to their
# distance from the least eigenvalue.
MOVED_EIGENVALUES, NARROW = 0.05, 1e-3
# By how much the total mass may differ from 1 before it is normalised.
MASS_TOLERANCE = 0.02


@array_dataclass()
class FiniteSizeDensity(EigenvalueDistribution):
    """A distribution of eigenvalues on a grid.

    Attributes
    ----------
    grid : array, shape (j,)
        Ascending eigenvalues.
    values : array, shape (j,)
        The density of the bulk at them.
    shares : array, shape (j,)
        The distribution function at them, from 0 to 1, spikes included.
    """

    grid: Float[np.ndarray, " j"]
    values: Float[np.ndarray, " j"]
    shares: Float[np.ndarray, " j"]

    def __repr__(self) -> str:
        return f"FiniteSizeDensity({self.grid.size} points from {self.grid[0]:.6g} to {self.grid[-1]:.6g})"

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """The empty tuple: no share of the eigenvalues coincides."""
        return ()

    def _density_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        return np.interp(x, self.grid, self.values, left=0.0, right=0.0)

    def _cdf_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        shares = scipy.interpolate.PchipInterpolator(self.grid, self.shares)
        return np.asarray(shares(np.clip(x, self.grid[0], self.grid[-1])))

    def _quantiles_at(self, levels: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        rising = np.concatenate([[True], np.diff(self.shares) > 0])
        return np.interp(levels, self.shares[rising], self.grid[rising])


def density_at_finite_size(kernel: SpikedKernel) -> FiniteSizeDensity:
    """Return the distribution of an exact kernel's eigenvalues; its quadrature over norms must have many points."""
    bulk, smoothing = kernel.bulk, _smoothing(kernel)
    low = float(np.min(bulk.diagonal.shifts)) - 10 * smoothing

    def density_and_shift(x: Float[np.ndarray, " j"]) -> Float[np.ndarray, "2 j"]:
        at = Resolvent.at(bulk, x + 1j * smoothing)
        return np.stack([np.imag(at.stieltjes) / np.pi, _spectral_shift(kernel, at)])

    x, (density, moved) = _refined(density_and_shift, _first_grid(kernel, low, smoothing), low)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    if abs(mass[-1] - 1) > MASS_TOLERANCE:
        raise ArithmeticError(f"the density of a finite size has mass {mass[-1]:.4g}, not 1: it is not resolved.")
    shares = np.maximum.accumulate(mass / mass[-1] + moved / kernel.n)
    if kernel.constant_direction is not None:
        shares = shares * kernel.n / (kernel.n - 1)
    shares = np.clip(shares, 0.0, 1.0)
    shares[0], shares[-1] = 0.0, 1.0
    return FiniteSizeDensity(x + kernel.coefficients.shift, density / mass[-1], shares)


def _smoothing(kernel: SpikedKernel) -> float:
    """Return η, the height above the real axis at which the density is taken."""
    diagonal = kernel.bulk.diagonal
    mean = np.sum(diagonal.shares * diagonal.shifts, axis=1, keepdims=True)
    deviations = np.sqrt(np.sum(diagonal.shares * (diagonal.shifts - mean) ** 2, axis=1))
    return max(SMOOTHING * float(np.min(deviations)), LEAST_SMOOTHING * kernel.bulk.scale)


def _first_grid(kernel: SpikedKernel, low: float, smoothing: float) -> Float[np.ndarray, " j"]:
    """Return points from the least eigenvalue up, some at equal distances and some at equal ratios."""
    scale = kernel.bulk.scale
    distances = smoothing * np.geomspace(1, (scale + kernel.reach) / smoothing, FIRST_POINTS)
    x = np.unique(np.concatenate([low + distances, low + scale * np.linspace(0, 1, FIRST_POINTS)]))
    return x[np.append(True, np.diff(x) > smoothing / FIRST_POINTS)]


def _refined(
    sample: Callable[[Float[np.ndarray, " j"]], Float[np.ndarray, "2 j"]], x: Float[np.ndarray, " j"], low: float
) -> tuple[Float[np.ndarray, " j"], Float[np.ndarray, "2 j"]]:
    """Return a grid that resolves density and spectral shift, and their values on it."""
    values = sample(x)
    starts = np.arange(len(x) - 1)
    for _ in range(REFINEMENTS):
        middle = (x[starts + 1] + x[starts]) / 2
        at_middle = sample(middle)
        coarse = _coarse(x[starts + 1] - x[starts], middle - low, values[:, starts], at_middle, values[:, starts + 1])
        order = np.argsort(np.append(x, middle), kind="stable")
        x, values = np.append(x, middle)[order], np.concatenate([values, at_middle], axis=1)[:, order]
        # Each coarse interval is now two, moved to the right by one for every point inserted before it.
        moved = starts[coarse] + np.flatnonzero(coarse)
        starts = np.sort(np.concatenate([moved, moved + 1]))
        if starts.size == 0:
            break
    return x, values


def _coarse(
    width: Float[np.ndarray, " j"],
    distance: Float[np.ndarray, " j"],
    left: Float[np.ndarray, "2 j"],
    middle: Float[np.ndarray, "2 j"],
    right: Float[np.ndarray, "2 j"],
) -> Bool[np.ndarray, " j"]:
    """Return which intervals are too coarse: the density bends too much in them, or the shift jumps."""
    bent = np.abs(middle[0] - (right[0] + left[0]) / 2) * width > MISSED_MASS
    jumping = np.abs(right[1] - left[1]) > MOVED_EIGENVALUES
    return bent | (jumping & (width > NARROW * distance))


def _spectral_shift(kernel: SpikedKernel, at: Resolvent) -> Float[np.ndarray, " z"]:
    """Return ξ, how many eigenvalues more lie below z than the bulk has there."""
    values = np.linalg.eigvals(kernel.secular(at))
    angles = np.angle(np.real(values) + 1j * np.maximum(np.imag(values), 0.0))
    return np.sum(kernel.active[1] < 0) - np.sum(angles, axis=-1) / np.pi
