"""Orthogonal ternary matrices as bytes.

The first byte holds the order of the inputs in its lowest two bits (0 none, 1 stored places, 2 generated) and log₂ g
above. Then come numbers of fixed widths, the lowest bit of each first, eight bits a byte: the place of each input in
log₂ m bits, or a, b, a, b of a generated order in as many; a bit a sign, 1 for −1, block after block; and log₂ g bits a
swap, block after block.
"""

from __future__ import annotations

from math import sqrt

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hntk.weights.orthogonal import MOST_GROUPS, ORDERS, GeneratedOrder, OrthogonalMatrix
from hntk.weights.orthogonal_layout import BlockLayout

ORDER_BITS = 2
MOST_GROUP_BITS = MOST_GROUPS.bit_length() - 1


def orthogonal_to_bytes(matrix: OrthogonalMatrix) -> UInt8[np.ndarray, " bytes"]:
    """Return the bytes of a matrix.

    Raises
    ------
    ValueError
        If its parts do not belong together.
    """
    matrix.check()
    group_bits, place_bits = matrix.groups.bit_length() - 1, matrix.size.bit_length() - 1
    parts = [to_bits(np.asarray(matrix.signs).ravel() < 0, 1), to_bits(np.asarray(matrix.swaps).ravel(), group_bits)]
    if matrix.generator is not None:
        parts.insert(0, to_bits(np.array(matrix.generator.numbers), place_bits))
    elif matrix.places is not None:
        parts.insert(0, to_bits(np.asarray(matrix.places), place_bits))
    head = ORDERS.index(matrix.order) | group_bits << ORDER_BITS
    return np.concatenate([np.array([head], np.uint8), np.packbits(np.concatenate(parts), bitorder="little")])


def orthogonal_from_bytes(stored: UInt8[np.ndarray, " bytes"], shape: tuple[int, int]) -> OrthogonalMatrix:
    """Return the matrix of a shape, with the scale √g, from its bytes.

    Raises
    ------
    ValueError
        If the bytes do not make a matrix of this shape.
    """
    groups, order = check_orthogonal_bytes(stored, shape)
    (outputs, inputs), layout = shape, BlockLayout(shape, groups)
    blocks, size = layout.blocks, layout.size
    place_bits, group_bits = size.bit_length() - 1, groups.bit_length() - 1
    bits = np.unpackbits(stored[1:], bitorder="little")
    places, generator = None, None
    if order == "generated":
        numbers, bits = _from_bits(bits, 4, place_bits)
        a, b, c, d = numbers.tolist() if place_bits else (1, 0, 1, 0)
        generator = GeneratedOrder((a, c), (b, d))
        places = generator.places(inputs, size)
    elif order == "random":
        places, bits = _from_bits(bits, inputs, place_bits)
    signs, bits = _from_bits(bits, blocks * inputs, 1)
    swaps, _ = _from_bits(bits, blocks * (size // groups), group_bits)
    matrix = OrthogonalMatrix(
        # converted by NumPy, which compiles nothing
        jnp.asarray(1 - 2 * signs.reshape(blocks, inputs).astype(np.int8), jnp.int8),
        jnp.asarray(swaps.reshape(blocks, -1).astype(np.uint8), jnp.uint8),
        None if places is None else jnp.asarray(places.astype(np.int32), jnp.int32),
        (outputs, inputs),
        groups,
        sqrt(groups),
        generator,
    )
    matrix.check()
    return matrix


def check_orthogonal_bytes(stored: UInt8[np.ndarray, " bytes"], shape: tuple[int, int]) -> tuple[int, str]:
    """Return the number of groups and the order, after checking that there are as many bytes as the shape takes.

    Raises
    ------
    ValueError
        If the first byte is not as described, or there are more or fewer bytes.
    """
    if not stored.size:
        raise ValueError("orthogonal weights have no bytes: the file is damaged.")
    head = int(stored[0])
    order, group_bits = head & (2**ORDER_BITS - 1), head >> ORDER_BITS
    if order >= len(ORDERS) or group_bits > MOST_GROUP_BITS:
        raise ValueError(f"orthogonal weights begin with a byte {head}, which means nothing: the file is damaged.")
    groups = 2**group_bits
    needed = 1 + -(-BlockLayout(shape, groups).stored_bits(ORDERS[order]) // 8)
    if stored.size != needed:
        raise ValueError(
            f"orthogonal weights of shape {shape} in {groups} groups take {needed} bytes, not {stored.size}: the file "
            "is damaged."
        )
    return groups, ORDERS[order]


def to_bits(numbers: np.ndarray, width: int) -> UInt8[np.ndarray, " bits"]:
    """Return the bits of whole numbers of a width, one number after the other and the lowest bit first."""
    return ((numbers.astype(np.int64)[:, None] >> np.arange(width)) & 1).astype(np.uint8).ravel()


def _from_bits(bits: np.ndarray, count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of a width in bits, and the bits that are left."""
    numbers = np.zeros(count, np.uint8 if width <= 8 else np.int64)
    for bit in range(width):
        numbers |= bits[bit : count * width : width].astype(numbers.dtype) << bit
    return numbers, bits[count * width :]
