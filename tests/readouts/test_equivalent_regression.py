"""Regression of real-valued targets with the equivalents, and what labels and targets other functions take."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np
import pytest

import hntk

N, P = 90, 20
RELU2 = ["relu"] * 2


@pytest.fixture(autouse=True)
def precise() -> None:
    jax.config.update("jax_enable_x64", True)


@lru_cache
def problem(n: int = N, p: int = P) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of two classes, two targets of different sizes, and the classes."""
    data = hntk.gaussian_mixture(2 * np.eye(2, p), [1.0, 1 + 2 / np.sqrt(p)], n, key=jax.random.key(0))
    order = np.random.default_rng(0).permutation(n)
    x = np.asarray(data.x)[order]
    y = np.stack([1e3 * (1 + x[:, 0]), np.sum(x[:, :2] ** 2, axis=1)], axis=1)
    return x, y * (1 + 0.02 * np.random.default_rng(1).normal(size=y.shape)), data.labels[order]


@pytest.mark.parametrize("grouped", [False, True])
def test_predictions_are_those_of_scikit_learn_with_the_kernel(grouped: bool) -> None:
    oracle = pytest.importorskip("sklearn.kernel_ridge").KernelRidge(alpha=0.05, kernel="precomputed")
    x, y, classes = problem()
    groups = np.array(["a", "b"])[classes] if grouped else None
    fitted = hntk.fit_equivalent(x[:60], y[:60], RELU2, ridge=0.05, groups=None if groups is None else groups[:60])
    assert isinstance(fitted, hntk.EquivalentRegressor)
    assert fitted.forms.moments.shape == (1 + grouped, P, P)
    kernel, mean = fitted.kernel, y[:60].mean(axis=0)
    across = kernel.weight * x[60:] @ x[:60].T + fitted.forms(x[60:]) @ kernel.core @ kernel.factor.T
    oracle.fit(kernel.to_dense(), y[:60] - mean)
    np.testing.assert_allclose(fitted.predict(x[60:]), oracle.predict(across) + mean, rtol=1e-8)
    one = hntk.fit_equivalent(x[:60], y[:60, 1], RELU2, ridge=0.05, groups=None if groups is None else groups[:60])
    np.testing.assert_allclose(one.predict(x[60:]), fitted.predict(x[60:])[:, 1], rtol=1e-8)


def test_the_ridge_has_the_least_leave_one_out_error_of_standardised_targets() -> None:
    x, y, _ = problem()
    fitted = hntk.fit_equivalent(x, y, RELU2)
    targets = (y - y.mean(axis=0)) / y.std(axis=0)
    for ridge, error, accuracy in fitted.tried[::9]:
        left_out = fitted.kernel.leave_one_out(targets, ridge)
        assert error == pytest.approx(np.sum(left_out**2) / N, rel=1e-9)
        assert accuracy is None
    assert fitted.ridge == min(fitted.tried, key=lambda trial: trial.squared_error).ridge
    scaled = hntk.fit_equivalent(x, y * [1e-3, 1e5], RELU2)
    assert scaled.ridge == pytest.approx(fitted.ridge)
    np.testing.assert_allclose(scaled.predict(x), fitted.predict(x) * [1e-3, 1e5], rtol=1e-7)


def test_predictions_near_those_of_the_exact_kernel_as_samples_and_dimensions_grow() -> None:
    apart = []
    for n in (100, 400):
        x, y, _ = problem(2 * n, n)
        target = y[:, 0] / 1e3
        near, exact = hntk.fit_equivalent(x[:n], target[:n], RELU2, ridge=0.1), hntk.fit_kernel(
            x[:n], target[:n], RELU2, ridge=0.1
        )  # fmt: skip
        difference = near.predict(x[n:]) - exact.predict(x[n:])
        apart.append(np.sqrt(np.mean(difference**2)) / exact.predict(x[n:]).std())
    assert apart[1] < apart[0] / 1.5
    assert apart[1] < 0.1


def test_groups_belong_to_a_regression() -> None:
    x, y, classes = problem()
    with pytest.raises(ValueError, match="groups= are for a regression"):
        hntk.fit_equivalent(x, classes, RELU2, groups=classes)
    with pytest.raises(ValueError, match=r"shape \(90,\)"):
        hntk.fit_equivalent(x, y, RELU2, groups=classes[:-1])


def test_functions_of_classes_say_what_to_do_with_targets() -> None:
    x, y, classes = problem()
    with pytest.raises(ValueError, match=r"accuracy= is of classes.* error= or memory=, or give labels.astype\(int\)"):
        hntk.plan(RELU2, x, y[:, 0], accuracy=0.1, key=jax.random.key(0))
    several = [hntk.plan(["relu"], x, targets, memory=10_000, levels=[2], sparsities=[0.5]) for targets in (y, y[:, 0])]
    # the readout of two targets takes more of the memory
    assert several[0].widths[-1] < several[1].widths[-1]
    report = hntk.check(x, y, ["relu"])
    assert report.findings[-1].value < 0.5
    assert len(report.findings) == len(hntk.check(x, classes, ["relu"]).findings)
    message = "real numbers of 90 different values in 90 samples, which are targets of a regression"
    for run in (
        lambda: hntk.equivalent_kernels(x, y[:, 0], RELU2),
        lambda: hntk.asymptotics.estimate_law(x, y[:, 0]),
        lambda: hntk.compress(RELU2, [8, 8], x, levels=2, objective="data", labels=y[:, 0], key=jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match=message):
            run()
    # classes in a floating-point type stay classes where nothing else is asked for
    one, other = (hntk.equivalent_kernels(x, labels, RELU2).ck.to_dense() for labels in (classes, classes + 0.5))
    np.testing.assert_array_equal(one, other)


def test_no_error_lists_hundreds_of_classes() -> None:
    x, many = np.random.default_rng(0).normal(size=(400, 5)), np.arange(400)
    net = hntk.dense(["relu"], [6], x, key=jax.random.key(0))
    for run in (
        lambda: hntk.fit_ridge(net, x, many),
        lambda: hntk.fit_equivalent(x, many, ["relu"]),
        lambda: hntk.check(x, many),
        lambda: hntk.plan(["relu"], x, many, accuracy=0.1, key=jax.random.key(0)),
        lambda: hntk.estimate_population(x, many),
        lambda: hntk.gaussian_mixture(np.zeros((400, 3)), [1.0] * 400, 10, key=jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match="class") as caught:
            run()
        assert len(str(caught.value)) < 300


def test_kernels_of_a_fitted_regressor() -> None:
    x, y, _ = problem()
    net = hntk.dense(["relu"], [16], x, key=jax.random.key(0))
    made = hntk.fit_ridge(net, x, y, ridge=0.1)
    parts = [hntk.empirical_kernels(made, x[:4], output=k).ntk for k in range(2)]
    np.testing.assert_allclose(hntk.empirical_kernels(made, x[:4]).ntk, (parts[0] + parts[1]) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match=r"one of the targets \[0, 1\]"):
        hntk.empirical_kernels(made, x[:4], output=2)
    assert hntk.compress(made, x=x, levels=3, key=jax.random.key(1)).widths == (16,)
