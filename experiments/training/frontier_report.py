"""A finished frontier: the table of its points, those chosen by validation, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from experiments.runner.console import show_table, shown
from experiments.runner.jobs import Job
from experiments.runner.record import Record
from experiments.training import figures
from experiments.training.job_tables import rows_of
from experiments.training.published import COLUMNS as PUBLISHED_COLUMNS
from experiments.training.published import PublishedPoint, published, published_rows
from experiments.training.settings import ARMS

COLUMNS = [
    "arm", "at most kB", "kB", "widths", "levels", "zeros", "pooled to", "layouts", "seeds", "validation", "test", "±",
    "spread", "chosen",
]  # fmt: skip
PUBLISHED = "published"


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


def table(points: Sequence[Point]) -> list[list[Any]]:
    """Return a row for each point."""
    best = chosen(points)
    return [
        [
            p.arm, p.budget, p.kilobytes, *p.description, p.seeds, p.validation, p.test, p.error, p.spread,
            "yes" if p in best else "",
        ]
        for p in points
    ]  # fmt: skip


def seeds_table(jobs: Sequence[Job]) -> tuple[list[str], list[list[Any]]]:
    """Return every seed's network of the finished jobs."""
    rows: list[list[Any]] = []
    columns: list[str] = []
    for job in jobs:
        if job.state == "done":
            for row in rows_of(job, "seeds"):
                columns = ["arm", "at most kB", *row]
                rows.append([job.config.experiment.arm, job.config.experiment.kilobytes, *row.values()])
    return columns, rows


def gather(jobs: Sequence[Job], record: Record, command: str) -> None:
    """Write the table and the figure of all finished jobs into the sweep's folder, and print the table."""
    points, name = points_of(jobs), next(job.config.data.name for job in jobs if job.state == "done")
    others: list[PublishedPoint] = published(name)
    rows = table(points)
    record.add_table("frontier", COLUMNS, rows)
    record.add_table("seeds", *seeds_table(jobs))
    show_table(f"{name}: test accuracy against kB of tables", COLUMNS, [[shown_cell(v) for v in row] for row in rows])
    if others:
        record.add_table(PUBLISHED, PUBLISHED_COLUMNS, published_rows(others), title="Published by others")
    record.add_figure("accuracy_kilobytes", figures.frontier_figure(points, chosen(points), others, name))
    record.add_chart("test accuracy against kB", "lines", "frontier", "kB", "test", by="arm", log=["kB"])


def shown_cell(value: Any) -> Any:
    """Return a cell that a terminal shows as it is written."""
    return shown(value) if isinstance(value, str) else value
