"""Division of a budget of bits among the layers."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

from hntk.matching.joint import estimated_ratio
from hntk.matching.joint_target import JointTarget

# up to so many divisions all are tried
ALL_UP_TO = 200


def spread_bits(target: JointTarget, bits: int, most: int) -> tuple[int, ...]:
    """Return levels 2^b per layer, Σ b = bits, of least expected τ̂_L²/τ_L².

    All divisions are tried where there are few. Otherwise bits move from layer to layer, one at a time, while that
    helps.

    Parameters
    ----------
    target : JointTarget
        The original network.
    bits : int
        The budget, at least one bit per layer.
    most : int
        Most bits of one layer.
    """
    depth = len(target.shares)

    @cache
    def cost(division: tuple[int, ...]) -> float:
        return estimated_ratio(target, [2**b for b in division])

    if most**depth <= ALL_UP_TO:
        divisions = [d for d in product(range(1, most + 1), repeat=depth) if sum(d) == bits]
        return _levels(min(divisions, key=cost))
    division = tuple(bits // depth + (i < bits % depth) for i in range(depth))
    while True:
        best = min(_neighbours(division, most), key=cost, default=division)
        if cost(best) >= cost(division) - 1e-9:
            return _levels(division)
        division = best


def _neighbours(division: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """Return the divisions that differ by one bit moved from one layer to another."""
    return [
        tuple(b + (k == j) - (k == i) for k, b in enumerate(division))
        for i, j in permutations(range(len(division)), 2)
        if division[i] > 1 and division[j] < most
    ]


def _levels(division: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2**b for b in division)
