r"""Staircases of whole numbers whose thresholds are spaced equally within each neuron.

With a multiplier $m_i \ge 1$ and an offset $b_i$ of each neuron and two shifts g and h of the layer, a sum s becomes
the level of the index $\lfloor (m_i s + 2^h b_i)/2^g\rfloor$, within the range of levels. So neuron i has the
thresholds $\lceil (2^g k - 2^h b_i)/m_i\rceil$ for k = 1, 2, …. They take one multiplication, and 3 or 4 bytes, for any
number of levels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int16, Int32, Num, UInt

from hntk._utils.pytree import array_dataclass, is_traced
from hntk.files.exact_arrays import to_integers_of
from hntk.files.reader import FieldReader
from hntk.networks.integer_steps import Levelled, NeuronSteps, Steps

INT16, UINT16, INT32 = np.iinfo(np.int16), np.iinfo(np.uint16), np.iinfo(np.int32)
# Products of multipliers and sums have 31 bits, and so do shifts.
LARGEST_SHIFT = 30
# Where the smallest multiplier of 8 bits would be below this, whose rounding moves thresholds by up to a 64th of their
# distance for each level, multipliers have 16 bits.
LEAST_MULTIPLIER = 32


@array_dataclass(static=("offset_shift", "shift", "levels"))
class SpacedSteps(Levelled):
    """A staircase with equally spaced thresholds for each neuron.

    The sum s of neuron i becomes ``levels[k]`` with k = (multipliers[i] · s + offsets[i] · 2^offset_shift) >> shift,
    limited to the range of levels.

    Attributes
    ----------
    multipliers : (d,) array of uint8 or uint16
        Positive multipliers m.
    offsets : (d,) array of int16
        Offsets b.
    offset_shift : int
        Shift h of the offsets, from 0 to 30.
    shift : int
        Shift g of the results, from 0 to 30.
    levels : tuple of int
        The levels of all neurons.
    """

    multipliers: UInt[np.ndarray | Array, " d"]
    offsets: Int16[np.ndarray | Array, " d"]
    offset_shift: int
    shift: int
    levels: tuple[int, ...]

    @classmethod
    def of(
        cls,
        first: Float[np.ndarray, " d"],
        distance: Float[np.ndarray, " d"],
        levels: tuple[int, ...],
        bound: int,
        least_multiplier: int = LEAST_MULTIPLIER,
    ) -> SpacedSteps:
        """Return the staircase whose thresholds are nearest to ``first + k · distance`` for k = 0, 1, ….

        Parameters
        ----------
        first : (d,) array
            Smallest threshold of each neuron.
        distance : (d,) array
            Positive distance of its thresholds.
        levels : tuple of int
            The levels.
        bound : int
            Largest magnitude of a sum, with which products must have 31 bits.
        least_multiplier : int
            Multipliers have 16 bits where the smallest of 8 bits would be below this.

        Returns
        -------
        SpacedSteps
            The staircase. Thresholds are off by the rounding of the multiplier to 8 bits, or to 16 where neurons differ
            too much for 8; least so in the middle of the levels. Distances so far below 1 that products would not fit
            are made longer.
        """
        count = len(levels) - 1
        middle = (count + 1) // 2
        # A neuron of a distance beyond all sums has one threshold that matters, if any.
        steepness = 1.0 / np.minimum(distance, 2.0 * bound + 1.0)
        # One without spread has distances close to 0, whose multipliers would not fit without any shift.
        largest = (INT32.max / 4 - count) / max(1, bound) - 1.0
        steepness = np.minimum(steepness, np.clip(largest, 1.0, UINT16.max))
        bits = 8 if steepness.min() / steepness.max() >= least_multiplier / 255 else 16
        shift = int(np.clip(np.floor(np.log2((2**bits - 1) / steepness.max())), 0, LARGEST_SHIFT))
        while shift > 0 and (steepness.max() * 2.0**shift + 1) * bound + count * 2.0**shift > INT32.max / 4:
            shift -= 1
        multipliers = np.maximum(1, np.rint(steepness * 2.0**shift))
        wanted = middle * 2.0**shift - multipliers * (first + (middle - 1) * distance)
        # An offset beyond all products changes nothing any more.
        limit = multipliers * bound + (count + 1) * 2.0**shift
        wanted = np.clip(wanted, -limit, limit)
        offset_shift = max(0, int(np.ceil(np.log2(max(np.abs(wanted).max(), 1.0) / INT16.max))))
        offsets = np.rint(wanted / 2.0**offset_shift).astype(np.int16)
        stored = multipliers.astype(np.uint8 if multipliers.max() <= 255 else np.uint16)
        return cls(stored, offsets, offset_shift, shift, tuple(levels))

    @property
    def thresholds(self) -> Int32[np.ndarray | Array, "d T"]:
        """Thresholds of each neuron, as those of :class:`NeuronSteps`."""
        traced = is_traced(self.multipliers, self.offsets)
        # Of known numbers nothing overflows; others are those of a network, which has checked its products.
        xp, kind = (jnp, jnp.int32) if traced else (np, np.int64)
        reached = xp.arange(1, len(self.levels), dtype=kind) << self.shift
        missing = reached - (xp.asarray(self.offsets).astype(kind)[:, None] << self.offset_shift)
        quotients = -(-missing // xp.asarray(self.multipliers).astype(kind)[:, None])
        return quotients if traced else np.clip(quotients, INT32.min, INT32.max).astype(np.int32)

    @property
    def neuron_steps(self) -> NeuronSteps:
        """The same staircase with a list of thresholds for each neuron."""
        return NeuronSteps(self.thresholds, self.levels)

    def __call__(self, sums: Num[Array, "*rows d"]) -> Float[Array, "*rows d"]:
        """Return the levels of sums in float32."""
        return self.neuron_steps(sums)

    def table(self, dtype: DTypeLike) -> tuple[Num[np.ndarray | Array, "T d"], Float[np.ndarray, " levels"]]:
        """Return thresholds to compare sums of a type with, and levels in float32."""
        return self.neuron_steps.table(dtype)

    def within(self, bound: int) -> NeuronSteps:
        """Return the same staircase for sums from −bound to bound, without the cells that no neuron reaches."""
        return self.neuron_steps.within(bound)

    def defect(self, width: int) -> str | None:
        """Return what is wrong with the numbers of a layer of a width, or None."""
        multipliers, offsets = np.asarray(self.multipliers), np.asarray(self.offsets)
        if multipliers.shape != (width,) or multipliers.dtype not in (np.uint8, np.uint16) or not multipliers.all():
            return f"multipliers that are not {width} positive whole numbers of 8 or 16 bits"
        if offsets.shape != (width,) or offsets.dtype != np.int16:
            return f"offsets that are not {width} whole numbers of 16 bits"
        shifts = (self.offset_shift, self.shift)
        if not all(type(shift) is int and 0 <= shift <= LARGEST_SHIFT for shift in shifts) or len(self.levels) < 2:
            return f"shifts that are not from 0 to {LARGEST_SHIFT}, or fewer than two levels"
        return None

    def largest_product(self, bound: int) -> int:
        """Return a bound of m s, 2^h b and 2^g k added up, for |s| ≤ bound; it must have 31 bits."""
        products = np.asarray(self.multipliers, np.int64) * int(bound)
        offsets = np.abs(np.asarray(self.offsets, np.int64)) << self.offset_shift
        return int((products + offsets).max()) + ((len(self.levels) - 1) << self.shift)

    @property
    def nbytes(self) -> int:
        """Bytes in a file: multipliers, offsets, two shifts and 2 a level."""
        return self.multipliers.nbytes + self.offsets.nbytes + 2 + 2 * len(self.levels)

    def to_arrays(self, number: int) -> dict[str, np.ndarray]:
        """Return multipliers, offsets, shifts and levels as arrays of the layer of a number.

        Raises
        ------
        ValueError
            If they are not whole, or leave the types in which they are kept.
        """
        layer, of = f"layer{number}", f"of layer {number}"
        kind = np.uint8 if np.asarray(self.multipliers).dtype == np.uint8 else np.uint16
        arrays = {
            f"{layer}.multipliers": to_integers_of(self.multipliers, kind, f"multipliers {of}"),
            f"{layer}.offsets": to_integers_of(self.offsets, np.int16, f"offsets {of}"),
            f"{layer}.shifts": to_integers_of((self.offset_shift, self.shift), np.uint8, f"shifts {of}"),
        }
        return arrays | self._levels_array(number)

    @classmethod
    def from_fields(cls, fields: FieldReader, number: int, width: int) -> SpacedSteps:
        """Read the staircase of the layer of a number and a width from a file.

        Raises
        ------
        KeyError, ValueError
            If there is none, a multiplier is 0, or shifts are too large.
        """
        layer = f"layer{number}"
        stored = fields.arrays.get(f"{layer}.multipliers")
        kind = np.uint8 if stored is not None and stored.dtype == np.uint8 else np.uint16
        multipliers = fields.array(f"{layer}.multipliers", kind, width)
        if not multipliers.all():
            raise ValueError(f"a multiplier of {layer} is 0")
        offset_shift, shift = fields.array(f"{layer}.shifts", np.uint8, 2).tolist()
        if max(offset_shift, shift) > LARGEST_SHIFT:
            raise ValueError(f"the shifts of {layer} must be at most {LARGEST_SHIFT}")
        levels = fields.array(f"{layer}.levels", np.int16, None)
        if levels.ndim != 1 or levels.size < 2:
            raise ValueError(f"{layer} must have two levels or more")
        offsets = fields.array(f"{layer}.offsets", np.int16, width)
        return cls(multipliers, offsets, offset_shift, shift, tuple(levels.tolist()))


AnySteps = Steps | NeuronSteps | SpacedSteps


def read_steps(fields: FieldReader, number: int, width: int) -> AnySteps:
    """Read the staircase of the layer of a number and a width from a file.

    Raises
    ------
    KeyError, ValueError
        If there is none, or it is not as a file may have it.
    """
    if f"layer{number}.multipliers" in fields.arrays:
        return SpacedSteps.from_fields(fields, number, width)
    shared = fields.arrays.get(f"layer{number}.thresholds")
    if f"layer{number}.first" in fields.arrays or (shared is not None and shared.ndim == 2):
        return NeuronSteps.from_fields(fields, number, width)
    return Steps.from_fields(fields, number)
