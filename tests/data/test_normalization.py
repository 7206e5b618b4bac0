"""Normalisations, and raw samples: a classifier takes them, its file remembers how, and a wrong scale is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk.deploy.onnx import write_onnx
from tests.support.data_files import write_skewed

SCHEDULE = hntk.Schedule(epochs=2, batch=64)


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    """Three classes of images of 16 pixels, as bytes."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.integers(0, 120, (240, 16))
    x[np.arange(240), 2 * y] += 130
    return {"x_train": x[:180].astype(np.uint8), "y_train": y[:180], "x_test": x[180:].astype(np.uint8),
            "y_test": y[180:]}  # fmt: skip


def load(raw: dict[str, np.ndarray], folder: Path, normalize: str = "scale") -> hntk.Dataset:
    np.savez(folder / "toy.npz", **raw)
    return hntk.load_dataset("toy", folder=folder, normalize=normalize)


def network(data: hntk.Dataset) -> hntk.Network:
    return hntk.dense(["relu"], [64], data.x_train, key=jax.random.key(0))


def test_normalisations_do_what_they_say(tmp_path: Path) -> None:
    write_skewed(tmp_path)
    plain, unit, white = (
        hntk.load_dataset("skewed", folder=tmp_path, normalize=k) for k in ("scale", "unit_norm", "whiten")
    )
    np.testing.assert_allclose(np.linalg.norm(unit.x_test, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        unit.x_test, plain.x_test / np.linalg.norm(plain.x_test, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    assert np.isclose(white.tau0, 1, atol=1e-5)
    assert white.whitening is not None
    np.testing.assert_allclose(white.x_test, plain.x_test @ white.whitening, rtol=1e-3, atol=1e-5)
    # directions of large variance come out nearly alike, those of little are not blown up
    before, after = (np.linalg.eigvalsh(np.cov(d.x_train.T))[::-1] for d in (plain, white))
    assert after[0] / after[4] < 1.5 < before[0] / before[4]
    assert after[-1] < after[0]
    with pytest.raises(ValueError, match="normalize must be"):
        hntk.load_dataset("skewed", folder=tmp_path, normalize="sphere")  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize", ["scale", "unit_norm", "whiten", False])
def test_samples_alone_have_the_normalisation_of_a_data_set(raw: dict, tmp_path: Path, normalize: str | bool) -> None:
    np.savez(tmp_path / "toy.npz", **raw)
    wanted = hntk.load_dataset("toy", folder=tmp_path, normalize=normalize).normalization  # type: ignore[arg-type]
    fitted = hntk.Normalization.of(raw["x_train"], normalize)  # type: ignore[arg-type]
    np.testing.assert_array_equal(fitted(raw["x_test"]), wanted(raw["x_test"]))
    assert str(fitted) == str(wanted)


def test_samples_that_cannot_be_normalised_are_refused() -> None:
    with pytest.raises(ValueError, match="rows are the same"):
        hntk.Normalization.of(np.ones((4, 3)))
    with pytest.raises(ValueError, match="normalize must be True, False or one of"):
        hntk.Normalization.of(np.eye(3), "sphere")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NaN"):
        hntk.Normalization.of(np.array([[1.0, np.nan]]))


@pytest.mark.parametrize("normalize", ["scale", "unit_norm", "whiten"])
def test_a_classifier_fitted_on_a_data_set_takes_raw_samples(raw: dict, tmp_path: Path, normalize: str) -> None:
    data = load(raw, tmp_path, normalize)
    fitted = hntk.fit_ridge(network(data), data, ridge=1e-2)
    assert fitted.accuracy(data.x_test, data.y_test) > 0.9
    np.testing.assert_allclose(fitted.scores(raw["x_test"], raw=True), fitted.scores(data.x_test), atol=2e-4)
    assert fitted.accuracy(raw["x_test"], raw["y_test"], raw=True) == fitted.accuracy(data.x_test, data.y_test)
    fitted.save(tmp_path / "net")
    again = hntk.load(tmp_path / "net")
    np.testing.assert_allclose(again.scores(raw["x_test"], raw=True), fitted.scores(raw["x_test"], raw=True), atol=1e-5)
    assert str(again.normalization) in str(again.summary())


def test_the_softmax_readout_and_the_equivalent_regression_do_too(raw: dict, tmp_path: Path) -> None:
    data = load(raw, tmp_path)
    softmax = hntk.fit_softmax(network(data), data, schedule=SCHEDULE, rates=[1e-2])
    assert softmax.predict(raw["x_test"], raw=True).tolist() == softmax.predict(data.x_test).tolist()
    equivalent = hntk.fit_equivalent(data, None, ["relu"], ridge=0.1)
    np.testing.assert_allclose(equivalent.scores(raw["x_test"], raw=True), equivalent.scores(data.x_test), atol=1e-4)


def test_arrays_take_a_normalization_too(raw: dict, tmp_path: Path) -> None:
    data = load(raw, tmp_path)
    net = network(data)
    fitted = hntk.fit_ridge(net, data.x_train, data.y_train, ridge=1e-2, normalization=data.normalization)
    assert fitted.predict(raw["x_test"], raw=True).tolist() == fitted.predict(data.x_test).tolist()
    with pytest.raises(ValueError, match="coordinates"):
        hntk.fit_ridge(net, data, ridge=1e-2, normalization=hntk.Normalization(np.zeros(3, np.float32), 1.0))
    with pytest.raises(ValueError, match="labels= are needed"):
        hntk.fit_ridge(net, data.x_train, ridge=1e-2)


def test_labels_beside_a_data_set_take_the_place_of_its_own(raw: dict, tmp_path: Path) -> None:
    data = load(raw, tmp_path)
    fitted = hntk.fit_ridge(network(data), data, np.array(["a", "b", "c"])[data.y_train], ridge=1e-2)
    assert set(fitted.predict(data.x_test)) <= {"a", "b", "c"}


def test_samples_of_another_scale_warn(raw: dict, tmp_path: Path) -> None:
    data = load(raw, tmp_path)
    net = network(data)
    fitted = hntk.fit_ridge(net, data, ridge=1e-2)
    with pytest.warns(UserWarning, match="say raw=True"):
        fitted.predict(raw["x_test"])
    bare = hntk.fit_ridge(net, data.x_train, data.y_train, ridge=1e-2)
    with pytest.warns(UserWarning, match="Dataset or with normalization="):
        bare.predict(data.x_test * 100)
    equivalent = hntk.fit_equivalent(data, None, ["relu"], ridge=0.1)
    with pytest.warns(UserWarning, match="say raw=True"):
        equivalent.predict(raw["x_test"].astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in data.x_test:
            fitted.predict(row[None])


def test_raw_samples_without_a_normalization_are_refused(raw: dict, tmp_path: Path) -> None:
    data = load(raw, tmp_path)
    fitted = hntk.fit_ridge(network(data), data.x_train, data.y_train, ridge=1e-2)
    with pytest.raises(ValueError, match="does not know how raw samples are normalised"):
        fitted.predict(raw["x_test"], raw=True)
    with pytest.raises(ValueError, match="flatten images"):
        hntk.fit_ridge(network(data), data, ridge=1e-2).predict(raw["x_test"].reshape(-1, 8), raw=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 2), np.float32), 1.0), "centre"),
        ((np.full(2, np.nan, np.float32), 1.0), "centre"),
        ((np.zeros(2, np.float32), 0.0), "scale"),
        ((np.zeros(2, np.float32), float("inf")), "scale"),
        ((np.zeros(2, np.float32), 1.0, np.eye(3, dtype=np.float32)), "whitening"),
    ],
)
def test_a_normalization_that_cannot_be_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.Normalization(*arguments)


def test_a_sample_at_the_centre_has_no_direction() -> None:
    with pytest.raises(ValueError, match="no direction"):
        hntk.Normalization(np.ones(2, np.float32), 1.0, unit_norm=True)(np.ones((1, 2)))


@pytest.mark.parametrize("normalize", ["unit_norm", "whiten"])
def test_a_normalization_beyond_centre_and_scale_goes_to_onnx_but_not_to_whole_numbers(
    raw: dict, tmp_path: Path, normalize: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    data = load(raw, tmp_path, normalize)
    net = hntk.compress(["relu"], [64], data.x_train, 3, key=jax.random.key(0))
    fitted = hntk.fit_ridge(net, data, ridge=1e-2)
    path = tmp_path / "net.onnx"
    write_onnx(fitted, path, "int8")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores = session.run(["scores"], {"input": raw["x_test"].astype(np.float32)})[0]
    np.testing.assert_allclose(scores, fitted.scores(raw["x_test"], raw=True), atol=1e-3)
    with pytest.raises(hntk.NotIntegerError, match="normalize='scale'"):
        hntk.to_integers(fitted, x=data.x_train)
