"""Spreading a budget of bits over the layers."""

from __future__ import annotations

from functools import cache
from itertools import product

from hntk.matching.joint import JointTarget, estimated_ratio

ALL_UP_TO = 200


def spread_bits(target: JointTarget, bits: int, most: int) -> tuple[int, ...]:
    """Levels 2^b per layer, Σ b = bits, of least expected τ̂_L²/τ_L².

    All divisions are tried where there are few; otherwise bits move one at a time while that helps.

    Parameters
    ----------
    target : the original network.
    bits : the budget, at least one per layer.
    most : bits of one layer.
    """
    depth = len(target.shares)

    @cache
    def cost(division: tuple[int, ...]) -> float:
        return estimated_ratio(target, [2**b for b in division])

    if most**depth <= ALL_UP_TO:
        return _levels(min((d for d in product(range(1, most + 1), repeat=depth) if sum(d) == bits), key=cost))
    even = tuple(bits // depth + (i < bits % depth) for i in range(depth))
    while True:
        moved = [
            tuple(b + (k == j) - (k == i) for k, b in enumerate(even))
            for i in range(depth)
            for j in range(depth)
            if i != j and even[i] > 1 and even[j] < most
        ]
        best = min(moved, key=cost, default=even)
        if cost(best) >= cost(even) - 1e-9:
            return _levels(even)
        even = best


def _levels(division: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2**b for b in division)
