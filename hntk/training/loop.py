"""The training loop of few-level networks: members of several keys at once, early stopping, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.digest import array_digest
from hntk.readouts import checkpoints, training
from hntk.readouts.checkpoints import Epoch, load_parts, save_checkpoint
from hntk.readouts.training import ADAM, Schedule, Trained, TrainingError, learning_rates
from hntk.training.few_level_layers import Parameters
from hntk.training.objective import Objective
from hntk.training.samples import TrainingData

# The modules that a training's numbers are computed by: a checkpoint of other code is refused.
CODE = (*checkpoints.CODE, Path(__file__).parent)
# Training samples over which sums are standardised for validation at the end of an epoch.
STATISTICS_SAMPLES = 4096
# Validation samples at a time.
VALIDATED = 8192


@dataclass(frozen=True, eq=False)
class MembersState:
    """A training of S members between two epochs.

    Attributes
    ----------
    parameters, optimizer, best : pytrees of arrays
        Parameters, the optimizer's state and the parameters that are kept, each with a first axis of length S.
    validation : (S,) array
        Best validation of each member.
    history : (epochs, S, 4) array
        An :class:`Epoch` of each member, for every epoch.
    """

    parameters: Any
    optimizer: Any
    best: Any
    validation: Float[np.ndarray, " S"]
    history: Float[np.ndarray, "epochs S 4"]

    @staticmethod
    def start(parameters: Parameters) -> MembersState:
        """Return the state before the first epoch."""
        members = parameters["offset"].shape[0]
        optimizer = jax.vmap(ADAM.init)(parameters)
        return MembersState(parameters, optimizer, parameters, np.full(members, -np.inf), np.empty((0, members, 4)))

    @property
    def trees(self) -> tuple[Any, Any, Any]:
        """The pytrees, whose leaves a checkpoint holds."""
        return self.parameters, self.optimizer, self.best

    def lengths(self, patience: int) -> Int[np.ndarray, " S"]:
        """Return how many epochs of each member count: those up to the one after which it would stop alone."""
        return np.array([_counting_epochs(validations, patience) for validations in self.history[:, :, 2].T])

    def running(self, schedule: Schedule) -> np.ndarray:
        """Return which members would go on if they were alone."""
        done = len(self.history)
        if done >= schedule.epochs:
            return np.zeros(self.validation.size, bool)
        # Another epoch without a better accuracy would not count for one that has stopped.
        longer = np.concatenate([self.history[:, :, 2], np.full((1, self.validation.size), -np.inf)])
        return np.array([_counting_epochs(validations, schedule.patience) > done for validations in longer.T])


def _counting_epochs(validations: Float[np.ndarray, " epochs"], patience: int) -> int:
    """Return the number of epochs until so many in a row were not better than the best; without validation all are."""
    best, at = -np.inf, 0
    for number, value in enumerate(validations):
        if not value <= best:
            best, at = value, number
        if number - at >= patience:
            return number + 1
    return len(validations)


def train_members(
    objective: Objective,
    parameters: Parameters,
    data: TrainingData,
    schedule: Schedule,
    keys: Array,
    *,
    logits: Float[np.ndarray, "n K"] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
    snapshot: Callable[[tuple[Trained, ...]], None] | None = None,
) -> tuple[Trained, ...]:
    """Train members from several keys together, each as it would be trained alone up to rounding.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    parameters : pytree of arrays
        Parameters to start from, with a first axis of length S.
    data : TrainingData
        Training and validation samples.
    schedule : Schedule
        How long and how fast.
    keys : (S,) array of keys
        Random keys of the order of samples and of the augmentation; epoch e uses ``fold_in(key, e)``.
    logits : (n, K) array, optional
        A teacher's outputs for the training samples.
    checkpoint : Path, optional
        File written after every epoch, to go on from if it exists.
    progress : callable, optional
        Called with an :class:`Epoch` after every epoch, or with a tuple of one a member if there are several.
    snapshot : callable, optional
        Called after every epoch, before its checkpoint is written, with the present parameters, validation and history
        of each member.

    Returns
    -------
    tuple of Trained
        The best parameters and the history of each member.

    Raises
    ------
    TrainingError
        If a loss stops being finite; the checkpoint of the epoch before stays.
    ValueError
        If a batch is larger than the training samples, or the checkpoint is of another training.
    """
    n = len(data.training.targets)
    if n < schedule.batch:
        raise ValueError(
            f"a batch of {schedule.batch} needs at least as many training samples, got {n}: make the batch smaller."
        )
    state, known = MembersState.start(parameters), {}
    if checkpoint is not None:
        known = _identity(objective, parameters, data, schedule, keys, logits)
        state = _resumed(checkpoint, state, known)
    epoch = _Epochs(objective, data, schedule, keys, logits)
    while np.any(state.running(schedule)):
        state = epoch.advance(state)
        if snapshot is not None:
            snapshot(_present(state))
        if checkpoint is not None:
            save_checkpoint(checkpoint, state, known)
        if progress is not None:
            lines = tuple(map(_line, state.history[-1]))
            progress(lines if keys.size > 1 else lines[0])
    return _results(state, schedule)


class _Epochs:
    """Epochs of one training, with its arrays on the device."""

    def __init__(
        self, objective: Objective, data: TrainingData, schedule: Schedule, keys: Array, logits: np.ndarray | None
    ) -> None:
        self.objective, self.schedule, self.keys, self.held = objective, schedule, keys, data.held
        shown = data.training.whole if objective.inputs is None else data.training.raw
        parts = (shown, data.training.targets, *([] if logits is None else [np.asarray(logits, np.float32)]))
        self.samples = tuple(map(jnp.asarray, parts))
        chosen = np.random.default_rng(0).permutation(len(data.training.targets))[:STATISTICS_SAMPLES]
        self.few = jnp.asarray(data.training.whole[np.sort(chosen)])

    def advance(self, state: MembersState) -> MembersState:
        """Train for one epoch, and validate."""
        number, schedule = len(state.history), self.schedule
        rates = learning_rates(schedule, number, len(self.samples[1]) // schedule.batch)
        decay = _decays(state.parameters, schedule.weight_decay)
        keys = jax.vmap(jax.random.fold_in, (0, None))(self.keys, number)
        run = _compiled_epoch(self.objective, schedule.batch)
        parameters, optimizer, losses = run(state.parameters, state.optimizer, self.samples, keys, rates, decay)
        losses, running = np.asarray(losses, float), state.running(schedule)
        _check_losses(losses, running, number, schedule)
        values = self._validate(parameters)
        better = running & ~(values <= state.validation)
        best = jax.tree.map(partial(_choose, jnp.asarray(better)), parameters, state.best)
        lines = np.stack([np.full_like(values, number + 1), losses, values, np.full_like(values, rates[0])], axis=1)
        validation = np.where(better, values, state.validation)
        return MembersState(parameters, optimizer, best, validation, np.concatenate([state.history, lines[None]]))

    def _validate(self, parameters: Parameters) -> Float[np.ndarray, " S"]:
        """Return each member's accuracy on the validation samples, or 1 − its mean squared error; NaN without any."""
        members, n = len(self.keys), len(self.held.targets)
        if not n:
            return np.full(members, np.nan)
        statistics, goodness = _compiled_validation(self.objective)
        known = statistics(parameters, self.few)
        blocks = [slice(start, start + VALIDATED) for start in range(0, n, VALIDATED)]
        parts = [goodness(parameters, known, self.held.whole[b], self.held.targets[b]) for b in blocks]
        total = np.sum([np.asarray(part, float) for part in parts], axis=0)
        return total / n if self.objective.classes else 1 + total / self.held.targets.size


