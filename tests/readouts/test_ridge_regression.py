"""Ridge readouts of real-valued targets: against scikit-learn, and their files, sizes and errors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.files import container

N, P = 80, 20


@lru_cache
def problem() -> tuple[hntk.Network, np.ndarray, np.ndarray]:
    """A network, samples, and two targets of very different sizes: one linear, one of the norms, with noise."""
    x = np.asarray(hntk.reference_mixture(n=N, p=P, key=jax.random.key(0)).x)
    net = hntk.compress(["relu"] * 2, [48, 32], x, levels=4, key=jax.random.key(1))
    rng = np.random.default_rng(0)
    y = np.stack([1e4 * (3 + x[:, 0]), 1e-3 * np.sum(x**2, axis=1)], axis=1)
    return net, x, y * (1 + 0.01 * rng.normal(size=y.shape))


@lru_cache
def fitted() -> hntk.RidgeRegressor:
    net, x, y = problem()
    made = hntk.fit_ridge(net, x, y)
    assert isinstance(made, hntk.RidgeRegressor)
    return made


@pytest.mark.parametrize("layers", ["last", "all"])
def test_weights_are_those_of_scikit_learn(layers: hntk.networks.read_layers.ReadLayers) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    net, x, y = problem()
    f = np.asarray(net.features(x, layers=layers), np.float64)
    made = hntk.fit_ridge(net, x, y, ridge=0.3, layers=layers)
    oracle = linear.Ridge(0.3).fit(f, y)
    for k, size in enumerate(y.std(axis=0)):
        np.testing.assert_allclose(made.weights[:, k], oracle.coef_[k], atol=2e-5 * size)
        np.testing.assert_allclose(made.predict(x)[:, k], oracle.predict(f)[:, k], atol=2e-5 * size + 1e-6 * y.max())


def test_several_targets_are_several_regressions_and_one_is_a_vector() -> None:
    net, x, y = problem()
    both = hntk.fit_ridge(net, x, y, ridge=0.3)
    for k in range(2):
        one, column = (hntk.fit_ridge(net, x, target, ridge=0.3) for target in (y[:, k], y[:, k : k + 1]))
        assert one.predict(x).shape == column.predict(x).shape == (N,)
        np.testing.assert_array_equal(one.weights, column.weights)
        np.testing.assert_allclose(one.weights[:, 0], both.weights[:, k], atol=3e-6 * np.abs(one.weights).max())
    # the unit of a target decides nothing: not the ridge either
    scaled = hntk.fit_ridge(net, x, y * [1e-4, 1e3])
    assert scaled.ridge == fitted().ridge
    np.testing.assert_allclose(scaled.predict(x), fitted().predict(x) * [1e-4, 1e3], rtol=1e-4)


def test_the_ridge_has_the_best_r2_on_samples_that_were_held_out() -> None:
    metrics, linear = pytest.importorskip("sklearn.metrics"), pytest.importorskip("sklearn.linear_model")
    net, x, y = problem()
    made = fitted()
    assert made.validation_r2 == max(r2 for _, r2 in made.validation)
    assert hntk.fit_ridge(net, x, y, ridge=1.0).validation_r2 is None
    held = np.zeros(N, bool)
    held[np.random.default_rng(0).permutation(N)[:8]] = True
    f = np.asarray(net.features(x), np.float64)
    for ridge, r2 in made.validation[::8]:
        oracle = linear.Ridge(ridge).fit(f[~held], y[~held])
        assert r2 == pytest.approx(metrics.r2_score(y[held], oracle.predict(f[held])), abs=1e-4)
    predicted = made.predict(x)
    assert made.r2(x, y) == pytest.approx(metrics.r2_score(y, predicted), abs=1e-12)
    assert made.mean_squared_error(x, y) == pytest.approx(metrics.mean_squared_error(y, predicted), rel=1e-12)
    # a negative control: targets that have nothing to do with x are not predicted
    noise = np.random.default_rng(1).normal(size=(2, N))
    assert hntk.fit_ridge(net, x, noise[0]).validation_r2 < 0.3
    with pytest.raises(ValueError, match=r"targets must be finite numbers of shape \(80, 2\)"):
        made.r2(x, y[:, 0])


def test_files_summaries_and_transformations(tmp_path: Path) -> None:
    _, x, y = problem()
    made = fitted()
    made.save(tmp_path / "net")
    again = hntk.load(tmp_path / "net")
    assert type(again) is hntk.Regressor
    # weights of files are float32
    np.testing.assert_allclose(again.predict(x), made.predict(x), rtol=1e-5, atol=1e-5 * y.std(axis=0).min())
    assert again.save(tmp_path / "twice") == (tmp_path / "net").stat().st_size
    np.testing.assert_array_equal(hntk.load(tmp_path / "twice").predict(x), again.predict(x))
    assert again.statistics == made.statistics
    assert repr(again).endswith("2 targets)")
    notes = str(hntk.summarize(again))
    assert "predictions: 2 targets" in notes
    assert "fitted on 80 samples of dimension 20; tau_0" in notes
    compiled = jax.jit(lambda made, x: made.predict(x))(made, jnp.asarray(x))
    np.testing.assert_allclose(compiled, made.predict(x), rtol=1e-4)
    arrays, metadata = container.read(tmp_path / "net")
    container.write(tmp_path / "old", arrays, {**metadata, "version": 1})
    with pytest.raises(hntk.FileError, match="version 1"):
        hntk.load(tmp_path / "old")


def test_raw_samples_go_through_the_normalisation() -> None:
    net, x, y = problem()
    normalization = hntk.Normalization(np.full(P, 0.5, np.float32), 2.0)
    made = hntk.fit_ridge(net, x, y, ridge=0.3, normalization=normalization)
    raw = np.asarray(x * 2 + 0.5)
    np.testing.assert_allclose(made.predict(raw, raw=True), made.predict(x), rtol=1e-4)
    assert made.r2(raw, y, raw=True) == pytest.approx(made.r2(x, y), abs=1e-4)


def test_the_type_decides_what_labels_are() -> None:
    net, x, y = problem()
    classes = (y[:, 0] > y[:, 0].mean()).astype(int)
    assert isinstance(hntk.fit_ridge(net, x, classes, ridge=1.0), hntk.RidgeClassifier)
    with pytest.warns(UserWarning, match=r"labels holds 2 different whole numbers .* labels.astype\(int\)"):
        assert isinstance(hntk.fit_ridge(net, x, classes.astype(float), ridge=1.0), hntk.RidgeRegressor)
    assert isinstance(hntk.fit_ridge(net, x, 2.0 * classes - 1, ridge=1.0), hntk.RidgeRegressor)
    assert isinstance(hntk.fit_ridge(net, x, y[:, 0].astype(object), ridge=1.0), hntk.RidgeRegressor)
    with pytest.raises(ValueError, match=r"hntk.fit_ridge; for classes give whole numbers, labels.astype\(int\)"):
        hntk.fit_softmax(net, x, y[:, 0])
    constant = np.stack([y[:, 0], np.full(N, 7.1)], axis=1)
    np.testing.assert_array_equal(hntk.fit_ridge(net, x, constant, ridge=1.0).predict(x)[:, 1], 7.1)
    for bad, message in (
        (np.full(N, 0.1), "same targets for all samples"),
        (np.where(y > y.mean(), y, np.nan), "NaN or infinite values in"),
        (y[:-1], r"shape \(80,\) or \(80, K\)"),
        (y[:, None], "shape"),
        (y * 1e300, "rescale"),
    ):
        with pytest.raises(ValueError, match=message):
            hntk.fit_ridge(net, x, bad)
