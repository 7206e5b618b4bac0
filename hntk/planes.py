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

from hntk.weights import WeightMatrix


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
        """Of a staircase's levels: one plane less than there are different ones."""
        distinct = sorted(set(levels))
        return cls(distinct[0], tuple(np.diff(distinct).tolist()), True)

    @classmethod
    def of_range(cls, least: int, most: int, unit: int = 1) -> Code:
        """Of least, least + unit, …, most: their bits."""
        bits = ((most - least) // unit).bit_length()
        return cls(least, tuple(unit * 2**t for t in range(bits)), False)


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
