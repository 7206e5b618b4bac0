"""Correlations of Gaussian pairs, and an arcsine that keeps their precision."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

# values this many roundings from ±1 count as ±1
SNAPPED_ROUNDINGS = 32


def correlation(cov: Array | float, scale: Array | float) -> Float[Array, "*shape"]:
    """Return the correlation of a Gaussian pair, clipped to [−1, 1].

    Values within 32 roundings of ±1 become ±1: kernels of functions with kinks and jumps behave like √(1 − ρ) there,
    which turns one rounding of a diagonal entry into an error of 1e-8.

    Parameters
    ----------
    cov : array or float
        Covariance.
    scale : array or float
        Product of the standard deviations; where it is 0, the correlation is 0.
    """
    scale = jnp.asarray(scale)
    rho = jnp.where(scale > 0, ratio(jnp.asarray(cov), jnp.where(scale > 0, scale, 1.0)), 0.0)
    snap = 1.0 - SNAPPED_ROUNDINGS * jnp.finfo(rho.dtype).eps
    return jnp.where(jnp.abs(rho) >= snap, jnp.sign(rho), rho)


@jax.custom_jvp
def ratio(numerator: Array, scale: Array) -> Array:
    """Return a quotient whose derivative does without the square of the scale, which may underflow."""
    return numerator / scale


@ratio.defjvp
def _ratio_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value = ratio(*primals)
    return value, ratio(tangents[0] - value * tangents[1], primals[1])


def matched_pairs(cov: Array | float, var1: Array | float, var2: Array | float) -> tuple[Array, Array]:
    """Return correlations of full shape, and where both variables are the same one (ρ = 1, equal variances)."""
    shape = jnp.broadcast_shapes(jnp.shape(cov), jnp.shape(var1), jnp.shape(var2))
    product = jnp.asarray(var1) * var2
    # the root of a product that underflows to 0 has no derivative
    scale = jnp.sqrt(jnp.maximum(product, jnp.finfo(product.dtype).tiny))
    rho = jnp.broadcast_to(correlation(cov, scale), shape)
    allowed = SNAPPED_ROUNDINGS * jnp.finfo(rho.dtype).eps * jnp.abs(jnp.asarray(var1))
    return rho, (rho == 1) & (jnp.abs(jnp.asarray(var1) - var2) <= allowed)


def _arcsin_coefficients(terms: int) -> tuple[float, ...]:
    """Fit arcsin(s)/s as a polynomial in s² ≤ 1/4, lowest order first."""
    nodes = (1 - np.cos(np.pi * (np.arange(terms) + 0.5) / terms)) / 8
    values = np.arcsin(np.sqrt(nodes)) / np.sqrt(nodes)
    fitted = np.polynomial.Chebyshev.fit(nodes, values, terms - 1, domain=[0, 0.25])
    return tuple(fitted.convert(kind=np.polynomial.Polynomial).coef.tolist())


# with so many terms the error of the fit is below a rounding in float64, and in float32 and less
ARCSIN_COEFFICIENTS, FEWER_COEFFICIENTS = _arcsin_coefficients(15), _arcsin_coefficients(8)


class Arc(NamedTuple):
    """The arcsine of correlations, and what it is made of.

    Attributes
    ----------
    angle : Array
        arcsin abs(ρ).
    size, gap : Array
        abs(ρ) and 1 − abs(ρ).
    """

    angle: Float[Array, "*shape"]
    size: Float[Array, "*shape"]
    gap: Float[Array, "*shape"]


def arc(size: Float[Array, "*shape"]) -> Arc:
    """Return the arcsine on [0, 1], using only operations that processors vectorise.

    Beyond ½ it uses arcsin ρ = π/2 − 2 arcsin √((1 − ρ)/2).
    """
    gap = 1 - size
    small, half = size < 0.5, gap / 2
    square = jnp.where(small, size * size, half)
    angle = jnp.where(small, size, jnp.sqrt(half)) * _arcsin_series(square)
    return Arc(jnp.where(small, angle, math.pi / 2 - 2 * angle), size, gap)


def _arcsin_series(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return arcsin(s)/s from s² ≤ 1/4; by Estrin's scheme, in which a processor works on several products at once."""
    rough = jnp.finfo(square.dtype).bits <= jnp.finfo(jnp.float32).bits
    terms = [jnp.asarray(c, square.dtype) for c in (FEWER_COEFFICIENTS if rough else ARCSIN_COEFFICIENTS)]
    power = square
    while len(terms) > 1:
        paired = [low + high * power for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = paired + terms[len(paired) * 2 :]
        power = power * power
    return terms[0]


def arc_of_pairs(cov: Array, left: Array, right: Array) -> tuple[Arc, Array]:
    """Return the arcsine of the correlations of pairs, and where they are negative.

    Correlations are rounded to ±1 as by :func:`correlation`.

    Parameters
    ----------
    cov : Array
        Covariances.
    left, right : Array
        Reciprocals of the standard deviations, 0 for those of 0: a product takes less time than a division.
    """
    # in an order that gives a pair the same number from either side
    rho = cov * (left * right)
    size = jnp.abs(rho)
    return arc(jnp.where(size >= 1.0 - SNAPPED_ROUNDINGS * jnp.finfo(rho.dtype).eps, 1.0, size)), rho < 0


@jax.custom_jvp
def arcsin(rho: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the arcsine on [−1, 1], using only operations that processors vectorise."""
    angle = arc(jnp.abs(rho)).angle
    return jnp.where(rho < 0, -angle, angle)


@arcsin.defjvp
def _arcsin_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (rho,), (rho_tangent,) = primals, tangents
    # at ±1 the slope is infinite; 0 is the mean of both sides where a correlation touches ±1 and turns back
    inside = jnp.abs(rho) < 1
    slope = jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, (1 - rho) * (1 + rho), 1.0)), 0.0)
    return arcsin(rho), rho_tangent * slope
