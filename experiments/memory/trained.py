"""The arms whose hidden layers are trained: dense, pruned, fine-tuned, and ternary with quantised activations.

All are trained without biases in hidden layers on samples of root mean square coordinate 1, and come out as networks of
this library, so that bytes and operations are counted alike. Ternary weights follow Li and Liu (2016): 0 below .7 times
the mean magnitude; activations have equidistant levels with a trained step (Esser et al., 2020); the gradient passes
through both roundings as if they were not there.
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

RATES = (3e-3, 1e-3)
BATCH = 128
PATIENCE = 8
CUT = 0.7
Progress = Callable[[Epoch], None] | None


class Task:
    """Training data of one run, in the scale networks are trained at.

    Parameters
    ----------
    data : the data set; a tenth of every class of its training part is held out.
    seed : of that part, of the start and of the order of samples.
    epochs : at most.
    """

    def __init__(self, data: hntk.Dataset, seed: int, epochs: int) -> None:
        self.data, self.seed = data, seed
        self.dense: dict[tuple[int, ...], Trained] = {}
        index = np.searchsorted(data.classes, data.y_train)
        held = draw_validation(index, 0.1, seed)
        x = data.x_train * np.float32(sqrt(data.p))
        self.samples = Samples(*(jnp.asarray(part) for part in (x[~held], index[~held], x[held], index[held])))
        self.schedule = Schedule(epochs=epochs, batch=min(BATCH, len(self.samples.x)), patience=PATIENCE)

    def start(self, widths: tuple[int, ...]) -> dict[str, Any]:
        """He initialisation of the hidden layers, and a readout."""
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
        """The best training over the learning rates, by validation accuracy; checkpoints are named after the path."""
        found = []
        for rate in RATES:
            found.append(
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
                )
            )
        return max(found, key=lambda trained: trained.validation)


@lru_cache(maxsize=8)
def loss_of(forward: Callable) -> Callable:
    """Cross-entropy of a network's scores; one object for one network, as compilations are kept by it."""
    return lambda parameters, x, y: cross_entropy(forward(parameters, x), y)


def relu_forward(parameters: dict[str, Any], x: Array) -> Array:
    """Scores of a ReLU network."""
    for w in parameters["hidden"]:
        x = jax.nn.relu(x @ w.T)
    return x @ parameters["readout"] + parameters["offset"]


def _dense(task: Task, widths: tuple[int, ...], folder: Path, progress: Progress) -> Trained:
    """Trained once a task: pruning starts from it."""
    if widths not in task.dense:
        task.dense[widths] = task.best(relu_forward, task.start(widths), folder / "dense", progress)
    return task.dense[widths]


def fit_dense(
    task: Task, widths: tuple[int, ...], folder: Path, progress: Progress = None
) -> tuple[hntk.Classifier, Trained]:
    """A dense ReLU network, trained whole; checkpoints go into the folder."""
    trained = _dense(task, widths, folder, progress)
    return _relu_classifier(task, trained.parameters), trained


def fit_pruned(
    task: Task, widths: tuple[int, ...], sparsity: float, folder: Path, *, finetune: bool, progress: Progress = None
) -> tuple[hntk.Classifier, Trained]:
    """The same with the smallest weights of each hidden layer set to 0, and perhaps trained on without them."""
    trained = _dense(task, widths, folder, progress)
    pruned = trained.parameters | {"hidden": [_pruned(w, sparsity) for w in trained.parameters["hidden"]]}
    masks = [w != 0 for w in pruned["hidden"]]

    def keep_zeros(parameters: dict[str, Any]) -> dict[str, Any]:
        return parameters | {"hidden": [w * m for w, m in zip(parameters["hidden"], masks, strict=True)]}

    if finetune:
        trained = task.best(relu_forward, pruned, folder / "finetuned", progress, keep_zeros)
        pruned = trained.parameters
    else:
        scores = relu_forward(pruned, task.samples.x_held)
        right = int(jnp.sum(jnp.argmax(scores, axis=1) == task.samples.y_held)) / task.samples.y_held.size
        trained = replace(trained, parameters=pruned, validation=right)
    return _relu_classifier(task, pruned), trained


def _pruned(w: Array, sparsity: float) -> Array:
    size = jnp.abs(w)
    return jnp.where(size > jnp.quantile(size, sparsity), w, 0.0)


def _relu_classifier(task: Task, parameters: dict[str, Any]) -> hntk.Classifier:
    matrices = [hntk.WeightMatrix(w) for w in parameters["hidden"]]
    return _classifier(task, parameters, matrices, [hntk.activation("relu")] * len(matrices))


def fit_ternary(
    task: Task, widths: tuple[int, ...], levels: int, folder: Path, progress: Progress = None
) -> tuple[hntk.Classifier, Trained]:
    """Ternary weights and activations of a few levels, trained end to end with straight-through gradients."""
    start = task.start(widths) | {"step": jnp.full(len(widths), 2.0 / levels, jnp.float32)}
    trained = task.best(ternary_forward(levels), start, folder / "ternary", progress)
    best = trained.parameters
    parts = [_ternary(w) for w in best["hidden"]]
    matrices = [hntk.WeightMatrix(values.astype(jnp.int8), float(scale), "ternary") for values, scale in parts]
    steps = [abs(float(step)) for step in best["step"]]
    staircases: list[hntk.Activation] = [
        hntk.staircase((np.arange(levels - 1) + 0.5) * step, np.arange(levels) * step, f"quantised{levels}")
        for step in steps
    ]
    return _classifier(task, best, matrices, staircases), trained


@lru_cache(maxsize=8)
def ternary_forward(levels: int) -> Callable:
    """Scores of a network with ternary weights and quantised activations, as a function of (parameters, x)."""

    def forward(parameters: dict[str, Any], x: Array) -> Array:
        for w, step in zip(parameters["hidden"], parameters["step"], strict=True):
            values, scale = _ternary(w)
            quantised = w + jax.lax.stop_gradient(values * scale - w)
            x = _quantised(x @ quantised.T, step, levels)
        return x @ parameters["readout"] + parameters["offset"]

    return forward


def _ternary(w: Array) -> tuple[Array, Array]:
    """Values in {0, ±1} and the scale that is nearest to w."""
    size = jnp.abs(w)
    kept = size > CUT * jnp.mean(size)
    return jnp.sign(w) * kept, jnp.sum(size * kept) / jnp.sum(kept)


def _quantised(t: Array, step: Array, levels: int) -> Array:
    size = jnp.abs(step)
    inside = jnp.clip(t / size, 0.0, levels - 1.0)
    return (inside + jax.lax.stop_gradient(jnp.floor(inside + 0.5) - inside)) * size


def _classifier(
    task: Task, parameters: dict[str, Any], matrices: list[hntk.WeightMatrix], layers: list[hntk.Activation]
) -> hntk.Classifier:
    """In the library's scaling: 1/√fan-in from the second layer on, and samples of norm 1."""
    fan_in = [task.data.p, *(m.shape[0] for m in matrices)]
    scaled = [replace(m, scale=m.scale * sqrt(d)) for m, d in zip(matrices, fan_in, strict=False)]
    network = hntk.Network(tuple(scaled), tuple(layers), (0.0,) * len(layers), None, None)
    return hntk.Classifier(
        network,
        task.data.classes,
        np.asarray(parameters["readout"], np.float64) * sqrt(fan_in[-1]),
        np.asarray(parameters["offset"], np.float64),
    )
