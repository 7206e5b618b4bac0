"""The cheapest compressed network that keeps the original's kernel to within a target, or fits a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jax import Array
from scipy.optimize import minimize

from hntk.account import LossAccount, Terms
from hntk.activations import Activation
from hntk.checks import as_labels, as_samples, norm_scale
from hntk.compression import CompressedNetwork, compress
from hntk.matching import Match, MatchError, match
from hntk.storage import Storage, storage_of
from hntk.weights import WeightLaw

NARROWEST, WIDEST = 8, 10_000_000


@dataclass(frozen=True)
class Design:
    """A network to be drawn.

    Attributes
    ----------
    match : its activations, and the original's.
    widths : (d_1, …, d_L).
    sparsity : ε.
    storage : bytes by formula, readout included.
    account : the predicted loss, part by part; ``account.total`` is what was asked for.
    """

    match: Match
    widths: tuple[int, ...]
    sparsity: float
    storage: Storage
    account: LossAccount

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of levels of each activation."""
        return self.match.level_counts

    @property
    def bytes(self) -> int:
        """Whole size by formula."""
        return self.storage.total

    def draw(self, x: object, *, key: Array) -> CompressedNetwork:
        """The network for (n, p) samples of the data it was planned for."""
        return compress(self.match.original, self.widths, x, self.match, self.sparsity, key=key, tau0=self.match.tau0)

    def __str__(self) -> str:
        part = self.account
        return (
            f"{'-'.join(map(str, self.levels))} levels, widths {'-'.join(map(str, self.widths))}, ε = "
            f"{self.sparsity:.3g}: {self.bytes:,} bytes\n"
            f"predicted ‖K̂ − K‖/‖K‖ at most {part.total:.3f} = identity shift {part.shift:.3f} + finite n and p "
            f"{part.finite_size:.3f} + finite width {part.finite_width:.3f} + sparsity {part.sparsity:.3f}"
        )


def plan(
    activations: Sequence[str | Activation],
    x: object,
    labels: object,
    *,
    error: float | None = None,
    memory: int | None = None,
    levels: Sequence[int] = (2, 3, 4, 5, 8),
    sparsities: Sequence[float] = (0.0, 0.5, 2 / 3, 0.8, 0.9),
    alpha2: bool = True,
) -> Design:
    """The cheapest design for a target, or the best for a memory.

    Parameters
    ----------
    activations : the original's.
    x, labels : (n, p) samples and (n,) classes; labels give the size of the readout only.
    error : target for ‖K̂ − K‖/‖K‖, the relative operator-norm distance of the drawn network's conjugate kernel on x
        from the original's exact one.
    memory : in place of it, bytes by formula (2 bits a weight) the whole network may take.
    levels, sparsities : what to choose from; with equal bytes the sparser design is taken, then the one of
        fewer levels.
    alpha2 : see :func:`hntk.match`.

    Raises
    ------
    ValueError
        If not exactly one of the two is given or it is out of range; if no width reaches the error, with the least
        that can be reached; if not even the narrowest network fits the memory.
    MatchError
        If no number of levels can match the original.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> design = hntk.plan(["relu"], data.x, data.labels, error=0.5, levels=[4])
    >>> design.account.total <= 0.5, design.levels
    (True, (4,))
    """
    target = _target(error, memory)
    samples = as_samples(x)
    classes, _ = as_labels(labels, samples.shape[0])
    inputs, scale = samples.shape[1], norm_scale(samples)
    designs, floors = [], []
    for match_found in _matches(activations, scale, levels, alpha2=alpha2):
        terms = Terms.of(match_found, samples)
        for sparsity in sparsities:
            law = WeightLaw("ternary", sparsity=sparsity)
            problem = _Problem(match_found, terms, law, inputs, classes.size)
            widths = problem.cheapest(target) if memory is None else problem.best(target)
            floors.append(problem.floor)
            if widths is not None:
                designs.append(Design(match_found, widths, sparsity, problem.storage(widths), problem.account(widths)))
    if not designs:
        raise ValueError(_refusal(error, memory, min(floors)))
    if memory is None:
        return min(designs, key=lambda d: (round(np.log(d.bytes), 2), -d.sparsity, sum(d.levels)))
    return min(designs, key=lambda d: (round(d.account.total, 3), -d.sparsity, sum(d.levels)))


