"""The command line, run as a user runs it; what every experiment leaves is in test_tiny.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import tasks as bench_tasks
from tests.support.command_line import done, rows, run

slow = pytest.mark.slow


@pytest.mark.slow
@slow
def test_gmm_estimates_what_it_is_not_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=gmm", "+debug=tiny", "experiment.quantities=estimated", "experiment.finite_width=false",
        "compress=paper", f"hydra.run.dir={out}",
    )  # fmt: skip
    assert not (out / "wandb").exists()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["relative_shift"] > 5  # σ_T adds a large ridge
    assert not any("drawn" in name for name in metrics)


@pytest.mark.nightly
@slow
def test_a_sweep_runs_every_job(tmp_path: Path) -> None:
    done(
        "-m", "+exp=gmm", "+debug=tiny", "experiment.finite_width=false", "compress.levels=2,4",
        f"hydra.sweep.dir={tmp_path / 'sweep'}", f"sweep.store={tmp_path / 'jobs'}",
    )  # fmt: skip
    shifts = [float(row["relative_shift"]) for row in rows(tmp_path / "sweep" / "jobs.csv")]
    assert shifts[1] < shifts[0]


@pytest.mark.slow
@slow
def test_an_unreachable_match_says_what_to_do(tmp_path: Path) -> None:
    result = run(
        "+exp=gmm", "+debug=tiny", "compress=paper", "net.activations=[erf,relu,relu]",
        f"hydra.run.dir={tmp_path / 'out'}",
    )  # fmt: skip
    assert result.returncode == 1
    assert "levels=3 reaches all of them" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.slow
@slow
def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    result = run("+exp=mnist", f"hydra.run.dir={tmp_path / 'out'}")
    assert result.returncode == 1
    assert "HNTK_DATA" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.slow
@slow
@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_named_folder_is_respected_by_tiny_runs(named: str, tmp_path: Path) -> None:
    folder, words = (
        tmp_path / "nothing",
        ["+exp=store", "+debug=tiny", "data=mnist", f"hydra.run.dir={tmp_path / 'out'}"],
    )
    words += [f"data.folder={folder}"] if named == "argument" else []
    result = run(*words, data=folder if named == "environment" else None)
    assert result.returncode == 1
    assert f"{folder} does not exist" in result.stdout
    assert "stands in" not in result.stdout


@pytest.mark.slow
@slow
def test_million_takes_a_data_set(tmp_path: Path, digits: Path) -> None:
    done(
        "+exp=million", "+debug=tiny", "data=mnist", "experiment.exact_sizes=[200]", f"hydra.run.dir={tmp_path}",
        data=digits,
    )  # fmt: skip
    table = rows(tmp_path / "regressions.csv")
    assert [row["n"] for row in table] == ["200", "200", "400", "600"]
    assert all(float(row["test accuracy"]) > 0.85 for row in table)


@pytest.mark.slow
@slow
def test_kernels_are_stored_and_a_run_that_was_interrupted_goes_on(tmp_path: Path, digits: Path) -> None:
    kernels, words = tmp_path / "kernels", ("+exp=store", "data=mnist", "wandb=disabled", "experiment.tile=128")
    words += (f"experiment.folder={kernels}",)
    printed = done(*words, f"hydra.run.dir={tmp_path / 'one'}", data=digits)
    assert "2.9 MB" in printed  # twice 600² numbers of 4 bytes
    table = rows(tmp_path / "one" / "eigenvalues.csv")
    journal = json.loads((kernels / "progress.json").read_text())
    ntk = np.load(kernels / "ntk.npy")
    journal["done"].pop()
    (kernels / "progress.json").write_text(json.dumps(journal))
    done(*words, f"hydra.run.dir={tmp_path / 'two'}", data=digits)
    np.testing.assert_array_equal(np.load(kernels / "ntk.npy"), ntk)
    assert rows(tmp_path / "two" / "eigenvalues.csv") == table
    largest = np.linalg.eigvalsh(ntk.astype(np.float64))[-1]
    assert float(table[0]["NTK"]) == pytest.approx(largest, rel=1e-5)
    other = run(*words, "experiment.precision=float64", f"hydra.run.dir={tmp_path / 'three'}", data=digits)
    assert other.returncode == 1
    assert "choose another folder" in " ".join(other.stdout.split())


def test_batches_of_neural_tangents_give_what_it_gives_at_once() -> None:
    options = {"n": 16, "p": 4, "depth": 1, "activation": "relu"}
    whole, batched = (bench_tasks.neural_tangents(**options, batch=batch)() for batch in (0, 8))
    for one, other in zip(whole, batched, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-5)
