"""Where a training should start: one start and one teacher a job, with all its seeds; a sweep compares them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.runner.config import Config
from experiments.runner.keys import resolved
from experiments.runner.record import Record, write_text
from experiments.training import starts_report
from experiments.training.recipes import described
from experiments.training.samples import SplitSamples, dataset_of, split_samples
from experiments.training.trained_arm import remove_checkpoints, train_seeds

gather = starts_report.gather
data_read = dataset_of
# What a training reached so far, beside its checkpoint.
ALONG = "along.json"


def identity(cfg: Config) -> dict[str, Any]:
    """Return the settings that decide a job's result."""
    plain = resolved(cfg)
    return {
        "experiment": plain["experiment"],
        "data": {k: v for k, v in plain["data"].items() if k != "folder"},
        "seed": plain["seed"],
    }


class Course:
    """Accuracies in the course of a training, kept in a file so that an interrupted one loses none.

    Parameters
    ----------
    path : Path
        The file.
    at : list of int
        Epochs after which programs are folded and tested.
    samples : SplitSamples
        The samples.
    """

    def __init__(self, path: Path, at: list[int], samples: SplitSamples) -> None:
        self.path, self.at, self.samples = path, at, samples
        known = json.loads(path.read_text()) if path.exists() else {"validation": {}, "test": {}}
        self.validation: dict[int, list[float]] = {int(e): v for e, v in known["validation"].items()}
        self.test: dict[int, list[float]] = {int(e): v for e, v in known["test"].items()}

    def note(self, snapshot: Any) -> None:
        """Note the validation accuracies after an epoch, and test the programs after some."""
        epoch = snapshot.epoch
        self.validation[epoch] = [member.validation for member in snapshot.members]
        if epoch in self.at:
            self.test[epoch] = [p.accuracy(self.samples.x_test, self.samples.y_test) for p in snapshot.programs()]
        write_text(self.path, json.dumps({"validation": self.validation, "test": self.test}) + "\n")


def run(cfg: Config, record: Record) -> None:
    """Train all seeds from one start for all epochs, and test their programs along the way and at the end."""
    if cfg.experiment.seeds < 1:
        raise ValueError(f"experiment.seeds must be at least 1, got {cfg.experiment.seeds}.")
    samples = split_samples(cfg, dataset_of(cfg))
    seeds = range(int(cfg.seed), int(cfg.seed) + cfg.experiment.seeds)
    course = Course(record.folder / ALONG, list(cfg.experiment.at), samples)
    trained = train_seeds(cfg, samples, seeds, record.folder, to_the_end=True, snapshot=course.note)
    at_the_end = [network.accuracy(samples.x_test, samples.y_test) for network in trained]
    last = max(course.validation)
    columns = ["epoch", *(f"seed {seed}" for seed in seeds)]
    record.add_table("validation", columns, [[epoch, *course.validation[epoch]] for epoch in sorted(course.validation)])
    tests = [[str(epoch), *course.test[epoch]] for epoch in sorted(course.test)]
    record.add_table("test", columns, [*tests, [starts_report.END, *at_the_end]])
    widths, levels, zeros, pooled = described(trained[0])
    record.add_metrics(widths=widths, levels=levels, zeros=zeros, pooled=pooled, epochs=last)
    record.headline.update(test=sum(at_the_end) / len(at_the_end))
    (record.folder / ALONG).unlink()
    remove_checkpoints(record.folder)
