"""Experiments that hold limits against simulations, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.spectrum_theory import kolmogorov_distance
from hntk.asymptotics.density import LimitingDensity
from tests.command_line import done, rows, run


def test_the_distance_of_samples_from_their_own_atoms_is_what_counts_differ_by() -> None:
    halves = LimitingDensity((), ((1.0, 0.5), (2.0, 0.5)))
    assert kolmogorov_distance(halves, np.array([1.0, 1.0 + 1e-12, 2.0, 2.0])) == 0
    # three in four at the first place in place of two
    assert kolmogorov_distance(halves, np.array([1.0, 1.0, 1.0, 2.0])) == pytest.approx(0.25)
    assert kolmogorov_distance(halves, np.array([3.0])) == 1


@pytest.mark.slow
def test_spectra_come_nearer_to_the_limit_as_p_grows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=spectrum_theory", "wandb=disabled", "data.p=160", "experiment.sizes=[40,160]", "experiment.seeds=3",
        "experiment.depth=1", "experiment.cases=[unequal/staircase]", f"hydra.run.dir={out}",
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    for simulated in ("equivalent", "exact"):
        assert metrics[f"falling/{simulated}"] is True
        assert metrics[f"worst/{simulated}"] < 0.08
    assert metrics["worst/exact against the limit"] > metrics["worst/exact"]
    # two kernels, and three comparisons below n = p, two above
    assert len(rows(out / "distances.csv")) == 2 * 5 * 2
    assert all((out / name).stat().st_size > 0 for name in ("distances.png", "spectra_80_160.png"))


@pytest.mark.slow
def test_spikes_leave_the_bulk_where_theory_says(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=spikes", "wandb=disabled", "data.p=200", "experiment.sizes=[100,200]", "experiment.seeds=4",
        "experiment.separations=[0,4]", "experiment.spreads=[0,6]", "experiment.followed_separations=[4]",
        "experiment.followed_spreads=[6]", f"hydra.run.dir={out}",
    )  # fmt: skip
    table = {(row["axis"], row["at"], row["p"], row["simulated"]): row for row in rows(out / "pairs.csv")}
    for simulated in ("exact", "equivalent"):
        assert table["separation", "0.0", "200", simulated]["above"] == "False"
        above = table["separation", "4.0", "200", simulated]
        assert above["above"] == "True"
        assert abs(float(above["relative error of the eigenvalue"])) < 0.06
        assert abs(float(above["error of the alignment"])) < 0.05
    assert "below" in printed
    assert (out / "spikes.png").stat().st_size > 0


@pytest.mark.slow
def test_learning_is_predicted_dense_and_compressed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=learning_curve", "wandb=disabled", "data.p=200", "experiment.ratios=[1,2]", "experiment.seeds=4",
        "experiment.ridges=[0.3,3]", "experiment.n_test=500", f"hydra.run.dir={out}",
    )  # fmt: skip
    table = rows(out / "errors.csv")
    assert len(table) == 3 * 2 * 2
    for row in table:
        assert abs(float(row["test squared, theory"]) - float(row["test squared, simulated"])) < 0.02
        assert abs(float(row["test wrong, theory"]) - float(row["test wrong, simulated"])) < 0.02
    dense, same, compensated = (
        [float(row["test squared, theory"]) for row in table if row["network"] == name]
        for name in ("dense", "compressed, same λ", "compressed, λ − δ")
    )
    # in the limit they are equal; the exact kernels of this size are not
    assert compensated == pytest.approx(dense, abs=0.005)
    assert compensated != pytest.approx(dense, abs=1e-5)
    assert same[0] != pytest.approx(dense[0], rel=1e-3)
    assert (out / "learning_curve.png").stat().st_size > 0


@pytest.mark.slow
def test_learning_on_data_is_predicted_from_estimates(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=learning_curve", "data=mnist", "wandb=disabled", "experiment.ratios=[2]", "experiment.seeds=2",
        "experiment.ridges=[0.3,3]", f"hydra.run.dir={out}", data=digits,
    )  # fmt: skip
    assert "estimated quantities" in printed
    assert [row["n"] for row in rows(out / "errors.csv") if row["network"] == "dense"] == ["128", "128"]


@pytest.mark.slow
def test_gradient_flow_is_predicted(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=dynamics", "wandb=disabled", "data.p=200", "experiment.ratios=[1]", "experiment.seeds=4",
        "experiment.times=[0.1,1,10]", "experiment.n_test=500", f"hydra.run.dir={out}",
    )  # fmt: skip
    table = rows(out / "errors.csv")
    for part in ("training", "test"):
        theory = [float(row[f"{part} squared, theory"]) for row in table]
        assert theory == pytest.approx([float(row[f"{part} squared, simulated"]) for row in table], abs=0.02)
    assert float(table[-1]["training squared, theory"]) < 1e-3
    assert (out / "dynamics.png").stat().st_size > 0
    done(
        "+exp=dynamics", "data=mnist", "wandb=disabled", "experiment.ratios=[2]", "experiment.seeds=2",
        "experiment.times=[1]", f"hydra.run.dir={tmp_path / 'digits'}", data=digits,
    )  # fmt: skip


@pytest.mark.slow
def test_an_unknown_case_names_the_known(tmp_path: Path) -> None:
    result = run("+exp=spectrum_theory", "experiment.cases=[round/relu]", f"hydra.run.dir={tmp_path / 'out'}")
    assert result.returncode == 1
    assert "structured" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
