"""The studies of kernels, run as a user runs them; test_tiny.py tests what every experiment leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hntk
from experiments.kernels.least_squares import restarted
from experiments.kernels.matching_problems import MatchingProblem, random_problems, timed
from experiments.runner import config
from tests.support.command_line import rows, run, run_here


@pytest.mark.slow
def test_gmm_estimates_what_it_is_not_told(tmp_path: Path) -> None:
    metrics = run_here(
        tmp_path, "+exp=gmm", "+debug=tiny", "experiment.quantities=estimated", "experiment.finite_width=false",
        "compress=paper",
    ).metrics  # fmt: skip
    # σ_T adds a large ridge
    assert metrics["relative_shift"] > 5
    assert not any("drawn" in name for name in metrics)


@pytest.mark.slow
def test_gmm_of_a_network_as_people_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("+exp=gmm", "+debug=tiny", "net=he", "compress.kernel=alpha", "net.widths=[1024,1024,1024]")
    metrics = run_here(tmp_path, *words).metrics
    printed = capsys.readouterr().out
    assert "relu × 3, weight_std=1.41421, bias_std=0.1, un-centred" in printed
    assert "P K P" in printed
    # what all samples share is most of the kernel, theory knows it, and P takes it out
    for row in rows(tmp_path / "constants.csv"):
        shared, theory, largest = (float(row[name]) for name in list(row)[1:])
        assert theory == pytest.approx(shared, rel=0.03)
        assert shared > 8 * largest
    assert metrics["ck_original_theory/operator"] < 0.1
    assert metrics["ck_original_compressed/operator_off"] < 0.2
    assert metrics["ck_original_compressed/alignment"] > 0.98
    # drawn networks have the same kernels, noise of their width aside
    assert metrics["ck_original_dense_drawn/operator"] < 0.5
    assert metrics["ntk_original_dense_drawn/operator"] < 0.3
    assert metrics["ck_compressed_ternary_drawn/operator"] < 0.3
    assert len(rows(tmp_path / "errors.csv")) == 10


@pytest.mark.slow
@pytest.mark.nightly
def test_neural_tangents_gives_an_experiment_the_same_numbers(tmp_path: Path) -> None:
    words = ("+exp=gmm", "+debug=tiny", "net=he", "data.n=48", "data.p=24", "net.activations=[relu]", "net.widths=[64]")
    words += ("compress.kernel=alpha",)
    own, theirs = (run_here(tmp_path / engine, *words, f"kernels.engine={engine}").metrics for engine in config.ENGINES)
    assert own.keys() == theirs.keys()
    for name, value in own.items():
        # drawn networks are computed in float32
        assert theirs[name] == pytest.approx(value, rel=1e-4 if "drawn" in name else 1e-8), name


@pytest.mark.nightly
def test_errors_of_a_network_that_is_not_centred_fall_behind_an_intercept(tmp_path: Path) -> None:
    words = ("+exp=convergence", "+debug=tiny", "net=he", "compress.kernel=alpha", "data.n=256", "data.p=128")
    metrics = run_here(tmp_path, *words).metrics
    assert metrics["rate/CK default"] < -0.2
    assert metrics["rate/CK compressed"] < 0
    assert not any("paper" in name for name in metrics)


@pytest.mark.slow
@pytest.mark.nightly
def test_mnist_of_a_network_as_people_have_them(tmp_path: Path, digits: Path) -> None:
    words = ("+exp=mnist", "+debug=tiny", "net=he", f"data.folder={digits}", "experiment.levels=[4]")
    words += ("experiment.layers=[last]", "experiment.infinite=150")
    run_here(tmp_path, *words, "experiment.objectives=[theory]", "experiment.weights=[orthogonal]")
    table = rows(tmp_path / "accuracy.csv")
    # two dense ones, ternary weights and 4 levels
    assert len(table) == 4
    assert min(float(row["test accuracy"]) for row in table) > 0.8
    wide = {row["activations"]: float(row["at infinite width"]) for row in table}
    assert len(wide) == 2
    assert min(wide.values()) > 0.8
    assert {row["τ̂²/τ²"] for row in table if row["activations"] == "relu"} == {"1.0"}


def test_an_engine_that_nothing_is_left_for_is_refused(tmp_path: Path) -> None:
    words = ("+debug=tiny", "data=stand_in", "kernels.engine=neural_tangents")
    for more, why in (
        (("+exp=mnist", "experiment.infinite=0"), "experiment.infinite is 0"),
        (("+exp=million", "experiment.exact_sizes=[]"), "experiment.exact_sizes is empty"),
    ):
        with pytest.raises(ValueError, match=why):
            run_here(tmp_path, *more, *words)


@pytest.mark.parametrize("all_fail", [False, True])
def test_exact_tells_which_regression_is_not_solved_and_keeps_the_others(
    all_fail: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = hntk.fit_kernel

    def fails(x: Any, y: Any, net: Any, *given: Any, **more: Any) -> Any:
        if all_fail or any(hntk.activation(layer).has_jumps for layer in net):
            raise hntk.ConvergenceError("there is no ridge")
        return fit(x, y, net, *given, **more)

    monkeypatch.setattr(hntk, "fit_kernel", fails)
    words = ("+exp=exact", "+debug=tiny", "experiment.compared=[]")
    if all_fail:
        with pytest.raises(hntk.ConvergenceError, match="there is no ridge"):
            run_here(tmp_path, *words)
    else:
        run_here(tmp_path, *words)
        assert {row["network"] for row in rows(tmp_path / "regressions.csv")} == {"relu × 3"}
        assert not (tmp_path / "losses.csv").exists()
    assert "not solved: there is no ridge" in capsys.readouterr().out
    left = rows(tmp_path / "unsolved.csv")
    assert "3 levels" in {row["network"] for row in left}
    assert {row["why"] for row in left} == {"there is no ridge"}


def test_an_unreachable_match_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(hntk.MatchError, match="levels=3 reaches all of them"):
        run_here(tmp_path, "+exp=gmm", "+debug=tiny", "compress=paper", "net.activations=[erf,relu,relu]")


@pytest.mark.often("environment", "nowhere")
@pytest.mark.slow
@pytest.mark.parametrize("named", ["argument", "environment", "nowhere"])
def test_missing_data_says_how_to_get_it(named: str, tmp_path: Path) -> None:
    """A folder that is named is respected by tiny runs, too, which have data of their own."""
    folder = tmp_path / "nothing"
    words = ["+exp=mnist"] if named == "nowhere" else ["+exp=store", "+debug=tiny", "data=mnist"]
    words += [f"data.folder={folder}"] if named == "argument" else []
    result = run(*words, f"hydra.run.dir={tmp_path / 'out'}", data=folder if named == "environment" else None)
    assert result.returncode == 1
    assert ("HNTK_DATA" if named == "nowhere" else f"{folder} does not exist") in result.stdout
    assert "stands in" not in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.slow
def test_million_takes_a_data_set(tmp_path: Path, digits: Path) -> None:
    words = ("+exp=million", "+debug=tiny", "data=mnist", f"data.folder={digits}", "experiment.exact_sizes=[200]")
    run_here(tmp_path, *words)
    table = rows(tmp_path / "regressions.csv")
    assert [row["n"] for row in table] == ["200", "200", "400", "600"]
    assert all(float(row["test accuracy"]) > 0.85 for row in table)


@pytest.mark.slow
def test_kernels_are_stored_and_a_run_that_was_interrupted_goes_on(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels, words = tmp_path / "kernels", ("+exp=store", "data=mnist", f"data.folder={digits}", "experiment.tile=128")
    words += (f"experiment.folder={kernels}",)
    run_here(tmp_path / "one", *words)
    # Two matrices of 600² numbers of 4 bytes.
    assert "2.9 MB" in capsys.readouterr().out
    table = rows(tmp_path / "one" / "eigenvalues.csv")
    journal = json.loads((kernels / "progress.json").read_text())
    ntk = np.load(kernels / "ntk.npy")
    journal["done"].pop()
    (kernels / "progress.json").write_text(json.dumps(journal))
    run_here(tmp_path / "two", *words)
    np.testing.assert_array_equal(np.load(kernels / "ntk.npy"), ntk)
    assert rows(tmp_path / "two" / "eigenvalues.csv") == table
    largest = np.linalg.eigvalsh(ntk.astype(np.float64))[-1]
    assert float(table[0]["NTK"]) == pytest.approx(largest, rel=1e-5)
    with pytest.raises(ValueError, match="choose another folder"):
        run_here(tmp_path / "three", *words, "experiment.precision=float64")


def test_random_problems_are_of_every_kind_and_some_have_an_answer() -> None:
    problems = random_problems(np.random.default_rng(0), 10)
    assert [p.kind for p in problems] == ["planted", "named", "planted", "named", "impossible"] * 2
    for problem in problems:
        if problem.kind == "planted":
            # The original has so many levels itself, and so it is a match.
            attempt = timed(problem, lambda p: p.layers)
            assert attempt.miss < 1e-12
            assert attempt.shift == pytest.approx(0, abs=1e-12)


def test_attempts_that_fail_are_told_apart() -> None:
    problem = MatchingProblem("named", (hntk.activation("relu"),), 1.0, 2)

    def refuse(_: MatchingProblem) -> None:
        raise hntk.MatchError("no match exists")

    assert timed(problem, refuse).refused
    gave_up = timed(problem, lambda _: None)
    assert not gave_up.refused
    assert gave_up.miss == np.inf
    # The identity has other coefficients than ReLU.
    assert timed(problem, lambda _: [hntk.activation("linear")]).miss > 0.1


def test_more_restarts_of_least_squares_are_never_worse_on_one_layer() -> None:
    problem = MatchingProblem("named", (hntk.activation("relu"),), 1.0, 3)
    one, five = (restarted(problem, count, 0, scaled=True) for count in (1, 5))
    # The objective is the sum of squared misses of moments: its best start solves this problem.
    assert five.miss < 1e-6
    assert five.miss <= one.miss
    assert restarted(problem, 5, 0, scaled=True).miss == five.miss
