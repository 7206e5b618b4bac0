r"""Functions of two rays that meet at zero: linear, ReLU, leaky ReLU and the absolute value.

Each is $\sigma(t) = A t + B|t|$. The odd and the even part do not mix in the kernel, and
$E[|u||v|] = \frac{2}{\pi}\sqrt{\mathrm{var}_1\mathrm{var}_2}\,(\sqrt{1-\rho^2} + \rho\arcsin\rho)$ is the arc-cosine
kernel of order one (Cho and Saul, 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations.base import ArrayLike, ClosedForm, Moments, PairMaps
from hntk.activations.correlation import arcsin, correlation


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
        return self.pairs(jnp.sqrt(var1), jnp.sqrt(var2), cov).covariance

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self.pairs(jnp.sqrt(var1), jnp.sqrt(var2), cov).derivative

    def side(self, var: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.sqrt(var)

    def pairs(self, left: Array, right: Array, cov: ArrayLike) -> PairMaps:
        size = left * right
        rho = correlation(cov, size)
        angle = arcsin(rho)
        arc = jnp.sqrt((1 - rho) * (1 + rho)) + rho * angle - 1
        weight = self.even**2 * (2 / pi)
        return PairMaps(self.odd**2 * cov + weight * size * arc, self.odd**2 + weight * angle)
