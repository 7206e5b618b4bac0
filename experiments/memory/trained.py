"""Networks whose hidden layers are trained: dense, pruned, fine-tuned, and ternary with activations of few levels.

All are trained by the loop of `hntk.train` on the same whole numbers, with the same choices of augmentation, weight
decay and learning rate, of which the best by validation accuracy counts. Dense ones have no biases in hidden layers,
and are returned as networks of this library, so that bytes and operations are counted alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

import hntk
from experiments.memory.choices import Choice, Tried
from experiments.training.dense_networks import relu_forward, started, train_relu, weights_of
from experiments.training.recipes import data_augmentation
from experiments.training.samples import split
from experiments.training.trained_arm import keys_of
from hntk.networks.integer_inputs import Rounded
from hntk.readouts.training import Epoch, Trained
from hntk.training.few_level_layers import Parameters
from hntk.training.samples import Inputs, TrainingData, training_data

Progress = Callable[[Any], None] | None
# Share of the training samples that is held out for validation.
HELD_OUT = 0.1


class FittedNetwork(NamedTuple):
    """A trained classifier, its validation accuracy, the history of its training, and how it was trained."""

    classifier: hntk.Classifier | hntk.IntegerClassifier
    validation: float
    history: tuple[Epoch, ...]
    choice: Choice


class TrainingSetup:
    """Samples of a data set, what is tried on them, and the dense networks trained so far.

    Parameters
    ----------
    data : Dataset
        The data set.
    tried : Tried
        Seeds and choices.
    """

    def __init__(self, data: hntk.Dataset, tried: Tried) -> None:
        self.name, self.tried, self.samples = data.name, tried, split(data, HELD_OUT)
        self.keys = keys_of(tried.seeds)
        x, y, x_held, y_held = self.samples[:4]
        self.data: TrainingData = training_data(x, y, shape=self.samples.shape, validation=(x_held, y_held))
        self.input = _input(data, self.data.inputs)
        self.dense: dict[tuple[int, ...], list[tuple[Trained, Choice]]] = {}

    def best(
        self,
        train: Callable[..., Sequence[Any]],
        validation: Callable[[Any], float],
        path: Path,
    ) -> list[tuple[Any, Choice]]:
        """Train by every choice, and return the training of each seed with the best validation accuracy.

        Parameters
        ----------
        train : callable
            Maps schedule, augmentation and checkpoint, by these names, to the trainings of all seeds.
        validation : callable
            Returns the validation accuracy of a training.
        path : Path
            Checkpoints get this name and a number.

        Returns
        -------
        list of pairs
            Training and choice of each seed; the first of equals.
        """
        tried, samples = self.tried, len(self.samples.x)
        trainings = [
            train(
                schedule=tried.schedule(self.name, choice, samples),
                augment=data_augmentation(self.name, strength=choice.strength) if choice.strength else None,
                checkpoint=path.with_name(f"{path.name}-{number}.npz") if tried.checkpoints else None,
            )
            for number, choice in enumerate(tried.choices)
        ]
        by_seed = [list(zip(each, tried.choices, strict=True)) for each in zip(*trainings, strict=True)]
        return [max(each, key=lambda pair: validation(pair[0])) for each in by_seed]

    def trained(
        self, starts: Sequence[Parameters], path: Path, progress: Progress = None
    ) -> list[tuple[Trained, Choice]]:
        """Return the best dense networks from some starts, one a seed."""

        def train(**options: Any) -> Sequence[Trained]:
            return train_relu(starts, self.data, keys=self.keys, progress=progress, **options)

        return self.best(train, lambda training: training.validation, path)

    def trained_dense(
        self, widths: tuple[int, ...], folder: Path, progress: Progress = None
    ) -> list[tuple[Trained, Choice]]:
        """Return dense networks, which are trained once for a setup; checkpoints go into the folder."""
        if widths not in self.dense:
            starts = [started(widths, self.input, self.data.outputs, key) for key in self.keys]
            self.dense[widths] = self.trained(starts, folder / "dense", progress)
        return self.dense[widths]


def _input(data: hntk.Dataset, inputs: Inputs) -> dict[str, Array]:
    """Return what brings whole numbers to the data set's normalised samples, times √p for coordinates of size 1."""
    zero, factor = (inputs.centre, inputs.factor) if isinstance(inputs, Rounded) else (np.zeros(data.p), 1.0)
    centre = (np.asarray(data.centre, np.float64) - zero) * factor
    return {
        "centre": jnp.asarray(centre, jnp.float32),
        "size": jnp.float32(factor * float(data.scale) / sqrt(data.p)),
    }


