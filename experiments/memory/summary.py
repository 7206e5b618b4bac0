"""What a sweep of the memory experiment says: means over seeds, the best networks of every arm, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from omegaconf import OmegaConf

from experiments.runner.jobs import Job
from experiments.runner.metrics import (
    ACTIVATION_BYTES,
    BIT_OPERATIONS,
    FILE_BYTES,
    FORMULA_BYTES,
    KERNEL_ERROR,
    PLANE_OPERATIONS,
    READOUTS,
)

Cost = Callable[["Group"], float]
Score = Callable[["Group"], float]
# costs of networks made for the same budget differ by less
ALIKE = 1.02
# test accuracies that costs are told for
ACCURACIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)


@dataclass(frozen=True)
class Group:
    """One arm at one size and sparsity: means over seeds.

    Attributes
    ----------
    arm, label, family : which arm, what to call it, and whether its hidden layers are random or trained.
    sparsity : ε; None where it does not apply.
    widths : of its layers.
    seeds : how many.
    test, validation : (seeds,) accuracies by readout.
    values : means of every other metric.
    """

    arm: str
    label: str
    family: str
    sparsity: float | None
    widths: str
    seeds: int
    test: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    values: dict[str, float]

    @property
    def readout(self) -> str:
        """The one of the better mean validation accuracy."""
        return max(self.validation, key=lambda name: float(self.validation[name].mean()))

    @property
    def chosen_by(self) -> float:
        """Validation accuracy of that readout."""
        return float(self.validation[self.readout].mean())

    @property
    def accuracy(self) -> float:
        """Mean test accuracy of that readout."""
        return float(self.test[self.readout].mean())

    @property
    def spread(self) -> float:
        """Standard error of the mean over seeds; nan of one seed."""
        return standard_error(self.test[self.readout])

    @property
    def file(self) -> float:
        """Bytes as written."""
        return self.values[FILE_BYTES]


def standard_error(values: np.ndarray) -> float:
    """Of the mean; nan of a single value."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def file_bytes(group: Group) -> float:
    """Bytes as written."""
    return group.file


def bit_operations(group: Group) -> float:
    """Bit operations a prediction."""
    return group.values[BIT_OPERATIONS]


def activation_bytes(group: Group) -> float:
    """Memory for activations."""
    return group.values[ACTIVATION_BYTES]