@lru_cache(maxsize=16)
def _compiled_epoch(objective: Objective, batch: int) -> Callable:
    def run(parameters, optimizer, samples, key, rates, decay):
        parameters, optimizer, loss = training.epoch(
            objective.loss, objective.follow, batch, parameters, optimizer, samples, key, rates, decay, objective.take
        )
        parameters = objective.settle(parameters)
        # A sum that is no number reaches no threshold, which the loss does not show.
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(parameters)]))
        return parameters, optimizer, jnp.where(finite, loss, jnp.nan)

    return jax.jit(jax.vmap(run, in_axes=(0, 0, None, 0, None, None)))


@lru_cache(maxsize=16)
def _compiled_validation(objective: Objective) -> tuple[Callable, Callable]:
    statistics = jax.jit(jax.vmap(objective.statistics, in_axes=(0, None)))
    return statistics, jax.jit(jax.vmap(objective.goodness, in_axes=(0, 0, None, None)))


def _decays(parameters: Parameters, decay: float) -> Parameters:
    """Return the decay of every parameter: that of the schedule for weights, none for thresholds and offsets."""
    decayed = {"weights", "readout"}
    return jax.tree_util.tree_map_with_path(
        lambda path, _: np.float32(decay if path[-1].key in decayed else 0.0), parameters
    )


