"""Studies that compare limits with simulations, on data; test_tiny.py runs them on mixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.asymptotics.comparison import Comparison, Errors, agreement
from experiments.asymptotics.kernel_machines import KernelMachine
from experiments.asymptotics.spectrum_theory import kolmogorov_distance
from experiments.asymptotics.training_sets import TrainingSet
from hntk.asymptotics.density import LimitingDensity
from tests.support.command_line import rows, run_here


def test_the_distance_of_samples_from_their_own_atoms_is_what_counts_differ_by() -> None:
    halves = LimitingDensity((), ((1.0, 0.5), (2.0, 0.5)))
    assert kolmogorov_distance(halves, np.array([1.0, 1.0 + 1e-12, 2.0, 2.0])) == 0
    # Three in four eigenvalues are at the first atom, whose mass is a half.
    assert kolmogorov_distance(halves, np.array([1.0, 1.0, 1.0, 2.0])) == pytest.approx(0.25)
    assert kolmogorov_distance(halves, np.array([3.0])) == 1


def test_agreement_counts_in_standard_errors_or_by_what_is_visible() -> None:
    def point(prediction: float, *simulated: float) -> Comparison:
        def same(value: float) -> Errors:
            return Errors(value, value, value, value)

        return Comparison(predicted=[same(prediction)] * len(simulated), simulated=[same(s) for s in simulated])

    # The standard errors are .01 and .01; the third point has none.
    points = [point(0.105, 0.09, 0.11), point(0.2, 0.09, 0.11), point(0.3, 0.3, 0.3)]
    within, count, worst, score = agreement(points, "test_squared", estimated=False)
    assert (within, count) == (0.5, 2)
    assert worst == pytest.approx(0.1)
    assert score == pytest.approx(10)
    within, count, worst, _ = agreement(points, "test_squared", estimated=True)
    assert (within, count) == (pytest.approx(2 / 3), 3)
    assert agreement([point(0.1, 0.1)], "test_wrong", estimated=False)[3] is None


def test_machines_are_ridge_regression_and_its_gradient_flow() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(20, 5)) / np.sqrt(5), np.arange(20) % 2
    new, new_labels = rng.normal(size=(10, 5)) / np.sqrt(5), np.arange(10) % 2
    samples = TrainingSet(x, labels, new, new_labels, None)  # type: ignore[arg-type]
    layers = [hntk.activation("relu")]
    machine = KernelMachine.of(samples, layers, "ck", 1.0, None, "native")
    kernel = np.asarray(hntk.exact_kernels(x, layers, tau0=1.0).ck)
    across = np.asarray(hntk.exact_kernels(new, layers, x2=x, tau0=1.0).ck)
    targets, new_targets = np.eye(2)[labels] - 0.5, np.eye(2)[new_labels] - 0.5
    dual = np.linalg.solve(kernel + 0.3 * np.eye(20), targets)
    errors = machine.ridge(0.3)
    assert errors.training_squared == pytest.approx(np.mean(np.sum((targets - kernel @ dual) ** 2, axis=1)))
    assert errors.test_squared == pytest.approx(np.mean(np.sum((new_targets - across @ dual) ** 2, axis=1)))
    assert errors.test_wrong == np.mean(np.argmax(across @ dual, axis=1) != new_labels)
    # Steps of gradient descent, small enough to follow the flow until time 2.
    dual, step = np.zeros_like(targets), 2e-4
    for _ in range(10_000):
        dual += step * (targets - kernel @ dual)
    errors = machine.flow(2.0)
    assert errors.training_squared == pytest.approx(np.mean(np.sum((targets - kernel @ dual) ** 2, axis=1)), rel=1e-3)
    assert errors.test_squared == pytest.approx(np.mean(np.sum((new_targets - across @ dual) ** 2, axis=1)), rel=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "count"), [("learning_curve", 6), ("dynamics", 2)])
def test_errors_on_data_are_predicted_from_estimates(
    name: str, count: int, tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=mnist", f"data.folder={digits}", "experiment.ratios=[2]", "experiment.seeds=2")
    run_here(tmp_path, f"+exp={name}", "+debug=tiny", *words)
    assert "estimated quantities" in capsys.readouterr().out
    assert [row["n"] for row in rows(tmp_path / "errors.csv")] == ["128"] * count
