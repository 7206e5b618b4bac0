"""Experiments that hold limits against simulations, on data; on mixtures they are in test_tiny.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.asymptotics.spectrum_theory import kolmogorov_distance
from hntk.asymptotics.density import LimitingDensity
from tests.support.command_line import done, rows


def test_the_distance_of_samples_from_their_own_atoms_is_what_counts_differ_by() -> None:
    halves = LimitingDensity((), ((1.0, 0.5), (2.0, 0.5)))
    assert kolmogorov_distance(halves, np.array([1.0, 1.0 + 1e-12, 2.0, 2.0])) == 0
    # three in four at the first place in place of two
    assert kolmogorov_distance(halves, np.array([1.0, 1.0, 1.0, 2.0])) == pytest.approx(0.25)
    assert kolmogorov_distance(halves, np.array([3.0])) == 1


@pytest.mark.nightly
@pytest.mark.slow
def test_learning_on_data_is_predicted_from_estimates(tmp_path: Path, digits: Path) -> None:
    printed = done(
        "+exp=learning_curve", "+debug=tiny", "data=mnist", "experiment.ratios=[2]", "experiment.seeds=2",
        f"hydra.run.dir={tmp_path}", data=digits,
    )  # fmt: skip
    assert "estimated quantities" in printed
    assert [row["n"] for row in rows(tmp_path / "errors.csv") if row["network"] == "dense"] == ["128", "128"]


@pytest.mark.nightly
@pytest.mark.slow
def test_gradient_flow_on_data_is_predicted_from_estimates(tmp_path: Path, digits: Path) -> None:
    printed = done(
        "+exp=dynamics", "+debug=tiny", "data=mnist", "experiment.ratios=[2]", "experiment.seeds=2",
        "experiment.times=[1]", f"hydra.run.dir={tmp_path}", data=digits,
    )  # fmt: skip
    assert "estimated quantities" in printed
    assert [row["n"] for row in rows(tmp_path / "errors.csv")] == ["128"]
