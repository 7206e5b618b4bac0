"""Networks of a sweep, gathered over seeds, the best ones among them, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from experiments.runner import metrics
from experiments.runner.jobs import Job
from experiments.runner.metrics import BIT_OPERATIONS, FILE_BYTES, READOUTS
from experiments.runner.record import Table
from experiments.runner.statistics import mean_and_error

# Costs of networks that were made for the same budget differ by less than this factor.
ALIKE = 1.02
# Test accuracies for which tables list the costs.
ACCURACIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)


@dataclass(frozen=True)
class Group:
    """One arm at one size and sparsity, over all seeds.

    Attributes
    ----------
    arm, label : str
        Name of the arm in settings, and in tables and figures.
    family : str
        ``random`` or ``trained``, as its hidden layers are.
    sparsity : float or None
        ε; None where it does not apply.
    widths : str
        Widths of its layers.
    seeds : int
        Number of seeds.
    test, validation : dict
        By readout, accuracies of shape (seeds,).
    values : dict
        By name, means of all other metrics; any of them may serve as a cost.
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
        """The readout with the better mean validation accuracy."""
        return max(self.validation, key=lambda name: float(self.validation[name].mean()))

    @property
    def validation_accuracy(self) -> float:
        """Mean validation accuracy of that readout."""
        return float(self.validation[self.readout].mean())

    @property
    def accuracy(self) -> float:
        """Mean test accuracy of that readout."""
        return float(self.test[self.readout].mean())

    @property
    def spread(self) -> float:
        """Standard error of that accuracy; NaN for one seed."""
        return mean_and_error(self.test[self.readout])[1]


def groups_of(jobs: Iterable[Job]) -> list[Group]:
    """Return the finished jobs gathered over seeds, in the order of arms in the sweep and then by size."""
    rows = [(job.config, job.metrics) for job in jobs if job.state == "done"]
    order = list(dict.fromkeys(cfg.arm.name for cfg, _ in rows))

    def key(row: tuple) -> tuple:
        cfg, metrics = row
        sparsity = float(cfg.compress.sparsity) if cfg.arm.sparse else -1.0
        return order.index(cfg.arm.name), sparsity, [int(d) for d in metrics["widths"].split("-")]

    rows.sort(key=lambda row: (key(row), row[0].seed))
    return [_group(list(members)) for _, members in groupby(rows, key)]


def _group(members: list[tuple]) -> Group:
    cfg, first = members[0]
    readouts = [name for name in READOUTS if f"accuracy/{name}" in first]
    numbers = {k for _, m in members for k, v in m.items() if isinstance(v, int | float)}
    values = {k: float(np.mean([m[k] for _, m in members if m.get(k) is not None])) for k in numbers}
    test, validation = (
        {name: np.array([m[f"{part}/{name}"] for _, m in members]) for name in readouts}
        for part in ("accuracy", "validation")
    )
    sparsity = float(cfg.compress.sparsity) if cfg.arm.sparse else None
    arm = (cfg.arm.name, cfg.arm.label, cfg.arm.family)
    return Group(*arm, sparsity, first["widths"], len(members), test, validation, values)


