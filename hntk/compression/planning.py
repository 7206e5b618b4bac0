"""The cheapest compressed network for a target: of the kernel's error, of a memory, or of accuracy at a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jax import Array
from scipy.optimize import minimize

from hntk._utils.arguments import as_count, as_key, as_number, as_reals, as_share
from hntk._utils.arrays import brief
from hntk._utils.labels import as_labels
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations import Activation
from hntk.compression.accuracy import cheapest_accurate
from hntk.compression.design import Design
from hntk.compression.error_budget import LossAccount, Terms
from hntk.matching import Match, MatchError, match
from hntk.matching.options import MOST_LEVELS
from hntk.networks.formula_bytes import Storage, storage_of
from hntk.readouts.held_out import held_out_parts
from hntk.weights.laws import WeightLaw

NARROWEST, WIDEST = 8, 10_000_000


def plan(
    activations: Sequence[str | Activation],
    x: object,
    labels: object,
    *,
    error: float | None = None,
    memory: int | None = None,
    accuracy: float | None = None,
    key: Array | None = None,
    levels: Sequence[int] = (2, 3, 4, 5, 8),
    sparsities: Sequence[float] = (0.0, 0.5, 2 / 3, 0.8, 0.9),
    alpha2: bool = True,
) -> Design:
    """The cheapest design for a target, or the best for a memory.

    Parameters
    ----------
    activations : the original's.
    x, labels : (n, p) samples and (n,) classes; for an error or a memory labels give the size of the readout only.
    error : target for ‖K̂ − K‖/‖K‖, the relative operator-norm distance of the drawn network's conjugate kernel on x
        from the original's exact one.
    memory : in place of it, bytes by formula (2 bits a weight) the whole network may take.
    accuracy : in place of them, what share of new samples the drawn network may recognise less than the dense original
        at infinite width: the cheapest design of equal widths that is predicted to lose no more (by
        :mod:`hntk.asymptotics.finite_width` on the estimated law) is drawn and measured beside the original on held-out
        samples (:mod:`hntk.readouts.held_out`), and a wider one where it loses more by over a standard error. The check
        is what counts: data that is no Gaussian mixture, or whose norms do not concentrate, is not predicted reliably.
        At most 4000 samples are measured on, and predicted for; the more there are, the wider a network must be. key :
        JAX random key, for an accuracy; drawn with it, the design is the network that was measured. levels, sparsities
        : what to choose from; with equal bytes the sparser design is taken, then the one of fewer levels. For an
        accuracy, as sparse as moves the kernel no more than the width does. alpha2 : see :func:`hntk.match`.

    Raises
    ------
    ValueError
        If not exactly one of the three is given or it is out of range; if no width reaches the error or the accuracy,
        with the least that can be reached; if not even the narrowest network fits the memory; for an accuracy, if
        there is no key or a class has fewer than 8 samples.
    MatchError
        If no number of levels can match the original.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> design = hntk.plan(["relu"], data.x, data.labels, error=0.5, levels=[4])
    >>> design.account.total <= 0.5, design.levels
    (True, (4,))

    At most 2 % fewer samples recognised than by the dense network:

    >>> design = hntk.plan(["relu"], data.x, data.labels, accuracy=0.02, key=jax.random.key(1), levels=[4])
    >>> design.accuracy.loss <= 0.02 + design.accuracy.standard_error
    True
    """
    target, key = _target(error, memory, accuracy), None if key is None else as_key(key)
    levels, sparsities = _choices(levels, sparsities)
    samples = as_samples(x)
    classes, index = as_labels(labels, samples.shape[0])
    inputs, scale = samples.shape[1], rms_norm(samples)
    if accuracy is not None:
        if key is None:
            raise ValueError("accuracy= draws networks and measures them: give key=, for example jax.random.key(0).")
        held_out_parts(index)
        found = _matches(activations, scale, levels, alpha2=alpha2)
        return cheapest_accurate(found, np.asarray(samples), index, accuracy, sparsities, key)
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


def _target(error: float | None, memory: int | None, accuracy: float | None) -> float:
    given = [target for target in (error, memory, accuracy) if target is not None]
    if len(given) != 1:
        raise ValueError(
            f"give either error= (of the kernel, relative), memory= (in bytes) or accuracy= (how much of it may be "
            f"lost); got {len(given)} of them."
        )
    if accuracy is not None:
        return as_share(accuracy, "accuracy", "it is how much accuracy may be lost, .01 for one sample in a hundred")
    if error is not None and not 0 < as_number(error) < np.inf:
        raise ValueError(
            f"error must be a positive finite number, got {brief(error)}: .3 is a loose target, .05 a tight one."
        )
    if memory is not None and not 0 < as_number(memory) < np.inf:
        raise ValueError(f"memory must be a positive number of bytes, got {brief(memory)}.")
    return float(given[0])


def _choices(levels: object, sparsities: object) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Numbers of levels and sparsities to choose from.

    Raises
    ------
    ValueError
        If there are none, or one is out of range.
    """
    shares = as_reals(sparsities, "sparsities", lambda share, _: WeightLaw("ternary", sparsity=share).sparsity)  # type: ignore[arg-type]
    counts = as_reals(levels, "levels", lambda count, name: as_count(count, name, 2, MOST_LEVELS))
    return tuple(map(int, counts)), shares


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
        assert refused is not None
        raise refused
    return found


def _refusal(error: float | None, memory: int | None, floor: float) -> str:
    if error is None:
        return f"not even a network of {NARROWEST} neurons a layer fits {memory:,} bytes: allow more memory=."
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
