"""A finished sweep of the memory experiment: figures, tables, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from experiments.memory import figures
from experiments.memory.comparisons import accuracy_within, choices, costs, differences, everything, front, targets
from experiments.memory.groups import Group, groups_of
from experiments.report import page
from experiments.report.tables import Table
from experiments.runner.console import show_table, shown
from experiments.runner.jobs import Job
from experiments.runner.metrics import BIT_OPERATIONS, FILE_BYTES
from experiments.runner.record import Record, circumstances
from experiments.runner.statistics import means_in_words

# The arm that others are compared with, seed by seed.
REFERENCE = "trained"
OPERATIONS = (1e6, 1e7, 1e8, 1e9, 1e10)
# Tables that are too long for a terminal.
LONG = ("groups", "chosen")
# A file may exceed its budget by this factor, as the number of random zeros varies.
TOLERANCE = 1.01
# By name, title and caption of the report's figures.
FIGURES = {
    "accuracy_bytes": ("Test accuracy against bytes", "one line an arm, one panel a readout"),
    "accuracy_operations": ("Test accuracy against arithmetic", "and memory for activations"),
    "kernel_error": ("Error of the conjugate kernel", "against bytes and bit operations"),
}
# The report's sections: heading, text, figures, and tables with the best value of a column (largest or smallest).
SECTIONS: tuple[tuple[str, str, tuple[str, ...], dict[str, Literal["max", "min"] | None]], ...] = (
    (
        "Memory",
        "Random hidden layers with a trained readout in colours; networks trained as a whole dashed, in greys. "
        "Every matrix is stored in the smallest of the encodings that suit it.",
        ("accuracy_bytes",),
        {"equal_bytes": "max", "chosen": None, "differences": None, "equal_accuracy": "min", "front": None},
    ),
    (
        "Arithmetic",
        "A weight that is not 0 counts the bits of it times the bits of what it multiplies.",
        ("accuracy_operations",),
        {"equal_operations": "max", "operations_accuracy": "min"},
    ),
    (
        "Kernels",
        "Distance of the drawn networks' conjugate kernels from the dense original's limit, on test samples, "
        "without diagonals, after the best common factor.",
        ("kernel_error",),
        {},
    ),
    ("All networks", "", (), {"groups": None}),
)
# By name, title, columns and rows of a table.
Tables = dict[str, tuple[str, list[str], list[list]]]


def gather(jobs: Sequence[Job], record: Record, command: str) -> None:
    """Write figures and tables of all finished jobs into the sweep's folder, print them, and write report.html."""
    groups = groups_of(jobs)
    cfg = next(job.config for job in jobs if job.state == "done")
    _add_figures(record, cfg, groups)
    written = _tables(groups, _budgets(jobs, groups))
    for name, (title, columns, rows) in written.items():
        record.add_table(name, columns, rows)
        if name not in LONG:
            show_table(title, columns, [[shown(v) if isinstance(v, str) else v for v in row] for row in rows])
    for cost in ("file (bytes)", "bit operations"):
        title, columns = f"test accuracy against {cost}", ("groups", cost, "test, softmax")
        record.add_chart(title, "scatter", *columns, log=[cost])
        record.add_chart(f"{title}, by arm", "lines", *columns, by="arm", log=[cost])
    page.write_report(_report(cfg, jobs, record, written, command), record.folder / "report.html")


def _add_figures(record: Record, cfg: Any, groups: Sequence[Group]) -> None:
    seeds = max(len(g.seeds) for g in groups)
    caption = (
        f"{cfg.data.name}: {len(cfg.net.widths)} hidden layers, {means_in_words(seeds, 'seed')}; "
        "of every arm the networks that no cheaper one beats on validation data"
    )
    record.add_figure("accuracy_bytes", figures.bytes_figure(groups, caption))
    record.add_figure("accuracy_operations", figures.operations_figure(groups, caption))
    record.add_figure("kernel_error", figures.kernel_figure(groups, f"{cfg.data.name}: kernels of random layers"))


def _budgets(jobs: Sequence[Job], groups: Sequence[Group]) -> list[float]:
    """Return every budget of the sweep; where it set widths instead, round numbers about the sizes of its files."""
    settings = [request["experiment"] for job in jobs for request in job.requests]
    if all(experiment["width"] is None for experiment in settings):
        return sorted({float(experiment["budget"]) for experiment in settings})
    low, high = (np.log10(extreme(g.values[FILE_BYTES] for g in groups)) for extreme in (min, max))
    steps = [float(f"{10**e:.0e}") for e in np.arange(np.floor(2 * low), np.ceil(2 * high) + 1) / 2]
    return [step for step in steps if step > 10**low]


def _tables(groups: Sequence[Group], budgets: Sequence[float]) -> Tables:
    accuracies, budgets = targets(groups), [budget * TOLERANCE for budget in budgets]
    return {
        "equal_bytes": (
            "Test accuracy within a number of bytes",
            *accuracy_within(groups, FILE_BYTES, budgets, lambda b: _bytes(b / TOLERANCE)),
        ),
        "chosen": ("The networks behind that table", *choices(groups, FILE_BYTES, budgets)),
        "differences": (
            "Test accuracy against the trained dense network's within the same bytes, seed by seed",
            *differences(groups, FILE_BYTES, budgets, REFERENCE),
        ),
        "equal_accuracy": ("Bytes for a test accuracy", *costs(groups, FILE_BYTES, accuracies)),
        "equal_operations": (
            "Test accuracy within a number of bit operations a prediction",
            *accuracy_within(groups, BIT_OPERATIONS, OPERATIONS, lambda n: f"{n:.0e}".replace("e+0", "e")),
        ),
        "operations_accuracy": (
            "Bit operations for a test accuracy",
            *costs(groups, BIT_OPERATIONS, accuracies),
        ),
        "front": ("Networks that no smaller one beats", *front(groups)),
        "groups": ("All networks", *everything(groups)),
    }


def _bytes(size: float) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} kB"


def _report(cfg: Any, jobs: Sequence[Job], record: Record, written: Tables, command: str) -> page.Report:
    def figure(name: str) -> page.Figure:
        title, caption = FIGURES[name]
        return page.Figure(title, caption, record.folder / f"{name}.png", f"{title}: {caption}", command)

    def table(name: str, best: Literal["max", "min"] | None) -> Table:
        title, columns, rows = written[name]
        return Table(title, columns, rows, best={} if best is None else dict.fromkeys(columns[1:], best))

    return page.Report(
        title=f"Accuracy against memory: {cfg.data.name}",
        lead=_lead(written),
        commands=[command],
        sections=[
            page.Section(
                heading, text, [figure(name) for name in names], [table(name, best) for name, best in shown.items()]
            )
            for heading, text, names, shown in SECTIONS
        ],
        jobs=jobs,
        versions=circumstances(int(cfg.seed)),
        retry=f"{command} sweep.retry=true",
    )


def _lead(written: Tables) -> str:
    """Return in words which random hidden layers do best within each budget."""
    _, columns, rows = written["equal_bytes"]
    winners = []
    for index, name in enumerate(columns[1:], 1):
        present = [row for row in rows if row[index] is not None and not str(row[0]).startswith("trained")]
        if present:
            best = max(present, key=lambda row: row[index])
            winners.append(f"{name}: {best[0]}, {best[index]:.4f}")
    return f"Best test accuracy of random hidden layers within {'; '.join(winners)}." if winners else ""
