"""A finished sweep of the memory experiment: figures, tables, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from experiments.memory import figures as memory_figures
from experiments.memory.summary import (
    Group,
    bit_operations,
    file_bytes,
    groups_of,
    table_of_choices,
    table_of_costs,
    table_of_front,
    table_of_groups,
    table_within,
    targets,
)
from experiments.report import page as report
from experiments.runner.console import show_table, shown
from experiments.runner.jobs import Job
from experiments.runner.record import Record, circumstances

OPERATIONS = (1e6, 1e7, 1e8, 1e9, 1e10)
# tables for the report, too long for a terminal
LONG = ("groups", "chosen")
# a file may exceed its budget by what a random number of zeros varies
TOLERANCE = 1.01


def gather(jobs: Sequence[Job], record: Record, command: str) -> None:
    """Figures and tables of all finished jobs, in the sweep's folder and on the terminal, and report.html."""
    groups = groups_of(jobs)
    cfg = next(job.config for job in jobs if job.state == "done")
    seeds = max(g.seeds for g in groups)
    caption = (
        f"{cfg.data.name}: {len(cfg.net.widths)} hidden layers, means of {seeds} seeds with standard errors; of every "
        "arm the networks that no cheaper one beats on validation data"
    )
    record.add_figure("accuracy_bytes", memory_figures.bytes_figure(groups, caption))
    record.add_figure("accuracy_operations", memory_figures.operations_figure(groups, caption))
    record.add_figure(
        "kernel_error", memory_figures.kernel_figure(groups, f"{cfg.data.name}: kernels of random layers")
    )
    tables = _tables(groups, _budgets(jobs, groups))
    for name, (title, columns, rows) in tables.items():
        record.add_table(name, columns, rows)
        if name not in LONG:
            show_table(title, columns, [[shown(v) if isinstance(v, str) else v for v in row] for row in rows])
    for cost in ("file (bytes)", "bit operations"):
        title, columns = f"test accuracy against {cost}", ("groups", cost, "test, softmax")
        record.add_chart(title, "scatter", *columns, log=[cost])
        record.add_chart(f"{title}, by arm", "lines", *columns, by="arm", log=[cost])
    report.write_report(_report(cfg, jobs, record, tables, command), record.folder / "report.html")


def _budgets(jobs: Sequence[Job], groups: Sequence[Group]) -> list[float]:
    """Every budget of the sweep; where it asked for widths instead, round numbers that its files lie around."""
    asked = [asked["experiment"] for job in jobs for asked in job.requests]
    if all(experiment["width"] is None for experiment in asked):
        return sorted({float(experiment["budget"]) for experiment in asked})
    low, high = (np.log10(extreme(g.file for g in groups)) for extreme in (min, max))
    steps = [float(f"{10**e:.0e}") for e in np.arange(np.floor(2 * low), np.ceil(2 * high) + 1) / 2]
    return [step for step in steps if step > 10**low]


def _tables(groups: Sequence[Group], budgets: Sequence[float]) -> dict[str, tuple[str, list[str], list[list]]]:
    accuracies = targets(groups)
    return {
        "equal_bytes": (
            "Test accuracy within a number of bytes",
            *table_within(groups, file_bytes, [b * TOLERANCE for b in budgets], lambda b: _bytes(b / TOLERANCE)),
        ),
        "chosen": (
            "The networks behind that table",
            *table_of_choices(groups, file_bytes, [b * TOLERANCE for b in budgets]),
        ),
        "equal_accuracy": (
            "Bytes for a test accuracy",
            *table_of_costs(groups, file_bytes, accuracies),
        ),
        "equal_operations": (
            "Test accuracy within a number of bit operations a prediction",
            *table_within(groups, bit_operations, OPERATIONS, lambda n: f"{n:.0e}".replace("e+0", "e")),
        ),
        "operations_accuracy": (
            "Bit operations for a test accuracy",
            *table_of_costs(groups, bit_operations, accuracies),
        ),
        "front": ("Networks that no smaller one beats", *table_of_front(groups)),
        "groups": ("All networks", *table_of_groups(groups)),
    }


def _bytes(size: float) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} kB"


def _report(cfg: Any, jobs: Sequence[Job], record: Record, tables: dict, command: str) -> report.Report:
    def figure(name: str, title: str, caption: str) -> report.Figure:
        return report.Figure(title, caption, record.folder / f"{name}.png", f"{title}: {caption}", command)

    def table(name: str, best: Literal["max", "min"] | None) -> report.Table:
        title, columns, rows = tables[name]
        return report.Table(title, columns, rows, best={} if best is None else dict.fromkeys(columns[1:], best))

    return report.Report(
        title=f"Accuracy against memory: {cfg.data.name}",
        lead=_lead(tables),
        commands=[command],
        sections=[
            report.Section(
                "Memory",
                "Random hidden layers with a trained readout in colours; networks trained as a whole dashed, in greys. "
                "Every matrix is stored in the smallest of the encodings that suit it.",
                [figure("accuracy_bytes", "Test accuracy against bytes", "one line an arm, one panel a readout")],
                [
                    table("equal_bytes", "max"), table("chosen", None), table("equal_accuracy", "min"),
                    table("front", None),
                ],
            ),
            report.Section(
                "Arithmetic",
                "A weight that is not 0 counts the bits of it times the bits of what it multiplies.",
                [figure("accuracy_operations", "Test accuracy against arithmetic", "and memory for activations")],
                [table("equal_operations", "max"), table("operations_accuracy", "min")],
            ),
            report.Section(
                "Kernels",
                "Distance of the drawn networks' conjugate kernels from the dense original's limit, on test samples, "
                "without diagonals, after the best common factor.",
                [figure("kernel_error", "Error of the conjugate kernel", "against bytes and bit operations")],
            ),
            report.Section("All networks", "", (), [table("groups", None)]),
        ],
        jobs=jobs,
        versions=circumstances(int(cfg.seed)),
        retry=f"{command} sweep.retry=true",
    )  # fmt: skip


def _lead(tables: dict) -> str:
    """The arms with random layers that do best within each budget."""
    _, columns, rows = tables["equal_bytes"]
    told = []
    for index, name in enumerate(columns[1:], 1):
        present = [row for row in rows if row[index] is not None and not str(row[0]).startswith("trained")]
        if present:
            best = max(present, key=lambda row: row[index])
            told.append(f"{name}: {best[0]}, {best[index]:.4f}")
    return "Best test accuracy of random hidden layers within " + "; ".join(told) + "."
