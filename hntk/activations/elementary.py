r"""Cosine, sine, erf and the Gaussian bump in closed form.

Derivatives by the variance use the heat equation,
$\frac{d}{dx} E[g(\sqrt{x}\xi)] = \frac12 E[g''(\sqrt{x}\xi)]$, so that
$s_2 = 2\,\frac{d}{dx}E[\sigma(\sqrt{x}\xi)^2] - 2 m e_2$ with $x = \tau^2$.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, exp, expm1, log1p, pi, sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.activations.base import ArrayLike, ClosedForm, Moments
from hntk.activations.correlation import arcsin
from hntk.activations.smoothing import ORDER


class _UpToOne(ClosedForm):
    """A function with values from −1 to 1."""

    def bound(self, t: float) -> float:
        return 1.0


class _Wave(_UpToOne):
    """The function cos(t + phase π/2): where the scale is large it oscillates too often for a quadrature rule."""

    _phase: int

    @staticmethod
    def _cosines(quarters: np.ndarray) -> np.ndarray:
        """Return the cosine of multiples of π/2."""
        return np.array([1.0, 0.0, -1.0, 0.0])[quarters % 4]

    def derivative_means(self, variance: float, covariance: float, centre: float) -> Float[np.ndarray, "6 6"]:
        i = self._phase + np.arange(ORDER + 1)
        means = exp(-variance / 2) * self._cosines(i)
        means[0] -= centre
        # e^-q (cosh c − 1) for two even functions and e^-q sinh c for two odd ones
        size, gap = exp(covariance - variance) / 2, expm1(-covariance)
        both = np.where((i % 2 == 0), size * gap**2, -size * expm1(-2 * covariance))
        return self._cosines(np.subtract.outer(i, i)) * both + np.outer(means, means)

    def fourth_of_square(self, variance: float, centre: float) -> float:
        double, single = self._cosines(np.array([2 * self._phase, self._phase]))
        return float(8 * exp(-2 * variance) * double - 2 * centre * exp(-variance / 2) * single)


@dataclass(frozen=True)
class Cosine(_Wave):
    """The function σ(t) = cos t, an even function: e1 = 0."""

    name: str = "cos"
    _phase = 0

    def __call__(self, t: ArrayLike) -> Array:
        return jnp.cos(t)

    def _moments(self, tau: float) -> Moments:
        x = tau * tau
        m, gap = exp(-x / 2), -expm1(-x)
        return Moments(tau, mean=m, e1=0.0, e2=-m, s2=2 * exp(-x) * gap, variance=gap**2 / 2, d=-expm1(-2 * x) / 2)

    def mean_map(self, var: ArrayLike) -> Array:
        return jnp.exp(-jnp.asarray(var) / 2)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        # exp(−s)(cosh c − 1) with s = (var1 + var2)/2
        size = jnp.abs(cov)
        return 0.5 * jnp.exp(size - (var1 + var2) / 2) * jnp.expm1(-size) ** 2

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return _sinh_map(cov, var1, var2)


@dataclass(frozen=True)
class Sine(_Wave):
    """The function σ(t) = sin t, an odd function: m = e2 = 0."""

    name: str = "sin"
    _phase = -1

    def __call__(self, t: ArrayLike) -> Array:
        return jnp.sin(t)

    def _moments(self, tau: float) -> Moments:
        x = tau * tau
        v = -expm1(-2 * x) / 2
        return Moments(tau, mean=0.0, e1=exp(-x / 2), e2=0.0, s2=2 * exp(-2 * x), variance=v, d=1 - v)

    def mean_map(self, var: ArrayLike) -> Array:
        return jnp.zeros_like(jnp.asarray(var))

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return _sinh_map(cov, var1, var2)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        half_sum = (var1 + var2) / 2
        return 0.5 * (jnp.exp(cov - half_sum) + jnp.exp(-cov - half_sum))


def _sinh_map(cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
    """Return E[sin u sin v] = exp(−(var1 + var2)/2) sinh(cov) without overflow."""
    # not abs and sign, whose derivatives at cov = 0 are 0
    sign = jnp.where(cov < 0, -1.0, 1.0)
    size = sign * cov
    return -0.5 * sign * jnp.exp(size - (var1 + var2) / 2) * jnp.expm1(-2 * size)


@dataclass(frozen=True)
class Erf(_UpToOne):
    """The function σ(t) = erf t, an odd function, with the arcsine kernel of Williams (1997)."""

    name: str = "erf"

    def __call__(self, t: ArrayLike) -> Array:
        return jax.lax.erf(jnp.asarray(t, dtype=jnp.result_type(float)) if not hasattr(t, "dtype") else t)

    def _moments(self, tau: float) -> Moments:
        x = tau * tau
        return Moments(
            tau,
            mean=0.0,
            e1=2 / sqrt(pi * (1 + 2 * x)),
            e2=0.0,
            s2=8 / (pi * (1 + 2 * x) * sqrt(1 + 4 * x)),
            variance=2 / pi * asin(2 * x / (1 + 2 * x)),
            d=4 / (pi * sqrt(1 + 4 * x)),
        )

    def mean_map(self, var: ArrayLike) -> Array:
        return jnp.zeros_like(jnp.asarray(var))

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return 2 / pi * arcsin(2 * cov / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2)))

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return 4 / pi / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2) - 4 * cov**2)

    def smoothed_slope(self, mean: ArrayLike, spread: ArrayLike) -> Array:
        square = 1 + 2 * jnp.asarray(spread)
        return 2 / sqrt(pi) * jnp.exp(-(jnp.asarray(mean) ** 2) / square) / jnp.sqrt(square)


@dataclass(frozen=True)
class GaussianBump(_UpToOne):
    """The function σ(t) = exp(−t²/2), an even function: e1 = 0."""

    name: str = "gaussian"

    def __call__(self, t: ArrayLike) -> Array:
        return jnp.exp(-(t**2) / 2)

    def _moments(self, tau: float) -> Moments:
        x = tau * tau
        m = 1 / sqrt(1 + x)
        # (1+2x)^(-1/2) − (1+x)^(-1) and (1+x)^(-2) − (1+2x)^(-3/2), arranged so that small x loses no digits
        variance = m**2 * expm1(0.5 * log1p(x * x / (1 + 2 * x)))
        s2 = -2 * m**4 * expm1(2 * log1p(x) - 1.5 * log1p(2 * x))
        d = x / (1 + 2 * x) ** 1.5
        return Moments(tau, mean=m, e1=0.0, e2=-(m**3), s2=s2, variance=variance, d=d)

    def mean_map(self, var: ArrayLike) -> Array:
        return 1 / jnp.sqrt(1 + jnp.asarray(var))

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        # det(I + Σ)^(-1/2) less its value at cov = 0
        free = (1 + var1) * (1 + var2)
        return jnp.expm1(-0.5 * jnp.log1p(-(cov**2) / free)) / jnp.sqrt(free)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return cov / ((1 + var1) * (1 + var2) - cov**2) ** 1.5
