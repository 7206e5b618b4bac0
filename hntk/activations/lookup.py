"""Staircases evaluated as tables: the level of the cell that a number lies in."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num

from hntk._utils.pytree import is_traced

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
        # for known numbers one program, where each operation would be one of its own
        search = _searched if is_traced(thresholds, levels, t) else _search_program
        return search(thresholds, levels, t)
    value = jnp.full(t.shape, levels[0], levels.dtype)
    # A loop ends what compilers compute anew wherever a value is used: for thresholds in memory that takes long.
    half = count // 2 if thresholds.ndim > 1 else 0
    first = count - 2 * half
    value = _compare(value, t, thresholds[:first], levels[1 : first + 1])
    if not half:
        return value
    halves = (part.reshape(2, half, *part.shape[1:]) for part in (thresholds[first:], levels[first + 1 :]))
    return jax.lax.scan(lambda value, part: (_compare(value, t, *part), None), value, tuple(halves))[0]


def _searched(thresholds: Array | np.ndarray, levels: Array | np.ndarray, t: Array) -> Array:
    return jnp.asarray(levels)[_count_reached(jnp.asarray(thresholds), t)]


_search_program = jax.jit(_searched)


def _compare(value: Array, t: Array, thresholds: Array | np.ndarray, levels: Array | np.ndarray) -> Array:
    """Return the value, or the level of the last of some thresholds that are ≤ t."""
    for k in range(thresholds.shape[0]):
        value = jnp.where(t >= thresholds[k], levels[k], value)
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
