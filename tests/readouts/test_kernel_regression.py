"""Regression with the exact kernels: against scikit-learn, leave-one-out fits made anew, and its limits."""

from __future__ import annotations

import pickle
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk._utils import memory
from hntk.readouts import kernel_regression

N, P = 60, 12
RELU2 = ["relu"] * 2
HE = hntk.Architecture(["relu"], weight_std=2**0.5, bias_std=0.3, centred=False)


@pytest.fixture(autouse=True)
def precise() -> None:
    jax.config.update("jax_enable_x64", True)


@lru_cache
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples with two targets of different sizes, new samples, and classes."""
    data = hntk.reference_mixture(n=2 * N, p=P, key=jax.random.key(0), separation=3.0)
    order = np.random.default_rng(0).permutation(2 * N)
    x = np.asarray(data.x)[order]
    noise = np.random.default_rng(1).normal(size=(N, 2))
    y = np.stack([1e3 * (2 + x[:N, 0]), x[:N, 0] * x[:N, 1]], axis=1) * (1 + 0.01 * noise)
    return x[:N], y, x[N:], data.labels[order][:N]


def kernels(x: np.ndarray, x2: np.ndarray | None, net: Any, kernel: str) -> np.ndarray:
    tau0 = float(np.sqrt(np.mean(np.sum(problem()[0] ** 2, axis=1))))
    return np.asarray(getattr(hntk.exact_kernels(x, net, x2=x2, tau0=tau0), kernel))


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_predictions_are_those_of_scikit_learn(kernel: Any) -> None:
    ridge = pytest.importorskip("sklearn.kernel_ridge")
    x, y, new, _ = problem()
    oracle = ridge.KernelRidge(alpha=0.05, kernel="precomputed")
    oracle.fit(kernels(x, None, RELU2, kernel), y - y.mean(axis=0))
    expected = oracle.predict(kernels(new, x, RELU2, kernel)) + y.mean(axis=0)
    both = hntk.fit_kernel(x, y, RELU2, kernel, 0.05)
    np.testing.assert_allclose(both.predict(new), expected, rtol=1e-9, atol=1e-9)
    for k in range(2):
        np.testing.assert_allclose(hntk.fit_kernel(x, y[:, k], RELU2, kernel, 0.05).predict(new), expected[:, k])


@pytest.mark.parametrize("intercept", [False, True])
def test_the_ridge_has_the_least_leave_one_out_error(intercept: bool) -> None:
    x, y, new, _ = problem()
    fitted = hntk.fit_kernel(x, y, RELU2, intercept=intercept, ridges=[1e-3, 0.1, 10.0])
    assert fitted.ridge == min(fitted.tried, key=lambda trial: trial.squared_error).ridge
    k, targets = kernels(x, None, RELU2, "ntk"), (y - y.mean(axis=0)) / y.std(axis=0)
    for ridge, error, accuracy in fitted.tried:
        squares = 0.0
        for i in range(N):
            o = np.delete(np.arange(N), i)
            squares += np.sum((targets[i] - _fit(k[np.ix_(o, o)], k[i, o], targets[o], ridge, intercept)) ** 2)
        assert error == pytest.approx(squares / N, rel=1e-7)
        assert accuracy is None
    again = hntk.fit_kernel(x, y, RELU2, ridge=fitted.ridge, intercept=intercept)
    np.testing.assert_allclose(again.predict(new), fitted.predict(new), rtol=1e-8)
    # as a function of the samples
    across = kernels(new[:1], x, RELU2, "ntk")[0]
    expected = _fit(k, across, targets, fitted.ridge, intercept) * y.std(axis=0) + y.mean(axis=0)
    np.testing.assert_allclose(fitted.predict(new[:1])[0], expected, rtol=1e-8)


def _fit(k: np.ndarray, across: np.ndarray, y: np.ndarray, ridge: float, intercept: bool) -> np.ndarray:
    """Predict one sample; an intercept is a Lagrange multiplier that has the dual coefficients sum to 0."""
    n = len(k)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = k + ridge * np.eye(n)
    system[:n, n] = system[n, :n] = intercept
    system[n, n] = not intercept
    dual = np.linalg.solve(system, np.concatenate([y, np.zeros((1, y.shape[1]))]))
    return across @ dual[:n] + dual[n]


def test_an_intercept_is_the_default_of_networks_that_are_not_plain() -> None:
    x, y, new, _ = problem()
    with_it, without = (hntk.fit_kernel(x, y, HE, ridge=0.3, intercept=chosen).predict(new) for chosen in (True, False))
    np.testing.assert_array_equal(hntk.fit_kernel(x, y, HE, ridge=0.3).predict(new), with_it)
    assert np.abs(with_it - without).max() > 1e-3 * np.abs(with_it).max()


def test_it_is_the_limit_of_wide_networks() -> None:
    x, y, new, _ = problem()
    limit = hntk.fit_kernel(x, y[:, 0], ["relu"], "ck", 0.3, intercept=True).predict(new)
    apart = []
    for width in (64, 4096):
        net = hntk.dense(["relu"], [width], x, key=jax.random.key(2))
        apart.append(np.sqrt(np.mean((hntk.fit_ridge(net, x, y[:, 0], 0.3).predict(new) - limit) ** 2)))
    # errors fall like width^-1/2, by a factor of 8
    assert apart[1] < apart[0] / 4


def test_classes_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _, new, classes = problem()
    names = np.array(["left", "right"])[classes]
    done: list[int] = []
    fitted = hntk.fit_kernel(x, names, RELU2, progress=done.append)
    assert sum(done) == N**2
    assert isinstance(fitted, hntk.KernelClassifier)
    targets = np.eye(2)[classes] - np.bincount(classes) / N
    expected = kernels(new, x, RELU2, "ntk") @ np.linalg.solve(
        kernels(x, None, RELU2, "ntk") + fitted.ridge * np.eye(N), targets
    )
    np.testing.assert_allclose(fitted.scores(new), expected + np.bincount(classes) / N, rtol=1e-8, atol=1e-10)
    assert fitted.accuracy(x, names) > 0.9
    whole = fitted.scores(new)
    monkeypatch.setattr(kernel_regression, "ENTRIES", 7 * N)
    np.testing.assert_allclose(fitted.scores(new), whole, rtol=1e-10)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.scores(new[:7]), fitted.scores(new[:7]))
    leaves = jax.tree.leaves(fitted)
    assert any(np.shape(leaf) == (N, P) for leaf in leaves)
    assert len(repr(fitted)) < 1500


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, new, _ = problem()
    with pytest.raises(ValueError, match=r"infinite diagonal: declare one with kappa_sq="):
        hntk.fit_kernel(x, y, ["sign"], ridge=0.1)
    jumps = hntk.fit_kernel(x, y, ["sign"], ridge=0.1, kappa_sq=3.0)
    assert np.all(np.isfinite(jumps.predict(new)))
    with pytest.raises(ValueError, match="intercept must be True or False"):
        hntk.fit_kernel(x, y, RELU2, intercept="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x has 3 columns but the training samples had 12"):
        jumps.predict(new[:, :3])
    # samples that occur twice, without a ridge: the mean of their targets is predicted
    twice = np.concatenate([x, x])
    both = np.concatenate([y[:, 0], y[:, 0] + 2])
    np.testing.assert_allclose(hntk.fit_kernel(twice, both, RELU2, ridge=0).predict(x), y[:, 0] + 1, rtol=1e-6)
    monkeypatch.setattr(memory, "available_memory", lambda: 3e8)
    many = jnp.asarray(np.random.default_rng(0).normal(size=(3200, 3)))
    with pytest.raises(MemoryError, match="3,200 samples and its eigenvectors .* give ridge=.*fit_equivalent"):
        hntk.fit_kernel(many, np.asarray(many[:, 0]), ["relu"])
