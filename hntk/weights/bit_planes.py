r"""Ternary matrices and few-level values as bit planes.

With a mask K of the weights that are not 0, a plane S of those that are +1, and a plane b of a 0/1 vector,

$$\sum_j W_{ij} b_j = |P_i| - \mathrm{popcount}(K_i \wedge (S_i \oplus b)),$$

$|P_i|$ being the number of +1 in row i: one population count a word. Values $v = v_0 + \sum_t J_t b_t$ are the sum of
their planes, and what does not depend on them is one constant a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt32

from hntk.weights.laws import WeightMatrix


@dataclass(frozen=True)
class Code:
    """Values as planes: base + Σ_t jumps[t] · plane t.

    Attributes
    ----------
    base : the value where every plane is 0.
    jumps : what each plane adds.
    thermometer : whether plane t says that a value's rank is above t; else planes are the bits of value − base.
    """

    base: int
    jumps: tuple[int, ...]
    thermometer: bool

    @classmethod
    def of_levels(cls, levels: Sequence[int]) -> Code:
        """Return the code of fewest planes for a staircase's levels.

        Ranks take one plane less than there are different levels; the bits of multiples of a unit, 16 at most for
        levels of 16 bits. Of equally many the ranks are taken.
        """
        distinct = np.unique(np.asarray(levels, np.int64))
        jumps = np.diff(distinct)
        bits = cls.of_range(int(distinct[0]), int(distinct[-1]), int(np.gcd.reduce(jumps)) or 1)
        if len(bits.jumps) < jumps.size:
            return bits
        return cls(int(distinct[0]), tuple(jumps.tolist()), True)

    @classmethod
    def of_range(cls, least: int, most: int, unit: int = 1) -> Code:
        """Of least, least + unit, …, most: their bits."""
        bits = ((most - least) // unit).bit_length()
        return cls(least, tuple(unit * 2**t for t in range(bits)), False)

    def words(self, levels: Sequence[int]) -> Int[np.ndarray, " levels"]:
        """Return what tells the planes of each level: its rank, or the number whose bits they are."""
        above = np.asarray(levels, np.int64) - self.base
        if self.thermometer:
            return np.searchsorted(np.cumsum(self.jumps, dtype=np.int64), above, side="right")
        return above // self.jumps[0]


def word_planes(matrix: WeightMatrix) -> tuple[UInt32[np.ndarray, "d words"], UInt32[np.ndarray, "d words"]]:
    """(K, S) of a ternary or ±1 matrix in words of 32 bits, the lowest bit first, padded by zeros to whole pairs."""
    values = np.asarray(matrix.values)
    return _words(values != 0), _words(values > 0)


def row_constants(matrix: WeightMatrix, code: Code) -> Int[np.ndarray, " d"]:
    """What Σ_j W_ij v_j is where no count is taken off: base (|P_i| − |M_i|) + Σ_t jumps[t] |P_i|."""
    values = np.asarray(matrix.values)
    plus, minus = ((values == sign).sum(axis=1, dtype=np.int64) for sign in (1, -1))
    return code.base * (plus - minus) + sum(code.jumps) * plus


def _words(bits: np.ndarray) -> UInt32[np.ndarray, "d words"]:
    packed = np.packbits(bits, axis=1, bitorder="little")
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))).view("<u4")
