"""Training of the baseline: a dense ReLU network in float32, on the images that its program will see."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

import hntk
from experiments.shipping.int8_network import FloatLayers
from hntk.readouts.answers import draw_validation
from hntk.readouts.softmax import cross_entropy
from hntk.readouts.training import ADAM, epoch, learning_rates

# Share of every class that is held out for validation.
HELD_OUT = 0.1
# Images that are evaluated at a time.
BLOCK = 5000


class DenseTraining(NamedTuple):
    """A trained network.

    Attributes
    ----------
    layers : sequence of (weights, bias)
        Layers that read bytes, of the epoch with the best validation accuracy.
    values : (n, p) array
        Bytes that the first layer reads of the training images.
    validation : float
        The best validation accuracy.
    """

    layers: FloatLayers
    values: Int[np.ndarray, "n p"]
    validation: float

    def predict(self, values: Int[np.ndarray, "m p"], classes: np.ndarray) -> np.ndarray:
        """Return the labels of samples from the bytes that the first layer reads, in floating point."""
        scores = relu_scores(self.layers, values.astype(np.float64), np.maximum)
        return classes[np.argmax(scores, axis=1)]


def train_dense(
    raw: Int[np.ndarray, "n q"],
    y: Int[np.ndarray, " n"],
    widths: tuple[int, ...],
    *,
    inputs: Any,
    shape: tuple[int, int],
    augment: hntk.Augmentation | None,
    schedule: hntk.Schedule,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> DenseTraining:
    """Train a dense ReLU network with biases by Adam on the cross-entropy.

    Parameters
    ----------
    raw : (n, q) array of uint8
        Images.
    y : (n,) array
        Class indices.
    widths : tuple of int
        Hidden widths.
    inputs : Pixels or PooledPixels
        What raw bytes become before the first layer, in training as in the program.
    shape : (int, int)
        Height and width of an image.
    augment : Augmentation or None
        Random deformations of images in every step.
    schedule : Schedule
        How long and how fast; its patience does not count.
    seed : int
        Seed of the start, the held-out part, the order and the deformations.
    progress : callable
        Called with the number of every epoch.

    Returns
    -------
    DenseTraining
        The best network.
    """
    held = draw_validation(y, HELD_OUT, seed)
    values = _in_blocks(lambda part: np.asarray(inputs(part)).astype(np.uint8), raw)
    centre, spread = float(values[~held].mean()), float(values[~held].std())
    start_key, run_key = jax.random.split(jax.random.key(seed))
    best = parameters = _start(start_key, (values.shape[1], *widths, int(y.max()) + 1))
    state, validation = ADAM.init(parameters), -1.0

    take = partial(_batch, inputs, shape, augment, centre, spread)
    run = jax.jit(partial(epoch, _loss, lambda p, _: p, schedule.batch, take=take))
    samples = jnp.asarray(raw[~held]), jnp.asarray(y[~held])
    decay = jax.tree.map(lambda _: np.float32(schedule.weight_decay), parameters)
    scores = jax.jit(lambda p, part: relu_scores(p, (part.astype(jnp.float32) - centre) / spread))
    for number in range(schedule.epochs):
        rates = learning_rates(schedule, number, len(samples[0]) // schedule.batch)
        key = jax.random.fold_in(run_key, number)
        parameters, state, loss = run(parameters, state, samples, key, rates, decay)
        if not np.isfinite(loss):
            raise hntk.TrainingError(f"the loss became {loss} in epoch {number + 1}: lower the learning rate.")
        at = parameters
        predicted = _in_blocks(lambda part, at=at: np.argmax(np.asarray(scores(at, part)), axis=1), values[held])
        right = float(np.mean(predicted == y[held]))
        if right > validation:
            best, validation = parameters, right
        progress(number + 1)
    return DenseTraining(_of_bytes(best, centre, spread), values[~held], validation)


def _batch(
    inputs: Any,
    shape: tuple[int, int],
    augment: Any,
    centre: float,
    spread: float,
    samples: Any,
    rows: Array,
    key: Array,
) -> tuple[Array, Array]:
    """Return deformed images as the first layer reads them, and their classes."""
    images = samples[0][rows].astype(jnp.float32)
    if augment is not None:
        images = augment(key, images.reshape(-1, *shape)).reshape(images.shape)
    return (inputs(images) - centre) / spread, samples[1][rows]


def relu_scores(parameters: Any, x: Any, maximum: Callable = jnp.maximum) -> Any:
    """Return the scores of a dense ReLU network."""
    *hidden, (readout, offset) = parameters
    for weights, bias in hidden:
        x = maximum(x @ weights.T + bias, 0)
    return x @ readout.T + offset


def _loss(parameters: Any, x: Array, y: Array) -> Array:
    return cross_entropy(relu_scores(parameters, x), y)


def _start(key: Array, widths: tuple[int, ...]) -> list[tuple[Array, Array]]:
    """Return He initialisation."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        (jax.random.normal(each, (d, p), jnp.float32) * np.float32((2 / p) ** 0.5), jnp.zeros(d, jnp.float32))
        for each, p, d in zip(keys, widths, widths[1:], strict=False)
    ]


def _of_bytes(parameters: Any, centre: float, spread: float) -> FloatLayers:
    """Return the same network for inputs in bytes: their centre and spread go into the first layer."""
    layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in parameters]
    weights, bias = layers[0]
    layers[0] = weights / spread, bias - weights.sum(axis=1) * centre / spread
    return layers


def _in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.concatenate([function(rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)])
