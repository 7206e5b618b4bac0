"""Data sets as a whole: raw samples, memory, JAX's transformations, and the real data of HNTK_DATA."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hntk.data import load_dataset
from tests.support.data_files import image_arrays, raised_peak, row_arrays, write_idx, write_npz

REAL_DATA = pytest.mark.skipif(not os.environ.get("HNTK_DATA"), reason="HNTK_DATA names no data folder")


def test_raw_samples_come_back(tmp_path):
    images = image_arrays()
    write_idx(tmp_path / "bytes", images)
    data = load_dataset("bytes", folder=tmp_path)
    assert data.pixels
    assert data.raw(data.x_test).dtype == np.uint8
    np.testing.assert_array_equal(data.raw(data.x_test), images["x_test"].reshape(6, 12))
    np.testing.assert_allclose(data.normalization(data.raw(data.x_train)), data.x_train, rtol=1e-5, atol=1e-6)
    rows = row_arrays()
    write_npz(tmp_path / "floats.npz", rows)
    data = load_dataset("floats", folder=tmp_path)
    assert not data.pixels
    np.testing.assert_allclose(data.raw(data.x_test), rows["x_test"], rtol=1e-5, atol=1e-5)
    for kind in ("whiten", "unit_norm"):
        with pytest.raises(ValueError, match="normalize='scale'"):
            load_dataset("floats", folder=tmp_path, normalize=kind).raw(data.x_test)


def test_what_does_not_fit_into_memory_is_not_read(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    write_idx(tmp_path / "mnist", image_arrays())
    for module in ("npz", "idx"):
        monkeypatch.setattr(f"hntk.data.{module}.available_memory", lambda: 100)
    for name in ("toy", "mnist"):
        message, _ = raised_peak(lambda name=name: load_dataset(name, folder=tmp_path), MemoryError)
        assert "memory are free: keep fewer samples" in message


@REAL_DATA
def test_real_mnist():
    data = load_dataset("mnist", normalize=False)
    assert (data.x_train.shape, data.x_test.shape, data.image_shape) == ((60000, 784), (10000, 784), (28, 28))
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.x_train.mean(dtype=np.float64) / 255 == pytest.approx(0.13066, abs=5e-6)


@REAL_DATA
def test_real_mnist_in_the_scale_of_the_theory():
    data = load_dataset("mnist", classes=[6, 8], n_train=1000, n_test=500)
    assert (data.x_train.shape, data.x_test.shape, data.classes.tolist()) == ((1000, 784), (500, 784), [6, 8])
    assert data.tau0 == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(data.x_train.mean(axis=0, dtype=np.float64), 0.0, atol=1e-8)
