"""Networks whose hidden layers are trained: dense, pruned, fine-tuned, and ternary with activations of few levels.

Dense ones are trained without biases in hidden layers on samples whose coordinates have root mean square 1, and
returned as networks of this library, so that bytes and operations are counted alike. Ternary ones are those of
`hntk.train`, on the same samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import hntk
from experiments.runner.config import Config
from experiments.training.dense_networks import HELD_OUT, TrainingSetup, relu_forward
from experiments.training.recipes import data_augmentation, data_recipe
from experiments.training.samples import image_shape
from hntk.readouts.fit_data import draw_validation
from hntk.readouts.training import Epoch, Schedule, Trained

Progress = Callable[[Any], None] | None
# What a training of the library is given instead of the two learning rates at which dense networks are trained.
TRAININGS = 2


class FittedNetwork(NamedTuple):
    """A trained classifier, its validation accuracy, and the history of its training."""

    classifier: hntk.Classifier | hntk.IntegerClassifier
    validation: float
    history: tuple[Epoch, ...]


def fit_dense(setup: TrainingSetup, widths: tuple[int, ...], folder: Path, progress: Progress = None) -> FittedNetwork:
    """Train a dense ReLU network; checkpoints go into the folder."""
    trained = setup.trained(widths, folder, progress)
    return _relu_classifier(setup, trained)


def fit_pruned(
    setup: TrainingSetup,
    widths: tuple[int, ...],
    sparsity: float,
    folder: Path,
    *,
    finetune: bool,
    progress: Progress = None,
) -> FittedNetwork:
    """Prune the dense network: set the smallest weights of each hidden layer to 0, and fine-tune the rest if asked."""
    trained = setup.trained(widths, folder, progress)
    pruned = trained.parameters | {"hidden": [_pruned(w, sparsity) for w in trained.parameters["hidden"]]}
    masks = [w != 0 for w in pruned["hidden"]]

    def keep_zeros(parameters: dict[str, Any]) -> dict[str, Any]:
        return parameters | {"hidden": [w * m for w, m in zip(parameters["hidden"], masks, strict=True)]}

    if finetune:
        trained = setup.best(relu_forward, pruned, folder / "finetuned", progress, keep_zeros)
    else:
        scores = relu_forward(pruned, setup.samples.x_held)
        right = int(jnp.sum(jnp.argmax(scores, axis=1) == setup.samples.y_held)) / setup.samples.y_held.size
        trained = replace(trained, parameters=pruned, validation=right)
    return _relu_classifier(setup, trained)


def _pruned(w: Array, sparsity: float) -> Array:
    """Set the share ``sparsity`` of the weights with the smallest magnitudes to 0."""
    size = jnp.abs(w)
    return jnp.where(size > jnp.quantile(size, sparsity), w, 0.0)


def _relu_classifier(setup: TrainingSetup, trained: Trained) -> FittedNetwork:
    """Return a classifier in the library's scaling: 1/√fan-in from the second layer on, and samples of norm 1."""
    parameters = trained.parameters
    matrices = [hntk.WeightMatrix(w) for w in parameters["hidden"]]
    fan_in = [setup.samples.x.shape[1], *(m.shape[0] for m in matrices)]
    scaled = [replace(m, scale=m.scale * sqrt(d)) for m, d in zip(matrices, fan_in, strict=False)]
    relus = (hntk.activation("relu"),) * len(matrices)
    network = hntk.Network(tuple(scaled), relus, (0.0,) * len(matrices), None, None)
    readout, offset = (np.asarray(parameters[name], np.float64) for name in ("readout", "offset"))
    classifier = hntk.Classifier(network, setup.classes, readout * sqrt(fan_in[-1]), offset)
    return FittedNetwork(classifier, trained.validation, trained.history)


def fit_ternary(
    cfg: Config, data: hntk.Dataset, widths: tuple[int, ...], levels: int, folder: Path, progress: Progress = None
) -> FittedNetwork:
    """Train ternary weights and activations of a few levels, with the augmentation and the decay of the data's recipe.

    The validation samples are those of the dense networks of the same seed.
    """
    raw, recipe, kept = data.raw(data.x_train), data_recipe(data.name), {}
    held = draw_validation(np.searchsorted(data.classes, data.y_train), HELD_OUT, int(cfg.seed))
    epochs = TRAININGS * cfg.experiment.epochs
    schedule = Schedule(
        epochs=epochs, batch=min(recipe.batch, int(np.sum(~held))), learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay, warmup=recipe.warmup, patience=epochs,
    )  # fmt: skip

    def keep(snapshot: Any) -> None:
        kept["history"] = snapshot.members[0].history

    classifier = hntk.train(
        raw[~held], data.y_train[~held], widths, levels=levels, start="match", schedule=schedule,
        shape=image_shape(data), augment=data_augmentation(data.name), validation=(raw[held], data.y_train[held]),
        key=jax.random.key(int(cfg.seed)), checkpoint=folder / "ternary.npz", progress=progress, snapshot=keep,
    )  # fmt: skip
    validation = classifier.accuracy(raw[held], data.y_train[held])
    return FittedNetwork(classifier, validation, kept.get("history", ()))
