"""Staircases as arrays: the level of the cell that a number lies in."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num

# thresholds up to which comparing with each, many numbers at a time, is faster than searching
COMPARED = 64


def lookup(
    thresholds: Num[Array | np.ndarray, " cells-1"],
    levels: Float[Array | np.ndarray, " cells"],
    t: Num[Array, ...],
) -> Float[Array, ...]:
    """Return levels[number of thresholds ≤ t], for ascending thresholds.

    Few thresholds are compared with one by one, many are searched by halving. Both give the same; a NaN, which reaches
    no threshold, has the first level.
    """
    count = thresholds.shape[0]
    if count > COMPARED:
        return jnp.asarray(levels)[_reached(jnp.asarray(thresholds), t)]
    found = jnp.full(t.shape, levels[0], levels.dtype)
    for k in range(count):
        found = jnp.where(t >= thresholds[k], levels[k + 1], found)
    return found


def _reached(thresholds: Num[Array, " n"], t: Num[Array, ...]) -> Array:
    """Return how many of n ≥ 1 thresholds are ≤ t, by halving."""
    n = thresholds.shape[0]
    half = 2 ** (n.bit_length() - 1)
    # a search among 2^k - 1 takes k comparisons: the first one chooses between the first and the last so many
    place = jnp.where(t >= thresholds[half - 1], n - half + 1, 0).astype(jnp.int32)
    while half > 1:
        half //= 2
        place = place + jnp.where(t >= thresholds[place + half - 1], half, 0).astype(jnp.int32)
    return place
