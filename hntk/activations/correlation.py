"""Correlations of Gaussian pairs, and an arcsine that keeps their precision."""

from __future__ import annotations

import math

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


def _arcsin_coefficients(terms: int) -> Float[np.ndarray, " terms"]:
    """Fit arcsin(s)/s as a polynomial in s² ≤ 1/4, highest order first."""
    nodes = (1 - np.cos(np.pi * (np.arange(terms) + 0.5) / terms)) / 8
    values = np.arcsin(np.sqrt(nodes)) / np.sqrt(nodes)
    fitted = np.polynomial.Chebyshev.fit(nodes, values, terms - 1, domain=[0, 0.25])
    return fitted.convert(kind=np.polynomial.Polynomial).coef[::-1]


# with 15 terms the error of the fit is below a rounding in float64
ARCSIN_COEFFICIENTS = _arcsin_coefficients(15)


@jax.custom_jvp
def arcsin(rho: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the arcsine on [−1, 1], using only operations that processors vectorise.

    Beyond ½ it uses arcsin ρ = π/2 − 2 arcsin √((1 − ρ)/2).
    """
    size = jnp.abs(rho)
    small = size < 0.5
    square = jnp.where(small, size * size, (1 - size) / 2)
    root = jnp.where(small, size, jnp.sqrt(square))
    series = jnp.full_like(rho, ARCSIN_COEFFICIENTS[0])
    for coefficient in ARCSIN_COEFFICIENTS[1:]:
        series = series * square + jnp.asarray(coefficient, rho.dtype)
    angle = root * series
    return jnp.sign(rho) * jnp.where(small, angle, math.pi / 2 - 2 * angle)


@arcsin.defjvp
def _arcsin_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (rho,), (rho_tangent,) = primals, tangents
    # at ±1 the slope is infinite; 0 is the mean of both sides where a correlation touches ±1 and turns back
    inside = jnp.abs(rho) < 1
    slope = jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, (1 - rho) * (1 + rho), 1.0)), 0.0)
    return arcsin(rho), rho_tangent * slope
