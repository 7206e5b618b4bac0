"""Staircases evaluated as tables: the level of the cell that a number lies in."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num

# up to so many thresholds, comparing with each (vectorised over the numbers) is faster than a binary search
COMPARED = 64


def lookup(
    thresholds: Num[Array | np.ndarray, " cells-1 *own"],
    levels: Float[Array | np.ndarray, " cells"],
    t: Num[Array, ...],
) -> Float[Array, ...]:
    """Return ``levels[k]``, k being the number of thresholds ≤ t, for thresholds that ascend along their first axis.

    Thresholds with more axes, which are broadcast against those of t, are different ones for different numbers. Few
    thresholds are compared one by one, many by binary search, with equal results. A NaN gets the first level, because
    it is not ≥ any threshold.
    """
    count = thresholds.shape[0]
    if count > COMPARED:
        return jnp.asarray(levels)[_count_reached(jnp.asarray(thresholds), t)]
    value = jnp.full(t.shape, levels[0], levels.dtype)
    for k in range(count):
        value = jnp.where(t >= thresholds[k], levels[k + 1], value)
    return value


def _count_reached(thresholds: Num[Array, " n *own"], t: Num[Array, ...]) -> Array:
    """Return how many of n ≥ 1 ascending thresholds are ≤ t, by binary search."""
    n, *own = thresholds.shape
    # the thresholds of one number lie so far apart
    apart = prod(own)
    flat, column = thresholds.reshape(-1), np.arange(apart, dtype=np.int32).reshape(own)
    half = 2 ** (n.bit_length() - 1)
    # 2^k − 1 thresholds take k comparisons: the first step chooses between the first and the last 2^k − 1
    place = jnp.where(t >= thresholds[half - 1], n - half + 1, 0).astype(jnp.int32)
    while half > 1:
        half //= 2
        middle = flat[(place + half - 1) * apart + column]
        place = place + jnp.where(t >= middle, half, 0).astype(jnp.int32)
    return place
