"""Kernel ridge regression: hntk's own functions behind scikit-learn's, in either precision of JAX."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge as AnyKernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import hntk
from hntk.sklearn import EquivalentRidge, EquivalentRidgeClassifier, KernelRidge, KernelRidgeClassifier, exact_ridge

RNG = np.random.default_rng(2)
X = 2.0 + RNG.normal(size=(60, 10))
NEW = 2.0 + RNG.normal(size=(7, 10))
Y = np.stack([np.sin(X[:, 0]) + X[:, 1], X @ np.ones(10)], axis=1)
LABELS = np.array(["low", "high"])[(Y[:, 1] > 20).astype(int)]
NORMALIZATION = hntk.Normalization.of(X)


@pytest.mark.parametrize(
    ("estimator", "function"),
    [
        (EquivalentRidge(["erf"] * 2, ridge=0.01), hntk.fit_equivalent),
        (KernelRidge("erf", kernel="ck"), hntk.fit_kernel),
    ],
    ids=["equivalent", "exact"],
)
def test_predictions_are_those_of_hntks_function(estimator: BaseEstimator, function, double: bool) -> None:
    fitted = estimator.fit(X, Y)
    options = {"kernel": estimator.kernel, "ridge": estimator.ridge, "normalization": NORMALIZATION}
    network = estimator.activations if isinstance(estimator.activations, list) else [estimator.activations]
    own = function(NORMALIZATION(X), Y, network, **options)
    np.testing.assert_allclose(fitted.predict(NEW), own.predict(NEW, raw=True), rtol=1e-12)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(fitted)).predict(NEW), fitted.predict(NEW), rtol=1e-12)
    assert fitted.predict(NEW).shape == (7, 2)


def test_the_exact_kernel_is_scikit_learns_regression_with_that_kernel() -> None:
    ours = KernelRidge(["relu"] * 2, ridge=0.05).fit(X, Y[:, 0])
    samples, new = NORMALIZATION(X), NORMALIZATION(NEW)
    tau0 = float(np.sqrt(np.mean(np.sum(samples.astype(float) ** 2, axis=1))))
    kernel, across = (
        np.asarray(hntk.exact_kernels(rows, ["relu"] * 2, x2=other, tau0=tau0).ntk)
        for rows, other in ((samples, None), (new, samples))
    )
    theirs = AnyKernelRidge(alpha=0.05, kernel="precomputed").fit(kernel, Y[:, 0] - Y[:, 0].mean())
    np.testing.assert_allclose(ours.predict(NEW), theirs.predict(across) + Y[:, 0].mean(), rtol=1e-9)


def test_labels_are_predicted_and_scores_are_the_larger_ones() -> None:
    for estimator in (EquivalentRidgeClassifier("relu"), KernelRidgeClassifier("relu")):
        fitted = estimator.fit(X, LABELS)
        assert fitted.score(X, LABELS) > 0.9
        np.testing.assert_array_equal(fitted.predict(NEW) == "low", fitted.decision_function(NEW) > 0)
        assert fitted.model_.ridge in [trial.ridge for trial in fitted.model_.tried]


def test_networks_and_kernels_are_chosen_by_a_grid() -> None:
    noise = hntk.Architecture(["relu"], bias_std=1.0)
    grid = {"activations": ["erf", ("relu", "relu"), noise], "kernel": ["ck", "ntk"]}
    search = GridSearchCV(EquivalentRidge(), grid, cv=2, error_score="raise").fit(X, Y[:, 1])
    assert search.score(X, Y[:, 1]) > 0.9
    inside = TransformedTargetRegressor(search.best_estimator_, transformer=StandardScaler()).fit(X, Y[:, 1])
    np.testing.assert_allclose(inside.predict(NEW), search.predict(NEW), rtol=1e-6)


def test_bad_settings_are_refused_with_a_remedy() -> None:
    jumps = hntk.staircase([0.0], [-1.0, 1.0])
    with pytest.raises(ValueError, match="kappa_sq"):
        EquivalentRidge(jumps).fit(X, Y)
    assert EquivalentRidge(jumps, kappa_sq=2.0).fit(X, Y).predict(NEW).shape == (7, 2)
    with pytest.raises(ValueError, match="kernel must be 'ck' or 'ntk'"):
        EquivalentRidge(kernel="rbf").fit(X, Y)
    with pytest.raises(ValueError, match="the same for all samples"):
        KernelRidge("relu").fit(X, np.ones(60))


def test_many_samples_are_solved_by_conjugate_gradients_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = load_digits(return_X_y=True)
    direct = KernelRidgeClassifier("relu", ridge=0.01, solver="direct").fit(X[:300], y[:300])
    monkeypatch.setattr(exact_ridge, "DIRECT", 200)
    many = KernelRidgeClassifier("relu", ridge=0.01).fit(X[:300], y[:300])
    assert many.model_.convergence is not None
    assert direct.model_.convergence is None
    np.testing.assert_array_equal(many.predict(X[300:500]), direct.predict(X[300:500]))
    assert not capsys.readouterr().out
