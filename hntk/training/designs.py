"""Networks that fill a budget of bytes: their widths, sparsity and pooling, before any of them is trained.

The rules follow trainings of MNIST: at equal bytes a wide first layer with more than nine zeros of ten weights is more
accurate than a narrow dense one, 300 neurons in 12 kB and 500 in 49 kB; the second layer, of a third of that, is about
three times as dense; and means of 20 × 20 cells do as well as 28 × 28 pixels, in fewer bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, gcd
from typing import NamedTuple

from hntk.training.samples import TrainingData
from hntk.training.sparse_weights import DENSEST
from hntk.training.starts import StartProblem
from hntk.training.table_size import drawn_bytes, filled, with_density

# Cells a side, as a share of the pixels, and factors of the first and of the other widths of the rule.
OF_IMAGES = ((5 / 7, 1, 1), (5 / 7, 1.25, 1), (5 / 7, 1, 0.5), (1, 1, 1), (1, 1.25, 1), (4 / 7, 1, 1))
OF_OTHERS = ((1, 1, 1), (1, 1.4, 1), (1, 0.7, 1), (1, 1, 0.5))
POOLINGS = (5 / 7, 1, 4 / 7)
# Images of fewer pixels a side are not pooled.
LEAST_POOLED = 14
# Cells have at most this area in whole parts, which C programs divide by with one multiplication.
LARGEST_AREA = 128
# Density of the layers after the first, as a multiple of the first one's.
RATIO, OTHER_RATIO = 3.0, 1.5
# Widths of the rule are multiples of this, and at least that.
MULTIPLE = 8
WIDEST = 2048
# A design of free widths has at least so many weights a neuron that are not 0, if narrower layers allow it; and is
# widened where a third of its first weights are not 0.
FAN_IN = 8
DENSE = 1 / 3
# Largest part of a budget that the rule leaves to the readout.
READOUT_SHARE = 0.2
# What a smallest budget is above the bytes of untrained weights, so that it holds for trained ones.
ALLOWANCE = 1.05


class Design(NamedTuple):
    """A network that is to be trained, and the ratio of its densities, or None where the sparsity is given."""

    problem: StartProblem
    ratio: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class Freedom:
    """What a search may choose.

    Attributes
    ----------
    problem : StartProblem
        The settings that are fixed; data without pooling unless it is given.
    pooled : callable
        Maps a share of the pixels a side to the data of images that are pooled to it, or to None where they cannot be.
    widths : tuple of int or None
        Widths that are given.
    sparsity : tuple of float or None
        Sparsity that is given.
    pool : bool
        Whether pooling is free.
    """

    problem: StartProblem
    pooled: Callable[[float], TrainingData | None]
    widths: tuple[int, ...] | None
    sparsity: tuple[float, ...] | None
    pool: bool

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.problem.levels)


def designs(freedom: Freedom, limit: float) -> list[Design]:
    """Return networks that are worth trying, all within a limit.

    Parameters
    ----------
    freedom : Freedom
        What is given and what is free.
    limit : float
        Largest number of bytes of the tables.

    Returns
    -------
    list of Design
        At least one and at most six different ones.

    Raises
    ------
    ValueError
        If there is none; the message says what budget has one.
    """
    problems = list(_problems(freedom, limit))
    made = [design for problem, ratio in problems if (design := _fitted(freedom, problem, ratio, limit)) is not None]
    if not made:
        least = min(_least_bytes(freedom, problem, ratio) for problem, ratio in problems)
        given = ["these widths"] * (freedom.widths is not None) + ["this sparsity"] * (freedom.sparsity is not None)
        whose = f"with {' and '.join(given)}" if given else "for these samples"
        enough = ceil(ALLOWANCE * least / 10) / 100
        raise ValueError(
            f"no network {whose} fits into {limit / 1000:g} kB: give kilobytes={enough:g} or more, which the smallest "
            "takes."
        )
    different = {(_place(design), design.problem.widths, design.problem.sparsity): design for design in made}
    return list(different.values())


def _place(design: Design) -> str:
    return repr(design.problem.data.inputs) if design.problem.data.shape is not None else ""


def _problems(freedom: Freedom, limit: float) -> Iterator[tuple[StartProblem, tuple[float, ...]]]:
    """Yield trainings with first widths and without a sparsity, and the ratio of densities."""
    ratio = (1.0,) + (RATIO,) * (freedom.depth - 1)
    poolings = POOLINGS if freedom.pool else (1,)
    if freedom.widths is not None:
        others = () if freedom.depth == 1 or freedom.sparsity is not None else (OTHER_RATIO,)
        wanted = [(pooling, freedom.widths, part) for part, pooling in product((RATIO, *others), poolings)]
    else:
        first, other = rule_widths(limit, freedom.problem.data.outputs)
        factors = OF_IMAGES if freedom.pool else OF_OTHERS
        wanted = [
            (pooling, (multiple(a * first), *[multiple(b * other)] * (freedom.depth - 1)), RATIO)
            for pooling, a, b in factors
        ]
    for pooling, widths, part in wanted:
        data = freedom.pooled(pooling)
        if data is not None:
            yield replace(freedom.problem, data=data, widths=widths), (ratio[0], *[part] * (freedom.depth - 1))


def rule_widths(limit: float, outputs: int) -> tuple[float, float]:
    """Return the widths of the first layer and of the others for a number of bytes and of scores."""
    kilobytes = limit / 1000
    first, other = 110 * kilobytes**0.4, 20 * kilobytes**0.65
    return first, min(other, first, READOUT_SHARE * limit / outputs)


def multiple(width: float, rounding: Callable[[float], int] = round) -> int:
    """Return a multiple of 8 from 8 to 2048, by default the nearest one."""
    return min(max(rounding(width / MULTIPLE), 1) * MULTIPLE, WIDEST)


def cells(size: tuple[int, int], share: float) -> tuple[int, int] | None:
    """Return numbers of cells near a share of the pixels a side, of an area that programs divide by fast.

    None is returned for a share of 1, for images that are small, and where there are none near.
    """
    if share == 1 or min(size) < LEAST_POOLED:
        return None
    sides = []
    for side in size:
        near = range(ceil(0.9 * share * side), int(1.1 * share * side) + 1)
        good = [count for count in near if (side // gcd(side, count)) ** 2 <= LARGEST_AREA]
        if not good:
            return None
        sides.append(min(good, key=lambda count, side=side: abs(count - share * side)))
    return sides[0], sides[1]


def _fitted(freedom: Freedom, problem: StartProblem, ratio: tuple[float, ...], limit: float) -> Design | None:
    """Return a design whose tables are within the limit, by its free widths or sparsity; None if there is none."""
    if freedom.sparsity is None:
        chosen = problem if freedom.widths is not None else adapted(problem, limit, ratio)
        dense = filled(chosen, limit, ratio)
        # of samples of few coordinates thresholds take most bytes, which more zeros do not save
        while dense is None and freedom.widths is None and max(chosen.widths) > MULTIPLE:
            chosen = scaled(chosen, 0.8, floor)
            dense = filled(chosen, limit, ratio)
        return None if dense is None else Design(dense, ratio)
    given = replace(problem, sparsity=freedom.sparsity)
    if freedom.widths is None:
        return widened(given, limit)
    return Design(given, None) if drawn_bytes(given) <= limit else None


def adapted(problem: StartProblem, limit: float, ratio: tuple[float, ...]) -> StartProblem:
    """Return a training with narrower layers where theirs would be too sparse, or wider ones where too dense."""

    def size(density: float) -> int:
        return drawn_bytes(with_density(problem, density, ratio))

    sparse = min(FAN_IN / problem.data.inputs_width, DENSEST)
    while size(sparse) > limit and max(problem.widths) > MULTIPLE:
        problem = scaled(problem, 0.8, floor)
    while size(max(sparse, DENSE)) < limit and max(problem.widths) < WIDEST:
        problem = scaled(problem, 1.25, ceil)
    return problem


def widened(problem: StartProblem, limit: float) -> Design | None:
    """Return a training of a given sparsity with the widest layers of about the same proportions within a limit."""
    low, high = (factor / max(problem.widths) for factor in (MULTIPLE, WIDEST))
    if drawn_bytes(scaled(problem, low)) > limit:
        return None
    while high * max(problem.widths) - low * max(problem.widths) > MULTIPLE:
        middle = (low + high) / 2
        fits = drawn_bytes(scaled(problem, middle)) <= limit
        low, high = (middle, high) if fits else (low, middle)
    return Design(scaled(problem, low), None)


def scaled(problem: StartProblem, factor: float, rounding: Callable[[float], int] = round) -> StartProblem:
    """Return a training with all widths times a factor, rounded to multiples of 8."""
    widths = tuple(multiple(factor * width, rounding) for width in problem.widths)
    return replace(problem, widths=widths)


def _least_bytes(freedom: Freedom, problem: StartProblem, ratio: Sequence[float]) -> int:
    """Return the bytes of the smallest network that is like a design."""
    if freedom.widths is None:
        problem = replace(problem, widths=(MULTIPLE,) * freedom.depth)
    if freedom.sparsity is not None:
        return drawn_bytes(replace(problem, sparsity=freedom.sparsity))
    return drawn_bytes(with_density(problem, 0.0, ratio))
