"""Trained networks: hntk.train behind scikit-learn's interface."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import hntk
from hntk.sklearn import TrainedClassifier, TrainedRegressor

RNG = np.random.default_rng(3)
MEANS = 2 * RNG.normal(size=(3, 8))
INDEX = np.arange(120) % 3
X = MEANS[INDEX] + RNG.normal(size=(120, 8))
Y = np.array(["ant", "bee", "cow"])[INDEX]
SCHEDULE = hntk.Schedule(epochs=8, batch=12, learning_rate=1e-2)
SMALL = TrainedClassifier(16, schedule=SCHEDULE, random_state=5)


def test_a_classifier_is_what_train_returns(tmp_path: Path) -> None:
    fitted = clone(SMALL).fit(X, Y)
    own = hntk.train(X, Y, [16], schedule=SCHEDULE, key=jax.random.key(5))
    np.testing.assert_array_equal(fitted.decision_function(X), own.scores(X) * own.unit)
    assert fitted.predict(X).tolist() == own.predict(X).tolist()
    assert fitted.score(X, Y) > 0.9
    assert fitted.to_integers() is fitted.model_
    program = fitted.to_c("ants")
    assert (program.name, program.table_bytes) == ("ants", hntk.deploy.to_c(own, "ants").table_bytes)
    fitted.save(tmp_path / "ants.safetensors")
    assert hntk.load(tmp_path / "ants.safetensors").predict(X).tolist() == fitted.predict(X).tolist()


def test_a_regressors_predictions_are_in_the_targets_units() -> None:
    targets = np.stack([100 + 20 * X[:, 0], 0.01 * X[:, 1]], axis=1)
    fitted = TrainedRegressor(32, schedule=SCHEDULE, random_state=5).fit(X, targets)
    np.testing.assert_array_equal(fitted.predict(X), fitted.model_.predict(X))
    assert fitted.score(X, targets) > 0.7
    assert TrainedRegressor(8, schedule=SCHEDULE).fit(X, INDEX).predict(X).shape == (120,)


@pytest.mark.nightly
def test_a_number_of_kilobytes_is_filled() -> None:
    x, y = load_digits(return_X_y=True)
    fitted = TrainedClassifier(kilobytes=2, random_state=0).fit(x[:1200].astype(np.uint8), y[:1200])
    assert 1900 < fitted.to_c().table_bytes <= 2000
    assert fitted.score(x[1200:].astype(np.uint8), y[1200:]) > 0.9
    assert fitted.model_.training.candidates
