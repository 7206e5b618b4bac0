"""The cheapest design whose accuracy at a task is close to the dense original's: predicted, then built and measured."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.float64 import float64
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.finite_width import RandomFeatures
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.compression.design import Design
from hntk.compression.error_budget import Terms
from hntk.kernels import exact_kernels
from hntk.matching import Match
from hntk.networks.formula_bytes import storage_of
from hntk.readouts.held_out import PARTS, HeldOut, TaskAccuracy, held_out_accuracy, held_out_parts
from hntk.theory.coefficients import Coefficients
from hntk.weights.laws import WeightLaw

# widths that are tried, the same in all layers: a neighbour is a fifth wider
WIDTHS = np.unique(np.round(8 * 2 ** (np.arange(45) / 4)).astype(int))
# samples that are measured on, and designs of one match that are built before it is given up
MOST_ROWS, MOST_BUILT = 4000, 12


def cheapest_accurate(
    matches: Sequence[Match], x: np.ndarray, index: np.ndarray, accuracy: float, sparsities: Sequence[float], key: Array
) -> Design:
    """Of designs predicted to lose at most so much accuracy the cheapest that, built, does not measurably lose more.

    Raises
    ------
    ValueError
        If none is predicted to, or none that was built does; with what can be reached.
    """
    task = _Task.of(x, index, key)
    original = _Original(task, matches[0])
    searches = [
        _Search(task, i, found, Terms.of(found, x), original, tuple(sparsities)) for i, found in enumerate(matches)
    ]
    starts = [search.first(original.predicted - accuracy) for search in searches]
    queue = [search.entry(start) for search, start in zip(searches, starts, strict=True) if start is not None]
    if not queue:
        raise ValueError(_unpredicted(accuracy, original.predicted, searches))
    heapq.heapify(queue)
    built = []
    while queue:
        *_, step, number = heapq.heappop(queue)
        design = searches[number].built(step)
        built.append(design)
        assert design.accuracy is not None
        if design.accuracy.loss <= accuracy + design.accuracy.standard_error:
            return design
        start = starts[number]
        assert start is not None  # else it were not in the queue
        # all widths of a grid and none skipped: so a tighter tolerance never finds a cheaper design
        if step + 1 < min(len(WIDTHS), start + MOST_BUILT):
            heapq.heappush(queue, searches[number].entry(step + 1))
    raise ValueError(_unmeasured(accuracy, built))


@dataclass(frozen=True)
class _Task:
    """Samples to be told apart, and how well the original does.

    Attributes
    ----------
    x, index : at most MOST_ROWS samples, and their classes.
    law : of all samples.
    key : of every network that is built.
    """

    x: Float[np.ndarray, "n p"]
    index: Int[np.ndarray, " n"]
    law: MixtureLaw
    key: Array

    @staticmethod
    def of(x: np.ndarray, index: np.ndarray, key: Array) -> _Task:
        # refuses small classes before the law is estimated
        held_out_parts(index)
        rows = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_ROWS])
        return _Task(x[rows], index[rows], estimate_law(x, index), key)

    @cached_property
    def parts(self) -> Int[np.ndarray, " n"]:
        return held_out_parts(self.index)

    def predicted(self, net: Coefficients) -> RandomFeatures:
        """Of a net on as many samples as are fitted on."""
        return RandomFeatures(self.law, len(self.x) * (PARTS - 1) // PARTS, net)

    def measured(self, kernel: np.ndarray) -> HeldOut:
        return held_out_accuracy(kernel, self.index, self.parts)


@dataclass(frozen=True)
class _Search:
    """Widths for one match."""

    task: _Task
    number: int
    match: Match
    terms: Terms
    original: _Original
    sparsities: tuple[float, ...]

    @property
    def depth(self) -> int:
        return len(self.match.activations)

    @cached_property
    def _features(self) -> RandomFeatures:
        return self.task.predicted(self.match.coefficients)

    def predicted(self, width: float) -> float:
        """Accuracy at a width; 0 where nothing is learned."""
        found = self._features.best(np.full(self.depth, float(width)))
        return 0.0 if found is None else found.accuracy

    def first(self, least: float) -> int | None:
        """Which of WIDTHS is the first to be predicted so accurate; None if none is."""
        found = bisect_left(WIDTHS, True, key=lambda width: self.predicted(width) >= least)
        return found if found < len(WIDTHS) else None

    def sparsity(self, step: int) -> float:
        """The largest that moves the kernel by no more than the width does anyway; the mildest if none."""
        accounts = {s: self.terms.account(np.full(self.depth, float(WIDTHS[step])), s) for s in self.sparsities}
        mild = [s for s, account in accounts.items() if account.sparsity <= account.finite_width]
        return max(mild) if mild else min(accounts, key=lambda s: accounts[s].sparsity)

    def unbuilt(self, step: int) -> Design:
        widths, sparsity = (int(WIDTHS[step]),) * self.depth, self.sparsity(step)
        (_, p), classes = self.task.x.shape, int(self.task.index.max()) + 1
        size = storage_of(self.match.activations, widths, p, WeightLaw("ternary", sparsity=sparsity), classes)
        return Design(self.match, widths, sparsity, size, self.terms.account(np.array(widths, float), sparsity))

    def entry(self, step: int) -> tuple[float, float, int, int, int]:
        """Its place among candidates, cheapest first, and which it is."""
        design = self.unbuilt(step)
        return round(np.log(design.bytes), 2), -design.sparsity, sum(design.levels), step, self.number

    def built(self, step: int) -> Design:
        """Drawn, and measured beside the original."""
        design = self.unbuilt(step)
        features = np.asarray(design.draw(self.task.x, key=self.task.key).features(self.task.x), np.float64)
        held, dense = self.task.measured(features @ features.T), self.original.measured
        found = TaskAccuracy(
            predicted=self.predicted(WIDTHS[step]),
            predicted_original=self.original.predicted,
            measured=held.accuracy,
            measured_original=dense.accuracy,
            standard_error=held.error_against(dense),
            ridge=float(np.median(held.ridges)),
            samples=len(self.task.x),
        )
        return replace(design, accuracy=found)


@dataclass(frozen=True)
class _Original:
    """The dense network at infinite width."""

    task: _Task
    match: Match

    @cached_property
    def predicted(self) -> float:
        net = self.match.original_coefficients
        found = self.task.predicted(net).best(np.full(len(net.moments), np.inf))
        assert found is not None  # at infinite width every ridge will do
        return found.accuracy

    @cached_property
    def measured(self) -> HeldOut:
        with float64():
            kernel = np.asarray(exact_kernels(self.task.x, self.match.original, tau0=self.match.tau0).ck)
        return self.task.measured(kernel)


def _unpredicted(accuracy: float, original: float, searches: Sequence[_Search]) -> str:
    reached = max(search.predicted(WIDTHS[-1]) for search in searches)
    wide = max(search.predicted(np.inf) for search in searches)
    return (
        f"no design is predicted to come within {accuracy:g} of the dense original's accuracy, {original:.4f}: "
        f"{WIDTHS[-1]} neurons a layer reach {reached:.4f}, {original - reached:.2g} below it, and infinitely many "
        f"{wide:.4f}. Allow that much, or more levels."
    )


def _unmeasured(accuracy: float, built: Sequence[Design]) -> str:
    best = min(built, key=lambda design: design.accuracy.loss if design.accuracy else np.inf)
    assert best.accuracy is not None
    return (
        f"of {len(built)} designs that were built none came within {accuracy:g} of the dense original on held-out "
        f"samples, though predicted to. The best lost {best.accuracy.loss:.4f} ± {best.accuracy.standard_error:.4f}:\n"
        f"{best}\nAllow more, give wider choices of levels=, or ask hntk.check whether the theory applies to this data."
    )
