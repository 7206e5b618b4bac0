"""The search for the cheapest design that keeps the dense original's accuracy: predicted, then built and measured."""

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

# widths that are tried, the same in all layers: each is about a fifth larger than the one before
WIDTHS = np.unique(np.round(8 * 2 ** (np.arange(45) / 4)).astype(int))
# largest number of samples that designs are measured on
MOST_ROWS = 4000
# largest number of designs that are built for one match
MOST_BUILT = 12


def cheapest_accurate(
    matches: Sequence[Match], x: np.ndarray, index: np.ndarray, accuracy: float, laws: Sequence[WeightLaw], key: Array
) -> Design:
    """Return the cheapest design whose measured loss is within ``accuracy`` plus one standard error.

    Candidates are the designs that are predicted to lose at most ``accuracy``. They are built and measured from the
    cheapest on.

    Raises
    ------
    ValueError
        If no design is predicted to lose so little, or none that was built does; the message says what can be reached.
    """
    samples = _MeasuredSamples.of(x, index, key)
    original = _DenseOriginal(samples, matches[0])
    kinds = [[law for law in laws if law.orthogonal == orthogonal] for orthogonal in (True, False)]
    searches = [
        _WidthSearch(samples, m, terms, original, tuple(kind))
        for m, terms in [(m, Terms.of(m, x)) for m in matches]
        for kind in kinds
        if kind
    ]
    starts = [search.first_width(original.predicted - accuracy) for search in searches]
    # each candidate: its place in the order, the index of its width, and its search
    queue = [(*searches[i].cost(width), width, i) for i, width in enumerate(starts) if width is not None]
    if not queue:
        raise ValueError(_not_predicted(accuracy, original.predicted, searches))
    heapq.heapify(queue)
    built = []
    while queue:
        *_, width, i = heapq.heappop(queue)
        built.append(searches[i].build(width))
        if _loses_at_most(built[-1], accuracy):
            return built[-1]
        # the grid of widths is the same for every tolerance, so that a tighter one never finds a cheaper design
        if width + 1 < min(len(WIDTHS), (starts[i] or 0) + MOST_BUILT):
            heapq.heappush(queue, (*searches[i].cost(width + 1), width + 1, i))
    raise ValueError(_not_measured(accuracy, built))


def _loses_at_most(design: Design, accuracy: float) -> bool:
    assert design.accuracy is not None
    return design.accuracy.loss <= accuracy + design.accuracy.standard_error