def _choose(better: Array, new: Array, old: Array) -> Array:
    return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _check_losses(losses: np.ndarray, running: np.ndarray, number: int, schedule: Schedule) -> None:
    wrong = np.flatnonzero(running & ~np.isfinite(losses))
    if wrong.size:
        of = f" of key {wrong[0] + 1}" if losses.size > 1 else ""
        raise TrainingError(
            f"the loss{of} became {losses[wrong[0]]} in epoch {number + 1} at learning rate "
            f"{schedule.learning_rate:g}: lower the learning rate, or look for values in the data or in the teacher's "
            "logits that are far out of scale. A checkpoint keeps the epoch before."
        )


def _line(numbers: Float[np.ndarray, " 4"]) -> Epoch:
    number, loss, validation, rate = numbers.tolist()
    return Epoch(int(number), loss, validation, rate)


def _present(state: MembersState) -> tuple[Trained, ...]:
    """Return the members as they are after the last epoch, whether or not they were better before."""
    return tuple(
        Trained(
            jax.tree.map(lambda leaf, m=member: leaf[m], state.parameters),
            float(state.history[-1, member, 2]),
            tuple(map(_line, state.history[:, member])),
        )
        for member in range(state.validation.size)
    )


def _results(state: MembersState, schedule: Schedule) -> tuple[Trained, ...]:
    lengths = state.lengths(schedule.patience)
    return tuple(
        Trained(
            jax.tree.map(lambda leaf, m=member: leaf[m], state.best),
            float(state.validation[member]),
            tuple(_line(numbers) for numbers in state.history[:length, member]),
        )
        for member, length in enumerate(lengths)
    )


def _identity(
    objective: Objective,
    parameters: Parameters,
    data: TrainingData,
    schedule: Schedule,
    keys: Array,
    logits: np.ndarray | None,
) -> dict[str, Any]:
    """Return what decides the numbers of a training."""
    samples = [data.training.raw, data.training.targets, data.held.raw, data.held.targets]
    known = checkpoints.training_identity(parameters, samples, schedule, keys, (), code=CODE)
    return known | {
        "input": array_digest(data.training.whole),
        "layers": list(map(repr, objective.layers)),
        "teacher": [
            array_digest(logits),
            checkpoints.function_identity(objective.teacher),
            objective.weight,
            objective.temperature,
        ],
        "augmentation": checkpoints.function_identity(objective.augment),
    }


def _resumed(path: Path, start: MembersState, identity: dict[str, Any]) -> MembersState:
    if not path.exists():
        return start
    trees, history, validation = load_parts(path, start.trees, identity, start.history.shape[1:])
    parameters, optimizer, best = trees
    return MembersState(parameters, optimizer, best, np.asarray(validation, float), np.asarray(history, float))
