"""Classifiers with a compressed network: predictions, programs, files, and scikit-learn's model selection."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from shutil import which

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hntk
from hntk.deploy import c_library
from hntk.sklearn import CompressedClassifier

RNG = np.random.default_rng(1)
MEANS = 1.5 * RNG.normal(size=(3, 8))
INDEX = np.arange(90) % 3
X = 5.0 + MEANS[INDEX] + RNG.normal(size=(90, 8))
Y = np.array(["ant", "bee", "cow"])[INDEX]
PIXELS = np.clip(np.rint(25 * X), 0, 255).astype(np.uint8)
SMALL = CompressedClassifier(32, levels=3, random_state=0)
needs_compiler = pytest.mark.skipif(which("gcc") is None and which("clang") is None, reason="needs a C compiler")


def test_predictions_are_those_of_hntks_classifier(double: bool) -> None:
    fitted = clone(SMALL).set_params(ridge=0.1).fit(X, Y)
    samples = hntk.Normalization.of(X)(X)
    network = hntk.on_grid(hntk.compress(["relu"], 32, samples, 3, key=jax.random.key(0)))
    classifier = hntk.fit_ridge(network, samples, Y, 0.1)
    np.testing.assert_allclose(fitted.decision_function(X), classifier.scores(samples), atol=1e-6)
    assert fitted.predict(X).tolist() == classifier.predict(samples).tolist()
    assert fitted.score(X, Y) > 0.9
    assert fitted.classes_.tolist() == ["ant", "bee", "cow"]


def test_the_ridge_is_chosen_where_none_is_given() -> None:
    fitted = clone(SMALL).fit(X, Y)
    assert len(fitted.model_.validation) > 1
    assert fitted.model_.ridge in dict(fitted.model_.validation)


def test_two_classes_have_one_score() -> None:
    two = INDEX < 2
    fitted = clone(SMALL).fit(X[two], INDEX[two] == 1)
    assert fitted.decision_function(X).shape == (90,)
    np.testing.assert_array_equal(fitted.predict(X), fitted.decision_function(X) > 0)
    assert fitted.predict(X[:1]).dtype == bool


def test_whole_numbers_as_floats_are_labels_and_others_are_not() -> None:
    fitted = clone(SMALL).fit(X, INDEX.astype(float))
    assert fitted.predict(X).dtype == float
    assert fitted.model_.classes.tolist() == [0, 1, 2]
    assert fitted.model_.classes.dtype.kind == "i"
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        clone(SMALL).fit(X, INDEX + 0.5)
    with pytest.raises(ValueError, match="one class only"):
        clone(SMALL).fit(X, np.zeros(90))


def test_softmax_gives_probabilities_and_ridge_does_not() -> None:
    schedule = hntk.Schedule(epochs=5, batch=16)
    fitted = clone(SMALL).set_params(readout="softmax", schedule=schedule).fit(X, Y)
    shares = fitted.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[shares.argmax(axis=1)], fitted.predict(X))
    np.testing.assert_allclose(np.log(shares[:, 1] / shares[:, 0]), np.diff(fitted.decision_function(X))[:, 0])
    assert not hasattr(SMALL, "predict_proba")
    with pytest.raises(ValueError, match="readout must be 'ridge' or 'softmax'"):
        clone(SMALL).set_params(readout="lasso").fit(X, Y)


def test_a_saved_file_predicts_the_same_of_raw_samples(tmp_path: Path) -> None:
    fitted = clone(SMALL).fit(X, Y)
    assert fitted.save(tmp_path / "net.safetensors") == (tmp_path / "net.safetensors").stat().st_size
    loaded = hntk.load(tmp_path / "net.safetensors")
    assert loaded.predict(X, raw=True).tolist() == fitted.predict(X).tolist()


@needs_compiler
@pytest.mark.parametrize("x", [X.astype(np.float32), PIXELS], ids=["numbers", "bytes"])
def test_the_c_program_takes_raw_samples_and_predicts_the_same(x: np.ndarray) -> None:
    fitted = clone(SMALL).fit(x, Y)
    program = fitted.to_c("small")
    library = c_library(program)
    assert library.dtype == x.dtype
    predicted = fitted.classes_[library.predict(x)]
    np.testing.assert_array_equal(predicted, fitted.to_integers().predict(x))
    # the input is rounded, to 8 bits or by the whole centre of pixels
    assert np.mean(predicted == fitted.predict(x)) > 0.95


def test_no_program_of_samples_that_were_whitened() -> None:
    with pytest.raises(ValueError, match="whiten"):
        clone(SMALL).set_params(normalize="whiten").fit(X, Y).to_c()


def test_levels_and_sparsity_in_a_grid_of_a_pipeline() -> None:
    model = make_pipeline(StandardScaler(), clone(SMALL).set_params(ridge=0.1))
    grid = {"compressedclassifier__levels": [2, (4,)], "compressedclassifier__sparsity": [0.5, 0.9]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.score(X, Y) > 0.85
    weights = search.best_estimator_[1].network_.weights[0]
    assert abs(weights.zeros - search.best_params_["compressedclassifier__sparsity"]) < 0.2
    assert pickle.loads(pickle.dumps(search)).predict(X).tolist() == search.predict(X).tolist()


@pytest.mark.nightly
def test_a_grid_on_mnist_in_two_processes() -> None:
    folder = os.environ.get("HNTK_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("needs MNIST in HNTK_DATA")
    data = hntk.load_dataset("mnist", folder=folder, n_train=6000, n_test=2000)
    x, x_test = data.raw(data.x_train), data.raw(data.x_test)
    grid = {"levels": [2, 4], "sparsity": [0.5, 0.875]}
    search = GridSearchCV(CompressedClassifier(1024, random_state=0), grid, cv=3, n_jobs=2, error_score="raise")
    search.fit(x, data.y_train)
    assert search.best_params_["levels"] == 4
    assert search.score(x_test, data.y_test) > 0.94
    integers = search.best_estimator_.to_integers()
    assert abs(integers.accuracy(x_test, data.y_test) - search.score(x_test, data.y_test)) < 0.01
    alone = GridSearchCV(CompressedClassifier(1024, random_state=0), grid, cv=3).fit(x, data.y_train)
    np.testing.assert_allclose(alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=0.003)


@pytest.mark.nightly
def test_a_grid_on_digits_in_two_processes_gives_what_one_process_gives() -> None:
    x, y = load_digits(return_X_y=True)
    grid = {"levels": [2, 4], "sparsity": [0.5, 0.75]}
    scores = [
        GridSearchCV(CompressedClassifier((128,), random_state=0), grid, cv=3, n_jobs=jobs).fit(x, y).cv_results_
        for jobs in (1, 2)
    ]
    np.testing.assert_allclose(scores[0]["mean_test_score"], scores[1]["mean_test_score"], atol=0.003)
