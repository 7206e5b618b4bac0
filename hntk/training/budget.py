"""The search for the network of the best accuracy in a budget of bytes of the C program's tables.

A few designs that fill the budget are trained for a fortieth of the epochs, the two best of them for three more
fortieths, and the best for all epochs: together at most three tenths more than one training. Designs are so sparse that
untrained weights fill the budget, and after a short training the weights of the smallest magnitude become 0 that do not
fit. In the full training densities follow the bytes, see :mod:`hntk.training.byte_limit`, so that nothing is left to
cut off its weights but where thresholds take more bytes over all samples than over those that are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import PooledPixels
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.training_record import Candidate, TrainingRecord
from hntk.training.designs import Design
from hntk.training.few_level_layers import FewLevelLayer, Parameters
from hntk.training.folding import folded
from hntk.training.samples import TrainingData
from hntk.training.starts import StartProblem
from hntk.training.table_size import drawn_bytes, filled, table_bytes

# Share of the full training, and how many designs are left after it.
ROUNDS = ((0.025, 2), (0.075, 1))
# Samples that a short training has at least, and the share held out in it where the full training holds out none.
LEAST_SAMPLES = 1000
HELD = 10
# A short training's warm-up is at most this share of its epochs.
WARMUP = 0.2
# How much of the excess is taken off the weights at a time, and what is taken off at least.
CORRECTION, LEAST_CORRECTION = 1.2, 0.002

Program = IntegerClassifier | IntegerRegressor
# Trains a design on some of its samples, and returns parameters, layers and the record.
ShortTraining = Callable[[StartProblem, np.ndarray], tuple[Parameters, Sequence[FewLevelLayer], TrainingRecord]]


class Trial(NamedTuple):
    """A design that was trained for a short time."""

    design: Design
    candidate: Candidate
    # Bytes of the trained program with the sparsity of the design, over those of the untrained one.
    growth: float


def search(
    designs: Sequence[Design], limit: float, short_training: ShortTraining
) -> tuple[StartProblem, tuple[Candidate, ...]]:
    """Return the best of some designs, and what was tried.

    Parameters
    ----------
    designs : sequence of Design
        Networks to choose from. A single one is returned as it is.
    limit : float
        Largest number of bytes.
    short_training : callable
        Trains a network for a few epochs on some samples.

    Returns
    -------
    problem : StartProblem
        The training of the best design, with the sparsity at which its short training would have filled the limit.
    candidates : tuple of Candidate
        Every short training.
    """
    tried: list[Candidate] = []
    if len(designs) == 1:
        return designs[0].problem, ()
    left, best = list(designs), None
    for share, kept in ROUNDS:
        trials = [_trial(design, share, limit, short_training) for design in left]
        tried += [trial.candidate for trial in trials]
        lower = designs[0].problem.data.classes is None
        ranked = sorted(trials, key=lambda trial: trial.candidate.validation * (1 if lower else -1))
        left, best = [trial.design for trial in ranked[:kept]], ranked[0]
    assert best is not None
    return _recalibrated(best, limit), tuple(tried)


def _trial(design: Design, share: float, limit: float, short_training: ShortTraining) -> Trial:
    """Train a design for a share of its epochs, or of its samples where that is less than an epoch."""
    problem, rows = shortened(design.problem, share)
    parameters, layers, record = short_training(problem, rows)
    program, bytes_before = folded_within(parameters, layers, problem.data, record, limit)
    assert program.training is not None
    assert program.training.validation is not None
    inputs = problem.data.inputs
    candidate = Candidate(
        problem.widths,
        problem.levels,
        program.training.sparsity,
        inputs.pooled if isinstance(inputs, PooledPixels) else (),
        table_bytes(program),
        record.epochs,
        program.training.validation,
    )
    return Trial(design, candidate, bytes_before / drawn_bytes(problem))


def _recalibrated(trial: Trial, limit: float) -> StartProblem:
    """Return a design with densities that fill the limit if its trained weights grow as much as in a trial."""
    design = trial.design
    if design.ratio is None:
        return design.problem
    denser = filled(design.problem, limit / trial.growth, design.ratio)
    return design.problem if denser is None else denser


def shortened(problem: StartProblem, share: float) -> tuple[StartProblem, np.ndarray]:
    """Return a training that sees a share of the samples in all, and which training samples those are.

    Where the share is less than an epoch, it is one epoch of fewer samples. Samples are held out if none are.
    """
    data, schedule = problem.data, problem.schedule
    n = len(data.training.targets)
    epochs = max(1, round(share * schedule.epochs))
    wanted = round(share * schedule.epochs / epochs * n)
    size = min(n, max(wanted, schedule.batch, LEAST_SAMPLES))
    rows = np.sort(np.random.default_rng(0).permutation(n)[:size])
    if not len(data.held.targets):
        held, rows = rows[::HELD], np.delete(rows, np.s_[::HELD])
        data = replace(data, held=data.training.rows(held))
    short = replace(
        schedule,
        epochs=epochs,
        patience=epochs,
        batch=min(schedule.batch, len(rows)),
        warmup=min(schedule.warmup, WARMUP * epochs),
    )
    return replace(problem, data=data.subset(rows), schedule=short), rows


def folded_within(
    parameters: Parameters,
    layers: Sequence[FewLevelLayer],
    data: TrainingData,
    record: TrainingRecord,
    limit: float,
) -> tuple[Program, int]:
    """Return trained parameters as a program whose tables are within a limit.

    Weights of the smallest magnitude become 0 until they are, the same share of those that are left in every layer;
    sums are standardised anew.

    Parameters
    ----------
    parameters : dict
        Trained parameters of one member.
    layers : sequence of FewLevelLayer
        What is fixed about each layer, with a sparsity.
    data : TrainingData
        Samples that it was trained on.
    record : TrainingRecord
        How it was trained, see :func:`hntk.training.folding.folded`.
    limit : float
        Largest number of bytes.

    Returns
    -------
    program : IntegerClassifier or IntegerRegressor
        The program.
    size : int
        Bytes of its tables without that.

    Raises
    ------
    ValueError
        If what is not weights takes more than the limit.
    """
    program = folded(parameters, layers, data, record)
    first = size = table_bytes(program)
    while size > limit:
        kept = 1 - CORRECTION * (size - limit) / size - LEAST_CORRECTION
        layers = [
            sparser(layer, part["weights"], kept) for layer, part in zip(layers, parameters["layers"], strict=True)
        ]
        if all(layer.sparsity == 1.0 for layer in layers):
            raise ValueError(f"thresholds and readout alone take {size:,} bytes: give more kilobytes, or fewer levels.")
        program = folded(parameters, layers, data, record)
        size = table_bytes(program)
    return program, first


def sparser(layer: FewLevelLayer, weights: np.ndarray, kept: float) -> FewLevelLayer:
    """Return a layer of which a share of the weights is kept that are not 0."""
    assert layer.sparsity is not None
    nonzero = round((1 - layer.sparsity) * weights.size)
    return replace(layer, sparsity=1 - max(0, min(nonzero - 1, int(kept * nonzero))) / weights.size)
