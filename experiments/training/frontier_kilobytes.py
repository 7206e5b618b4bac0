"""Test accuracy against flash: one budget and one arm a job, with all its seeds; a sweep gives the figure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.keys import resolved
from experiments.runner.record import Record
from experiments.training import frontier_report
from experiments.training.random_arm import check_budget, fitted_network, matched_staircases, widths_within
from experiments.training.recipes import described
from experiments.training.samples import SplitSamples, dataset_of, split_samples
from experiments.training.settings import ARMS, FrontierKilobytesExperiment, TrainingSettings
from experiments.training.trained_arm import remove_checkpoints, train_seeds
from hntk._utils.statistics import mean_and_error
from hntk.deploy.c import to_c

gather = frontier_report.gather
data_read = dataset_of
COLUMNS = [
    "seed", "widths", "levels", "zeros", "pooled to", "layouts", "table bytes", "validation", "test",
]  # fmt: skip
SHARED = ("name", "arm", "kilobytes", "seeds")


def identity(cfg: Config) -> dict[str, Any]:
    """Return the settings that decide a result: those of training for trained arms, of drawing for others.

    Raises
    ------
    Skip
        If the budget is too small for random layers.
    """
    plain, family = resolved(cfg), ARMS[cfg.experiment.arm]
    if not family.trained and cfg.experiment.kilobytes is not None:
        check_budget(cfg, data_read(cfg), family.levels)
    training = set(TrainingSettings.__dataclass_fields__)
    own = set(FrontierKilobytesExperiment.__dataclass_fields__) - training
    kept = SHARED + tuple(training if family.trained else own)
    groups = () if family.trained else ("net", "compress")
    return {
        "experiment": {name: plain["experiment"][name] for name in sorted(set(kept))},
        "data": {k: v for k, v in plain["data"].items() if k != "folder"},
        "seed": plain["seed"],
    } | {group: plain[group] for group in groups}


def run(cfg: Config, record: Record) -> None:
    """Make the networks of all seeds within the budget, and measure accuracy and bytes of each."""
    arm, data, start = ARMS[cfg.experiment.arm], dataset_of(cfg), time.perf_counter()
    if cfg.experiment.seeds < 1:
        raise ValueError(f"experiment.seeds must be at least 1, got {cfg.experiment.seeds}.")
    if cfg.experiment.kilobytes is None and not arm.trained:
        raise ValueError("random layers need a budget: give experiment.kilobytes=NUMBER.")
    if not cfg.experiment.readouts:
        raise ValueError("experiment.readouts is empty: give experiment.readouts=[softmax], for instance.")
    seeds = range(int(cfg.seed), int(cfg.seed) + cfg.experiment.seeds)
    samples = split_samples(cfg, data)
    if arm.trained:
        networks = train_seeds(cfg, samples, seeds, record.folder, levels=arm.levels)
        validations = [network.accuracy(samples.x_held, samples.y_held) for network in networks]
    else:
        staircases = matched_staircases(cfg, data, arm.levels)
        widths = widths_within(cfg, data, staircases, 1e3 * float(cfg.experiment.kilobytes or 0))
        fitted = [fitted_network(cfg, data, staircases, widths, seed) for seed in seeds]
        networks, validations = [f.classifier for f in fitted], [f.validation for f in fitted]
        record.add_metrics(readouts=", ".join(f.readout for f in fitted))
    record.add_metrics(seconds=time.perf_counter() - start)
    _measure(record, networks, validations, seeds, samples)
    remove_checkpoints(record.folder)


def _measure(
    record: Record,
    networks: Sequence[hntk.IntegerClassifier],
    validations: Sequence[float],
    seeds: Sequence[int],
    samples: SplitSamples,
) -> None:
    """Save each seed's network, record what it takes and reaches, and means over seeds."""
    rows = []
    for seed, network, validation in zip(seeds, networks, validations, strict=True):
        network.save(record.folder / f"seed-{seed}.safetensors")
        program = to_c(network)
        accuracies = [validation, network.accuracy(samples.x_test, samples.y_test)]
        rows.append([seed, *described(network), "-".join(program.layouts), program.table_bytes, *accuracies])
    record.add_table("seeds", COLUMNS, rows)
    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    test, error = mean_and_error(columns["test"])
    record.add_metrics(
        test=test, error=error, spread=float(np.std(columns["test"], ddof=1)) if len(rows) > 1 else None,
        validation=float(np.mean(columns["validation"])), bytes=float(np.mean(columns["table bytes"])),
    )  # fmt: skip
    record.headline.update(kB=record.metrics["bytes"] / 1e3, test=test)
