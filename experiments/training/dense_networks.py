"""Dense ReLU networks trained end to end: rivals of few-level networks, and their teachers."""

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
# Share of the training samples that is held out for validation.
HELD_OUT = 0.1
Progress = Callable[[Epoch], None] | None


class TrainingSetup:
    """Training samples whose coordinates have root mean square 1, and the dense networks trained on them so far.

    Parameters
    ----------
    samples : Samples
        Training and validation samples of that size, with class indices.
    classes : (K,) array
        Labels, in the order of the scores.
    seed : int
        Seed of the initial weights and of the order of samples.
    epochs : int
        Most epochs of a training.
    """

    def __init__(self, samples: Samples, classes: np.ndarray, seed: int, epochs: int) -> None:
        self.samples, self.classes, self.seed = Samples(*map(jnp.asarray, samples)), classes, seed
        self.dense: dict[tuple[int, ...], Trained] = {}
        self.schedule = Schedule(epochs=epochs, batch=min(BATCH, len(self.samples.x)), patience=PATIENCE)

    @classmethod
    def of(cls, data: hntk.Dataset, seed: int, epochs: int) -> TrainingSetup:
        """Return the setup of a data set, a tenth of every class of its training samples held out."""
        index = np.searchsorted(data.classes, data.y_train)
        held = draw_validation(index, HELD_OUT, seed)
        x = data.x_train * np.float32(sqrt(data.p))
        return cls(Samples(x[~held], index[~held], x[held], index[held]), data.classes, seed, epochs)  # type: ignore[arg-type]

    def start(self, widths: tuple[int, ...]) -> dict[str, Any]:
        """Return initial parameters: He initialisation of the hidden layers, and a readout."""
        *keys, last = jax.random.split(jax.random.key(self.seed), len(widths) + 1)
        fan_in = (self.samples.x.shape[1], *widths)
        hidden = [
            jax.random.normal(key, (d, before), jnp.float32) * np.float32(sqrt(2 / before))
            for key, d, before in zip(keys, widths, fan_in, strict=False)
        ]
        outputs = len(self.classes)
        readout = jax.random.normal(last, (widths[-1], outputs), jnp.float32) / np.float32(sqrt(widths[-1]))
        return {"hidden": hidden, "readout": readout, "offset": jnp.zeros(outputs, jnp.float32)}

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

    def trained(self, widths: tuple[int, ...], folder: Path, progress: Progress = None) -> Trained:
        """Return the trained dense network, which is trained once for a setup; checkpoints go into the folder."""
        if widths not in self.dense:
            self.dense[widths] = self.best(relu_forward, self.start(widths), folder / "dense", progress)
        return self.dense[widths]


@lru_cache(maxsize=8)
def loss_of(forward: Callable) -> Callable:
    """Return the cross-entropy of a network's scores; the same object every time, so that it is compiled once."""
    return lambda parameters, x, y: cross_entropy(forward(parameters, x), y)


def relu_forward(parameters: dict[str, Any], x: Array) -> Array:
    """Return the scores of a ReLU network."""
    for w in parameters["hidden"]:
        x = jax.nn.relu(x @ w.T)
    return x @ parameters["readout"] + parameters["offset"]
