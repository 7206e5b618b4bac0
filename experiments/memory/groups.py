"""Networks of a sweep, gathered over seeds, and the best ones among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from experiments.runner.jobs import Job
from experiments.runner.metrics import READOUTS
from experiments.training.job_tables import rows_of
from hntk._utils.statistics import mean_and_error

# The table of a job's seeds, of which it has several.
SEEDS = "seeds"
# Costs of networks that were made for the same budget differ by less than this factor.
ALIKE = 1.02


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
    seeds : tuple of int
        Its seeds, in the order of the accuracies.
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
    seeds: tuple[int, ...]
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

    def test_of(self, seed: int) -> float:
        """Return the test accuracy of one seed, with that readout."""
        return float(self.test[self.readout][self.seeds.index(seed)])

    @property
    def spread(self) -> float:
        """Standard error of that accuracy; NaN for one seed."""
        return mean_and_error(self.test[self.readout])[1]


def groups_of(jobs: Iterable[Job]) -> list[Group]:
    """Return the finished jobs gathered over seeds, in the order of arms in the sweep and then by size."""
    rows = list({_identity(row): row for job in jobs if job.state == "done" for row in measured(job)}.values())
    order = list(dict.fromkeys(cfg.arm.name for cfg, *_ in rows))

    def key(row: tuple) -> tuple:
        cfg, _, metrics = row
        sparsity = float(cfg.compress.sparsity) if cfg.arm.sparse else -1.0
        return order.index(cfg.arm.name), sparsity, [int(d) for d in metrics["widths"].split("-")]

    rows.sort(key=lambda row: (key(row), row[1]))
    return [_group(list(members)) for _, members in groupby(rows, key)]


def measured(job: Job) -> list[tuple[Any, int, dict[str, Any]]]:
    """Return configuration, seed and metrics of every seed of a finished job."""
    cfg, means = job.config, job.metrics
    if cfg.experiment.get("seeds", 1) == 1:
        return [(cfg, int(cfg.seed), means)]
    rows = rows_of(job, SEEDS)
    return [(cfg, int(row["seed"]), {k: _read(row[k], means[k]) for k in means if k in row}) for row in rows]


def _read(cell: str, mean: Any) -> Any:
    """Return a cell of a table, of whose column the mean is known."""
    return cell if isinstance(mean, str) else float(cell) if cell else None


def _identity(row: tuple[Any, int, dict[str, Any]]) -> tuple:
    """Return what rows of the same network have in common, if jobs share a seed."""
    cfg, seed, metrics = row
    return cfg.arm.name, float(cfg.compress.sparsity) if cfg.arm.sparse else None, metrics["widths"], seed


def _group(members: list[tuple]) -> Group:
    cfg, _, first = members[0]
    readouts = [name for name in READOUTS if f"accuracy/{name}" in first]
    numbers = {k for *_, m in members for k, v in m.items() if isinstance(v, int | float)}
    values = {k: float(np.mean([m[k] for *_, m in members if m.get(k) is not None])) for k in numbers}
    test, validation = (
        {name: np.array([m[f"{part}/{name}"] for *_, m in members]) for name in readouts}
        for part in ("accuracy", "validation")
    )
    sparsity = float(cfg.compress.sparsity) if cfg.arm.sparse else None
    arm = (cfg.arm.name, cfg.arm.label, cfg.arm.family)
    return Group(*arm, sparsity, first["widths"], tuple(seed for _, seed, _ in members), test, validation, values)


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