@dataclass(frozen=True)
class _MeasuredSamples:
    """The samples that designs are measured on, and the law that their accuracy is predicted from.

    Attributes
    ----------
    x, index : array
        At most ``MOST_ROWS`` samples, and their classes.
    law : MixtureLaw
        Law estimated on all samples.
    key : jax.Array
        Random key of every network that is built.
    """

    x: Float[np.ndarray, "n p"]
    index: Int[np.ndarray, " n"]
    law: MixtureLaw
    key: Array

    @staticmethod
    def of(x: np.ndarray, index: np.ndarray, key: Array) -> _MeasuredSamples:
        """Choose samples and estimate the law.

        Raises
        ------
        ValueError
            If a class has too few samples to hold some out.
        """
        # checked before the law is estimated, which takes longer
        held_out_parts(index)
        rows = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_ROWS])
        return _MeasuredSamples(x[rows], index[rows], estimate_law(x, index), key)

    @cached_property
    def parts(self) -> Int[np.ndarray, " n"]:
        """Part of each sample; each part is held out once."""
        return held_out_parts(self.index)

    def features(self, coefficients: Coefficients, law: WeightLaw) -> RandomFeatures:
        """Return the theory of a network that is fitted on as many samples as are not held out."""
        return RandomFeatures(self.law, len(self.x) * (PARTS - 1) // PARTS, coefficients, law)

    def measure(self, kernel: np.ndarray) -> HeldOut:
        """Measure the accuracy of kernel ridge regression on held-out samples."""
        return held_out_accuracy(kernel, self.index, self.parts)


@dataclass(frozen=True)
class _DenseOriginal:
    """The dense original at infinite width."""

    samples: _MeasuredSamples
    match: Match

    @cached_property
    def predicted(self) -> float:
        """Predicted accuracy."""
        coefficients = self.match.original_coefficients
        best = self.samples.features(coefficients, WeightLaw("gaussian")).best(
            np.full(len(coefficients.moments), np.inf)
        )
        assert best is not None  # at infinite width every ridge is possible
        return best.accuracy

    @cached_property
    def measured(self) -> HeldOut:
        """Measured accuracy."""
        with float64():
            kernel = np.asarray(exact_kernels(self.samples.x, self.match.architecture, tau0=self.match.tau0).ck)
        return self.samples.measure(kernel)


@dataclass(frozen=True)
class _WidthSearch:
    """Designs of one match at the widths of the grid; methods take the index of a width in ``WIDTHS``.

    Weights are orthogonal in all laws to choose from, or in none.
    """

    samples: _MeasuredSamples
    match: Match
    terms: Terms
    original: _DenseOriginal
    laws: tuple[WeightLaw, ...]

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.match.activations)

    @cached_property
    def _features(self) -> RandomFeatures:
        return self.samples.features(self.match.coefficients, self.laws[0])

    def predicted(self, width: float) -> float:
        """Return the predicted accuracy if all layers have this width; 0 if nothing can be learned."""
        best = self._features.best(np.full(self.depth, float(width)))
        return 0.0 if best is None else best.accuracy

    def first_width(self, least: float) -> int | None:
        """Return the index of the first width with a predicted accuracy of at least ``least``; None if there is none.

        The predicted accuracy is taken to grow with the width.
        """
        first = bisect_left(WIDTHS, True, key=lambda width: self.predicted(width) >= least)
        return first if first < len(WIDTHS) else None

    def law(self, width: int) -> WeightLaw:
        """Return the sparsest law that moves the kernel by no more than the width does.

        If there is none, return the law that moves it least.
        """
        widths = np.full(self.depth, float(WIDTHS[width]))
        accounts = {law: self.terms.account(widths, law) for law in self.laws}
        mild = [law for law, account in accounts.items() if account.sparsity <= account.finite_width]
        if mild:
            return max(mild, key=lambda law: law.sparsity)
        return min(accounts, key=lambda law: accounts[law].sparsity)

    def design(self, width: int) -> Design:
        """Return the design, without its accuracy."""
        widths, law = (int(WIDTHS[width]),) * self.depth, self.law(width)
        inputs, classes = self.samples.x.shape[1], int(self.samples.index.max()) + 1
        size = storage_of(self.match.activations, widths, inputs, law, classes)
        return Design(self.match, widths, law, size, self.terms.account(np.array(widths, float), law))

    def cost(self, width: int) -> tuple[float, float, int]:
        """Return what candidates are ordered by: bytes to 1 %, then more zeros, then fewer levels."""
        design = self.design(width)
        return round(np.log(design.bytes), 2), -design.sparsity, sum(design.levels)

    def build(self, width: int) -> Design:
        """Draw the design's network and measure it beside the original."""
        design = self.design(width)
        x = self.samples.x
        features = np.asarray(design.draw(x, key=self.samples.key).features(x), np.float64)
        drawn, dense = self.samples.measure(features @ features.T), self.original.measured
        accuracy = TaskAccuracy(
            predicted=self.predicted(WIDTHS[width]),
            predicted_original=self.original.predicted,
            measured=drawn.accuracy,
            measured_original=dense.accuracy,
            standard_error=drawn.error_against(dense),
            ridge=float(np.median(drawn.ridges)),
            samples=len(x),
        )
        return replace(design, accuracy=accuracy)


def _not_predicted(accuracy: float, original: float, searches: Sequence[_WidthSearch]) -> str:
    """Return the message for when no design is predicted to be accurate enough."""
    at_widest = max(search.predicted(WIDTHS[-1]) for search in searches)
    at_infinity = max(search.predicted(np.inf) for search in searches)
    return (
        f"no design is predicted to come within {accuracy:g} of the dense original's accuracy, {original:.4f}: "
        f"{WIDTHS[-1]} neurons a layer reach {at_widest:.4f}, {original - at_widest:.2g} below it, and infinitely many "
        f"{at_infinity:.4f}. Allow that much, or more levels."
    )


def _not_measured(accuracy: float, built: Sequence[Design]) -> str:
    """Return the message for when no design that was built is accurate enough."""
    best = min(built, key=lambda design: design.accuracy.loss if design.accuracy else np.inf)
    assert best.accuracy is not None
    return (
        f"{len(built)} designs were predicted to come within {accuracy:g} of the dense original's accuracy, but none "
        f"did on held-out samples. The best one lost {best.accuracy.loss:.4f} ± {best.accuracy.standard_error:.4f}:\n"
        f"{best}\nAllow more, give wider choices of levels=, or ask hntk.check whether the theory applies to this data."
    )