def _target(error: float | None, memory: int | None) -> float:
    if (error is None) == (memory is None):
        raise ValueError("give either error= (of the kernel, relative) or memory= (in bytes).")
    if error is not None and not 0 < error < np.inf:
        raise ValueError(
            f"error must be a positive finite number, got {error!r}: .3 is a loose target, .05 a tight one."
        )
    if memory is not None and not 0 < memory < np.inf:
        raise ValueError(f"memory must be a positive number of bytes, got {memory!r}.")
    return float(error if memory is None else memory)  # type: ignore[arg-type]


def _matches(
    activations: Sequence[str | Activation], tau0: float, levels: Sequence[int], *, alpha2: bool
) -> list[Match]:
    found, refused = [], None
    for count in levels:
        try:
            found.append(match(activations, tau0, count, alpha2=alpha2))
        except MatchError as error:
            refused = error
    if not found:
        raise refused or ValueError("levels is empty: give the numbers of levels to choose from.")
    return found


def _refusal(error: float | None, memory: int | None, floor: float) -> str:
    if error is None:
        return f"not even a network of {NARROWEST} neurons a layer fits {memory:,} bytes: allow more."
    return (
        f"no width reaches an error of {error:g}: what identity shift, finite n and p, and sparsity leave at infinite "
        f"width is {floor:.3g} at least. Ask for more than that, allow more levels, or use more data."
    )


@dataclass(frozen=True)
class _Problem:
    """Widths of one match and one ε. In log-widths both bytes and error are sums of exponentials, hence convex."""

    match: Match
    terms: Terms
    law: WeightLaw
    inputs: int
    classes: int

    def account(self, widths: Sequence[int] | np.ndarray) -> LossAccount:
        return self.terms.account(np.asarray(widths, float), self.law.sparsity)

    def storage(self, widths: Sequence[int]) -> Storage:
        return storage_of(self.match.activations, widths, self.inputs, self.law, self.classes)

    @property
    def floor(self) -> float:
        """The error at infinite width."""
        return self.account(np.full(self.depth, np.inf)).total

    @property
    def depth(self) -> int:
        return len(self.match.activations)

    def cheapest(self, error: float) -> tuple[int, ...] | None:
        """Widths of least size that reach the error; None if there are none."""
        if self.floor >= error or self.account(np.full(self.depth, WIDEST)).total > error:
            return None
        start = self._equal(lambda w: self.account(w).total <= error)
        widths = self._optimise(start, self._log_size, lambda u: np.log(error / self.account(np.exp(u)).total))
        rounded = np.ceil(widths)
        while self.account(rounded).total > error:
            rounded = np.ceil(rounded * 1.005)
        return tuple(int(d) for d in rounded)

    def best(self, memory: float) -> tuple[int, ...] | None:
        """Widths of least error that fit the memory; None if there are none."""

        def fits(widths: np.ndarray) -> bool:
            return self.storage([int(d) for d in widths]).total <= memory

        if not fits(np.full(self.depth, NARROWEST)):
            return None
        start = self._equal(lambda w: not fits(np.floor(w)))
        widths = self._optimise(
            start, lambda u: float(np.log(self.account(np.exp(u)).total)), lambda u: np.log(memory) - self._log_size(u)
        )
        rounded = np.maximum(np.floor(widths), NARROWEST)
        while not fits(rounded):
            rounded = np.maximum(np.floor(rounded * 0.995), NARROWEST)
        return tuple(int(d) for d in rounded)

    def _equal(self, reached) -> np.ndarray:
        """Log of the least width, the same in all layers, at which something is reached."""
        low, high = np.log(NARROWEST), np.log(WIDEST)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if reached(np.full(self.depth, np.exp(middle))) else (middle, high)
        return np.full(self.depth, high)

    def _log_size(self, logs: np.ndarray) -> float:
        """Log of the bytes, of widths that need not be whole."""
        widths = np.exp(logs)
        weights = np.sum(widths * np.append(self.inputs, widths[:-1]))
        return float(np.log(weights / 4 + 4 * self.classes * (widths[-1] + 1)))

    def _optimise(self, start: np.ndarray, cost, slack) -> np.ndarray:
        bounds = [(np.log(NARROWEST), np.log(WIDEST))] * self.depth
        found = minimize(
            cost,
            start,
            method="SLSQP",
            bounds=bounds,
            constraints={"type": "ineq", "fun": slack},
            options={"ftol": 1e-9},
        )
        good = np.all(np.isfinite(found.x)) and slack(found.x) >= -1e-3 and cost(found.x) <= cost(start)
        return np.exp(found.x if good else start)
