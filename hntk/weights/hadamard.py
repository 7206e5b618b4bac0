r"""Walsh–Hadamard transforms.

The Hadamard matrix of Sylvester's order has the entries $H_{kj} = (-1)^{|k \wedge j|}$, where $|k \wedge j|$ counts the
bits that are 1 in both indices. It is symmetric, and $H^2 = h I$. A transform of length h takes $h \log_2 h$ additions.

In floating point it is computed as $H_{ab} = H_a \otimes H_b$ with products of small matrices, which processors do
fastest. Whole numbers are added and subtracted in pairs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Num

# Largest Hadamard matrix that is multiplied with as a matrix.
LARGEST_FACTOR = 64


def hadamard_entries(rows: Int[Array, ...], columns: Int[Array, ...]) -> Int[Array, ...]:
    """Return the entries ±1 of Sylvester's Hadamard matrix at pairs of indices, whose shapes broadcast."""
    return 1 - 2 * (jax.lax.population_count(rows & columns) & 1).astype(jnp.int8)


def hadamard_transform(x: Num[Array, "*rest h"]) -> Num[Array, "*rest h"]:
    """Multiply the last axis by the Hadamard matrix of its length.

    Sums of whole numbers are exact: in whole numbers if they fit the type, and in float32 if no sum of absolute values
    passes 2²⁴.

    Parameters
    ----------
    x : (..., h) array
        Values; h is a power of two.

    Returns
    -------
    (..., h) array
        The transforms H x, of the type of x.
    """
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _by_pairs(x, jnp)
    *outer, last = factors_of(x.shape[-1])
    y, done = jnp.matmul(x.reshape(-1, last), _matrix(last, x.dtype), precision="highest"), last
    for factor in reversed(outer):
        y = y.reshape(-1, factor, done)
        y = jnp.einsum("dc,ncb->ndb", _matrix(factor, x.dtype), y, precision="highest")
        done *= factor
    return y.reshape(x.shape)


def transform_on_host(x: Num[np.ndarray, "*rest h"]) -> Num[np.ndarray, "*rest h"]:
    """Compute the same with NumPy, without compiling anything."""
    return _by_pairs(x, np)


def _by_pairs(x: Any, xp: Any) -> Any:
    y, half = x, x.shape[-1] // 2
    while half:
        pairs = y.reshape(*x.shape[:-1], -1, 2, half)
        y = xp.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        half //= 2
    return y.reshape(x.shape)


def factors_of(length: int) -> list[int]:
    """Return as few powers of two as possible, of nearly equal size, whose product is the length."""
    bits = length.bit_length() - 1
    count = max(1, -(-bits // (LARGEST_FACTOR.bit_length() - 1)))
    return [2 ** ((bits + part) // count) for part in range(count)]


def _matrix(size: int, dtype: jnp.dtype) -> Array:
    index = jnp.arange(size)
    return hadamard_entries(index[:, None], index).astype(dtype)
