"""Staircases of whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from hntk.activations.lookup import lookup
from hntk.files.exact_arrays import to_integers_of
from hntk.files.reader import FieldReader
from hntk.weights.bit_planes import Code


@dataclass(frozen=True)
class Steps:
    """A staircase of whole numbers: S becomes levels[number of thresholds ≤ S].

    Attributes
    ----------
    thresholds : tuple of int
        Ascending. A cell between two equal thresholds is never reached.
    levels : tuple of int
        One more than the thresholds.
    """

    thresholds: tuple[int, ...]
    levels: tuple[int, ...]

    def __call__(self, sums: Array) -> Array:
        """Return the levels of sums in float32."""
        return lookup(*self.table(sums.dtype), sums)

    def table(self, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
        """Return thresholds to compare sums of a type with, and levels in float32."""
        thresholds, levels = np.asarray(self.thresholds, np.int64), np.asarray(self.levels, np.float32)
        if jnp.issubdtype(dtype, jnp.integer):
            info = jnp.iinfo(dtype)
            return np.clip(thresholds, info.min, info.max).astype(dtype), levels
        # A threshold that the type cannot hold is rounded up: no sum of that type lies between.
        rounded = thresholds.astype(dtype)
        return np.where(rounded < thresholds, np.nextafter(rounded, np.inf, dtype=dtype), rounded), levels

    def within(self, bound: int) -> Steps:
        """Return the same staircase for sums from −bound to bound, without the cells that none of them reaches.

        Neighbouring cells of one level become one.
        """
        thresholds, levels = np.asarray(self.thresholds, np.int64), np.asarray(self.levels, np.int64)
        first, last = (int(np.searchsorted(thresholds, edge, side="right")) for edge in (-bound, bound))
        thresholds, levels = thresholds[first:last], levels[first : last + 1]
        # The last of equal thresholds decides the level.
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
        """The levels as bit planes."""
        return Code.of_levels(self.levels)

    @property
    def nbytes(self) -> int:
        """Bytes in a file: 4 a threshold and 2 a level."""
        return 4 * len(self.thresholds) + 2 * len(self.levels)

    def to_arrays(self, number: int) -> dict[str, np.ndarray]:
        """Return thresholds and levels as arrays of the layer of a number.

        Raises
        ------
        ValueError
            If they are not whole, or leave the 32 bits of a threshold or the 16 of a level.
        """
        parts = {"thresholds": (self.thresholds, np.int32), "levels": (self.levels, np.int16)}
        return {
            f"layer{number}.{name}": to_integers_of(values, dtype, f"{name} of layer {number}")
            for name, (values, dtype) in parts.items()
        }

    @classmethod
    def from_fields(cls, fields: FieldReader, number: int) -> Steps:
        """Read the staircase of the layer of a number from a file.

        Raises
        ------
        KeyError, ValueError
            If there is none, it has too many levels, or its thresholds do not ascend.
        """
        layer = f"layer{number}"
        thresholds = fields.thresholds(layer, np.int32)
        if np.any(np.diff(thresholds.astype(np.int64)) < 0):
            raise ValueError(f"the thresholds of {layer} are out of order")
        levels = fields.array(f"{layer}.levels", np.int16, thresholds.size + 1)
        return cls(tuple(thresholds.tolist()), tuple(levels.tolist()))