def by_arm(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Return the groups of every arm, by its label."""
    return {label: list(members) for label, members in groupby(groups, lambda g: g.label)}


def frontier(
    groups: Sequence[Group], cost: str, score: Callable[[Group], float] = lambda group: group.validation_accuracy
) -> list[Group]:
    """Return the groups whose score no cheaper group reaches; of groups that cost about the same, the best one."""
    kept: list[Group] = []
    for group in sorted(groups, key=lambda g: (g.values[cost], -score(g))):
        if kept and score(group) <= score(kept[-1]):
            continue
        if kept and group.values[cost] <= ALIKE * kept[-1].values[cost]:
            kept.pop()
        kept.append(group)
    return kept


def best_within(groups: Sequence[Group], cost: str, budget: float) -> Group | None:
    """Return the group with the best validation accuracy among those that cost no more than the budget."""
    affordable = (g for g in groups if g.values[cost] <= budget)
    return max(affordable, key=lambda g: g.validation_accuracy, default=None)


def cost_of_accuracy(groups: Sequence[Group], cost: str, accuracy: float) -> float | None:
    """Return the cost at which the frontier reaches a test accuracy; None if it does not.

    Between two groups the logarithm of the cost is interpolated.
    """
    line = frontier(groups, cost)
    for before, after in zip([None, *line], line, strict=False):
        if after.accuracy < accuracy:
            continue
        end = after.values[cost]
        if before is None:
            return end
        start = before.values[cost]
        share = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
        return float(start * (end / start) ** max(share, 0.0))
    return None


def accuracy_within(groups: Sequence[Group], cost: str, budgets: Sequence[float], name: Callable) -> Table:
    """Return test accuracies, one row an arm and one column a budget; None where nothing fits."""
    rows: list[list] = []
    for label, members in by_arm(groups).items():
        best = [best_within(members, cost, budget) for budget in budgets]
        rows.append([label, *(None if g is None else round(g.accuracy, 4) for g in best)])
    return ["arm", *(name(b) for b in budgets)], rows


def choices(groups: Sequence[Group], cost: str, budgets: Sequence[float]) -> Table:
    """Return the networks behind :func:`accuracy_within`, one row for every arm and budget."""
    rows = []
    for label, members in by_arm(groups).items():
        for budget in budgets:
            g = best_within(members, cost, budget)
            if g is not None:
                rows.append(
                    [label, int(budget), int(g.values[cost]), g.sparsity, g.widths, g.readout, round(g.accuracy, 5),
                     _finite(g.spread)]
                )  # fmt: skip
    return ["arm", "at most", "cost", "ε", "widths", "readout", "test accuracy", "±"], rows


def targets(groups: Sequence[Group], count: int = 6) -> list[float]:
    """Return the highest accuracies of ``ACCURACIES`` that are reached."""
    best = max(g.accuracy for g in groups)
    return [a for a in ACCURACIES if a <= best][-count:] or [ACCURACIES[0]]


def costs(groups: Sequence[Group], cost: str, accuracies: Sequence[float]) -> Table:
    """Return costs, one row an arm and one column a test accuracy; None where it is not reached."""
    rows: list[list] = []
    for label, members in by_arm(groups).items():
        needed = [cost_of_accuracy(members, cost, a) for a in accuracies]
        rows.append([label, *(None if v is None else int(round(v)) for v in needed)])
    return ["arm", *(f"{a:g}" for a in accuracies)], rows


def front(groups: Sequence[Group]) -> Table:
    """Return the networks, of all arms, whose validation accuracy no smaller one reaches."""
    columns = ["arm", "ε", "widths", "readout", "file (bytes)", "bit operations", "validation", "test"]
    return columns, [
        [g.label, g.sparsity, g.widths, g.readout, int(g.values[FILE_BYTES]), int(g.values[BIT_OPERATIONS]),
         round(g.validation_accuracy, 4), round(g.accuracy, 4)]
        for g in frontier(groups, FILE_BYTES)
    ]  # fmt: skip


def everything(groups: Sequence[Group]) -> Table:
    """Return all that was measured, one row a group."""
    columns = [
        "arm", "ε", "widths", "seeds", "file (bytes)", "2 bits (bytes)", "base 3 (bytes)", "entropy (bytes)",
        "test, ridge", "± ", "test, softmax", "±", "bit operations", "on bit planes", "activations (bytes)",
        "kernel error", "seconds",
    ]  # fmt: skip
    return columns, [_row(g) for g in groups]


def _row(g: Group) -> list:
    def whole(name: str) -> int | None:
        value = g.values.get(name, np.nan)
        return None if np.isnan(value) else int(round(value))

    accuracies: list = []
    for name in metrics.READOUTS:
        mean, error = mean_and_error(g.test[name]) if name in g.test else (np.nan, np.nan)
        accuracies += [_finite(mean), _finite(error)]
    seconds = sum(v for k, v in g.values.items() if k.startswith("seconds/"))
    return [
        g.label, g.sparsity, g.widths, g.seeds, whole(FILE_BYTES), whole(metrics.FORMULA_BYTES), whole("bytes/base3"),
        whole("bytes/entropy"), *accuracies, whole(BIT_OPERATIONS), whole(metrics.PLANE_OPERATIONS),
        whole(metrics.ACTIVATION_BYTES), _finite(g.values.get(metrics.KERNEL_ERROR, np.nan), 4), round(seconds, 1),
    ]  # fmt: skip


def _finite(number: float, digits: int = 5) -> float | None:
    """Return the number rounded, and None if it is not finite."""
    return round(number, digits) if np.isfinite(number) else None
