"""Matrices as packed bytes: they come back, at the size that is expected."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import hntk
from hntk.networks.formula_bytes import ternary_entropy
from hntk.weights.encodings import ENCODINGS, PackedMatrix, expected_bits, pack, smallest_encoding
from hntk.weights.rice_codes import decode_rice, encode_rice

LAWS = ["gaussian", "int8_gaussian", "sparse_gaussian", "pruned_gaussian", "student_t", "bernoulli", "ternary"]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.999])
def test_every_encoding_gives_the_matrix_back_at_its_expected_size(law: str, sparsity: float) -> None:
    drawn = hntk.weight_law(law, sparsity=sparsity)
    matrix = drawn.draw(jax.random.key(0), (113, 127))
    count = 113 * 127
    for encoding in ENCODINGS[matrix.kind]:
        bits = expected_bits(encoding, drawn.zeros)
        if not np.isfinite(bits):
            continue
        packed = pack(matrix, encoding)
        again = packed.unpack()
        np.testing.assert_array_equal(again.values, matrix.values)
        assert (again.kind, again.scale, again.values.dtype) == (matrix.kind, matrix.scale, matrix.values.dtype)
        # five standard deviations of the number of zeros, 40 bits each at most, and a byte of rounding for each part
        spread = 5 * np.sqrt(count * drawn.zeros * (1 - drawn.zeros)) * 41 / 8 + 10
        assert abs(packed.nbytes - count * bits / 8) <= spread
    assert pack(matrix).nbytes <= min(pack(matrix, e).nbytes for e in ENCODINGS[matrix.kind] if _suits(e, drawn)) + 99


def _suits(encoding: str, law: hntk.WeightLaw) -> bool:
    return bool(np.isfinite(expected_bits(encoding, law.zeros)))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.int8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([-1, 0, 0, 1]))
)
def test_any_ternary_matrix_comes_back(values: np.ndarray) -> None:
    for encoding in ("bits2", "base3", "mask+signs", "gaps+signs", "rice"):
        packed = pack(hntk.WeightMatrix(jnp.asarray(values), 1.0, "ternary"), encoding)
        np.testing.assert_array_equal(packed.unpack().values, values)


def _bytes(values: list[int], encoding: str) -> tuple[list[int], list[int] | None]:
    packed = pack(hntk.WeightMatrix(jnp.asarray([values], jnp.int8), 1.0, "ternary"), encoding)
    return packed.values.tolist(), None if packed.positions is None else packed.positions.tolist()


def test_bytes_are_laid_out_as_documented() -> None:
    assert _bytes([0, 1, -1, 0, 1], "bits2") == ([0b00_11_01_00, 0b01], None)
    assert _bytes([1, 0, -1, 0, 0], "base3") == ([2 + 3 * 1 + 9 * 0 + 27 * 1 + 81 * 1], None)
    assert _bytes([0, 1, -1, 0], "mask+signs") == ([0b10], [0b0110])
    # a parameter; then zeros as bits 0, a mark, low bits and a sign, and the last code for zeros at the end
    assert _bytes([0, 1, -1, 0], "rice") == ([0, 0b01_0_1_1_01_0], None)
    assert _bytes([0] * 9 + [-1, 0, 0, 0], "rice") == ([2, 0b001_01_1_1_1, 0b1_0_000000], None)
    assert _bytes([0] * 300 + [1], "gaps+signs") == ([0], [255, 45])
    assert _bytes([0] * 255 + [-1], "gaps+signs") == ([1], [255, 0])
    assert _bytes([0] * 510 + [1, 0, 1], "gaps+signs") == ([0], [255, 255, 0, 1])


def test_the_sparser_the_matrix_the_smaller_its_encoding() -> None:
    chosen = [smallest_encoding("ternary", zeros) for zeros in (0.0, 0.2, 0.5, 0.9, 0.99)]
    assert chosen == ["signs", "base3", "mask+signs", "rice", "rice"]
    assert smallest_encoding("ternary", 0.999) == "gaps+signs"
    assert expected_bits("mask+signs", 0.5) == pytest.approx(ternary_entropy(0.5))


def test_damaged_bytes_are_noticed() -> None:
    matrix = hntk.weight_law("ternary", sparsity=0.5).draw(jax.random.key(0), (10, 10))

    def damaged(encoding: str, **change: np.ndarray) -> PackedMatrix:
        good = pack(matrix, encoding)
        parts = {"values": good.values, "positions": good.positions} | change
        return PackedMatrix(good.encoding, good.kind, good.shape, good.scale, **parts)

    everywhere = np.full(25, 0b10_10_10_10, np.uint8)
    with pytest.raises(ValueError, match="neither 0"):
        damaged("bits2", values=everywhere).unpack()
    with pytest.raises(ValueError, match="243"):
        damaged("base3", values=np.full(20, 250, np.uint8)).unpack()
    with pytest.raises(ValueError, match="25 bytes"):
        damaged("bits2", values=everywhere[:-1]).unpack()
    with pytest.raises(ValueError, match="mask"):
        damaged("mask+signs", positions=np.zeros(5, np.uint8)).unpack()
    with pytest.raises(ValueError, match="do not fill"):
        damaged("gaps+signs", positions=np.full(50, 200, np.uint8)).unpack()
    rice = pack(matrix, "rice").values
    for bad, why in (
        (rice[:0], "begin with"),
        (rice[:1], "begin with"),
        (np.append(np.uint8(6), rice[1:]), "from 0 to 5"),
        (rice[:-1], "Golomb–Rice"),
        (np.append(rice, np.uint8(0)), "last byte"),
        (np.append(rice, np.uint8(255)), "Golomb–Rice"),
        (np.zeros(20, np.uint8), "last byte"),
        (np.zeros(12, np.uint8), "too few"),
    ):
        with pytest.raises(ValueError, match=why):
            damaged("rice", values=bad).unpack()
    with pytest.raises(ValueError, match="use one of"):
        pack(matrix, "float32")
    with pytest.raises(ValueError, match="use one of"):
        pack(matrix, "signs")


@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.67, 0.72, 0.8, 0.88, 0.9, 0.95, 0.97])
def test_rice_codes_are_near_the_entropy(sparsity: float) -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((500, 400)) < sparsity, 0, rng.choice([-1, 1], (500, 400))).astype(np.int8)
    packed = pack(hntk.WeightMatrix(jnp.asarray(values), 1.0, "ternary"), "rice")
    share = np.mean(values == 0)
    entropy = ternary_entropy(share)
    assert entropy <= packed.nbytes * 8 / values.size <= 1.023 * entropy
    # 200,000 weights: the share of the expected size that drawing moves is some thousandths
    assert packed.nbytes * 8 / values.size == pytest.approx(expected_bits("rice", share), rel=0.005)


def test_bytes_that_are_drawn_make_matrices_that_come_back_or_are_refused() -> None:
    """What damaged codes make, they make again: every matrix of a shape has one code for each parameter."""
    rng, made = np.random.default_rng(0), 0
    good = pack(hntk.weight_law("ternary", sparsity=0.8).draw(jax.random.key(0), (9, 11)), "rice").values
    for _ in range(3000):
        stored = good.copy()
        stored[rng.integers(1, stored.size, rng.integers(1, 3))] ^= np.uint8(1) << np.uint8(rng.integers(8))
        packed = PackedMatrix("rice", "ternary", (9, 11), 1.0, stored)
        try:
            values = np.asarray(packed.unpack().values)
        except ValueError:
            continue
        made += 1
        assert set(np.unique(values)) <= {-1, 0, 1}
        np.testing.assert_array_equal(decode_rice(encode_rice(values.ravel()), 99), values.ravel())
    # a sign that changes makes another matrix
    assert 100 < made < 2900
