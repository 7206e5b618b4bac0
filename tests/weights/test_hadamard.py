"""Walsh–Hadamard transforms against matrices that SciPy makes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

from hntk.weights.hadamard import LARGEST_FACTOR, factors_of, hadamard_entries, hadamard_transform, transform_on_host


def test_entries_are_those_of_sylvesters_matrix() -> None:
    index = jnp.arange(32)
    np.testing.assert_array_equal(hadamard_entries(index[:, None], index), hadamard(32))
    # Beyond a byte of index.
    np.testing.assert_array_equal(hadamard_entries(jnp.array([1023, 700]), jnp.array([1023, 513])), [1, -1])
    assert hadamard_entries(index, index).dtype == jnp.int8


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("length", [1, 2, 8, 64, 128])
def test_transforms_are_products_with_the_matrix(length: int, dtype: type) -> None:
    x = np.random.default_rng(length).integers(-99, 100, (2, 3, length)).astype(dtype)
    expected = x.astype(np.int64) @ hadamard(length)
    for found in (jax.jit(hadamard_transform)(x), transform_on_host(x)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


def test_long_transforms_are_exact_where_sums_stay_below_2_to_24() -> None:
    length = 8192
    x = np.random.default_rng(0).integers(-2047, 2048, (1, length)).astype(np.float32)
    assert 2**22 < np.abs(x).sum() < 2**24
    expected = transform_on_host(x.astype(np.int64))
    # By its definition at a few rows.
    rows = np.array([0, 1, 77, length - 1])
    entries = np.asarray(hadamard_entries(jnp.asarray(rows)[:, None], jnp.arange(length)), np.int64)
    np.testing.assert_array_equal(expected[0, rows], entries @ x[0].astype(np.int64))
    np.testing.assert_array_equal(hadamard_transform(jnp.asarray(x)), expected)


def test_a_transform_is_its_own_inverse_and_transpose() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 128)), jnp.float32)
    np.testing.assert_allclose(hadamard_transform(hadamard_transform(x)) / 128, x, atol=1e-5)
    gradient = jax.grad(lambda v: hadamard_transform(v)[0, 5])(x)
    np.testing.assert_array_equal(gradient, np.stack([hadamard(128)[5], np.zeros(128)]))


def test_lengths_are_divided_into_few_small_factors() -> None:
    for bits in range(0, 25):
        factors = factors_of(2**bits)
        assert np.prod(factors) == 2**bits
        assert max(factors) <= LARGEST_FACTOR
        assert max(factors) <= 2 * min(factors)
        assert len(factors) == max(1, -(-bits // 6))
