"""Tables of the networks of a sweep: accuracies within budgets, costs of accuracies, and differences between arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from experiments.memory.groups import Group, best_within, by_arm, cost_of_accuracy, frontier
from experiments.runner import metrics
from experiments.runner.metrics import BIT_OPERATIONS, FILE_BYTES
from experiments.runner.record import Table
from hntk._utils.statistics import mean_and_error

# Test accuracies for which tables list the costs.
ACCURACIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)


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


def differences(groups: Sequence[Group], cost: str, budgets: Sequence[float], reference: str) -> Table:
    """Return mean differences in test accuracy from an arm within the same budgets, seed by seed.

    Parameters
    ----------
    groups : sequence of Group
        Networks.
    cost : str
        Name of the cost.
    budgets : sequence of float
        Largest costs; within each, an arm's network of the best validation accuracy counts.
    reference : str
        Name of the arm that others are compared with.

    Returns
    -------
    pair of list
        Columns and rows. One row for every budget and other arm that has seeds in common with the reference. The
        standard errors are those of the differences; they are None for one seed.
    """
    arms = by_arm(groups)
    others = [members for members in arms.values() if members[0].arm != reference]
    own = [group for members in arms.values() for group in members if group.arm == reference]
    rows = []
    for budget in budgets:
        base = best_within(own, cost, budget)
        for members in others:
            best = best_within(members, cost, budget)
            common = [] if base is None or best is None else sorted(set(base.seeds) & set(best.seeds))
            if base is None or best is None or not common:
                continue
            theirs, its = (np.array([g.test_of(seed) for seed in common]) for g in (best, base))
            mean, error = mean_and_error(theirs - its)
            rows.append(
                [best.label, int(budget), len(common), int(best.values[cost]), int(base.values[cost]),
                 round(float(theirs.mean()), 5), round(float(its.mean()), 5), round(mean, 5), _finite(error)]
            )  # fmt: skip
    columns = ["arm", "at most", "seeds", "cost", "its cost", "test accuracy", "its test accuracy", "difference", "±"]
    return columns, rows


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
        g.label, g.sparsity, g.widths, len(g.seeds), whole(FILE_BYTES), whole(metrics.FORMULA_BYTES),
        whole("bytes/base3"), whole("bytes/entropy"), *accuracies, whole(BIT_OPERATIONS),
        whole(metrics.PLANE_OPERATIONS), whole(metrics.ACTIVATION_BYTES),
        _finite(g.values.get(metrics.KERNEL_ERROR, np.nan), 4), round(seconds, 1),
    ]  # fmt: skip


def _finite(number: float, digits: int = 5) -> float | None:
    """Return the number rounded, and None if it is not finite."""
    return round(number, digits) if np.isfinite(number) else None
