"""Samples as rows, read some at a time: so that arithmetic in float64 never needs a copy of x in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, Real

# bytes of a block of rows in float64
BLOCK = 2**25


def row_blocks(x: Real[np.ndarray, "n p"], columns: int | None = None) -> Iterator[slice]:
    """Slices of so many rows that they take `BLOCK` bytes in float64, with so many columns (x's own by default)."""
    step = max(1, BLOCK // (8 * (x.shape[1] if columns is None else columns)))
    n = x.shape[0]
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def as_rows(x: object, name: str = "x") -> Real[np.ndarray, "n p"]:
    """A finite (n, p) array in this process's memory or a memory map, kept in the type it has.

    Raises
    ------
    ValueError
        For another number of dimensions, an empty array, or values that are not finite or not numbers.
    """
    array = x if isinstance(x, np.ndarray) else np.asarray(x)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must have shape (n, p), one sample per row and none empty; got shape {array.shape}.")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers, got dtype {array.dtype}.")
    if array.dtype.kind == "f":
        bad = sum(int(np.sum(~np.all(np.isfinite(array[b]), axis=1))) for b in row_blocks(array))
        if bad:
            raise ValueError(
                f"{name} has NaN or infinite values in {bad} of its {array.shape[0]} rows: clean or drop them."
            )
    return array


def class_means(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"]) -> Float[np.ndarray, "K p"]:
    """The mean of every class 0 … K − 1."""
    sums = np.zeros((int(index.max()) + 1, x.shape[1]))
    for a, block in class_blocks(x, index):
        sums[a] += block.sum(axis=0)
    return sums / np.bincount(index)[:, None]


def class_scatters(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]
) -> Float[np.ndarray, "K p p"]:
    """Σ (x_i − m_a)(x_i − m_a)ᵀ over every class a."""
    scatters = np.zeros((len(means), x.shape[1], x.shape[1]))
    for a, block in class_blocks(x, index):
        block -= means[a]
        scatters[a] += block.T @ block
    return scatters


def class_blocks(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"]
) -> Iterator[tuple[int, Float[np.ndarray, "rows p"]]]:
    """A class and some of its rows in float64, until all rows were there; every block is the caller's own."""
    for part in row_blocks(x):
        own = index[part]
        for a in np.unique(own):
            yield int(a), x[part][own == a].astype(np.float64)
