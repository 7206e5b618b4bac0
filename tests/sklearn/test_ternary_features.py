"""The transformer: hntk's own functions behind scikit-learn's."""

from __future__ import annotations

import importlib
import pickle
import sys

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hntk
from hntk.sklearn import TernaryFeatures
from tests.support.precision import precision

RNG = np.random.default_rng(0)
X = 3.0 + RNG.normal(size=(60, 12)) @ np.diag(np.linspace(0.5, 2, 12))
Y = np.array(["cat", "dog"])[(X[:, 11] > 3.0).astype(int)]


def test_features_are_those_of_the_compressed_network_on_normalised_samples(double: bool) -> None:
    fitted = TernaryFeatures((32, 16), "erf", levels=3, sparsity=0.75, random_state=7).fit(X)
    samples = hntk.Normalization.of(X)(X)
    network = hntk.compress(["erf"] * 2, (32, 16), samples, 3, 0.75, key=jax.random.key(7))
    np.testing.assert_array_equal(fitted.transform(X), hntk.on_grid(network).features(samples))
    assert fitted.match_.converged
    assert fitted.network_.law.orthogonal


def test_precision_of_jax_changes_nothing() -> None:
    features = TernaryFeatures((32, 16), levels=3, random_state=7).fit(X).transform(X)
    with precision(False):
        single = TernaryFeatures((32, 16), levels=3, random_state=7).fit(X).transform(X)
    # weights are the same; a sum at a threshold may fall on its other side
    assert np.mean(~np.isclose(features, single, atol=1e-6)) < 1e-3


def test_inner_products_approach_the_dense_networks_kernel_with_the_width() -> None:
    samples = hntk.Normalization.of(X)(X)
    exact = np.asarray(hntk.exact_kernels(samples, ["relu"]).ck)
    rest = ~np.eye(len(X), dtype=bool)

    def error(width: int, levels: int) -> float:
        features = TernaryFeatures(width, levels=levels, weights="iid", random_state=0).fit_transform(X)
        return float(np.sqrt(np.mean((features @ features.T - exact)[rest] ** 2)))

    # of independent neurons the error falls like the root of their number; each is a draw of 1770 pairs
    ratio = error(128, 4) / error(2048, 4)
    assert 2.5 < ratio < 6


def test_all_layers_stand_side_by_side() -> None:
    both = TernaryFeatures((32, 16), levels=3, layers="all", random_state=0).fit(X)
    assert both.match_.method == "layerwise"
    assert both.transform(X).shape == (60, 48)
    assert both.get_feature_names_out()[[0, -1]].tolist() == ["ternaryfeatures0", "ternaryfeatures47"]
    joint = clone(both).set_params(method="joint").fit(X)
    assert joint.match_.method == "joint"


def test_a_seed_gives_the_same_features_and_none_others() -> None:
    first, again, other, drawn = (
        TernaryFeatures(32, levels=2, random_state=state).fit_transform(X)
        for state in (0, 0, 1, np.random.RandomState(0))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, drawn)
    unseeded = [TernaryFeatures(32, levels=2).fit_transform(X) for _ in range(2)]
    assert not np.array_equal(*unseeded)


def test_one_sample_has_the_features_that_it_has_among_others() -> None:
    fitted = TernaryFeatures((32, 16), levels=3, random_state=0).fit(X)
    np.testing.assert_allclose(fitted.transform(X[4:5]), fitted.transform(X)[4:5], atol=1e-6)


def test_a_pipeline_is_cloned_pickled_and_takes_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"c{i}" for i in range(12)])
    features = TernaryFeatures(64, levels=3, random_state=0).set_output(transform="pandas")
    model = clone(make_pipeline(StandardScaler(), features, RidgeClassifier()).set_output(transform="pandas"))
    model.fit(frame, Y)
    assert model.score(frame, Y) > 0.9
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    assert model[1].feature_names_in_.tolist() == list(frame.columns)
    assert model[:2].transform(frame).columns[3] == "ternaryfeatures3"
    with pytest.raises(ValueError, match="feature names"):
        model[1].transform(frame.rename(columns={"c0": "z"}))


def test_a_match_made_before_stands_for_levels() -> None:
    match = hntk.match(["relu"] * 3, 1.0, 3, depth=2)
    fitted = TernaryFeatures((16, 8), ["relu"] * 3, levels=match).fit(X)
    assert fitted.match_ is not None
    assert fitted.network_.activations[0].thresholds == match.activations[0].thresholds


def test_bad_input_is_refused_with_a_remedy() -> None:
    with pytest.raises(TypeError, match="toarray"):
        TernaryFeatures().fit(sparse.csr_array(X))
    with pytest.raises(ValueError, match="rows are the same"):
        TernaryFeatures(16, levels=2).fit(np.ones((5, 3)))
    with pytest.raises(ValueError, match="widths must be 1 positive integers"):
        TernaryFeatures(0).fit(X)
    with pytest.raises(ValueError, match="widths must be 2"):
        TernaryFeatures((16,), ["relu", "relu"]).fit(X)
    with pytest.raises(ValueError, match="layers must be 'last' or 'all'"):
        TernaryFeatures(16, layers="first").fit(X)
    with pytest.raises(ValueError, match="Seed must be between"):
        TernaryFeatures(16, levels=2, random_state=-1).fit(X)
    with pytest.raises(ValueError, match="12 features"):
        TernaryFeatures(16, levels=2).fit(X).transform(X[:, :5])


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("hntk.sklearn._installed")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"hntk.sklearn needs sklearn: python -m pip install 'hntk\[sklearn\]'"):
        importlib.reload(module)
