"""The values of weights as bytes: the right part of an encoding in :mod:`hntk.weights.encodings`."""

from __future__ import annotations

import numpy as np

# bits of a value
VALUE_BITS = {"float32": 32.0, "int8": 8.0, "bits2": 2.0, "base3": 1.6, "signs": 1.0}
BYTES = np.arange(256, dtype=np.uint8)
POWERS = 3 ** np.arange(5, dtype=np.uint8)
# the four or five values that each byte stands for
FROM_TWO_BITS = np.array([0, 1, 0, -1], np.int8)[(BYTES[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3]
FROM_TRITS = ((BYTES[:, None] // POWERS) % 3).astype(np.int8) - np.int8(1)


def encode_values(value_code: str, values: np.ndarray) -> np.ndarray:
    """Return the bytes of values."""
    if value_code == "float32":
        return np.ascontiguousarray(values, dtype="<f4").view(np.uint8)
    if value_code == "int8":
        return values.astype(np.int8).view(np.uint8)
    if value_code == "signs":
        return np.packbits(values < 0, bitorder="little")
    if value_code == "bits2":
        codes = _padded((values & 3).astype(np.uint8), 4).reshape(-1, 4)
        return np.bitwise_or.reduce(codes << np.array([0, 2, 4, 6], np.uint8), axis=1)
    trits = _padded((values + 1).astype(np.uint8), 5).reshape(-1, 5)
    return (trits * POWERS).sum(axis=1, dtype=np.uint8)


def decode_values(value_code: str, stored: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` values from their bytes.

    Raises
    ------
    ValueError
        If bytes stand for no value.
    """
    if value_code == "float32":
        values = stored.view("<f4").astype(np.float32, copy=False)
        if not np.all(np.isfinite(values)):
            raise ValueError("weights are not all finite: the file is damaged.")
        return values
    if value_code == "int8":
        if np.any(stored == 128):
            raise ValueError("a weight stored in 8 bits is -128, beyond -127 to 127: the file is damaged.")
        return stored.view(np.int8)
    if value_code == "signs":
        return 1 - 2 * np.unpackbits(stored, count=count, bitorder="little").view(np.int8)
    if value_code == "bits2":
        if np.any((stored >> 1) & ~stored & 0b01_01_01_01):
            raise ValueError("a weight stored in two bits is neither 0, +1 nor −1: the file is damaged.")
        return np.take(FROM_TWO_BITS, stored, axis=0).ravel()[:count]
    if stored.size and stored.max() >= 3**5:
        raise ValueError("a byte of five trits is 243 or more: the file is damaged.")
    return np.take(FROM_TRITS, stored, axis=0).ravel()[:count]


def _padded(values: np.ndarray, group: int) -> np.ndarray:
    return np.pad(values, (0, -values.size % group))
