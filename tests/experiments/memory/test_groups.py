"""The best networks of a memory sweep, and the tables and figures of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.memory import figures as memory_figures
from experiments.memory.comparisons import accuracy_within, choices, costs, differences, targets
from experiments.memory.groups import Group, best_within, by_arm, cost_of_accuracy, frontier, groups_of
from experiments.runner.jobs import Job
from experiments.runner.metrics import FILE_BYTES


def group(size: float, validation: float, test: float | None = None, label: str = "a", seeds: int = 3) -> Group:
    """Return a network of so many bytes, whose test accuracies scatter by ±.01 about their mean."""
    mean = validation if test is None else test
    tests = mean + 0.01 * (np.arange(seeds) - (seeds - 1) / 2)
    return Group(
        label, label, "random", 0.5, "8-8-4", tuple(range(seeds)), {"ridge": tests, "softmax": tests - 0.05},
        {"ridge": np.full(seeds, validation), "softmax": np.full(seeds, validation - 0.05)}, {"bytes/file": size},
    )  # fmt: skip


LINE = [group(100, 0.5), group(1000, 0.8), group(1500, 0.7), group(10_000, 0.9)]


def test_the_readout_is_chosen_on_validation_data_alone() -> None:
    g = group(100, 0.5)
    better_test = Group(**{**g.__dict__, "test": {"ridge": g.test["ridge"], "softmax": g.test["ridge"] + 0.3}})
    assert better_test.readout == "ridge"
    assert better_test.accuracy == pytest.approx(0.5)


def test_the_frontier_leaves_out_what_a_cheaper_network_beats() -> None:
    assert [g.values[FILE_BYTES] for g in frontier(LINE[::-1], FILE_BYTES)] == [100, 1000, 10_000]
    # Of networks that cost about the same, the better one counts.
    assert [g.values[FILE_BYTES] for g in frontier([*LINE, group(1010, 0.85)], FILE_BYTES)] == [100, 1010, 10_000]
    assert [g.values[FILE_BYTES] for g in frontier([*LINE, group(1100, 0.85)], FILE_BYTES)] == [100, 1000, 1100, 10_000]
    # A lucky test accuracy changes nothing.
    assert [g.values[FILE_BYTES] for g in frontier([*LINE, group(2000, 0.6, test=0.99)], FILE_BYTES)] == [
        100,
        1000,
        10_000,
    ]


def test_accuracy_within_a_budget() -> None:
    assert best_within(LINE, FILE_BYTES, 99) is None
    best = best_within(LINE, FILE_BYTES, 5000)
    assert best is not None
    assert best.values[FILE_BYTES] == 1000
    columns, rows = accuracy_within([*LINE, group(50, 0.3, label="b")], FILE_BYTES, [60, 1e4], lambda b: f"{b:g} B")
    assert columns == ["arm", "60 B", "10000 B"]
    assert rows == [["a", None, 0.9], ["b", 0.3, 0.3]]
    _, chosen = choices(LINE, FILE_BYTES, [60, 2000])
    assert chosen == [["a", 2000, 1000, 0.5, "8-8-4", "ridge", 0.8, pytest.approx(0.01 / np.sqrt(3), abs=1e-5)]]


def test_cost_of_an_accuracy_is_between_the_networks_about_it() -> None:
    assert cost_of_accuracy(LINE, FILE_BYTES, 0.95) is None
    assert cost_of_accuracy(LINE, FILE_BYTES, 0.4) == 100
    assert cost_of_accuracy(LINE, FILE_BYTES, 0.8) == pytest.approx(1000)
    assert cost_of_accuracy(LINE, FILE_BYTES, 0.65) == pytest.approx(np.sqrt(100 * 1000))
    _, rows = costs(LINE, FILE_BYTES, (0.85, 0.95))
    assert rows == [["a", round(np.sqrt(1000 * 10_000)), None]]


def test_costs_are_told_for_accuracies_that_are_reached() -> None:
    assert targets(LINE) == [0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
    assert targets([group(100, 0.78)], 2) == [0.7, 0.75]
    assert targets([group(100, 0.1)]) == [0.2]


def test_spread_over_seeds() -> None:
    # Tests scatter by ±.01 about their mean.
    assert group(1, 0.1).spread == pytest.approx(0.01 / np.sqrt(3))
    assert np.isnan(group(1, 0.1, seeds=1).spread)
    assert list(by_arm([group(1, 0.1), group(2, 0.2), group(1, 0.1, label="b")])) == ["a", "b"]


def test_figures_take_any_label(tmp_path: Path) -> None:
    groups = [group(100, 0.5, label="_$x [/] </b>"), group(1000, 0.8, label="_$x [/] </b>")]
    figure = memory_figures.bytes_figure(groups, "$ of $x_")
    figure.savefig(tmp_path / "a.png")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [r"\$x [/] </b>"]
    plt.close(figure)


def job(folder: Path, budget: float, tests: dict[int, float], seeds: int, arm: str = "trained") -> Job:
    """Return a finished job with the test accuracy of each of its seeds."""
    folder.mkdir()
    columns = ["seed", "accuracy/softmax", "validation/softmax", FILE_BYTES, "bytes/base3", "widths"]
    rows = [[seed, test, 0.5, budget + seed, "", "8-4"] for seed, test in tests.items()]
    first = {name: value or None for name, value in zip(columns[1:], rows[0][1:], strict=True)}
    (folder / "metrics.json").write_text(json.dumps(first))
    if seeds > 1:
        with (folder / "seeds.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    asked = {
        "experiment": {"seeds": seeds, "budget": budget, "width": None}, "seed": next(iter(tests)),
        "arm": {"name": arm, "label": arm, "family": "trained", "sparse": False}, "compress": {"sparsity": 0.5},
    }  # fmt: skip
    return Job(folder.name, "done", 1.0, folder, key=folder.name, requests=(asked,))


def test_seeds_of_one_job_count_as_those_of_several(tmp_path: Path) -> None:
    tests = {0: 0.6, 1: 0.7, 2: 0.9}
    (together,) = groups_of([job(tmp_path / "all", 1000, tests, 3)])
    (alone,) = groups_of([job(tmp_path / str(seed), 1000, {seed: test}, 1) for seed, test in tests.items()])
    assert together.seeds == alone.seeds == (0, 1, 2)
    np.testing.assert_array_equal(together.test["softmax"], alone.test["softmax"])
    assert together.values == alone.values
    assert together.values[FILE_BYTES] == 1001
    # jobs may overlap, but a seed counts once
    overlapping = [job(tmp_path / "a", 1000, {0: 0.6, 1: 0.7}, 2), job(tmp_path / "b", 1000, {1: 0.7, 2: 0.9}, 2)]
    (joined,) = groups_of(overlapping)
    assert joined.seeds == (0, 1, 2)
    assert joined.spread == pytest.approx(together.spread)


def test_differences_are_taken_seed_by_seed_from_what_fits_the_same_bytes() -> None:
    def of(label: str, size: float, tests: list[float], seeds: tuple[int, ...], validation: float = 0.5) -> Group:
        known = {"softmax": np.full(len(tests), validation)}
        return Group(label, label, "trained", None, "8", seeds, {"softmax": np.array(tests)}, known, {FILE_BYTES: size})

    groups = [
        of("trained", 100, [0.5, 0.7, 0.6], (0, 1, 2)), of("trained", 900, [0.8, 0.9, 0.7], (0, 1, 2), validation=0.9),
        of("few", 90, [0.72, 0.63, 0.51], (1, 2, 0)), of("none in common", 90, [0.9], (7,)),
        of("too large", 5000, [0.9], (0,)),
    ]  # fmt: skip
    columns, rows = differences(groups, FILE_BYTES, [150, 1000], "trained")
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [(row["arm"], row["at most"], row["cost"], row["its cost"]) for row in named] == [
        ("few", 150, 90, 100), ("few", 1000, 90, 900),
    ]  # fmt: skip
    # .01, .02 and .03 seed by seed, though the accuracies differ by far more between seeds
    assert named[0]["difference"] == pytest.approx(0.02)
    assert named[0]["±"] == pytest.approx(0.01 / np.sqrt(3), abs=1e-5)
    assert named[1]["difference"] == pytest.approx(0.62 - 0.8)
    assert differences(groups, FILE_BYTES, [50], "trained")[1] == []
    assert differences(groups, FILE_BYTES, [150], "absent")[1] == []
