"""Plans: the cheapest design for a kernel error or an accuracy, or the best design for a memory.

Bytes and error are both sums of exponentials of the logarithms of the widths, hence convex in them, so that a local
search finds the best widths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jax import Array
from scipy.optimize import minimize

from hntk._utils.arguments import as_count, as_key, as_positive, as_reals, as_share
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

# neurons of a layer that designs may have
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
    """Return the cheapest design for a target, or the best one for a memory.

    Give exactly one of ``error``, ``memory`` and ``accuracy``. Of designs with equal bytes the sparser one is returned,
    then the one with fewer levels.

    For an accuracy, all layers have the same width, and weights are as sparse as moves the kernel no more than the
    width does. Designs that are predicted to qualify are drawn and measured beside the original on held-out samples,
    from the cheapest on, until the loss of one is within ``accuracy`` plus a standard error. The measurement decides:
    predictions are not reliable if the data is no Gaussian mixture, or its norms do not concentrate. Predictions and
    measurements are for at most 4000 samples; with more samples a network has to be wider to keep up.

    Parameters
    ----------
    activations : sequence of str or Activation
        Activations of the original, one per layer.
    x : (n, p) array
        Samples.
    labels : (n,) array
        Their classes. For an error or a memory they only give the size of the readout.
    error : float, optional
        Largest ‖K̂ − K‖/‖K‖: relative distance, in operator norm, of the drawn network's conjugate kernel on x from the
        original's exact one.
    memory : int, optional
        Largest number of bytes of the whole network by formula, with 2 bits a weight.
    accuracy : float, optional
        Largest share of new samples that the dense original at infinite width may recognise and the drawn network not.
    key : jax.Array, optional
        JAX random key, needed for an accuracy. Drawn with it, the design is the network that was measured.
    levels : sequence of int
        Numbers of levels to choose from.
    sparsities : sequence of float
        Shares of zero weights to choose from.
    alpha2 : bool
        See :func:`hntk.match`.

    Returns
    -------
    Design
        The design.

    Raises
    ------
    ValueError
        If not exactly one target is given or it is out of range; if no width reaches the error or the accuracy, with
        the least that can be reached; if not even the narrowest network fits the memory; for an accuracy, if there is
        no key or a class has fewer than 8 samples.
    MatchError
        If no number of levels can match the original.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> design = hntk.plan(["relu"], data.x, data.labels, error=0.5, levels=[4])
    >>> design.account.total <= 0.5, design.levels
    (True, (4,))

    A design that recognises at most 2 % fewer samples than the dense network:

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
        matches = _matches(activations, scale, levels, alpha2=alpha2)
        return cheapest_accurate(matches, np.asarray(samples), index, accuracy, sparsities, key)
    designs, floors = [], []
    for matched in _matches(activations, scale, levels, alpha2=alpha2):
        terms = Terms.of(matched, samples)
        for sparsity in sparsities:
            problem = _WidthProblem(matched, terms, WeightLaw("ternary", sparsity=sparsity), inputs, classes.size)
            widths = problem.cheapest(target) if memory is None else problem.best(target)
            floors.append(problem.floor)
            if widths is not None:
                designs.append(problem.design(widths))
    if not designs:
        raise ValueError(_nothing_fits(error, memory, min(floors)))
    if memory is None:
        return min(designs, key=lambda d: (round(np.log(d.bytes), 2), -d.sparsity, sum(d.levels)))
    return min(designs, key=lambda d: (round(d.account.total, 3), -d.sparsity, sum(d.levels)))


def _target(error: float | None, memory: int | None, accuracy: float | None) -> float:
    """Return the only target that is not None, within its range."""
    targets = [target for target in (error, memory, accuracy) if target is not None]
    if len(targets) != 1:
        raise ValueError(
            f"give either error= (of the kernel, relative), memory= (in bytes) or accuracy= (how much of it may be "
            f"lost); got {len(targets)} of them."
        )
    if accuracy is not None:
        return as_share(accuracy, "accuracy", "it is how much accuracy may be lost, .01 for one sample in a hundred")
    if error is not None:
        return as_positive(error, "error", ".3 is a loose target, .05 a tight one")
    return as_positive(memory, "memory", "in bytes")