def groups_of(jobs: Iterable[Job]) -> list[Group]:
    """Finished jobs, gathered over seeds, in the order of arms in the sweep and then by size."""
    rows = [(OmegaConf.create(job.requests[0]), job.metrics) for job in jobs if job.state == "done"]
    order = list(dict.fromkeys(cfg.arm.name for cfg, _ in rows))

    def key(row: tuple) -> tuple:
        cfg, metrics = row
        sparsity = float(cfg.compress.sparsity) if cfg.arm.sparse else -1.0
        return (order.index(cfg.arm.name), sparsity, metrics[FORMULA_BYTES] // 64, metrics["widths"])

    rows.sort(key=lambda row: (key(row)[:2], [int(d) for d in row[1]["widths"].split("-")], row[0].seed))
    return [_group(list(members)) for _, members in groupby(rows, lambda row: (*key(row)[:2], row[1]["widths"]))]


def _group(members: list[tuple]) -> Group:
    cfg, first = members[0]
    read = [name for name in READOUTS if f"accuracy/{name}" in first]
    columns = {k for _, m in members for k, v in m.items() if isinstance(v, int | float)}
    values = {k: float(np.mean([m[k] for _, m in members if m.get(k) is not None])) for k in columns}
    return Group(
        cfg.arm.name,
        cfg.arm.label,
        cfg.arm.family,
        float(cfg.compress.sparsity) if cfg.arm.sparse else None,
        first["widths"],
        len(members),
        {name: np.array([m[f"accuracy/{name}"] for _, m in members]) for name in read},
        {name: np.array([m[f"validation/{name}"] for _, m in members]) for name in read},
        values,
    )


def by_arm(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups of every arm, by its label."""
    return {label: list(members) for label, members in groupby(groups, lambda g: g.label)}


def on_validation(group: Group) -> float:
    """Validation accuracy of the better readout."""
    return group.chosen_by


def frontier(groups: Sequence[Group], cost: Cost, score: Score = on_validation) -> list[Group]:
    """Those that no cheaper group beats in a score; of about the same cost the best."""
    kept: list[Group] = []
    for group in sorted(groups, key=lambda g: (cost(g), -score(g))):
        if kept and score(group) <= score(kept[-1]):
            continue
        if kept and cost(group) <= ALIKE * cost(kept[-1]):
            kept.pop()
        kept.append(group)
    return kept


def best_within(groups: Sequence[Group], cost: Cost, budget: float) -> Group | None:
    """The group of best validation accuracy that costs no more."""
    return max((g for g in groups if cost(g) <= budget), key=lambda g: g.chosen_by, default=None)


def cost_of_accuracy(groups: Sequence[Group], cost: Cost, accuracy: float) -> float | None:
    """Where the frontier reaches a test accuracy, between two of its groups by interpolation in the logarithm."""
    line = frontier(groups, cost)
    for before, after in zip([None, *line], line, strict=False):
        if after.accuracy < accuracy:
            continue
        if before is None:
            return cost(after)
        share = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
        return float(cost(before) * (cost(after) / cost(before)) ** max(share, 0.0))
    return None


def table_within(
    groups: Sequence[Group], cost: Cost, budgets: Sequence[float], name: Callable[[float], str]
) -> tuple[list[str], list[list]]:
    """Columns and rows of test accuracies, one row an arm and one column a budget; None where nothing fits."""
    rows: list[list] = []
    for label, members in by_arm(groups).items():
        best = [best_within(members, cost, budget) for budget in budgets]
        rows.append([label, *(None if g is None else round(g.accuracy, 4) for g in best)])
    return ["arm", *(name(b) for b in budgets)], rows


def table_of_choices(groups: Sequence[Group], cost: Cost, budgets: Sequence[float]) -> tuple[list[str], list[list]]:
    """Columns and rows of the networks behind :func:`table_within`, one row an arm and budget."""
    rows = []
    for label, members in by_arm(groups).items():
        for budget in budgets:
            g = best_within(members, cost, budget)
            if g is not None:
                spread = _finite(g.spread)
                rows.append(
                    [label, int(budget), int(cost(g)), g.sparsity, g.widths, g.readout, round(g.accuracy, 5), spread]
                )
    return ["arm", "at most", "cost", "ε", "widths", "readout", "test accuracy", "±"], rows


def targets(groups: Sequence[Group], count: int = 6) -> list[float]:
    """The highest round test accuracies that are reached."""
    best = max(g.accuracy for g in groups)
    return [a for a in ACCURACIES if a <= best][-count:] or [ACCURACIES[0]]


def table_of_costs(groups: Sequence[Group], cost: Cost, accuracies: Sequence[float]) -> tuple[list[str], list[list]]:
    """Columns and rows of costs, one row an arm and one column a test accuracy; None where it is not reached."""
    rows: list[list] = []
    for label, members in by_arm(groups).items():
        found = [cost_of_accuracy(members, cost, a) for a in accuracies]
        rows.append([label, *(None if v is None else int(round(v)) for v in found)])
    return ["arm", *(f"{a:g}" for a in accuracies)], rows


def table_of_front(groups: Sequence[Group]) -> tuple[list[str], list[list]]:
    """Columns and rows of the networks, of all arms, that no smaller one beats on validation data."""
    columns = ["arm", "ε", "widths", "readout", "file (bytes)", "bit operations", "validation", "test"]
    return columns, [
        [g.label, g.sparsity, g.widths, g.readout, int(g.file), int(bit_operations(g)), round(g.chosen_by, 4),
         round(g.accuracy, 4)]
        for g in frontier(groups, file_bytes)
    ]  # fmt: skip


def table_of_groups(groups: Sequence[Group]) -> tuple[list[str], list[list]]:
    """Columns and rows of everything measured, one row a group."""
    columns = [
        "arm", "ε", "widths", "seeds", "file (bytes)", "2 bits (bytes)", "base 3 (bytes)", "entropy (bytes)",
        "test, ridge", "± ", "test, softmax", "±", "bit operations", "on bit planes", "activations (bytes)",
        "kernel error", "seconds",
    ]  # fmt: skip
    return columns, [_row(g) for g in groups]


def _row(g: Group) -> list:
    def value(name: str, digits: int | None = None) -> float | int | None:
        found = g.values.get(name)
        return None if found is None or np.isnan(found) else round(found, digits) if digits else int(round(found))

    accuracies: list = []
    for name in READOUTS:
        found = g.test.get(name)
        accuracies += [None, None] if found is None else [round(float(found.mean()), 5), _finite(standard_error(found))]
    seconds = sum(v for k, v in g.values.items() if k.startswith("seconds/"))
    return [
        g.label, g.sparsity, g.widths, g.seeds, value(FILE_BYTES), value(FORMULA_BYTES), value("bytes/base3"),
        value("bytes/entropy"), *accuracies, value(BIT_OPERATIONS), value(PLANE_OPERATIONS),
        value(ACTIVATION_BYTES), value(KERNEL_ERROR, 4), round(seconds, 1),
    ]  # fmt: skip


def _finite(number: float) -> float | None:
    return round(number, 5) if np.isfinite(number) else None
