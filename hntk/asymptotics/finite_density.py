r"""The distribution of the eigenvalues of an exact kernel of finite size.

By :mod:`hntk.asymptotics.resolvent` with the norms of :mod:`hntk.asymptotics.sample_norms`. Norms have no bound, so the
spectrum has no edges and no atoms: what is an atom in the limit, of n − p eigenvalues, is as wide as the kernel's
diagonal varies. The density of what has full rank is $\mathrm{Im}\,m(x + i\eta)/\pi$ on a grid that is refined until
straight lines between its points carry its mass; η, .03 of the diagonal's deviation, makes the points of the norms'
quadrature one.

The few other directions move eigenvalues and make spikes, of which the distribution function has steps of 1/n. With
$N = B^{-1} + D$ of :mod:`hntk.asymptotics.limiting_spikes`, $\det(\tilde K - z)$ is $\det N(z)$ times what the bulk
has, so below x there are

$$\xi(x) = \#\{\text{eigenvalues of B below 0}\} - \frac1\pi\sum_j\arg\lambda_j(N(x + i\eta))$$

more: the matrix' phase, Krein's spectral shift. $\mathrm{Im}\,N \succeq 0$, so all arguments are between 0 and π.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from hntk._utils.arrays import point_array
from hntk.asymptotics.density import as_quantiles
from hntk.asymptotics.kernel_parameters import Kind, Net
from hntk.asymptotics.limiting_kernel import LimitingKernel, limiting_kernel
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.sample_norms import dense_points

# η by the deviation of the diagonal, and at least by the spectrum's scale
SMOOTHING, LEAST = 0.03, 1e-6
# points of the first grid, mass that a straight line between two may miss, and looks
FIRST, MISSED, LOOKS = 400, 1e-6, 8
# eigenvalues between two points that are to be located, and how well, by their distance from the least
COUNTED, NARROW = 0.05, 1e-3
# by which the total mass may differ from 1 before it is made so
MASS = 0.02


@dataclass(frozen=True)
class FiniteSizeDensity:
    """A distribution of eigenvalues on a grid.

    Attributes
    ----------
    grid : (j,) ascending eigenvalues.
    values : (j,) density at them, of the bulk alone.
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
        return np.interp(point_array(x, "x"), self.grid, self.values, left=0.0, right=0.0)

    def cdf(self, x: object) -> Float[np.ndarray, ...]:
        """Share of the eigenvalues that are at most x."""
        given = np.clip(point_array(x, "x"), self.grid[0], self.grid[-1])
        return np.asarray(PchipInterpolator(self.grid, self.shares)(given))

    def quantiles(self, shares: object) -> Float[np.ndarray, ...]:
        """The smallest x with cdf(x) ≥ share, for shares in (0, 1).

        Raises
        ------
        ValueError
            If a share does not lie in it.
        """
        rising = np.concatenate([[True], np.diff(self.shares) > 0])
        return np.interp(as_quantiles(shares), self.shares[rising], self.grid[rising])


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
    [0.025, 0.0256]
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
    spread = eta * np.geomspace(1, (bulk.scale + kernel.reach) / eta, FIRST)
    x = np.unique(np.concatenate([low + spread, low + bulk.scale * np.linspace(0, 1, FIRST)]))
    x = x[np.append(True, np.diff(x) > eta / FIRST)]

    def sample(places: np.ndarray) -> np.ndarray:
        # z = 0 is no eigenvalue here, but a point where nothing is solved
        at = bulk.at(places + 1j * eta)
        return np.stack([np.imag(at.stieltjes) / np.pi, _moved(kernel, at)])

    values = sample(x)
    left = np.arange(len(x) - 1)
    for _ in range(LOOKS):
        width, middle = x[left + 1] - x[left], (x[left + 1] + x[left]) / 2
        found = sample(middle)
        bent = np.abs(found[0] - (values[0, left + 1] + values[0, left]) / 2) * width > MISSED
        jumping = np.abs(values[1, left + 1] - values[1, left]) > COUNTED
        coarse = bent | (jumping & (width > NARROW * (middle - low)))
        order = np.argsort(np.append(x, middle), kind="stable")
        x, values = np.append(x, middle)[order], np.concatenate([values, found], axis=1)[:, order]
        # halves of the intervals that were coarse: the points added so far have moved theirs to the right
        starts = left[coarse] + np.flatnonzero(coarse)
        left = np.concatenate([starts, starts + 1])
        left.sort()
        if left.size == 0:
            break
    mass = np.concatenate([[0.0], np.cumsum((values[0, 1:] + values[0, :-1]) / 2 * np.diff(x))])
    if abs(mass[-1] - 1) > MASS:
        raise ArithmeticError(f"the density of a finite size has mass {mass[-1]:.4g}, not 1: it is not resolved.")
    shares = np.clip(np.maximum.accumulate(mass / mass[-1] + values[1] / kernel.n), 0.0, 1.0)
    shares[0], shares[-1] = 0.0, 1.0
    return FiniteSizeDensity(x + shift, values[0] / mass[-1], shares)


def _moved(kernel: LimitingKernel, at: Resolvent) -> Float[np.ndarray, " z"]:
    """ξ, how many eigenvalues more are below z than the bulk has there."""
    values = np.linalg.eigvals(kernel.secular(at))
    angles = np.angle(np.real(values) + 1j * np.maximum(np.imag(values), 0.0))
    return np.sum(kernel.active[1] < 0) - np.sum(angles, axis=-1) / np.pi
