r"""A spectral density on one interval of its support, as a cosine series.

On an interval [a, b] let $x = a(b/a)^s$, or $x = bs$ where a = 0, with $s = (1-\cos\theta)/2$. The density times
$dx/d\theta$ is then a smooth even function of θ about 0 and π, whether the density ends like a square root or, at 0,
like the inverse of one. A cosine series through the midpoints of a uniform grid therefore converges exponentially, and
integrates to the distribution function term by term. The geometric scale is for eigenvalues of many magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass


@array_dataclass()
class IntervalDensity:
    """The density on one interval of the spectrum.

    Attributes
    ----------
    ends : tuple of two floats
        The interval's ends, without γ.
    shift : float
        The kernel's multiple γ of the identity, which is added to eigenvalues.
    series : array, shape (k,)
        The coefficients of cos kθ in the density times dx/dθ.
    """

    ends: tuple[float, float]
    shift: float
    series: Float[np.ndarray, " k"]

    @staticmethod
    def interpolating(
        ends: tuple[float, float],
        shift: float,
        density: Callable[[Float[np.ndarray, " j"]], Float[np.ndarray, " j"]],
        least: int,
        most: int,
        tolerance: float,
    ) -> IntervalDensity:
        """Return the cosine series through a density, doubling the nodes until it has converged.

        Parameters
        ----------
        ends : tuple of two floats
            The interval's ends, without γ.
        shift : float
            The kernel's multiple γ of the identity.
        density : callable
            The density at points x, without γ.
        least : int
            The number of nodes to begin with.
        most : int
            The largest number of nodes.
        tolerance : float
            The series has converged when its last eighth is below this, relative to its first coefficient.

        Returns
        -------
        IntervalDensity
            The density.
        """
        count = least
        while True:
            x, slope = _point_and_slope(ends, _midpoints(count))
            series = np.asarray(scipy.fft.dct(density(x) * slope, type=2)) / count
            series[0] /= 2
            tail = np.max(np.abs(series[-count // 8 :]))
            if tail <= tolerance * abs(series[0]) or 2 * count > most:
                return IntervalDensity(ends, shift, series)
            count *= 2

    @property
    def mass(self) -> float:
        """The share of the eigenvalues in the interval."""
        return float(np.pi * self.series[0])

    def density(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the density at x; it is 0 outside the interval."""
        unshifted = x - self.shift
        inside = (unshifted > self.ends[0]) & (unshifted < self.ends[1])
        theta = _angle(self.ends, np.where(inside, unshifted, np.mean(self.ends)))
        return np.where(inside, self._series_at(theta) / _point_and_slope(self.ends, theta)[1], 0.0)

    def cdf(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the mass to the left of x."""
        orders = np.arange(1, len(self.series))
        theta = _angle(self.ends, x - self.shift)
        return theta * self.series[0] + np.sin(np.outer(theta, orders)) @ (self.series[1:] / orders)

    def moment(self, k: int) -> float:
        """Return the integral of x^k, by the midpoint rule."""
        theta = _midpoints(2 * len(self.series))
        weights = self._series_at(theta) * np.pi / len(theta)
        return float(weights @ (_point_and_slope(self.ends, theta)[0] + self.shift) ** k)

    def _series_at(self, theta: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the density times dx/dθ."""
        return np.cos(np.outer(theta, np.arange(len(self.series)))) @ self.series


def _midpoints(count: int) -> Float[np.ndarray, " count"]:
    """Return the midpoints of a uniform grid on [0, π]."""
    return (np.arange(count) + 0.5) * np.pi / count


def _point_and_slope(ends: tuple[float, float], theta: Float[np.ndarray, " j"]) -> tuple[np.ndarray, np.ndarray]:
    """Return x(θ) and dx/dθ."""
    left, right = ends
    s, slope = (1 - np.cos(theta)) / 2, np.sin(theta) / 2
    if left == 0:
        return right * s, right * slope
    x = left * (right / left) ** s
    return x, np.log(right / left) * slope * x


def _angle(ends: tuple[float, float], x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
    """Return θ(x), which is 0 and π beyond the ends."""
    left, right = ends
    clipped = np.clip(x, left, right)
    s = clipped / right if left == 0 else np.log(clipped / left) / np.log(right / left)
    return np.arccos(1 - 2 * np.clip(s, 0.0, 1.0))
