"""Staircases of whole numbers: one for all neurons of a layer, or with thresholds of each neuron's own."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int, Int32, Num

from hntk._utils.pytree import array_dataclass, is_traced, leafless
from hntk.activations.lookup import lookup
from hntk.files.exact_arrays import to_integers_of, to_smallest
from hntk.files.reader import FieldReader
from hntk.weights.bit_planes import Code

INT32 = np.iinfo(np.int32)
# Types in files: of each neuron's first threshold, and of the gaps between its others.
FIRST_TYPES = (np.int8, np.int16, np.int32)
GAP_TYPES = (np.uint8, np.uint16)


class Levelled:
    """What staircases have in common: levels, which all neurons share.

    Attributes
    ----------
    levels : tuple of int
        One more than the thresholds.
    """

    levels: tuple[int, ...]

    @property
    def most(self) -> int:
        """Largest magnitude of a level."""
        return max(abs(level) for level in self.levels)

    @property
    def code(self) -> Code:
        """The levels as bit planes."""
        return Code.of_levels(self.levels)

    def _levels_array(self, number: int) -> dict[str, np.ndarray]:
        """Return the levels as the array of the layer of a number."""
        return {f"layer{number}.levels": to_integers_of(self.levels, np.int16, f"levels of layer {number}")}


@leafless
@dataclass(frozen=True)
class Steps(Levelled):
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
        return _compared(np.asarray(self.thresholds, np.int64), dtype, np), np.asarray(self.levels, np.float32)

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
        thresholds = to_integers_of(self.thresholds, np.int32, f"thresholds of layer {number}")
        return {f"layer{number}.thresholds": thresholds, **self._levels_array(number)}

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


@array_dataclass(static=("levels",))
class NeuronSteps(Levelled):
    """A staircase with thresholds for each neuron: S of neuron i becomes levels[number of thresholds[i] ≤ S].

    Attributes
    ----------
    thresholds : (d, T) array of int32
        T ascending thresholds of each neuron. A cell between two equal thresholds is never reached.
    levels : tuple of int
        The T + 1 levels of all neurons.
    """

    thresholds: Int32[np.ndarray | Array, "d T"]
    levels: tuple[int, ...]

    def __call__(self, sums: Num[Array, "*rows d"]) -> Float[Array, "*rows d"]:
        """Return the levels of sums in float32."""
        return lookup(*self.table(sums.dtype), sums)

    def table(self, dtype: DTypeLike) -> tuple[Num[np.ndarray | Array, "T d"], Float[np.ndarray, " levels"]]:
        """Return thresholds to compare sums of a type with, and levels in float32."""
        xp = jnp if is_traced(self.thresholds) else np
        return _compared(xp.asarray(self.thresholds).T, dtype, xp), np.asarray(self.levels, np.float32)

    def within(self, bound: int) -> NeuronSteps:
        """Return the same staircase for sums from −bound to bound, without the cells that no neuron reaches.

        Thresholds lie from −bound to bound + 1 then, which no sum reaches. Neighbouring cells of one level become one.
        """
        thresholds = np.asarray(self.thresholds, np.int64)
        ends = [np.full(len(thresholds), end) for end in (-bound, bound + 1)]
        edges = np.clip(np.column_stack([ends[0], thresholds, ends[1]]), -bound, bound + 1)
        reached = np.flatnonzero(np.any(edges[:, :-1] < edges[:, 1:], axis=0))
        levels = np.asarray(self.levels, np.int64)[reached]
        kept = np.append(True, np.diff(levels) != 0)
        return NeuronSteps(edges[:, reached[kept][1:]].astype(np.int32), tuple(levels[kept].tolist()))

    @property
    def nbytes(self) -> int:
        """Bytes in a file: the thresholds of each neuron as its first and gaps, and 2 a level."""
        return sum(array.nbytes for array in self.to_arrays(1).values())

    def to_arrays(self, number: int) -> dict[str, np.ndarray]:
        """Return thresholds and levels as arrays of the layer of a number.

        Each neuron's first threshold and the gaps between its thresholds are kept, all in the smallest types that hold
        them. Where a gap has more than 16 bits the thresholds are kept as they are.

        Raises
        ------
        ValueError
            If they are not whole, do not ascend, or leave the 32 bits of a threshold or the 16 of a level.
        """
        layer, levels = f"layer{number}", self._levels_array(number)
        thresholds = to_integers_of(self.thresholds, np.int32, f"thresholds of layer {number}")
        check_rows_ascend(thresholds, layer)
        gaps = np.diff(thresholds.astype(np.int64), axis=1)
        if gaps.size and gaps.max() > np.iinfo(GAP_TYPES[-1]).max:
            return {f"{layer}.thresholds": thresholds, **levels}
        kept = {f"{layer}.first": to_smallest(thresholds[:, 0], FIRST_TYPES)}
        return kept | ({f"{layer}.gaps": to_smallest(gaps, GAP_TYPES)} if gaps.size else {}) | levels

    @classmethod
    def from_fields(cls, fields: FieldReader, number: int, width: int) -> NeuronSteps:
        """Read the staircase of the layer of a number and a width from a file.

        Raises
        ------
        KeyError, ValueError
            If there is none, it has too many levels or another width, or its thresholds do not ascend or leave 32 bits.
        """
        layer = f"layer{number}"
        thresholds = _read_thresholds(fields, layer, width)
        levels = fields.array(f"{layer}.levels", np.int16, thresholds.shape[1] + 1)
        return cls(thresholds, tuple(levels.tolist()))


def _compared(thresholds: Int[Any, ...], dtype: DTypeLike, xp: ModuleType) -> Num[Any, ...]:
    """Return whole thresholds in a type of sums."""
    # Conversions to whole numbers saturate in JAX, and need room in NumPy.
    thresholds = thresholds if xp is jnp else thresholds.astype(np.int64)
    if jnp.issubdtype(dtype, jnp.integer):
        own, sums = jnp.iinfo(thresholds.dtype), jnp.iinfo(dtype)
        return xp.clip(thresholds, max(own.min, sums.min), min(own.max, sums.max)).astype(dtype)
    # A threshold that the type cannot hold is rounded up: no sum of that type lies between.
    rounded = thresholds.astype(dtype)
    above = xp.nextafter(rounded, xp.asarray(xp.inf, dtype))
    return xp.where(rounded.astype(thresholds.dtype) < thresholds, above, rounded)


def check_rows_ascend(thresholds: Int[np.ndarray, "d T"], layer: str) -> None:
    """Refuse thresholds of neurons that do not ascend.

    Raises
    ------
    ValueError
        If they do not, or are no matrix with at least one column.
    """
    if thresholds.ndim != 2 or 0 in thresholds.shape:
        raise ValueError(f"the thresholds of the neurons of {layer} must be a matrix, not of shape {thresholds.shape}")
    if np.any(thresholds[:, 1:] < thresholds[:, :-1]):
        raise ValueError(f"the thresholds of {layer} are out of order")


def _read_thresholds(fields: FieldReader, layer: str, width: int) -> Int32[np.ndarray, "d T"]:
    """Return the thresholds of each neuron of a layer."""
    if f"{layer}.first" not in fields.arrays:
        thresholds = fields.array(f"{layer}.thresholds", np.int32, width, None)
        fields.check_levels(layer, thresholds.shape[1] + 1)
        check_rows_ascend(thresholds, layer)
        return thresholds
    first = fields.array_of_types(f"{layer}.first", FIRST_TYPES, width)
    if f"{layer}.gaps" not in fields.arrays:
        return first.astype(np.int32)[:, None]
    gaps = fields.array_of_types(f"{layer}.gaps", GAP_TYPES, width, None)
    fields.check_levels(layer, gaps.shape[1] + 2)
    # Column by column, so that no copy of all gaps has 64 bits.
    thresholds, reached = np.empty((width, gaps.shape[1] + 1), np.int32), first.astype(np.int64)
    thresholds[:, 0] = reached
    for k, gap in enumerate(gaps.T, 1):
        reached += gap
        thresholds[:, k] = reached
    if reached.max() > INT32.max:
        raise ValueError(f"the thresholds of {layer} leave 32 bits")
    return thresholds
