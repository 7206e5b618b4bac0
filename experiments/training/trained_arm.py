"""Networks of few levels trained from several seeds together, by the settings of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import hntk
from experiments.runner.config import Config
from experiments.runner.console import progress
from experiments.training.recipes import augmentation_of, network_options, schedule_of
from experiments.training.samples import SplitSamples
from experiments.training.teachers import teacher_of

CHECKPOINT = "training.npz"


def keys_of(seeds: Sequence[int]) -> jax.Array:
    """Return one random key for each seed."""
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def train_seeds(
    cfg: Config,
    samples: SplitSamples,
    seeds: Sequence[int],
    folder: Path,
    *,
    levels: int | None = None,
    to_the_end: bool = False,
    snapshot: Callable[[Any], None] | None = None,
) -> tuple[hntk.IntegerClassifier, ...]:
    """Train a network of every seed; a training that was stopped goes on from its checkpoint in the folder.

    Parameters
    ----------
    cfg : Config
        The configuration.
    samples : SplitSamples
        Training samples, and validation samples by which an epoch is chosen.
    seeds : sequence of int
        Seeds of starts, of the order of samples and of their variations.
    folder : Path
        Where the checkpoint is kept, and the dense teacher's.
    levels : int, optional
        Levels in place of the settings'.
    to_the_end : bool
        Whether no training stops early.
    snapshot : callable, optional
        Called after every epoch, see `hntk.train`.

    Returns
    -------
    tuple of hntk.IntegerClassifier
        One a seed.

    Raises
    ------
    ValueError
        If nothing fits ``experiment.kilobytes``, or settings do not fit each other.
    """
    settings, schedule = cfg.experiment, schedule_of(cfg, len(samples.x), to_the_end=to_the_end)
    augment = augmentation_of(cfg)
    with progress(f"training {len(seeds)} seeds, epochs", schedule.epochs) as advance:
        return hntk.train(
            samples.x,
            samples.y,
            **network_options(cfg, levels),
            start=settings.start,
            teacher=teacher_of(cfg, samples, folder, varied=augment is not None),
            augment=augment,
            shape=samples.shape,
            schedule=schedule,
            validation=(samples.x_held, samples.y_held),
            key=keys_of(seeds),
            checkpoint=folder / CHECKPOINT,
            progress=lambda _: advance(1),
            snapshot=snapshot,
        )


def remove_checkpoints(folder: Path) -> None:
    """Remove what trainings kept to go on from, once their results are written."""
    for checkpoint in folder.glob("*.npz*"):
        checkpoint.unlink()
