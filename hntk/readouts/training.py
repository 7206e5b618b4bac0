"""Gradient training: minibatches, early stopping on validation samples, checkpoints to resume from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.arguments import as_callback, as_count, as_key, as_nonnegative, as_path, as_positive
from hntk._utils.pytree import array_dataclass
from hntk.readouts.checkpoints import Epoch, TrainingState, load_checkpoint, save_checkpoint, training_identity

Parameters = Any
Loss = Callable[[Parameters, Array, Array], Array]
ADAM = optax.scale_by_adam()


class TrainingError(RuntimeError):
    """Training cannot go on, because the loss is not finite."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    epochs : int
        Largest number of passes over the samples; the learning rate falls to 0 over them, along a cosine.
    batch : int
        Samples per step.
    learning_rate : float
        Adam's learning rate at the start.
    weight_decay : float
        Decoupled weight decay, relative to the learning rate.
    patience : int
        Training stops after this many epochs without a better validation accuracy.
    warmup : float
        Number of epochs over which the learning rate rises to the cosine, linearly from 0.

    Raises
    ------
    ValueError
        If a count is no positive whole number, or a rate is negative, not finite or beyond float32.
    """

    epochs: int = 30
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    patience: int = 5
    warmup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            object.__setattr__(self, name, as_count(getattr(self, name), name))
        object.__setattr__(self, "learning_rate", as_positive(self.learning_rate, "learning_rate"))
        object.__setattr__(self, "weight_decay", as_nonnegative(self.weight_decay, "weight_decay"))
        object.__setattr__(self, "warmup", as_nonnegative(self.warmup, "warmup"))
        if max(self.learning_rate, self.weight_decay) > float(np.finfo(np.float32).max):
            raise ValueError(
                f"learning_rate and weight_decay must be numbers of float32, got {self.learning_rate:g} and "
                f"{self.weight_decay:g}."
            )


@array_dataclass()
class Trained:
    """Result of a training.

    Attributes
    ----------
    parameters : pytree of arrays
        Parameters of the best validation accuracy, the first of equals.
    validation : float
        That accuracy.
    history : tuple of Epoch
        Every epoch that was run.
    """

    parameters: Parameters
    validation: float
    history: tuple[Epoch, ...]


class Samples(NamedTuple):
    """Training samples ``x`` with class indices ``y``, and validation samples ``x_held`` with ``y_held``."""

    x: Float[Array, "n d"]
    y: Int[Array, " n"]
    x_held: Float[Array, "m d"]
    y_held: Int[Array, " m"]


def train(
    loss: Loss,
    scores: Callable[[Parameters, Array], Array],
    parameters: Parameters,
    samples: Samples,
    schedule: Schedule,
    key: Array,
    *,
    project: Callable[[Parameters], Parameters] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Minimise a loss over minibatches with Adam.

    Functions that stay the same objects over calls are compiled once per shape.

    Parameters
    ----------
    loss : callable
        Maps (parameters, x, y) of a batch to a scalar.
    scores : callable
        Maps (parameters, x) to (batch, K) scores. The largest is the prediction, for the validation accuracy.
    parameters : pytree of arrays
        Parameters to start from.
    samples : Samples
        Training and validation samples on one device.
    schedule : Schedule
        How long and how fast.
    key : jax.Array
        Random key of the order of samples; epoch e uses ``fold_in(key, e)``.
    project : callable, optional
        Applied to the parameters after every step, such as a mask.
    checkpoint : Path, optional
        File written after every epoch. Where it exists, from the same training, this one goes on from it and ends as
        it would have uninterrupted, bit for bit on the same machine. Trainings are the same if samples, start,
        settings, functions by name, key, precision and code of hntk are.
    progress : callable, optional
        Called with an :class:`Epoch` after every epoch.

    Returns
    -------
    Trained
        The best parameters, and the history.

    Raises
    ------
    TrainingError
        If the loss stops being finite; the message says where and what to do.
    ValueError
        If there are fewer samples than a batch has, or the checkpoint belongs to another training; the message says
        what differs.
    """
    key, progress = as_key(key), as_callback(progress)
    if samples.x.shape[0] < schedule.batch:
        raise ValueError(
            f"a batch of {schedule.batch} needs at least as many training samples, got {samples.x.shape[0]}: "
            "make the batch smaller."
        )
    state = TrainingState(parameters, ADAM.init(parameters), parameters)
    path, identity = None if checkpoint is None else as_path(checkpoint, "checkpoint"), {}
    if path is not None:
        identity = training_identity(parameters, samples, schedule, key, (loss, scores, project))
        state = load_checkpoint(path, state, identity) if path.exists() else state
    run, right = _compiled_epoch(loss, project, schedule.batch), _compiled_count(scores)
    while len(state.history) < schedule.epochs and state.epochs_since_best < schedule.patience:
        state = _advance(run, right, state, samples, schedule, key)
        if path is not None:
            save_checkpoint(path, state, identity)
        if progress is not None:
            progress(state.history[-1])
    return Trained(state.best, state.validation, state.history)


