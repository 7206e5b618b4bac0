"""The training loop of few-level networks: members of several keys at once, early stopping, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.digest import array_digest
from hntk.readouts import checkpoints, training
from hntk.readouts.checkpoints import load_parts, save_checkpoint
from hntk.readouts.training import Schedule, Trained, TrainingError, learning_rates
from hntk.training.byte_limit import RISE, ByteLimit
from hntk.training.few_level_layers import Parameters
from hntk.training.members import MembersState, as_good, epoch_line, kept_members, present_members, where_kept
from hntk.training.objective import Objective
from hntk.training.samples import TrainingData

# The modules that a training's numbers are computed by: a checkpoint of other code is refused.
CODE = (*checkpoints.CODE, Path(__file__).parent)
# And those that count bytes, which decide the densities where there is a limit.
BYTES_CODE = tuple(Path(__file__).parents[1] / name for name in ("deploy", "weights"))
# Training samples over which sums are standardised for validation at the end of an epoch.
STATISTICS_SAMPLES = 4096
# Those over which they are to count the bytes of a program.
MEASURED_SAMPLES = 1024
# How often densities follow the bytes in a training, about: more epochs than that leave some out between.
FOLLOWED = 50
# Validation samples at a time.
VALIDATED = 8192


def train_members(
    objective: Objective,
    parameters: Parameters,
    data: TrainingData,
    schedule: Schedule,
    keys: Array,
    *,
    logits: Float[np.ndarray, "n K"] | None = None,
    limit: float | None = None,
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
    limit : float, optional
        Number of bytes that the program's tables fill; densities follow it between epochs, in parameters with a scale
        of them. See :mod:`hntk.training.byte_limit`.
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
        The parameters that are kept and the history of each member: those of the last epoch whose validation accuracy
        is within a standard error of the best, see :func:`hntk.training.members.as_good`.

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
        known = _identity(objective, parameters, data, schedule, keys, logits, limit)
        state = _resumed(checkpoint, state, known)
    epoch = _Epochs(objective, data, schedule, keys, logits, limit)
    while np.any(state.running(schedule)):
        state = epoch.advance(state)
        if snapshot is not None:
            snapshot(present_members(state))
        if checkpoint is not None:
            save_checkpoint(checkpoint, state, known)
        if progress is not None:
            lines = tuple(map(epoch_line, state.history[-1]))
            progress(lines if keys.size > 1 else lines[0])
    return kept_members(state, schedule)


class _Epochs:
    """Epochs of one training, with its arrays on the device."""

    def __init__(
        self,
        objective: Objective,
        data: TrainingData,
        schedule: Schedule,
        keys: Array,
        logits: np.ndarray | None,
        limit: float | None,
    ) -> None:
        self.objective, self.schedule, self.keys, self.held = objective, schedule, keys, data.held
        shown = data.training.whole if objective.inputs is None else data.training.raw
        parts = (shown, data.training.targets, *([] if logits is None else [np.asarray(logits, np.float32)]))
        self.samples = tuple(map(jnp.asarray, parts))
        order = np.random.default_rng(0).permutation(len(data.training.targets))
        self.few = jnp.asarray(data.training.whole[np.sort(order[:STATISTICS_SAMPLES])])
        measured = np.sort(order[:MEASURED_SAMPLES])
        self.limit = None if limit is None else ByteLimit(limit, objective.layers, data.subset(measured))

    def advance(self, state: MembersState) -> MembersState:
        """Train for one epoch, and validate."""
        number, schedule = len(state.history), self.schedule
        last = number == schedule.epochs - 1
        rates = learning_rates(schedule, number, len(self.samples[1]) // schedule.batch)
        decay = _decays(state.parameters, schedule.weight_decay)
        keys = jax.vmap(jax.random.fold_in, (0, None))(self.keys, number)
        run = _compiled_epoch(self.objective, schedule.batch)
        parameters, optimizer, losses = run(state.parameters, state.optimizer, self.samples, keys, rates, decay)
        losses, running = np.asarray(losses, float), state.running(schedule)
        _check_losses(losses, running, number, schedule)
        if self.limit is not None and (number % max(1, schedule.epochs // FOLLOWED) == 0 or last):
            parameters = self.limit.follow(parameters, running, RISE if number else np.inf)
        values = self._validate(parameters)
        samples = len(self.held.targets) if self.objective.classes else None
        chosen = running & as_good(values, state.history[:, :, 2], samples)
        kept = jax.tree.map(partial(where_kept, jnp.asarray(chosen)), parameters, state.kept)
        lines = np.stack([np.full_like(values, number + 1), losses, values, np.full_like(values, rates[0])], axis=1)
        validation = np.where(chosen, values, state.validation)
        return MembersState(parameters, optimizer, kept, validation, np.concatenate([state.history, lines[None]]))

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


def _check_losses(losses: np.ndarray, running: np.ndarray, number: int, schedule: Schedule) -> None:
    wrong = np.flatnonzero(running & ~np.isfinite(losses))
    if wrong.size:
        of = f" of key {wrong[0] + 1}" if losses.size > 1 else ""
        raise TrainingError(
            f"the loss{of} became {losses[wrong[0]]} in epoch {number + 1} at learning rate "
            f"{schedule.learning_rate:g}: lower the learning rate, or look for values in the data or in the teacher's "
            "logits that are far out of scale. A checkpoint keeps the epoch before."
        )


def _identity(
    objective: Objective,
    parameters: Parameters,
    data: TrainingData,
    schedule: Schedule,
    keys: Array,
    logits: np.ndarray | None,
    limit: float | None,
) -> dict[str, Any]:
    """Return what decides the numbers of a training."""
    samples = [data.training.raw, data.training.targets, data.held.raw, data.held.targets]
    code = CODE if limit is None else (*CODE, *BYTES_CODE)
    known = checkpoints.training_identity(parameters, samples, schedule, keys, (), code=code)
    return known | {
        "kilobytes": limit,
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
    parameters, optimizer, kept = trees
    return MembersState(parameters, optimizer, kept, np.asarray(validation, float), np.asarray(history, float))
