"""Networks whose hidden layers are trained: dense, pruned, fine-tuned, and ternary with quantised activations.

All are trained without biases in hidden layers on samples whose coordinates have root mean square 1. They are returned
as networks of this library, so that bytes and operations are counted alike. Ternary weights follow Li and Liu (2016):
weights below .7 times the mean magnitude become 0. Activations have equidistant levels with a trained step (Esser et
al., 2020). The gradient passes through both roundings as if they were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import hntk
from hntk.readouts.fit_data import draw_validation
from hntk.readouts.softmax import cross_entropy
from hntk.readouts.training import Epoch, Samples, Schedule, Trained, train

LEARNING_RATES = (3e-3, 1e-3)
BATCH = 128
# Epochs without improvement after which a training stops.
PATIENCE = 8
# Weights below this multiple of the mean magnitude become 0 in ternary layers.
TERNARY_THRESHOLD = 0.7
# Share of the training samples that is held out for validation.
HELD_OUT = 0.1
Progress = Callable[[Epoch], None] | None


class TrainingSetup:
    """Training data in the scale at which networks are trained, and the dense networks trained on them so far.

    Parameters
    ----------
    data : Dataset
        The data set; a tenth of every class of its training samples is held out for validation.
    seed : int
        Seed of that part, of the initial weights and of the order of samples.
    epochs : int
        Most epochs of a training.
    """

    def __init__(self, data: hntk.Dataset, seed: int, epochs: int) -> None:
        self.data, self.seed = data, seed
        self.dense: dict[tuple[int, ...], Trained] = {}
        index = np.searchsorted(data.classes, data.y_train)
        held = draw_validation(index, HELD_OUT, seed)
        x = data.x_train * np.float32(sqrt(data.p))
        self.samples = Samples(*(jnp.asarray(part) for part in (x[~held], index[~held], x[held], index[held])))
        self.schedule = Schedule(epochs=epochs, batch=min(BATCH, len(self.samples.x)), patience=PATIENCE)

    def start(self, widths: tuple[int, ...]) -> dict[str, Any]:
        """Return initial parameters: He initialisation of the hidden layers, and a readout."""
        *keys, last = jax.random.split(jax.random.key(self.seed), len(widths) + 1)
        fan_in = (self.data.p, *widths)
        hidden = [
            jax.random.normal(key, (d, before), jnp.float32) * np.float32(sqrt(2 / before))
            for key, d, before in zip(keys, widths, fan_in, strict=False)
        ]
        classes = len(self.data.classes)
        readout = jax.random.normal(last, (widths[-1], classes), jnp.float32) / np.float32(sqrt(widths[-1]))
        return {"hidden": hidden, "readout": readout, "offset": jnp.zeros(classes, jnp.float32)}

    def best(
        self, forward: Callable, start: dict[str, Any], path: Path, progress: Progress, project: Callable | None = None
    ) -> Trained:
        """Train at every learning rate and return the training with the best validation accuracy.

        Parameters
        ----------
        forward : callable
            Scores as a function of (parameters, x).
        start : dict
            Initial parameters.
        path : Path
            Checkpoints get this name and the learning rate.
        progress : callable, optional
            Called with every epoch.
        project : callable, optional
            Applied to the parameters after every step.
        """
        trainings = [
            train(
                loss_of(forward),
                forward,
                start,
                self.samples,
                replace(self.schedule, learning_rate=rate),
                jax.random.key(self.seed),
                project=project,
                checkpoint=path.with_name(f"{path.name}-{rate:g}.npz"),
                progress=progress,
            )  # fmt: skip
            for rate in LEARNING_RATES
        ]
        return max(trainings, key=lambda training: training.validation)


@lru_cache(maxsize=8)
def loss_of(forward: Callable) -> Callable:
    """Return the cross-entropy of a network's scores; the same object every time, so that it is compiled once."""
    return lambda parameters, x, y: cross_entropy(forward(parameters, x), y)


def relu_forward(parameters: dict[str, Any], x: Array) -> Array:
    """Return the scores of a ReLU network."""
    for w in parameters["hidden"]:
        x = jax.nn.relu(x @ w.T)
    return x @ parameters["readout"] + parameters["offset"]


def _dense(setup: TrainingSetup, widths: tuple[int, ...], folder: Path, progress: Progress) -> Trained:
    """Return the trained dense network, which pruning starts from too; it is trained once for a setup."""
    if widths not in setup.dense:
        setup.dense[widths] = setup.best(relu_forward, setup.start(widths), folder / "dense", progress)
    return setup.dense[widths]


def fit_dense(
    setup: TrainingSetup, widths: tuple[int, ...], folder: Path, progress: Progress = None
) -> tuple[hntk.Classifier, Trained]:
    """Train a dense ReLU network; checkpoints go into the folder."""
    trained = _dense(setup, widths, folder, progress)
    return _relu_classifier(setup, trained.parameters), trained


