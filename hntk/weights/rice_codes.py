r"""Ternary weights as Golomb–Rice codes of the gaps between those that are not 0.

Before each weight that is not 0 stand g zeros. With a parameter k of the matrix, g is stored as $\lfloor g/2^k \rfloor$
bits 0, a bit 1 and the lowest k bits of g, and after them comes one bit of sign, 1 where the weight is −1. A last code
stands for the zeros behind the last weight, as if another weight followed. For weights that are 0 independently with
probability ε, a code has

$$k + 2 + \frac{\epsilon^{2^k}}{1 - \epsilon^{2^k}}$$

bits in the mean (S. W. Golomb, Run-length encodings, 1966; R. F. Rice, Some practical universal noiseless coding
techniques, 1979); the best k keeps the whole within 2.2 % of the entropy for ε from .5 to .97.

The first byte of a coded matrix is k, the other bytes are the codes, the highest bit of each byte first.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int8, UInt8

# A byte then stands for at most 8 · 2⁵ weights.
LARGEST_PARAMETER = 5
# Bits 1 whose successors are looked up at a time.
BLOCK = 2**16


def encode_rice(values: Int8[np.ndarray, " n"]) -> UInt8[np.ndarray, " bytes"]:
    """Return k and the codes of ternary weights, with the k that takes the fewest bits."""
    places = np.flatnonzero(values)
    gaps = np.diff(places, prepend=-1, append=values.size) - 1
    negative = np.append(values[places] < 0, False)
    k = min(range(LARGEST_PARAMETER + 1), key=lambda k: int((gaps >> k).sum()) + gaps.size * k)
    ends = np.cumsum((gaps >> k) + k + 2)
    bits = np.zeros(int(ends[-1]), np.uint8)
    bits[ends - 1] = negative
    for t in range(k):
        bits[ends - 2 - t] = (gaps >> t) & 1
    bits[ends - 2 - k] = 1
    return np.concatenate([np.array([k], np.uint8), np.packbits(bits)])


def check_rice(stored: UInt8[np.ndarray, " bytes"], count: int) -> None:
    """Check that bytes can be codes of ``count`` weights, before memory for these is allocated.

    Raises
    ------
    ValueError
        If k is not from 0 to 5, or there are too few bytes for so many weights.
    """
    if stored.size < 2 or stored[0] > LARGEST_PARAMETER:
        raise ValueError(
            f"Golomb–Rice codes begin with a parameter from 0 to {LARGEST_PARAMETER}, and are not empty: the file is "
            "damaged."
        )
    most = (8 * (stored.size - 1)) << int(stored[0])
    if count > most:
        raise ValueError(f"{stored.size} bytes of Golomb–Rice codes are too few for {count:,} weights.")


def decode_rice(stored: UInt8[np.ndarray, " bytes"], count: int) -> Int8[np.ndarray, " count"]:
    """Return ``count`` ternary weights from their bytes.

    Raises
    ------
    ValueError
        If the codes do not make exactly so many weights.
    """
    check_rice(stored, count)
    k, bits = int(stored[0]), np.unpackbits(stored[1:])
    marks = _marks(np.flatnonzero(bits), k + 2)
    ends = marks + k + 2
    if not marks.size or not bits.size - 8 < ends[-1] <= bits.size:
        raise ValueError("Golomb–Rice codes do not end with their last byte: the file is damaged.")
    gaps = (marks - np.append(0, ends[:-1])) << k
    for t in range(k):
        gaps += bits[ends - 2 - t].astype(np.int64) << t
    places = np.cumsum(gaps + 1) - 1
    if places[-1] != count or bits[ends[-1] - 1]:
        raise ValueError(f"Golomb–Rice codes are not those of {count:,} weights: the file is damaged.")
    values = np.zeros(count, np.int8)
    values[places[:-1]] = 1 - 2 * bits[ends[:-1] - 1].astype(np.int8)
    return values


def expected_rice_bits(zeros: float) -> float:
    """Return the expected bits a weight with the best k, if a share ``zeros`` of the weights is 0 at random places."""
    return min(_expected_bits(zeros, k) for k in range(LARGEST_PARAMETER + 1))


def _expected_bits(zeros: float, k: int) -> float:
    longer = zeros ** (2**k)
    # the limit for no weight that is not 0 is a bit for each 2ᵏ zeros
    return 2.0**-k if longer == 1.0 else (1.0 - zeros) * (k + 2 + longer / (1.0 - longer))


def _marks(ones: np.ndarray, length: int) -> np.ndarray:
    """Return the places of those bits 1 that are marks of codes: the first one, and each first one behind a code.

    Parameters
    ----------
    ones : (m,) array
        Places of all bits 1, ascending.
    length : int
        Bits of a code from its mark on.
    """
    found, at = [], 0
    while at < ones.size:
        stop = min(at + BLOCK, ones.size)
        following = np.searchsorted(ones, ones[at:stop] + length).tolist()
        first = at
        while at < stop:
            found.append(at)
            at = following[at - first]
    return ones[np.asarray(found, np.int64)]
