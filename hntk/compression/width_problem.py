"""The best widths of a network for an error or a memory.

Of independent weights, bytes and error are both sums of exponentials of the logarithms of the widths, hence convex in
them, so that a local search finds the best widths. Of orthogonal weights, both jump where a layer passes a power of
two or a whole block, so that widths change by factors, one or two layers at a time, as long as that helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import scipy

from hntk.compression.design import Design
from hntk.compression.error_budget import LossAccount, Terms
from hntk.matching import Match
from hntk.networks.formula_bytes import Storage, storage_of
from hntk.weights.laws import WeightLaw

# neurons of a layer that designs may have
NARROWEST, WIDEST = 8, 10_000_000
# factors that widths change by; the ends of blocks are tried as well
FACTORS = 2.0 ** np.array([-2, -1, -1 / 2, -1 / 4, -1 / 16, -1 / 64, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 1, 2])
# largest number of rounds of changes
ROUNDS = 60

Cost = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class WidthProblem:
    """The choice of widths for one match and one weight law.

    Attributes
    ----------
    match : Match
        The staircases.
    terms : Terms
        The terms of the error.
    law : WeightLaw
        The law of the weights.
    inputs, classes : int
        Dimension of a sample, and number of classes.
    """

    match: Match
    terms: Terms
    law: WeightLaw
    inputs: int
    classes: int

    def design(self, widths: tuple[int, ...]) -> Design:
        """Return the design of these widths."""
        return Design(self.match, widths, self.law, self.storage(widths), self.account(widths))

    def account(self, widths: Sequence[int] | np.ndarray) -> LossAccount:
        """Return the predicted error."""
        return self.terms.account(np.asarray(widths, float), self.law)

    def storage(self, widths: Sequence[int]) -> Storage:
        """Return the bytes by formula."""
        return storage_of(self.match.activations, widths, self.inputs, self.law, self.classes)

    @property
    def floor(self) -> float:
        """Predicted error at infinite width."""
        return self.account(np.full(self.depth, np.inf)).total

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.match.activations)

    def cheapest(self, error: float) -> tuple[int, ...] | None:
        """Return the widths of least size that reach the error; None if there are none."""
        if self.floor >= error or self._error(np.full(self.depth, WIDEST)) > error:
            return None
        start = self._least_equal(lambda w: self._error(np.ceil(w)) <= error)
        if self.law.orthogonal:
            return self._best_changed(self._size, np.ceil(np.exp(start)), lambda w: self._error(w) <= error)
        widths = self._minimise(self._log_size, start, lambda u: np.log(error / self._error(np.exp(u))))
        rounded = np.ceil(widths)
        while self._error(rounded) > error:
            rounded = np.ceil(rounded * 1.005)
        return tuple(int(d) for d in rounded)

    def best(self, memory: float) -> tuple[int, ...] | None:
        """Return the widths of least error that fit the memory; None if there are none."""

        def fits(widths: np.ndarray) -> bool:
            return self._size(widths) <= memory

        if not fits(np.full(self.depth, NARROWEST)):
            return None
        start = self._least_equal(lambda w: not fits(np.floor(w)))
        if self.law.orthogonal:
            return self._best_changed(self._error, np.maximum(np.floor(np.exp(start) * 0.99), NARROWEST), fits)
        widths = self._minimise(
            lambda u: float(np.log(self._error(np.exp(u)))), start, lambda u: np.log(memory) - self._log_size(u)
        )
        rounded = np.maximum(np.floor(widths), NARROWEST)
        while not fits(rounded):
            rounded = np.maximum(np.floor(rounded * 0.995), NARROWEST)
        return tuple(int(d) for d in rounded)

    def _error(self, widths: np.ndarray) -> float:
        return self.account(widths).total

    def _size(self, widths: np.ndarray) -> int:
        return self.storage([int(d) for d in widths]).total

    def _least_equal(self, condition: Callable[[np.ndarray], bool]) -> np.ndarray:
        """Return the logarithm of the least width, the same in all layers, at which a condition holds."""
        low, high = np.log(NARROWEST), np.log(WIDEST)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if condition(np.full(self.depth, np.exp(middle))) else (middle, high)
        return np.full(self.depth, high)

    def _log_size(self, logs: np.ndarray) -> float:
        """Return the logarithm of the bytes of independent weights, for logarithms of widths that need not be whole."""
        widths = np.exp(logs)
        weights = np.sum(widths * np.append(self.inputs, widths[:-1]))
        return float(np.log(weights / 4 + 4 * self.classes * (widths[-1] + 1)))

    def _minimise(self, cost: Cost, start: np.ndarray, slack: Cost) -> np.ndarray:
        """Return the widths of least cost where ``slack`` is not negative; both take logarithms of widths."""
        bounds = [(np.log(NARROWEST), np.log(WIDEST))] * self.depth
        constraint = {"type": "ineq", "fun": slack}
        solution = scipy.optimize.minimize(
            cost, start, method="SLSQP", bounds=bounds, constraints=constraint, options={"ftol": 1e-9}
        )
        u = solution.x
        better = np.all(np.isfinite(u)) and slack(u) >= -1e-3 and cost(u) <= cost(start)
        return np.exp(u if better else start)

    def _best_changed(self, cost: Cost, start: np.ndarray, allowed: Callable[[np.ndarray], bool]) -> tuple[int, ...]:
        """Return the best of what is reached from allowed widths, and from the powers of two next to them."""
        powers = (2.0 ** round_up(np.log2(start)) for round_up in (np.floor, np.ceil))
        starts = [start, *(widths for widths in powers if np.all(widths >= NARROWEST) and allowed(widths))]
        _, widths = min(self._changed(cost, widths, allowed) for widths in starts)
        return widths

    def _changed(
        self, cost: Cost, widths: np.ndarray, allowed: Callable[[np.ndarray], bool]
    ) -> tuple[float, tuple[int, ...]]:
        """Return a cost that no change of one or two layers lowers, and the widths that have it."""
        lowest = cost(widths)
        for _ in range(ROUNDS):
            for changes in (self._single_changes(widths), self._exchanges(widths)):
                tried = sorted((cost(w), tuple(w)) for w in changes)
                better = (change for change in tried if change[0] < lowest and allowed(np.array(change[1])))
                following = next(better, None)
                if following is not None:
                    lowest, widths = following[0], np.array(following[1])
                    break
            else:
                break
        return lowest, tuple(int(d) for d in widths)

    def _single_changes(self, widths: np.ndarray) -> Iterator[np.ndarray]:
        """Yield widths that differ in one layer."""
        for layer in range(self.depth):
            for width in self._near(widths, layer):
                changed = widths.copy()
                changed[layer] = width
                yield changed

    def _exchanges(self, widths: np.ndarray) -> Iterator[np.ndarray]:
        """Yield widths with one layer wider and another narrower."""
        steps = [self._near(widths, layer) for layer in range(self.depth)]
        for up, down in permutations(range(self.depth), 2):
            for wider in steps[up][steps[up] > widths[up]]:
                for narrower in steps[down][steps[down] < widths[down]]:
                    changed = widths.copy()
                    changed[[up, down]] = wider, narrower
                    yield changed

    def _near(self, widths: np.ndarray, layer: int) -> np.ndarray:
        """Return widths that a layer can have instead."""
        width = widths[layer]
        power = 2.0 ** np.round(np.log2(width) + np.array([-1, 0, 1]))
        near = np.unique(np.round(np.concatenate([width * FACTORS, power, [width - 1, width + 1]])))
        return near[(near >= NARROWEST) & (near <= WIDEST) & (near != width)]
