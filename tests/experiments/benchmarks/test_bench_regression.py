"""The benchmark of kernel regressions: what takes part, and that all solve one problem."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import bench_regression, regression_tasks
from experiments.benchmarks.settings import BenchRegressionExperiment
from experiments.runner.config import NetConfig


def test_contenders_that_take_too_much_memory_are_left_out_with_the_reason() -> None:
    settings = BenchRegressionExperiment(memory=10**9)
    small, large = (bench_regression._left_out(n, 1000, settings) for n in (1000, 30_000))
    names = {contender.name for contender in bench_regression._contenders(30_000, 1000, {}, settings)}
    # hntk's conjugate gradients are told how much memory there is
    assert names - set(large) == {bench_regression.OWN, bench_regression.AUTO}
    assert large[bench_regression.DIRECT] == "takes about 15 GB of 1 GB"
    assert set(bench_regression.PAIR) < names
    assert set(small) <= {bench_regression.GPYTORCH}


def test_batches_divide_the_training_samples() -> None:
    settings = BenchRegressionExperiment(batches=[0, 300, 500])
    contenders = bench_regression._contenders(1000, 10, {}, settings)
    assert {c.setting for c in contenders if c.name == "neural-tangents"} == {"jit", "nt.batch 500"}


def problem_of(path: Path, n: int = 16, new: int = 5, p: int = 10) -> dict:
    """Write samples of three classes, and return the options of tasks."""
    drawn = np.random.default_rng(0).standard_normal((n + new, p)).astype(np.float32) / np.float32(np.sqrt(p))
    np.savez(path, x=drawn[:n], labels=np.arange(n) % 3, new=drawn[n:])
    net = asdict(NetConfig(activations=["relu"], widths=[4]))
    return {"path": str(path), "net": net, "tau0": 1.0, "ridge": 0.1}


def test_others_solve_the_same_problem_in_batches_that_do_not_divide_the_new_samples(tmp_path: Path) -> None:
    problem = problem_of(tmp_path / "samples.npz")
    (known,) = regression_tasks.direct(**problem)()
    assert known.shape == (5, 3)
    tasks = (
        regression_tasks.neural_tangents(batch=8, **problem),
        regression_tasks.scikit_learn(kernel="neural-tangents", batch=8, **problem),
        regression_tasks.scipy_gradients(tolerance=1e-6, **problem),
    )
    for once in tasks:
        (scores,) = once()
        # float32 kernels of neural-tangents are off by 1e-4 on the diagonal
        np.testing.assert_allclose(scores, known, atol=1e-3)
    # another ridge is another regression
    (other,) = regression_tasks.direct(**{**problem, "ridge": 0.2})()
    assert np.max(np.abs(other - known)) > 5e-3


def test_gpytorch_solves_the_same_problem(tmp_path: Path) -> None:
    pytest.importorskip("gpytorch")
    problem = problem_of(tmp_path / "samples.npz")
    (known,) = regression_tasks.direct(**problem)()
    (scores,) = regression_tasks.gpytorch(tolerance=1e-5, rank=5, **problem)()
    np.testing.assert_allclose(scores, known, atol=1e-3)
