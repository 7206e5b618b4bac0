"""A finished frontier: the table of its points, those chosen by validation, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.runner.console import show_table, shown
from experiments.runner.jobs import Job
from experiments.runner.record import Record
from experiments.training import figures
from experiments.training.job_tables import rows_of
from experiments.training.points import Point, chosen, points_of
from experiments.training.published import COLUMNS as PUBLISHED_COLUMNS
from experiments.training.published import PublishedPoint, published, published_rows

COLUMNS = [
    "arm", "at most kB", "kB", "widths", "levels", "zeros", "pooled to", "layouts", "seeds", "validation", "test", "±",
    "spread", "chosen",
]  # fmt: skip
PUBLISHED = "published"


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
