"""Points of a frontier: one arm within one budget, over all its seeds, and those that validation chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from experiments.runner.jobs import Job
from experiments.training.job_tables import rows_of
from experiments.training.settings import ARMS


@dataclass(frozen=True)
class Point:
    """All seeds of one arm within one budget.

    Attributes
    ----------
    arm : str
        One of ``settings.ARMS``.
    budget : float or None
        Kilobytes that the tables were made for, where they were.
    kilobytes : float
        Mean kilobytes of the tables.
    validation, test, error, spread : float
        Mean accuracies, standard error of the test accuracy, and standard deviation over seeds; the last two are NaN
        for a single seed.
    seeds : int
        Number of seeds.
    description : tuple of str
        Widths, levels, zeros, pooling and layouts of the first seed's network.
    """

    arm: str
    budget: float | None
    kilobytes: float
    validation: float
    test: float
    error: float
    spread: float
    seeds: int
    description: tuple[str, ...]

    @property
    def trained(self) -> bool:
        """Whether hidden layers are trained."""
        return ARMS[self.arm].trained


def points_of(jobs: Sequence[Job]) -> list[Point]:
    """Return the points of the finished jobs, by arm and size."""
    points = []
    for job in jobs:
        if job.state != "done":
            continue
        measured, first = job.metrics, rows_of(job, "seeds")[0]
        settings = job.config.experiment
        names = ("widths", "levels", "zeros", "pooled to", "layouts")
        numbers = {name: measured.get(name) for name in ("error", "spread")}
        error, spread = (float("nan") if value is None else value for value in numbers.values())
        points.append(
            Point(
                settings.arm, settings.kilobytes, measured["bytes"] / 1e3, measured["validation"], measured["test"],
                error, spread, settings.seeds, tuple(first[name] for name in names),
            )
        )  # fmt: skip
    return sorted(points, key=lambda point: (list(ARMS).index(point.arm), point.kilobytes))


def chosen(points: Sequence[Point]) -> list[Point]:
    """Return the points of the best validation accuracy of each budget, of drawn and of trained layers each."""
    ordered = sorted(points, key=lambda p: (p.trained, p.budget or p.kilobytes))
    groups = groupby(ordered, key=lambda p: (p.trained, p.budget or p.kilobytes))
    return [max(members, key=lambda point: point.validation) for _, members in groups]
