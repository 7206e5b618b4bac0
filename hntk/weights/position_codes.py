"""The places of weights that are not 0 as bytes: the left part of an encoding in :mod:`hntk.weights.encodings`."""

from __future__ import annotations

import numpy as np

# a byte of a gap that stands for so many zeros without a weight behind them
ESCAPE = 255
# number of bits that are 1 in each byte
BIT_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def encode_positions(position_code: str, used: np.ndarray) -> np.ndarray:
    """Return the bytes that say where the weights are that are not 0, given as a vector of booleans."""
    if position_code == "gaps":
        return _gaps(np.flatnonzero(used), used.size)
    return np.packbits(used, bitorder="little")


def decode_positions(position_code: str, positions: np.ndarray, count: int) -> np.ndarray:
    """Return an index of the stored weights: a mask, or their places."""
    if position_code == "mask":
        return np.unpackbits(positions, count=count, bitorder="little").view(bool)
    ends = np.cumsum(positions.astype(np.int64) + (positions != ESCAPE))
    return ends[positions != ESCAPE] - 1


def check_positions(position_code: str, positions: np.ndarray, count: int) -> None:
    """Check that positions fill a matrix of ``count`` weights.

    Raises
    ------
    ValueError
        If they are too few or too many.
    """
    if position_code == "mask":
        if positions.size != -(-count // 8):
            raise ValueError(f"a mask of {count} weights takes {-(-count // 8)} bytes, not {positions.size}.")
        return
    end = int(positions.sum(dtype=np.int64)) + int(np.count_nonzero(positions != ESCAPE))
    if not end <= count < end + ESCAPE:
        raise ValueError(f"gaps end at {end:,}, and do not fill a matrix of {count:,}: the file is damaged.")


def stored_values(position_code: str, positions: np.ndarray, count: int) -> int:
    """Return how many of ``count`` weights have a position."""
    if position_code == "gaps":
        return int(np.count_nonzero(positions != ESCAPE))
    # bits beyond the last weight do not count
    beyond = int(BIT_COUNTS[positions[-1] >> (count % 8)]) if count % 8 and positions.size else 0
    return int(BIT_COUNTS[positions].sum(dtype=np.int64)) - beyond


def _gaps(places: np.ndarray, count: int) -> np.ndarray:
    """Return the number of zeros before each place as bytes, 255 standing for 255 zeros without a weight behind."""
    gaps = np.diff(places, prepend=-1) - 1
    escapes, rest = np.divmod(gaps, ESCAPE)
    out = np.full(places.size + int(escapes.sum()), ESCAPE, np.uint8)
    out[np.cumsum(escapes + 1) - 1] = rest
    after = count - (int(places[-1]) + 1 if places.size else 0)
    return np.concatenate([out, np.full(after // ESCAPE, ESCAPE, np.uint8)])
