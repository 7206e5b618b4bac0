"""Orthogonal matrices as bytes: they come back, are laid out as documented, and damage is noticed."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hntk
from hntk.weights.encodings import PackedMatrix, check_bytes, pack
from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix
from hntk.weights.orthogonal_bytes import orthogonal_from_bytes, orthogonal_to_bytes
from tests.support.orthogonal import explicit_values, random_blocks

ORDERS = ("none", "random", "generated")


def check_round_trip(matrix: OrthogonalMatrix) -> None:
    stored = orthogonal_to_bytes(matrix)
    assert stored.dtype == np.uint8
    assert stored.size == 1 + -(-matrix.stored_bits // 8)
    again = orthogonal_from_bytes(stored, matrix.shape)
    for part in ("signs", "swaps", "places"):
        one, other = getattr(again, part), getattr(matrix, part)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    kept = [(m.shape, m.groups, m.scale, m.order) for m in (again, matrix)]
    assert kept[0] == kept[1]
    np.testing.assert_array_equal(orthogonal_to_bytes(again), stored)


@pytest.mark.parametrize("groups", [1, 2, 8, 256])
@pytest.mark.parametrize("order", ORDERS)
def test_matrices_come_back(groups: int, order: str) -> None:
    for seed, shape in enumerate([(1, 1), (3, 1), (1, 9), (37, 11), (40, 16), (5, 300), (600, 3)]):
        check_round_trip(random_blocks(seed, shape, groups, order))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 8).map(lambda k: 2**k),
    st.sampled_from(ORDERS),
)
def test_any_matrix_comes_back(seed: int, shape: tuple[int, int], groups: int, order: str) -> None:
    check_round_trip(random_blocks(seed, shape, groups, order))


def made(**changes: object) -> OrthogonalMatrix:
    """A matrix of 5 inputs in two blocks of 8 and two groups, written down."""
    signs = np.array([[1, -1, 1, 1, -1], [-1, 1, 1, -1, 1]], np.int8)
    swaps = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], np.uint8)
    parts = {"signs": signs, "swaps": swaps, "places": None, "shape": (11, 5), "groups": 2, "scale": 2**0.5}
    return OrthogonalMatrix(**{**parts, **changes})  # type: ignore[arg-type]


def test_bytes_are_laid_out_as_documented() -> None:
    signs, swaps = "01001 10010", "1001 0110"

    def expected(head: int, *bits: str) -> list[int]:
        text = "".join(bits).replace(" ", "")
        text += "0" * (-len(text) % 8)
        return [head, *(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))]

    def stored(matrix: OrthogonalMatrix) -> list[int]:
        return orthogonal_to_bytes(matrix).tolist()

    assert stored(made()) == expected(0b000001_00, signs, swaps)
    # Places 6, 0, 3, 7, 1 in three bits, the lowest first.
    placed = made(places=np.array([6, 0, 3, 7, 1], np.int32))
    assert stored(placed) == expected(0b000001_01, "011 000 110 111 100", signs, swaps)
    generator = GeneratedOrder((3, 5), (6, 1))
    generated = made(places=generator.places(5, 8).astype(np.int32), generator=generator)
    # a, b, a, b: 3, 6, 5, 1.
    assert stored(generated) == expected(0b000001_10, "110 011 101 100", signs, swaps)
    # Swaps between four groups take two bits.
    four = made(swaps=np.array([[3, 1], [2, 0]], np.uint8), groups=4)
    assert stored(four) == expected(0b000010_00, signs, "11 10 01 00")
    # One group has no swaps.
    assert stored(made(swaps=np.zeros((2, 8), np.uint8), groups=1)) == expected(0, signs)


def test_bits_follow_the_formula() -> None:
    for order, extra in (("none", 0), ("random", 784 * 10), ("generated", 4 * 10)):
        matrix = random_blocks(0, (2048, 784), 4, order)
        assert matrix.stored_bits == 2 * (784 + 256 * 2) + extra
    square = random_blocks(0, (1024, 1024), 2)
    assert pack(square).nbytes == 1 + (1024 + 512) // 8
    assert 8 * pack(square).nbytes / 1024**2 < 0.0015
    assert log2(square.size) == 10


def damaged(stored: np.ndarray, place: int, value: int) -> np.ndarray:
    changed = stored.copy()
    changed[place] = value
    return changed


def test_damaged_bytes_are_noticed() -> None:
    matrix = random_blocks(1, (11, 5), 2, "random")
    stored, shape = orthogonal_to_bytes(matrix), matrix.shape
    for wrong in (stored[:-1], stored[:1], np.append(stored, np.uint8(0))):
        with pytest.raises(ValueError, match="take .* bytes, not .*damaged"):
            orthogonal_from_bytes(wrong, shape)
    with pytest.raises(ValueError, match="no bytes.*damaged"):
        orthogonal_from_bytes(stored[:0], shape)
    # An order that there is not, and more groups than a byte counts.
    for head in (0b000001_11, 0b001001_00, 0b111111_00, 255):
        with pytest.raises(ValueError, match=f"byte {head}, which means nothing"):
            orthogonal_from_bytes(damaged(stored, 0, head), shape)
    # Another order or number of groups takes other bytes.
    for head in (0b000001_00, 0b000001_10, 0b000011_01, 0b001000_01):
        with pytest.raises(ValueError, match="bytes, not"):
            orthogonal_from_bytes(damaged(stored, 0, head), shape)
    # Two inputs at one place.
    with pytest.raises(ValueError, match="place of its own"):
        orthogonal_from_bytes(damaged(damaged(stored, 1, 0), 2, 0), shape)
    for other in ((11, 8), (11, 3), (40, 5), (8, 5)):
        with pytest.raises(ValueError, match="bytes, not"):
            orthogonal_from_bytes(stored, other)


def test_even_factors_of_a_generator_are_noticed() -> None:
    # Few inputs, which even factors put at different places too.
    for shape in ((11, 5), (20, 3)):
        matrix = random_blocks(1, shape, 16, "generated")
        stored = orthogonal_to_bytes(matrix)
        # The lowest bits of the first and of the third number of four bits.
        for byte in (1, 2):
            with pytest.raises(ValueError, match="odd"):
                orthogonal_from_bytes(damaged(stored, byte, stored[byte] & ~np.uint8(1)), shape)


def test_every_bit_that_is_not_padding_counts() -> None:
    for order in ORDERS:
        matrix = random_blocks(2, (11, 5), 2, order)
        stored, same = orthogonal_to_bytes(matrix), 0
        for bit in range(8, 8 + matrix.stored_bits):
            changed = damaged(stored, bit // 8, int(stored[bit // 8]) ^ 1 << bit % 8)
            try:
                other = orthogonal_from_bytes(changed, matrix.shape)
            except ValueError:
                continue
            # Columns of a swap between two places without inputs are left out.
            same += np.array_equal(explicit_values(other), explicit_values(matrix))
            assert not np.array_equal(orthogonal_to_bytes(other), stored)
        assert same < matrix.stored_bits // 4


@pytest.mark.parametrize(
    "shape", [(10**12, 1), (1, 10**12), (10**15, 10**15), (2**62, 2**62), (10**30, 3), (3, 10**30)], ids=str
)
def test_huge_shapes_of_few_bytes_are_refused_before_anything_is_allocated(shape: tuple[int, int]) -> None:
    for head in (0, 0b000001_00, 0b001000_00, 0b001000_01, 0b000001_10):
        stored = np.full(100, head, np.uint8)
        packed = PackedMatrix("hadamard", "ternary", shape, 1.0, stored)
        for refused in (check_bytes, PackedMatrix.unpack):
            with pytest.raises(ValueError, match="bytes, not 100"):
                refused(packed)


def test_what_is_no_matrix_is_not_written() -> None:
    matrix = random_blocks(1, (11, 5), 2, "random")
    with pytest.raises(ValueError, match="place of its own"):
        orthogonal_to_bytes(replace(matrix, places=np.zeros(5, np.int32)))
    with pytest.raises(ValueError, match="below 2"):
        pack(replace(matrix, swaps=np.full((2, 4), 2, np.uint8)))


def test_explicit_encodings_hold_the_values() -> None:
    matrix = random_blocks(1, (11, 5), 2, "random")
    for encoding in ("bits2", "base3", "mask+signs", "gaps+signs"):
        packed = pack(matrix, encoding)
        assert (packed.encoding, packed.kind, packed.scale) == (encoding, "ternary", matrix.scale)
        np.testing.assert_array_equal(packed.unpack().values, explicit_values(matrix))
    np.testing.assert_array_equal(
        pack(random_blocks(1, (11, 5), 1), "signs").unpack().values, explicit_values(random_blocks(1, (11, 5), 1))
    )
    with pytest.raises(ValueError, match="use one of"):
        pack(matrix, "signs")
    scaled = replace(matrix, scale=0.25)
    assert pack(scaled).unpack().scale == 0.25
    with pytest.raises(ValueError, match="use one of bits2, base3, mask\\+signs, gaps\\+signs"):
        pack(hntk.WeightMatrix(matrix.values, 1.0, "ternary"), "hadamard")
