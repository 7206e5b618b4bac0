r"""Functions of two rays that meet at zero: linear, ReLU, leaky ReLU and the absolute value.

Each is $\sigma(t) = A t + B|t|$. The odd and the even part do not mix in the kernel, and
$E[|u||v|] = \frac{2}{\pi}\sqrt{\mathrm{var}_1\mathrm{var}_2}\,(\sqrt{1-\rho^2} + \rho\arcsin\rho)$ is the arc-cosine
kernel of order one (Cho and Saul, 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations.base import ArrayLike, ClosedForm, Moments, PairMaps
from hntk.activations.correlation import arc_of_pairs, arcsin, correlation


class RectifierSide(NamedTuple):
    """What the maps need to know of one side of a kernel.

    Attributes
    ----------
    weight : Array
        Standard deviations times B √(2/π).
    inverse : Array
        Reciprocals of standard deviations, 0 for those of 0.
    """

    weight: Array
    inverse: Array


@dataclass(frozen=True)
class Rectifier(ClosedForm):
    """The function σ(t) = ``odd``·t + ``even``·|t|.

    Attributes
    ----------
    odd, even : float
        Coefficients A of t and B of the absolute value.
    name : str
        What reports and files call it.
    """

    odd: float
    even: float
    name: str = "rectifier"

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return (0.0,) if self.even else ()

    def __call__(self, t: ArrayLike) -> Array:
        return self.odd * jnp.asarray(t) + self.even * jnp.abs(t)

    def bound(self, t: float) -> float:
        return (abs(self.odd) + abs(self.even)) * t

    def _moments(self, tau: float) -> Moments:
        square = self.odd**2 + self.even**2
        unit_variance = square - self.even**2 * 2 / pi
        return Moments(
            tau,
            mean=self.even * tau * sqrt(2 / pi),
            e1=self.odd,
            e2=self.even * sqrt(2 / pi) / tau,
            s2=2 * unit_variance,
            variance=unit_variance * tau**2,
            d=square,
        )

    def mean_map(self, var: ArrayLike) -> Array:
        return self.even * sqrt(2 / pi) * jnp.sqrt(var)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self._maps(cov, var1, var2).covariance

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self._maps(cov, var1, var2).derivative

    def smoothed_slope(self, mean: ArrayLike, spread: ArrayLike) -> Array:
        mean = jnp.asarray(mean)
        root = jnp.sqrt(2 * jnp.maximum(spread, jnp.finfo(mean.dtype).tiny))
        return self.odd + self.even * jax.lax.erf(mean / root)

    def side(self, var: Float[Array, " n"]) -> RectifierSide:
        scale = jnp.sqrt(var)
        return RectifierSide(
            self.even * sqrt(2 / pi) * scale, jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1.0), 0.0)
        )

    def pairs(self, left: RectifierSide, right: RectifierSide, cov: Float[Array, "a b"]) -> PairMaps:
        found, negative = arc_of_pairs(cov, left.inverse, right.inverse)
        excess = jnp.sqrt(found.gap * (1 + found.size)) + found.size * found.angle - 1
        angle = jnp.where(negative, -found.angle, found.angle)
        # products of both sides first, so that a pair gets the same number from either side
        covariance = self.odd**2 * cov + (left.weight * right.weight) * excess
        return PairMaps(covariance, self.odd**2 + self.even**2 * (2 / pi) * angle)

    def _maps(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> PairMaps:
        """Return both maps in the form that can be differentiated."""
        size = jnp.sqrt(var1) * jnp.sqrt(var2)
        rho = correlation(cov, size)
        angle = arcsin(rho)
        weight = self.even**2 * (2 / pi)
        return PairMaps(self.odd**2 * cov + weight * size * _excess(rho, angle), self.odd**2 + weight * angle)


@jax.custom_jvp
def _excess(rho: Array, angle: Array) -> Array:
    """Return √(1 − ρ²) + ρ arcsin ρ − 1, the covariance of |ξ| and |η| times π/2."""
    return jnp.sqrt((1 - rho) * (1 + rho)) + rho * angle - 1


@_excess.defjvp
def _excess_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    # its derivative by ρ is arcsin ρ, finite at ±1 where those of both terms are not
    return _excess(*primals), primals[1] * tangents[0]
