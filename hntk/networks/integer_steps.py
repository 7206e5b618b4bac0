"""Staircases of whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from hntk.activations.lookup import lookup
from hntk.weights.bit_planes import Code


@dataclass(frozen=True)
class Steps:
    """A staircase of whole numbers: levels[number of thresholds ≤ S].

    Attributes
    ----------
    thresholds : ascending; equal ones mean that a cell between them is never reached.
    levels : one more.
    """

    thresholds: tuple[int, ...]
    levels: tuple[int, ...]

    def __call__(self, sums: Array) -> Array:
        """Levels of sums, float32."""
        return lookup(*self.table(sums.dtype), sums)

    def table(self, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
        """Thresholds to compare sums of a type with, and levels in float32."""
        thresholds, levels = np.asarray(self.thresholds, np.int64), np.asarray(self.levels, np.float32)
        if jnp.issubdtype(dtype, jnp.integer):
            info = jnp.iinfo(dtype)
            return np.clip(thresholds, info.min, info.max).astype(dtype), levels
        # where the type has no such number, the next larger one: none that a sum can be lies between
        rounded = thresholds.astype(dtype)
        return np.where(rounded < thresholds, np.nextafter(rounded, np.inf, dtype=dtype), rounded), levels

    def within(self, most: int) -> Steps:
        """Return the same staircase for sums from −most to most, without the cells that none of them reaches.

        Neighbouring cells of one level become one.
        """
        thresholds, levels = np.asarray(self.thresholds, np.int64), np.asarray(self.levels, np.int64)
        first, last = (int(np.searchsorted(thresholds, bound, side="right")) for bound in (-most, most))
        thresholds, levels = thresholds[first:last], levels[first : last + 1]
        # of equal thresholds the last one's level counts
        kept = np.append(np.diff(thresholds) > 0, True)[: thresholds.size]
        thresholds, levels = thresholds[kept], np.append(levels[:1], levels[1:][kept])
        jumps = np.diff(levels) != 0
        return Steps(tuple(thresholds[jumps].tolist()), tuple(np.append(levels[:1], levels[1:][jumps]).tolist()))

    @property
    def most(self) -> int:
        """Largest magnitude of a level."""
        return max(abs(level) for level in self.levels)

    @property
    def code(self) -> Code:
        """As bit planes."""
        return Code.of_levels(self.levels)
