"""Gradient training: minibatches, early stopping on validation samples, checkpoints to resume from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from hntk.readouts.checkpoints import Kept, described, restored, saved

Parameters = Any
Loss = Callable[[Parameters, Array, Array], Array]
ADAM = optax.scale_by_adam()


class TrainingError(RuntimeError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Attributes
    ----------
    epochs : at most; the learning rate falls to 0 over so many, along a cosine.
    batch : samples a step.
    learning_rate : Adam's, at the start.
    weight_decay : decoupled, relative to the learning rate.
    patience : epochs without a better validation accuracy after which training stops.
    """

    epochs: int = 30
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    patience: int = 5

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            object.__setattr__(self, name, as_count(getattr(self, name), name))
        object.__setattr__(self, "learning_rate", as_positive(self.learning_rate, "learning_rate"))
        object.__setattr__(self, "weight_decay", as_nonnegative(self.weight_decay, "weight_decay"))
        if max(self.learning_rate, self.weight_decay) > float(np.finfo(np.float32).max):
            raise ValueError(
                f"learning_rate and weight_decay must be numbers of float32, got {self.learning_rate:g} and "
                f"{self.weight_decay:g}."
            )


class Epoch(NamedTuple):
    """One line of a training's history."""

    epoch: int
    loss: float
    validation: float
    learning_rate: float


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes
    ----------
    parameters : those of the best validation accuracy, the first of equals.
    validation : that accuracy.
    history : every epoch that was run.
    """

    parameters: Parameters
    validation: float
    history: tuple[Epoch, ...]


class Samples(NamedTuple):
    """Training and validation samples, and class indices."""

    x: Float[Array, "n d"]
    y: Int[Array, " n"]
    x_held: Float[Array, "m d"]
    y_held: Int[Array, " m"]


@dataclass
class _State:
    """What a training is resumed from."""

    parameters: Parameters
    optimizer: Any
    best: Parameters
    validation: float = -1.0
    history: list[Epoch] = field(default_factory=list)

    @property
    def kept(self) -> Kept:
        """What a checkpoint holds of it."""
        return Kept((self.parameters, self.optimizer, self.best), self.validation, np.array(self.history, np.float64))

    @classmethod
    def of(cls, kept: Kept) -> _State:
        """From a checkpoint."""
        history = [Epoch(int(row[0]), *(float(v) for v in row[1:])) for row in kept.history]
        return cls(*kept.trees, kept.validation, history)

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        best = max(self.history, key=lambda e: e.validation, default=None)
        return 0 if best is None else self.history[-1].epoch - best.epoch


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

    Functions that stay the same objects over calls are compiled once a shape.

    Parameters
    ----------
    loss : of (parameters, x, y) for a batch, a scalar.
    scores : of (parameters, x), (batch, K); the largest is the prediction, for the validation accuracy.
    parameters : a pytree of arrays to start from.
    samples : training and validation samples on one device.
    schedule : how long and how fast.
    key : random key of the order of samples; epoch e uses ``fold_in(key, e)``.
    project : applied to the parameters after every step, such as a mask.
    checkpoint : a file written after every epoch; where it exists already, from the same training, this one goes on
        from it, and ends as it would have uninterrupted, bit for bit on the same machine. The same training is one of
        the same samples, start, settings, functions by name, key, precision and code of hntk.
    progress : called after every epoch.

    Raises
    ------
    TrainingError
        If the loss stops being finite; the message says where and what to do.
    ValueError
        If there are fewer samples than a batch has, or the checkpoint belongs to another training, with what differs.
    """
    key, progress = as_key(key), as_callback(progress)
    if samples.x.shape[0] < schedule.batch:
        raise ValueError(
            f"a batch of {schedule.batch} needs at least as many training samples, got {samples.x.shape[0]}: "
            "make the batch smaller."
        )
    state = _State(parameters, ADAM.init(parameters), parameters)
    path = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    identity = None if path is None else described(parameters, samples, schedule, key, (loss, scores, project))
    if path is not None and identity is not None and path.exists():
        state = _State.of(restored(path, (parameters, state.optimizer, parameters), identity))
    run, right = _compiled(loss, project, schedule.batch), _count_right(scores)
    while len(state.history) < schedule.epochs and state.waited < schedule.patience:
        state = _advance(run, right, state, samples, schedule, key)
        if path is not None and identity is not None:
            saved(path, state.kept, identity)
        if progress is not None:
            progress(state.history[-1])
    return Trained(state.best, state.validation, tuple(state.history))


@lru_cache(maxsize=32)
def _compiled(loss: Loss, project: Callable[[Parameters], Parameters] | None, batch: int) -> Callable:
    return jax.jit(partial(_epoch, loss, project or (lambda p: p), batch))


@lru_cache(maxsize=32)
def _count_right(scores: Callable[[Parameters, Array], Array]) -> Callable:
    return jax.jit(lambda p, x, y: jnp.sum(jnp.argmax(scores(p, x), axis=1) == y))


def _epoch(loss: Loss, project, batch: int, parameters, state, x: Array, y: Array, key: Array, rates, decay):
    """One pass over the samples in a random order; what does not fill a batch is left for another epoch."""
    steps = x.shape[0] // batch
    order = jax.random.permutation(key, x.shape[0])[: steps * batch].reshape(steps, batch)

    def step(carry, now):
        (parameters, state), (rows, rate) = carry, now
        value, gradient = jax.value_and_grad(loss)(parameters, x[rows], y[rows])
        updates, state = ADAM.update(gradient, state)
        moved = jax.tree.map(lambda p, u: p - rate * (u + decay * p), parameters, updates)
        return (project(moved), state), value

    (parameters, state), losses = jax.lax.scan(step, (parameters, state), (order, rates))
    return parameters, state, jnp.mean(losses)


def _advance(run, right, state: _State, samples: Samples, schedule: Schedule, key: Array) -> _State:
    number = len(state.history)
    steps = samples.x.shape[0] // schedule.batch
    passed = (number + np.arange(steps) / steps) / schedule.epochs
    rates = (schedule.learning_rate * 0.5 * (1 + np.cos(np.pi * passed))).astype(np.float32)
    parameters, optimizer, loss = run(
        state.parameters,
        state.optimizer,
        samples.x,
        samples.y,
        jax.random.fold_in(key, number),
        rates,
        np.float32(schedule.weight_decay),
    )
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss became {float(loss)} in epoch {number + 1} at learning rate {schedule.learning_rate:g}: lower "
            "the learning rate, or look for values in the data that are far out of scale."
        )
    accuracy = int(right(parameters, samples.x_held, samples.y_held)) / samples.y_held.size
    better = accuracy > state.validation
    return replace(
        state,
        parameters=parameters,
        optimizer=optimizer,
        best=parameters if better else state.best,
        validation=max(accuracy, state.validation),
        history=[*state.history, Epoch(number + 1, float(loss), accuracy, float(rates[0]))],
    )
