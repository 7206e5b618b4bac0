"""Teachers of few-level networks: the kernel regression of the library, or a wide dense network trained here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.runner.config import Config
from experiments.runner.console import progress
from experiments.training.dense_networks import relu_forward, scaled_input, started, train_relu
from experiments.training.samples import SplitSamples
from hntk.readouts.training import Schedule
from hntk.training.samples import training_data

# Learning rates of the dense teacher, the better of which is taken.
LEARNING_RATES = (3e-3, 1e-3)
BATCH = 128
# Epochs without improvement after which a training stops.
PATIENCE = 8
# Samples whose logits are computed at a time.
BLOCK = 8192


def teacher_of(cfg: Config, samples: SplitSamples, folder: Path, *, varied: bool) -> Any:
    """Return what `hntk.train` takes as its teacher.

    Parameters
    ----------
    cfg : Config
        The configuration; ``experiment.teacher`` names the teacher.
    samples : SplitSamples
        Samples that a dense teacher is trained on, the validation samples held out from it too.
    folder : Path
        Where its checkpoints are kept.
    varied : bool
        Whether training samples are augmented. Those of images are then shown to the dense teacher as they are varied;
        others keep the logits of the samples that they come from.

    Returns
    -------
    None, str, callable or array
        The teacher.
    """
    name = cfg.experiment.teacher
    if name == "none":
        return None
    if name == "kernel":
        return name
    scores = _dense_scores(cfg, samples, folder)
    if varied and samples.shape is not None:
        return scores
    parts = [np.asarray(scores(jnp.asarray(samples.x[i : i + BLOCK]))) for i in range(0, len(samples.x), BLOCK)]
    return np.concatenate(parts)


def _dense_scores(cfg: Config, samples: SplitSamples, folder: Path) -> Callable[[Array], Array]:
    """Train the dense teacher, and return its scores as a function of raw samples."""
    data = training_data(samples.x, samples.y, shape=samples.shape, validation=(samples.x_held, samples.y_held))
    key, epochs = jax.random.key(int(cfg.seed)), int(cfg.experiment.teacher_epochs)
    start = started(cfg.experiment.teacher_widths, scaled_input(data.training.whole), data.outputs, key)
    schedule = Schedule(epochs=epochs, batch=BATCH, patience=PATIENCE)
    with progress("training the dense teacher, epochs", len(LEARNING_RATES) * epochs) as advance:
        trainings = [
            train_relu(
                [start], data, replace(schedule, learning_rate=rate), key[None],
                checkpoint=folder / f"dense-{rate:g}.npz", progress=lambda _: advance(1),
            )[0]
            for rate in LEARNING_RATES
        ]  # fmt: skip
    best = max(trainings, key=lambda training: training.validation)
    return lambda raw: relu_forward(best.parameters, data.inputs(raw))