@lru_cache(maxsize=32)
def _compiled_epoch(loss: Loss, project: Callable[[Parameters], Parameters] | None, batch: int) -> Callable:
    return jax.jit(partial(epoch, loss, _after_step(project), batch))


def _after_step(project: Callable[[Parameters], Parameters] | None) -> Callable[[Parameters, Array], Parameters]:
    """Return what :func:`epoch` applies after a step, of a function of the parameters alone."""
    return lambda parameters, _: parameters if project is None else project(parameters)


@lru_cache(maxsize=32)
def _compiled_count(scores: Callable[[Parameters, Array], Array]) -> Callable:
    return jax.jit(lambda p, x, y: jnp.sum(jnp.argmax(scores(p, x), axis=1) == y))


def epoch(
    loss: Callable, project: Callable, batch: int, parameters, state, samples, key: Array, rates, decay, take=None
) -> tuple[Parameters, Any, Array]:
    """Pass over the samples in a random order; those that do not fill a batch are left for another epoch.

    Parameters
    ----------
    loss : callable
        Maps the parameters and the parts of a batch to a scalar.
    project : callable
        Maps the parameters after a step, and its learning rate, to those of the next one.
    batch : int
        Samples per step.
    parameters, state : pytrees of arrays
        Parameters, and the optimizer's state.
    samples : tuple of arrays
        Arrays whose rows are samples, such as x and y.
    key : jax.Array
        Random key of the order.
    rates : (steps,) array
        Learning rate of every step.
    decay : pytree of float
        Decoupled weight decay of every parameter.
    take : callable, optional
        Maps (samples, rows, key) to the parts of a batch; by default the rows of each array.

    Returns
    -------
    parameters, state : pytrees of arrays
        Parameters and the optimizer's state at the end.
    loss : scalar array
        Mean loss of the batches.
    """
    steps = rates.shape[0]
    n = jax.tree.leaves(samples)[0].shape[0]
    order = jax.random.permutation(key, n)[: steps * batch].reshape(steps, batch)

    def step(carry, numbered):
        (parameters, state), (number, rows, rate) = carry, numbered
        parts = tuple(part[rows] for part in samples) if take is None else take(samples, rows, _step_key(key, number))
        value, gradient = jax.value_and_grad(loss)(parameters, *parts)
        updates, state = ADAM.update(gradient, state)
        moved = jax.tree.map(lambda p, u, d: p - rate * (u + d * p), parameters, updates, decay)
        return (project(moved, rate), state), value

    (parameters, state), losses = jax.lax.scan(step, (parameters, state), (jnp.arange(steps), order, rates))
    return parameters, state, jnp.mean(losses)


def _step_key(key: Array, number: Array) -> Array:
    """Return the key of a step, which no key of an epoch's order equals."""
    return jax.random.fold_in(jax.random.fold_in(key, 1), number)


def _advance(
    run: Callable, count_right: Callable, state: TrainingState, samples: Samples, schedule: Schedule, key: Array
) -> TrainingState:
    """Train for one epoch, and validate."""
    number = len(state.history)
    rates = learning_rates(schedule, number, samples.x.shape[0] // schedule.batch)
    order = jax.random.fold_in(key, number)
    decay = jax.tree.map(lambda _: np.float32(schedule.weight_decay), state.parameters)
    parameters, optimizer, loss = run(state.parameters, state.optimizer, (samples.x, samples.y), order, rates, decay)
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss became {float(loss)} in epoch {number + 1} at learning rate {schedule.learning_rate:g}: lower "
            "the learning rate, or look for values in the data that are far out of scale."
        )
    accuracy = int(count_right(parameters, samples.x_held, samples.y_held)) / samples.y_held.size
    best, validation = (parameters, accuracy) if accuracy > state.validation else (state.best, state.validation)
    line = Epoch(number + 1, float(loss), accuracy, float(rates[0]))
    return TrainingState(parameters, optimizer, best, validation, (*state.history, line))


def learning_rates(schedule: Schedule, epoch: int, steps: int) -> Float[np.ndarray, " steps"]:
    """Return the learning rate of every step of an epoch, on a cosine that ends at 0, after a linear rise."""
    passed = epoch + np.arange(steps) / steps
    rates = schedule.learning_rate * 0.5 * (1 + np.cos(np.pi * (passed / schedule.epochs)))
    if schedule.warmup:
        with np.errstate(over="ignore"):
            rates *= np.minimum(1.0, (passed + 1 / steps) / schedule.warmup)
    return rates.astype(np.float32)
