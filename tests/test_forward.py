"""Every way of running layers gives the same sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hntk import forward
from hntk.bitwise import BitMatrix, bit_product
from hntk.forward import Forward, affordable_planes
from hntk.planes import Code
from hntk.weights import weight_law
from tests.architectures import architectures, raw_samples, whole_classifier

WAYS = ("dense", "planes", "sparse")


@settings(max_examples=8, deadline=None, derandomize=True)
@given(architectures(), st.integers(1, 40))
def test_all_ways_give_the_same_bits(shape: dict, rows: int) -> None:
    network = whole_classifier(**shape).network
    raw = raw_samples(whole_classifier(**shape))[:rows]
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for way in WAYS:
            patch.setattr(Forward, "way", lambda self, rows, way=way: way)
            found[way] = np.concatenate(list(network.feature_batches(raw, batch=17)))
    np.testing.assert_array_equal(found["planes"], found["dense"])
    np.testing.assert_array_equal(found["sparse"], found["dense"])


@pytest.mark.parametrize("rows", [1, 4, 5, 70])
@pytest.mark.parametrize("levels", [(3,), (-2, 5), (-7, -1, 0, 300), tuple(range(-9, 10, 2))])
def test_products_on_planes_are_exact(rows: int, levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(rows)
    matrix = weight_law("ternary", sparsity=0.3).draw(jax.random.key(0), (50, 131))
    bias = rng.integers(-1000, 1000, 50).astype(np.int32)
    h = rng.choice(levels, (rows, 131))
    code = Code.of_levels(levels)
    found = bit_product(BitMatrix.of(matrix, code, bias), jnp.asarray(h, jnp.float32))
    np.testing.assert_array_equal(found, h @ np.asarray(matrix.values, np.int64).T + bias)


def test_bits_of_a_range_are_exact() -> None:
    h = np.random.default_rng(0).integers(0, 256, (6, 131)) * 4
    matrix = weight_law("bernoulli").draw(jax.random.key(0), (50, 131))
    code = Code.of_range(0, 255 * 4, 4)
    assert len(code.jumps) == 8
    found = bit_product(BitMatrix.of(matrix, code), jnp.asarray(h, jnp.float32))
    np.testing.assert_array_equal(found, h @ np.asarray(matrix.values, np.int64).T)


def test_the_way_depends_on_rows_planes_and_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    def way(rows: int, **shape: object) -> str:
        return whole_classifier(widths=(100, 100), **shape).network._forward.way(rows)

    monkeypatch.setattr(forward, "affordable_planes", lambda: 6.0)
    # 8 planes of the input on 45 inputs, and 3 on 100
    assert way(1, levels=4) == way(1000, levels=4) == "planes"
    assert way(1000, levels=4, sparsity=0.99) == "sparse"
    assert way(1, levels=4, sparsity=0.99) == "planes"
    assert way(1000, law="int8_gaussian") == way(1, law="int8_gaussian") == "dense"
    monkeypatch.setattr(forward, "affordable_planes", lambda: 2.0)
    assert way(1000, levels=4) == "dense"
    assert way(1, levels=4) == "planes"
    monkeypatch.setattr(forward.jax, "default_backend", lambda: "gpu")
    assert way(1, levels=4) == way(1000, levels=4) == "dense"


def test_what_planes_cost_is_measured() -> None:
    assert 0.05 < affordable_planes() < 500