def _choices(levels: object, sparsities: object) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the numbers of levels and the sparsities to choose from.

    Raises
    ------
    ValueError
        If there is none of one of them, or one is out of range.
    """
    shares = as_reals(sparsities, "sparsities", lambda share, _: WeightLaw("ternary", sparsity=share).sparsity)  # type: ignore[arg-type]
    counts = as_reals(levels, "levels", lambda count, name: as_count(count, name, 2, MOST_LEVELS))
    return tuple(map(int, counts)), shares


def _matches(
    activations: Sequence[str | Activation], tau0: float, levels: Sequence[int], *, alpha2: bool
) -> list[Match]:
    """Return the match of each number of levels that can match the original.

    Raises
    ------
    MatchError
        If none can.
    """
    matches, last_error = [], None
    for count in levels:
        try:
            matches.append(match(activations, tau0, count, alpha2=alpha2))
        except MatchError as error:
            last_error = error
    if not matches:
        assert last_error is not None
        raise last_error
    return matches


def _nothing_fits(error: float | None, memory: int | None, floor: float) -> str:
    """Return the message for when no design reaches the error or fits the memory."""
    if error is None:
        return f"not even a network of {NARROWEST} neurons a layer fits {memory:,} bytes: allow more memory=."
    return (
        f"no width reaches an error of {error:g}: at infinite width, identity shift, finite n and p, and sparsity "
        f"leave at least {floor:.3g}. Ask for more than that, allow more levels, or use more data."
    )


@dataclass(frozen=True)
class _WidthProblem:
    """The choice of widths for one match and one weight law."""

    match: Match
    terms: Terms
    law: WeightLaw
    inputs: int
    classes: int

    def design(self, widths: tuple[int, ...]) -> Design:
        """Return the design of these widths."""
        return Design(self.match, widths, self.law.sparsity, self.storage(widths), self.account(widths))

    def account(self, widths: Sequence[int] | np.ndarray) -> LossAccount:
        """Return the predicted error."""
        return self.terms.account(np.asarray(widths, float), self.law.sparsity)

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
        if self.floor >= error or self.account(np.full(self.depth, WIDEST)).total > error:
            return None
        start = self._least_equal(lambda w: self.account(w).total <= error)
        widths = self._minimise(self._log_size, start, lambda u: np.log(error / self.account(np.exp(u)).total))
        rounded = np.ceil(widths)
        while self.account(rounded).total > error:
            rounded = np.ceil(rounded * 1.005)
        return tuple(int(d) for d in rounded)

    def best(self, memory: float) -> tuple[int, ...] | None:
        """Return the widths of least error that fit the memory; None if there are none."""

        def fits(widths: np.ndarray) -> bool:
            return self.storage([int(d) for d in widths]).total <= memory

        if not fits(np.full(self.depth, NARROWEST)):
            return None
        start = self._least_equal(lambda w: not fits(np.floor(w)))
        widths = self._minimise(
            lambda u: float(np.log(self.account(np.exp(u)).total)), start, lambda u: np.log(memory) - self._log_size(u)
        )
        rounded = np.maximum(np.floor(widths), NARROWEST)
        while not fits(rounded):
            rounded = np.maximum(np.floor(rounded * 0.995), NARROWEST)
        return tuple(int(d) for d in rounded)

    def _least_equal(self, condition: Callable[[np.ndarray], bool]) -> np.ndarray:
        """Return the logarithm of the least width, the same in all layers, at which a condition holds."""
        low, high = np.log(NARROWEST), np.log(WIDEST)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if condition(np.full(self.depth, np.exp(middle))) else (middle, high)
        return np.full(self.depth, high)

    def _log_size(self, logs: np.ndarray) -> float:
        """Return the logarithm of the bytes, for logarithms of widths that need not be whole."""
        widths = np.exp(logs)
        weights = np.sum(widths * np.append(self.inputs, widths[:-1]))
        return float(np.log(weights / 4 + 4 * self.classes * (widths[-1] + 1)))

    def _minimise(
        self, cost: Callable[[np.ndarray], float], start: np.ndarray, slack: Callable[[np.ndarray], float]
    ) -> np.ndarray:
        """Return the widths of least cost where ``slack`` is not negative; both take logarithms of widths."""
        bounds = [(np.log(NARROWEST), np.log(WIDEST))] * self.depth
        constraint = {"type": "ineq", "fun": slack}
        solution = minimize(cost, start, method="SLSQP", bounds=bounds, constraints=constraint, options={"ftol": 1e-9})
        u = solution.x
        better = np.all(np.isfinite(u)) and slack(u) >= -1e-3 and cost(u) <= cost(start)
        return np.exp(u if better else start)
