"""Train a program for a number of kilobytes, the defaults suited to the number of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hntk.cli.data_files import DataFile
from hntk.cli.fitted import FACTOR_BYTES, Candidate, Fitted, Program, Standardization
from hntk.networks import training_record
from hntk.readouts.training import Schedule
from hntk.training.augmentation import Augmentation
from hntk.training.few_level_training import SCHEDULE, train
from hntk.training.table_size import table_bytes

# A training has at least so many steps by default, within these numbers of epochs.
STEPS, MOST_EPOCHS = 6000, 300
# An epoch has about so many steps where samples are few.
STEPS_OF_EPOCH, SMALLEST_BATCH = 40, 32
VALIDATION = 0.1
AUGMENTATIONS = ("none", "digits")


@dataclass(frozen=True)
class TrainingOptions:
    """How a program is trained.

    Attributes
    ----------
    kilobytes : float
        Largest size of the C program's tables, in thousand bytes.
    levels : int or None
        Levels of the activations.
    epochs : int or None
        Number of epochs, by default by the number of samples.
    seed : int
        Seed of the random key.
    columns : bool
        Whether each coordinate is brought to the same size.
    augment : {"none", "digits"}
        Random variations of the training samples.
    checkpoint : Path or None
        Where an interrupted training is kept.
    """

    kilobytes: float
    levels: int | None = None
    epochs: int | None = None
    seed: int = 0
    columns: bool = False
    augment: str = "none"
    checkpoint: Path | None = None


def schedule_for(samples: int, epochs: int | None) -> Schedule:
    """Return how long to train on so many samples.

    Parameters
    ----------
    samples : int
        Number of samples, validation samples among them.
    epochs : int, optional
        Number of epochs; by default 60, and more where these are fewer than `STEPS` steps, up to `MOST_EPOCHS`.

    Returns
    -------
    Schedule
        The schedule.
    """
    trained = max(2, int(samples * (1 - VALIDATION)))
    batch = min(SCHEDULE.batch, max(SMALLEST_BATCH, trained // STEPS_OF_EPOCH), trained)
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(SCHEDULE.epochs, ceil(STEPS / (trained // batch))))
    patience = max(SCHEDULE.patience, epochs // 3)
    return replace(SCHEDULE, epochs=epochs, batch=batch, patience=patience)


def fit_trained(data: DataFile, options: TrainingOptions, progress: Callable[[Any], None] | None = None) -> Fitted:
    """Train a program of whole numbers within a budget.

    Parameters
    ----------
    data : DataFile
        The samples.
    options : TrainingOptions
        The budget, and how to train.
    progress : callable, optional
        Called after every epoch.

    Returns
    -------
    Fitted
        The program of raw samples. Its validation accuracy is the prediction.

    Raises
    ------
    ValueError
        If nothing fits into so many kilobytes, or the checkpoint is of another training.
    """
    standard = Standardization.of(data.x_train) if options.columns and not data.pixels else None
    x = data.x_train if standard is None else standard(data.x_train)
    factors = 0 if standard is None else FACTOR_BYTES * x.shape[1]
    if 1000 * options.kilobytes <= factors:
        raise ValueError(
            f"factors of {x.shape[1]:,} columns alone take {factors:,} bytes: raise --kilobytes, or add --scale one."
        )
    shape = data.image_shape if data.pixels and data.image_shape and len(data.image_shape) == 2 else None
    program: Program = train(
        x,
        data.y_train,
        levels=options.levels,
        kilobytes=options.kilobytes - factors / 1000,
        shape=shape,  # type: ignore[arg-type]
        augment=Augmentation.digits() if options.augment == "digits" else None,
        schedule=schedule_for(len(x), options.epochs),
        validation=VALIDATION,
        key=jax.random.key(options.seed),
        checkpoint=options.checkpoint,
        progress=progress,
    )
    record = program.training
    assert record is not None
    score = partial(_score, data)
    validation = None if record.validation is None else score(record.validation)
    candidates = _candidates(record.candidates, score) or (_itself(program, validation),)
    candidates = tuple(each._replace(bytes=each.bytes + factors) for each in candidates)
    program = program if standard is None else standard.undone(program)
    part = f"a tenth of the training samples, which also chose epoch {record.best_epoch} of {record.epochs}"
    return Fitted(program, candidates, validation, f"on {part}", validation)


def _score(data: DataFile, validation: float) -> float:
    """Return the accuracy that a record has; of a regressor, R² in place of its root mean square error."""
    return 1 - validation**2 / float(np.var(data.y_train)) if data.regression else validation


def _candidates(tried: tuple[training_record.Candidate, ...], score: Callable[[float], float]) -> tuple[Candidate, ...]:
    """Return the short trainings as rows, each network as it was tried last, from the best one."""
    last = {(each.widths, each.pooled, each.levels): each for each in tried}
    ranked = sorted(last.values(), key=lambda each: (each.epochs, score(each.validation)), reverse=True)
    return tuple(
        Candidate(
            each.widths, each.levels, each.sparsity, each.pooled, each.epochs, each.table_bytes, None,
            score(each.validation), place == 0,
        )
        for place, each in enumerate(ranked)
    )  # fmt: skip


def _itself(program: Program, validation: float | None) -> Candidate:
    """Return the row of a network that was the only one to fit."""
    record, inputs = program.training, program.network.inputs
    assert record is not None
    cells = tuple(getattr(inputs, "pooled", ()))
    size = table_bytes(program)
    return Candidate(
        program.network.widths, record.levels, record.sparsity, cells, record.epochs, size, None, validation, True
    )
