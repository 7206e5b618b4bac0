"""Draws of weight matrices, one function for each law of :mod:`hntk.weights.laws`, where the formulas are."""

from __future__ import annotations

from functools import partial
from math import exp, pi, sqrt

import jax
import jax.numpy as jnp
import scipy
from jax import Array

from hntk.weights.weight_matrix import WeightMatrix

# unit of int8 weights: 127 of them are four standard deviations
INT8_STEP = 4 / 127
# largest number of degrees of freedom for which a chi-square is drawn as a sum of squares
MOST_SQUARES = 64


def gaussian(key: Array, shape: tuple[int, int]) -> WeightMatrix:
    """Draw Gaussian weights."""
    return WeightMatrix(jax.random.normal(key, shape, dtype=jnp.float32))


def sparse_gaussian(key: Array, shape: tuple[int, int], sparsity: float) -> WeightMatrix:
    """Draw Gaussian weights of which a random share is 0."""
    kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1.0 - sparsity, shape)
    return WeightMatrix(jnp.where(kept, gaussian(key, shape).values, 0.0), 1 / sqrt(1 - sparsity))


def pruned_gaussian(key: Array, shape: tuple[int, int], sparsity: float) -> WeightMatrix:
    """Draw Gaussian weights of which the smallest are 0."""
    values = gaussian(key, shape).values
    return WeightMatrix(
        jnp.where(jnp.abs(values) > _threshold(sparsity), values, 0.0), 1 / sqrt(tail_moments(sparsity)[0])
    )


def _threshold(sparsity: float) -> float:
    return -float(scipy.special.ndtri((1.0 - sparsity) / 2))


def tail_moments(sparsity: float) -> tuple[float, float]:
    """Return E[w²] and E[w⁴] of a standard Gaussian whose smallest values are set to 0."""
    t, kept = _threshold(sparsity), 1.0 - sparsity
    density = exp(-(t**2) / 2) / sqrt(2 * pi)
    return kept + 2 * t * density, 3 * kept + 2 * (t**3 + 3 * t) * density


def int8_gaussian(key: Array, shape: tuple[int, int]) -> WeightMatrix:
    """Draw Gaussian weights rounded to 8 bits."""
    rounded = jnp.clip(jnp.round(gaussian(key, shape).values / INT8_STEP), -127, 127)
    # rounding adds the variance INT8_STEP²/12
    return WeightMatrix(rounded.astype(jnp.int8), INT8_STEP / sqrt(1 + INT8_STEP**2 / 12), "int8")


def student_t(key: Array, shape: tuple[int, int], degrees: float) -> WeightMatrix:
    """Draw weights of Student's t."""
    above, below = jax.random.split(key)
    normal = jax.random.normal(above, shape, dtype=jnp.float32)
    ratio = _chi_square(degrees, below, shape) / degrees
    return WeightMatrix(normal / jnp.sqrt(ratio), sqrt(1 - 2 / degrees))


def _chi_square(degrees: float, key: Array, shape: tuple[int, int]) -> Array:
    """Draw chi-squares as sums of squared normals, which is ten times faster than JAX's rejection sampling."""
    if degrees != round(degrees) or degrees > MOST_SQUARES:
        return jax.random.chisquare(key, degrees, shape, dtype=jnp.float32)

    def added(total: Array, key: Array) -> tuple[Array, None]:
        return total + jax.random.normal(key, shape, dtype=jnp.float32) ** 2, None

    keys = jax.random.split(key, round(degrees))
    return jax.lax.scan(added, jnp.zeros(shape, jnp.float32), keys)[0]


def bernoulli(key: Array, shape: tuple[int, int]) -> WeightMatrix:
    """Draw signs."""
    return WeightMatrix(jax.random.rademacher(key, shape, dtype=jnp.int8), kind="sign")


def ternary(key: Array, shape: tuple[int, int], sparsity: float) -> WeightMatrix:
    """Draw independent ternary weights."""
    return WeightMatrix(_ternary_values(key, shape, 1.0 - sparsity), 1 / sqrt(1 - sparsity), "ternary")


@partial(jax.jit, static_argnums=1)
def _ternary_values(key: Array, shape: tuple[int, int], share: float) -> Array:
    sign, mask = jax.random.split(key)
    kept = jax.random.bernoulli(mask, share, shape)
    return jax.random.rademacher(sign, shape, dtype=jnp.int8) * kept.astype(jnp.int8)


def orthogonal_gaussian(key: Array, shape: tuple[int, int]) -> WeightMatrix:
    """Draw blocks of the Haar law, one for as many rows as there are inputs."""
    outputs, inputs = shape
    rows = []
    for block, start in enumerate(range(0, outputs, inputs)):
        count = min(inputs, outputs - start)
        normal = jax.random.normal(jax.random.fold_in(key, block), (inputs, count), dtype=jnp.float64)
        q, r = jnp.linalg.qr(normal)
        # With the signs of R's diagonal, Q has the Haar law (Mezzadri 2007).
        rows.append((q * jnp.sign(jnp.diagonal(r))).T.astype(jnp.float32))
    return WeightMatrix(jnp.concatenate(rows), sqrt(inputs))
