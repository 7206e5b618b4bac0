"""Teachers of few-level networks: the kernel regression of the library, or a wide dense network trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.runner.config import Config
from experiments.runner.console import progress
from experiments.training.dense_networks import LEARNING_RATES, TrainingSetup, relu_forward
from experiments.training.samples import SplitSamples
from hntk.readouts.training import Samples

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
    centre = samples.x.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.float32(np.sqrt(np.mean(np.square(samples.x - centre, dtype=np.float64))))

    def scaled(raw: Any) -> Any:
        return (raw.astype(jnp.float32) - centre) / spread

    classes = np.unique(samples.y)
    index, held = (np.searchsorted(classes, y) for y in (samples.y, samples.y_held))
    setup = TrainingSetup(
        Samples(scaled(samples.x), index, scaled(samples.x_held), held),  # type: ignore[arg-type]
        classes,
        int(cfg.seed),
        int(cfg.experiment.teacher_epochs),
    )
    total = len(LEARNING_RATES) * setup.schedule.epochs
    with progress("training the dense teacher, epochs", total) as advance:
        trained = setup.trained(tuple(cfg.experiment.teacher_widths), folder, lambda _: advance(1))
    return lambda raw: relu_forward(trained.parameters, scaled(raw))