def fit_dense(
    setup: TrainingSetup, widths: tuple[int, ...], folder: Path, progress: Progress = None
) -> list[FittedNetwork]:
    """Train dense ReLU networks, one a seed; checkpoints go into the folder."""
    return [_relu_network(setup, *pair) for pair in setup.trained_dense(widths, folder, progress)]


def fit_pruned(
    setup: TrainingSetup,
    widths: tuple[int, ...],
    sparsity: float,
    folder: Path,
    *,
    finetune: bool,
    progress: Progress = None,
) -> list[FittedNetwork]:
    """Prune dense networks: set the smallest weights of each hidden layer to 0, and fine-tune the rest if asked."""
    dense = setup.trained_dense(widths, folder, progress)
    pruned = [_pruned(trained.parameters, sparsity) for trained, _ in dense]
    if finetune:
        return [_relu_network(setup, *pair) for pair in setup.trained(pruned, folder / "finetuned", progress)]
    return [
        _relu_network(setup, replace(trained, parameters=left, validation=_validation(left, setup.data)), choice)
        for left, (trained, choice) in zip(pruned, dense, strict=True)
    ]


def _pruned(parameters: Parameters, sparsity: float) -> Parameters:
    """Keep the weights of each layer but the share ``sparsity`` with the smallest magnitudes."""

    def kept(w: Array) -> Array:
        size = jnp.abs(w)
        return (size > jnp.quantile(size, sparsity)).astype(jnp.float32)

    return parameters | {"layers": [layer | {"kept": kept(layer["weights"])} for layer in parameters["layers"]]}


def _validation(parameters: Parameters, data: TrainingData) -> float:
    scores = relu_forward(parameters, jnp.asarray(data.held.whole, jnp.float32))
    return float(np.mean(np.argmax(np.asarray(scores), axis=1) == data.held.targets))


def _relu_network(setup: TrainingSetup, trained: Trained, choice: Choice) -> FittedNetwork:
    """Return a classifier in the library's scaling: 1/√fan-in from the second layer on, and samples of norm 1."""
    parameters = trained.parameters
    matrices = [hntk.WeightMatrix(weights_of(layer)) for layer in parameters["layers"]]
    fan_in = [setup.data.inputs_width, *(m.shape[0] for m in matrices)]
    scaled = [replace(m, scale=m.scale * sqrt(d)) for m, d in zip(matrices, fan_in, strict=False)]
    relus = (hntk.activation("relu"),) * len(matrices)
    network = hntk.Network(tuple(scaled), relus, (0.0,) * len(matrices), None, None)
    readout, offset = (np.asarray(parameters[name], np.float64) for name in ("readout", "offset"))
    assert setup.data.classes is not None
    classifier = hntk.Classifier(network, setup.data.classes, readout.T * sqrt(fan_in[-1]), offset)
    return FittedNetwork(classifier, trained.validation, trained.history, choice)


def fit_ternary(
    setup: TrainingSetup,
    widths: tuple[int, ...],
    levels: int,
    sparsity: float,
    folder: Path,
    *,
    start: str = "uniform",
    progress: Progress = None,
) -> list[FittedNetwork]:
    """Train networks of ternary weights, with a share of zeros, and of few levels, one a seed; see `hntk.train`."""
    x, y, x_held, y_held = setup.samples[:4]

    def train(**options: Any) -> list[tuple[hntk.IntegerClassifier, tuple[Epoch, ...]]]:
        histories: list[tuple[Epoch, ...]] = [() for _ in setup.keys]

        def keep(snapshot: Any) -> None:
            histories[:] = [member.history for member in snapshot.members]

        classifiers = hntk.train(
            x, y, widths, levels=levels, sparsity=sparsity, start=start, shape=setup.samples.shape,
            validation=(x_held, y_held), key=setup.keys, progress=progress, snapshot=keep, **options,
        )  # fmt: skip
        return list(zip(classifiers, histories, strict=True))

    def validation(training: tuple[hntk.IntegerClassifier, Any]) -> float:
        return training[0].accuracy(x_held, y_held)

    chosen = setup.best(train, validation, folder / "ternary")
    return [FittedNetwork(found[0], validation(found), found[1], choice) for found, choice in chosen]
