r"""Bit planes of ternary matrices and of values with few levels.

A ternary matrix has two planes: the mask K of the weights that are not 0, and the plane S of the weights that are +1.
With a 0/1 vector b and the number $|P_i|$ of +1 in row i,

$$\sum_j W_{ij} b_j = |P_i| - \mathrm{popcount}(K_i \wedge (S_i \oplus b)),$$

which takes one population count a word. Values $v = v_0 + \sum_t J_t b_t$ are sums of planes $b_t$; the terms that do
not depend on the planes are one constant a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt32

from hntk.weights.weight_matrix import Weights


@dataclass(frozen=True)
class Code:
    """A representation of values as bit planes: value = base + Σ_t jumps[t] · plane_t.

    Attributes
    ----------
    base : int
        The value whose planes are all 0.
    jumps : tuple of int
        What a bit of each plane adds.
    thermometer : bool
        Whether plane t is 1 where the rank of a value among the levels is above t. Otherwise the planes are the bits
        of (value − base) / jumps[0].
    """

    base: int
    jumps: tuple[int, ...]
    thermometer: bool

    @classmethod
    def of_levels(cls, levels: Sequence[int]) -> Code:
        """Return the code with the fewest planes for a staircase's levels.

        Ranks take one plane less than there are different levels. Bits take at most 16 planes for levels of 16 bits.
        If both take equally many, ranks are used.
        """
        distinct = np.unique(np.asarray(levels, np.int64))
        jumps = np.diff(distinct)
        bits = cls.of_range(int(distinct[0]), int(distinct[-1]), int(np.gcd.reduce(jumps)) or 1)
        if len(bits.jumps) < jumps.size:
            return bits
        return cls(int(distinct[0]), tuple(jumps.tolist()), True)

    @classmethod
    def of_range(cls, least: int, most: int, unit: int = 1) -> Code:
        """Return the bits of the values least, least + unit, …, most."""
        bits = ((most - least) // unit).bit_length()
        return cls(least, tuple(unit * 2**t for t in range(bits)), False)

    def words(self, levels: Sequence[int]) -> Int[np.ndarray, " levels"]:
        """Return the rank of each level, or the whole number whose bits are its planes."""
        above = np.asarray(levels, np.int64) - self.base
        if self.thermometer:
            return np.searchsorted(np.cumsum(self.jumps, dtype=np.int64), above, side="right")
        return above // self.jumps[0]


def word_planes(matrix: Weights) -> tuple[UInt32[np.ndarray, "d words"], UInt32[np.ndarray, "d words"]]:
    """Return the planes (K, S) of a ternary or ±1 matrix.

    Words have 32 bits, the lowest bit first; rows are padded with zeros to an even number of words.
    """
    values = np.asarray(matrix.values)
    return _words(values != 0), _words(values > 0)


def row_constants(matrix: Weights, code: Code) -> Int[np.ndarray, " d"]:
    """Return the part of Σ_j W_ij v_j that does not depend on the planes: base (|P_i| − |M_i|) + Σ_t jumps[t] |P_i|.

    |P_i| and |M_i| are the numbers of +1 and of −1 in row i.
    """
    values = np.asarray(matrix.values)
    plus, minus = ((values == sign).sum(axis=1, dtype=np.int64) for sign in (1, -1))
    return code.base * (plus - minus) + sum(code.jumps) * plus


def _words(bits: np.ndarray) -> UInt32[np.ndarray, "d words"]:
    packed = np.packbits(bits, axis=1, bitorder="little")
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))).view("<u4")
