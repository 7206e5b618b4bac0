"""Samples in the scale of the theory."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.data import load_dataset
from tests.support.data_files import peak_memory, row_arrays, write_npz


@pytest.mark.parametrize("chosen", [{}, {"classes": [1, 2]}, {"n_train": 17, "n_test": 4}])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_training_rows_are_centred_with_mean_square_norm_one(tmp_path, chosen, offset):
    arrays = row_arrays()
    path = write_npz(tmp_path / "toy.npz", arrays, x_train=arrays["x_train"] + offset, x_test=arrays["x_test"] + offset)
    data = load_dataset("toy", folder=path, **chosen)
    x = data.x_train.astype(np.float64)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-7)
    assert np.mean(np.sum(x**2, axis=1)) == pytest.approx(1.0, abs=1e-6)
    assert data.tau0 == pytest.approx(np.sqrt(np.mean(np.sum(x**2, axis=1))), rel=1e-12)


@pytest.mark.parametrize("chosen", [{}, {"classes": [1, 2]}, {"n_train": 17, "n_test": 4}])
def test_both_parts_are_normalised_by_the_training_rows_kept(toy, chosen):
    raw = load_dataset("toy", folder=toy, normalize=False, **chosen)
    data = load_dataset("toy", folder=toy, **chosen)
    centre = raw.x_train.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(np.mean(np.sum((raw.x_train - centre) ** 2, axis=1)))
    np.testing.assert_allclose(data.centre, centre, rtol=1e-6)
    assert data.scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(data.x_train, (raw.x_train - centre) / scale, atol=1e-6)
    np.testing.assert_allclose(data.x_test, (raw.x_test - centre) / scale, atol=1e-6)
    np.testing.assert_array_equal(data.y_train, raw.y_train)


def test_raw_values_have_no_centre_and_scale_one(toy):
    raw = load_dataset("toy", folder=toy, normalize=False)
    assert (raw.centre.tolist(), raw.scale) == ([0.0] * 5, 1.0)
    assert raw.tau0 == pytest.approx(np.sqrt(np.mean(np.sum(row_arrays()["x_train"] ** 2, axis=1))), rel=1e-6)


def test_normalisation_over_many_blocks_of_rows(tmp_path):
    p, n = 3000, 1000
    x = np.random.default_rng(0).integers(0, 256, (n, p), dtype=np.uint8)
    y = np.arange(n) % 2
    data = load_dataset(
        "toy", folder=write_npz(tmp_path / "toy.npz", {}, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    )
    centre = x.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))
    np.testing.assert_allclose(data.centre, centre, rtol=1e-13)
    assert data.scale == pytest.approx(scale, rel=1e-13)
    np.testing.assert_array_equal(data.x_train, ((x - centre) / scale).astype(np.float32))


def test_no_float64_copy_of_the_data_is_made(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4000, 3000), dtype=np.uint8)
    y = np.arange(4000) % 2
    path = write_npz(tmp_path / "toy.npz", {}, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    data, peak = peak_memory(lambda: load_dataset("toy", folder=path))
    assert data is not None
    assert data.x_train.nbytes == 4 * x.size
    assert peak < 4 * x.size + x.size + 5e7 < 8 * x.size + 5 * x.size