def fit_pruned(
    setup: TrainingSetup,
    widths: tuple[int, ...],
    sparsity: float,
    folder: Path,
    *,
    finetune: bool,
    progress: Progress = None,
) -> tuple[hntk.Classifier, Trained]:
    """Prune the dense network: set the smallest weights of each hidden layer to 0, and fine-tune the rest if asked."""
    trained = _dense(setup, widths, folder, progress)
    pruned = trained.parameters | {"hidden": [_pruned(w, sparsity) for w in trained.parameters["hidden"]]}
    masks = [w != 0 for w in pruned["hidden"]]

    def keep_zeros(parameters: dict[str, Any]) -> dict[str, Any]:
        return parameters | {"hidden": [w * m for w, m in zip(parameters["hidden"], masks, strict=True)]}

    if finetune:
        trained = setup.best(relu_forward, pruned, folder / "finetuned", progress, keep_zeros)
        pruned = trained.parameters
    else:
        scores = relu_forward(pruned, setup.samples.x_held)
        right = int(jnp.sum(jnp.argmax(scores, axis=1) == setup.samples.y_held)) / setup.samples.y_held.size
        trained = replace(trained, parameters=pruned, validation=right)
    return _relu_classifier(setup, pruned), trained


def _pruned(w: Array, sparsity: float) -> Array:
    """Set the share ``sparsity`` of the weights with the smallest magnitudes to 0."""
    size = jnp.abs(w)
    return jnp.where(size > jnp.quantile(size, sparsity), w, 0.0)


def _relu_classifier(setup: TrainingSetup, parameters: dict[str, Any]) -> hntk.Classifier:
    matrices = [hntk.WeightMatrix(w) for w in parameters["hidden"]]
    return _classifier(setup, parameters, matrices, [hntk.activation("relu")] * len(matrices))


def fit_ternary(
    setup: TrainingSetup, widths: tuple[int, ...], levels: int, folder: Path, progress: Progress = None
) -> tuple[hntk.Classifier, Trained]:
    """Train ternary weights and activations of a few levels end to end, with straight-through gradients."""
    start = setup.start(widths) | {"step": jnp.full(len(widths), 2.0 / levels, jnp.float32)}
    trained = setup.best(ternary_forward(levels), start, folder / "ternary", progress)
    best = trained.parameters
    parts = [_ternary(w) for w in best["hidden"]]
    matrices = [hntk.WeightMatrix(values.astype(jnp.int8), float(scale), "ternary") for values, scale in parts]
    steps = [abs(float(step)) for step in best["step"]]
    staircases: list[hntk.Activation] = [
        hntk.staircase((np.arange(levels - 1) + 0.5) * step, np.arange(levels) * step, f"quantised{levels}")
        for step in steps
    ]
    return _classifier(setup, best, matrices, staircases), trained


@lru_cache(maxsize=8)
def ternary_forward(levels: int) -> Callable:
    """Return a function of (parameters, x): scores of a network with ternary weights and quantised activations."""

    def forward(parameters: dict[str, Any], x: Array) -> Array:
        for w, step in zip(parameters["hidden"], parameters["step"], strict=True):
            values, scale = _ternary(w)
            quantised = w + jax.lax.stop_gradient(values * scale - w)
            x = _quantised(x @ quantised.T, step, levels)
        return x @ parameters["readout"] + parameters["offset"]

    return forward


def _ternary(w: Array) -> tuple[Array, Array]:
    """Return values in {0, ±1}, and the scale at which they are nearest to w."""
    size = jnp.abs(w)
    kept = size > TERNARY_THRESHOLD * jnp.mean(size)
    return jnp.sign(w) * kept, jnp.sum(size * kept) / jnp.sum(kept)


def _quantised(t: Array, step: Array, levels: int) -> Array:
    """Round to the nearest of the multiples 0, 1, …, levels − 1 of the step."""
    size = jnp.abs(step)
    inside = jnp.clip(t / size, 0.0, levels - 1.0)
    return (inside + jax.lax.stop_gradient(jnp.floor(inside + 0.5) - inside)) * size


def _classifier(
    setup: TrainingSetup, parameters: dict[str, Any], matrices: list[hntk.WeightMatrix], layers: list[hntk.Activation]
) -> hntk.Classifier:
    """Return a classifier in the library's scaling: 1/√fan-in from the second layer on, and samples of norm 1."""
    fan_in = [setup.data.p, *(m.shape[0] for m in matrices)]
    scaled = [replace(m, scale=m.scale * sqrt(d)) for m, d in zip(matrices, fan_in, strict=False)]
    network = hntk.Network(tuple(scaled), tuple(layers), (0.0,) * len(layers), None, None)
    readout, offset = (np.asarray(parameters[name], np.float64) for name in ("readout", "offset"))
    return hntk.Classifier(network, setup.data.classes, readout * sqrt(fan_in[-1]), offset)
