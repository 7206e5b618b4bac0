"""The command line, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import done, rows, run

pytestmark = pytest.mark.slow


def test_without_a_name_the_experiments_are_listed() -> None:
    listing = done()
    for name in ("gmm", "convergence", "mnist"):
        assert f"python -m experiments.run +exp={name}" in listing


def test_settings_without_a_name_are_refused() -> None:
    result = run("seed=1")
    assert result.returncode == 2
    assert "+exp=NAME" in result.stdout


def test_an_unknown_experiment_lists_the_known() -> None:
    result = run("+exp=nothing")
    assert result.returncode != 0
    assert all(name in result.stderr for name in ("gmm", "convergence", "mnist"))


@pytest.mark.parametrize("typo", ["net.widht=[8]", "compress.sparsity=many", "wandb.mdoe=offline"])
def test_typos_and_wrong_types_fail_before_anything_runs(typo: str, tmp_path: Path) -> None:
    result = run("+exp=gmm", typo, f"hydra.run.dir={tmp_path / 'out'}")
    assert result.returncode != 0
    assert typo.split("=")[0].split(".")[1] in result.stderr
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_gmm_writes_everything_and_mirrors_it_offline(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = done("+exp=gmm", "+debug=tiny", f"hydra.run.dir={out}")
    assert "off-diag." in printed
    assert str(out) in printed.replace("\n", "")
    for name in ("config.yaml", "versions.json", "spectra.png", "spectra.pdf", "eigenvectors.png", "errors.csv"):
        assert (out / name).stat().st_size > 0
    assert not list(out.glob(".*.part"))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["match_residual"] <= 1e-9
    # the same eigenvectors, but for the ridge: a wrong match would not be this close
    assert metrics["ck_original_compressed/operator_off"] < 0.2
    assert metrics["ck_original_compressed/alignment"] > 0.99
    assert metrics["identity_shift"] > 0
    assert len(rows(out / "errors.csv")) == 10
    assert json.loads((out / "versions.json").read_text())["x64"] is True
    assert list(out.glob("wandb/offline-run-*/*.wandb"))


def test_gmm_estimates_what_it_is_not_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=gmm", "+debug=tiny", "wandb=disabled", "experiment.quantities=estimated",
        "experiment.finite_width=false", "compress=paper", f"hydra.run.dir={out}",
    )  # fmt: skip
    assert not (out / "wandb").exists()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["relative_shift"] > 5  # σ_T adds a large ridge
    assert not any("drawn" in name for name in metrics)


def test_a_sweep_runs_every_job(tmp_path: Path) -> None:
    done(
        "-m", "+exp=gmm", "+debug=tiny", "wandb=disabled", "experiment.finite_width=false",
        "compress.levels=2,4", f"hydra.sweep.dir={tmp_path / 'sweep'}", f"sweep.store={tmp_path / 'jobs'}",
    )  # fmt: skip
    shifts = [float(row["relative_shift"]) for row in rows(tmp_path / "sweep" / "jobs.csv")]
    assert shifts[1] < shifts[0]


def test_an_unreachable_match_says_what_to_do(tmp_path: Path) -> None:
    result = run(
        "+exp=gmm", "+debug=tiny", "compress=paper", "net.activations=[erf,relu,relu]",
        f"hydra.run.dir={tmp_path / 'out'}",
    )  # fmt: skip
    assert result.returncode == 1
    assert "levels=3 reaches all of them" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stdout + result.stderr


def test_convergence_measures_rates(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done("+exp=convergence", "+debug=tiny", "wandb=disabled", f"hydra.run.dir={out}")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["rate/CK default"] < -0.2
    assert metrics["error/CK default"] < metrics["error/CK paper"]
    assert (out / "convergence.png").stat().st_size > 0


def test_mnist_ranks_the_networks(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=mnist", "+debug=tiny", "wandb=disabled", "experiment.levels=[paper,3,4]", f"hydra.run.dir={out}",
        data=digits,
    )  # fmt: skip
    table = rows(out / "accuracy.csv")
    # dense, ternary, σ_T, and 3 and 4 levels by theory and by data
    assert len(table) == 7
    accuracy = [float(row["test accuracy"]) for row in table]
    assert accuracy[0] > 0.9
    assert accuracy[-1] > 0.9
    assert float(table[1]["dense/bytes"]) > 10
    assert "4 levels" in printed
    assert "VIOLATED" in printed
    assert "fitted to the data" in printed


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    result = run("+exp=mnist", "+debug=tiny", f"hydra.run.dir={tmp_path / 'out'}")
    assert result.returncode == 1
    assert "HNTK_DATA" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_the_solver_finds_every_feasible_match_and_refuses_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=solver", "wandb=disabled", "experiment.problems=10", "experiment.baseline_problems=2",
        "experiment.restarts=[2]", f"hydra.run.dir={out}",
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["hntk/found"] == metrics["hntk/feasible"] == 8
    assert metrics["hntk/refused"] == metrics["hntk/impossible"] == 2
    assert "missed" not in printed
    assert (out / "solver.png").exists()


def test_levels_draws_the_cost_of_every_number_of_levels(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=levels", "+debug=tiny", "wandb=disabled", "experiment.originals=[relu]", "experiment.levels=[2,4]",
        "experiment.depth=1", f"hydra.run.dir={out}",
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["relu/4/joint/shift"] < metrics["relu/2/joint/shift"]
    assert metrics["relu/2/joint/shift"] >= metrics["relu/2/joint/bound"]
    assert metrics["relu/2/joint/shift"] <= metrics["relu/2/layer by layer/shift"] + 1e-9
    assert (out / "levels.png").exists()


def test_million_grows_beyond_what_the_exact_kernel_can(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=million", "+debug=tiny", "wandb=disabled", "experiment.sizes=[1000,4000]",
        "experiment.exact_sizes=[200,400]", "experiment.n_test=1000", f"hydra.run.dir={out}",
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["agreement/400"] > 0.95
    assert metrics["accuracy/4000"] > metrics["accuracy/200"]
    assert metrics["peak"] > 0
    # growth is a matter of large n
    assert metrics["exponent"] is None
    assert "Most memory" in printed
    assert (out / "million.png").stat().st_size > 0
    assert not (out / "samples.npy").exists()
    done(
        "+exp=million", "+debug=tiny", "data=mnist", "wandb=disabled", "experiment.exact_sizes=[200]",
        f"hydra.run.dir={tmp_path / 'digits'}", data=digits,
    )  # fmt: skip
    table = rows(tmp_path / "digits" / "regressions.csv")
    assert [row["n"] for row in table] == ["200", "200", "600"]
    assert all(float(row["test accuracy"]) > 0.85 for row in table)


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


def test_kernels_are_measured_beside_their_peers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=bench_kernels", "wandb=disabled", "experiment.n=[128]", "experiment.ps=[]", "experiment.depths=[]",
        "experiment.levels=[]", "experiment.batches=[64]", "experiment.regressions=[100]", "experiment.new=50",
        "experiment.rounds=3", "experiment.activations=[erf]", f"hydra.run.dir={out}",
    )  # fmt: skip
    assert "left out" not in printed
    table = rows(out / "n_ReLU_depth_3_p_100.csv")
    assert [row["contender"] for row in table] == ["hntk, relu", "hntk, 4 levels", "neural-tangents, best"]
    assert all(float(row["seconds"]) > 0 for row in table)
    assert all(float(row["limit/time"]) < 1 for row in table)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["difference/n_erf_depth_3_p_100"] < 2e-4
    assert "exponent/n_ReLU_depth_3_p_100/hntk, relu" in metrics
    assert (out / "kernels.png").exists()
    assert (out / "regressions.png").exists()


def test_drawn_networks_are_measured_beside_neural_tangents(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = done(
        "+exp=bench_empirical", "wandb=disabled", "experiment.n=[32]", "experiment.widths=[]", "experiment.depths=[]",
        "experiment.alone=[64]", "experiment.alone_width=64", "experiment.rounds=3", f"hydra.run.dir={out}",
    )  # fmt: skip
    assert "left out" not in printed
    metrics = json.loads((out / "metrics.json").read_text())
    # float32 against float32
    assert metrics["difference/n_width_1024_depth_3"] < 1e-5
    assert {row["contender"] for row in rows(out / "n_width_64_depth_3.csv")} == {"hntk", "hntk, a product"}


def test_matches_are_timed_beside_least_squares(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(
        "+exp=bench_solver", "wandb=disabled", "experiment.depths=[]", "experiment.levels=[2,3]",
        "experiment.restarts=1", "experiment.rounds=3", f"hydra.run.dir={out}",
    )  # fmt: skip
    assert len(rows(out / "levels_relu_depth_3.csv")) == 6
    assert json.loads((out / "metrics.json").read_text())["exponent/levels_relu_depth_3/hntk, joint"] is not None
    assert (out / "solver_times.png").exists()
