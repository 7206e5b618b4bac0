"""Perceptrons of scikit-learn against themselves."""

from __future__ import annotations

import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LABELS = np.array(["cat", "dog", "owl"])[(X[:, 0] > 0) * 1 + (X[:, 1] > 0.5)]
SETTINGS = {"hidden_layer_sizes": (8, 6), "max_iter": 20, "random_state": 0}


@pytest.mark.parametrize("name", ["relu", "tanh", "logistic", "identity"])
def test_classifiers_have_the_labels_and_the_shares(name: str) -> None:
    model = MLPClassifier(activation=name, **SETTINGS).fit(X, LABELS)
    found = hntk.from_model(model, x=X)
    shares = np.exp(found.scores(X) - np.max(found.scores(X), axis=1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), model.predict_proba(X), rtol=1e-4)
    assert found.predict(X).tolist() == model.predict(X).tolist()
    assert found.classes.tolist() == ["cat", "dog", "owl"]


def test_two_classes_have_two_columns_of_one_score() -> None:
    model = MLPClassifier(**SETTINGS).fit(X, LABELS == "cat")
    found = hntk.from_model(model, x=X)
    shares = model.predict_proba(X)
    assert np.all(np.asarray(found.scores(X))[:, 0] == 0)
    assert_scores(found, np.log(shares[:, 1] / shares[:, 0]))
    assert found.predict(X).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("outputs", [1, 2])
def test_regressors(outputs: int) -> None:
    model = MLPRegressor(**SETTINGS).fit(X, np.squeeze(X[:, :outputs] ** 2))
    found = hntk.from_model(model, x=X)
    assert_scores(found, model.predict(X))
    assert found.classes.tolist() == list(range(outputs))


def test_scalers_of_a_pipeline_are_folded() -> None:
    raw = 3 * X + 2
    model = make_pipeline(StandardScaler(), MinMaxScaler(), MaxAbsScaler(), "passthrough", MLPClassifier(**SETTINGS))
    found = hntk.from_model(model.fit(raw, LABELS), x=raw)
    assert found.predict(raw).tolist() == model.predict(raw).tolist()
    centred = make_pipeline(StandardScaler(with_std=False), MLPRegressor(**SETTINGS)).fit(raw, X[:, 0])
    assert_scores(hntk.from_model(centred), centred.predict(raw), raw)


def test_what_cannot_be_read_is_refused_by_name() -> None:
    assert_refused(MLPClassifier(), "MLPClassifier", "fit it first")
    assert_refused(LogisticRegression(), "LogisticRegression", "no layers", "MLPClassifier")
    model = make_pipeline(PolynomialFeatures(), MLPClassifier(**SETTINGS)).fit(X, LABELS)
    assert_refused(model, "polynomialfeatures", "apply this one to x before")
    broken = MLPRegressor(**SETTINGS).fit(X, X[:, 0])
    broken.coefs_[1][0, 0] = np.nan
    assert_refused(broken, r"coefs_\[1\]", "finite")
    broken.coefs_[1] = np.ones((9, 6))
    assert_refused(broken, r"coefs_\[1\]", "takes 9 inputs")
    assert_refused(model, "leave variables= out", variables={})
    assert_refused(model, "arguments=", arguments={"train": False})
