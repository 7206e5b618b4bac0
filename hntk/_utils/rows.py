"""Samples as rows, read some at a time: so that arithmetic in float64 never needs a copy of x in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int, Real

from hntk._utils.arrays import check_memory_map, real_array

# bytes of a block of rows in float64
BLOCK = 2**25


def row_blocks(x: Real[np.ndarray, "n p"], columns: int | None = None) -> Iterator[slice]:
    """Slices of so many rows that they take `BLOCK` bytes in float64, with so many columns (x's own by default).

    Raises
    ------
    ValueError
        If x is a memory map whose file has become shorter, before a block of it is read.
    """
    step = max(1, BLOCK // (8 * (x.shape[1] if columns is None else columns)))
    n = x.shape[0]
    for start in range(0, n, step):
        check_memory_map(x)
        yield slice(start, min(start + step, n))


def as_rows(x: object, name: str = "x") -> Real[np.ndarray, "n p"]:
    """A finite (n, p) array in this process's memory or a memory map, kept in the type it has.

    Raises
    ------
    ValueError
        For another number of dimensions, an empty array, or values that are not finite, not numbers, or so large that
        their squares overflow.
    """
    array = np.asanyarray(real_array(x, name))
    check_shape(array, name)
    check_rows(array, name, np.float64 if array.dtype.kind in "biu" else np.result_type(array.dtype, np.float32))
    return array


def check_shape(array: Any, name: str) -> None:
    """Refuse what is not (n, p) with n and p at least 1.

    Raises
    ------
    ValueError
        With what to do about one sample, or about images.
    """
    shape = tuple(array.shape)
    if len(shape) == 2 and 0 not in shape:
        return
    hint = {1: f" For one sample give {name}[None, :].", 3: f" For images give {name}.reshape(len({name}), -1)."}
    raise ValueError(
        f"{name} must have shape (n, p), one sample per row and none empty; got shape {shape}."
        + hint.get(len(shape), "")
    )


def check_rows(array: Real[np.ndarray, "n p"], name: str, dtype: np.dtype | type) -> None:
    """Refuse rows that are not finite, or whose norms² overflow in the precision they are computed with in.

    Raises
    ------
    ValueError
        With how many there are, and what to do.
    """
    bad = [part.start + np.flatnonzero(~np.isfinite(_squares(array[part], dtype))) for part in row_blocks(array)]
    rows = np.concatenate(bad)
    if not rows.size:
        return
    refused = np.asarray(array[rows])
    infinite = int(np.sum(~np.all(np.isfinite(refused), axis=1)))
    n = array.shape[0]
    if infinite:
        raise ValueError(f"{name} has NaN or infinite values in {infinite} of its {n} rows: clean or drop them.")
    largest = float(np.max(np.abs(refused.astype(np.float64))))
    raise ValueError(
        f"{name} has values as large as {largest:.3g}, whose squares overflow in {np.dtype(dtype).name}, in "
        f"{rows.size} of its {n} rows: rescale it, for instance to {name} / np.abs({name}).max()."
    )


def _squares(block: Real[np.ndarray, "rows p"], dtype: np.dtype | type) -> Float[np.ndarray, " rows"]:
    with np.errstate(over="ignore", invalid="ignore"):
        exact = block.astype(dtype, copy=False)
        return np.einsum("ij,ij->i", exact, exact)


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


def as_samples(x: object, name: str = "x", dtype: Any = None) -> Float[Array, "n p"]:
    """A finite (n, p) array, samples as rows, on JAX's device.

    Parameters
    ----------
    x : numbers in any form.
    name : of the argument, for messages.
    dtype : in which they will be computed with; by default their own, float32 at least.

    Raises
    ------
    ValueError
        For another number of dimensions, an empty array, or values that are not finite, not numbers, or so large that
        their squares overflow.
    """
    given = real_array(x, name)
    check_shape(given, name)
    if isinstance(given, Tracer):
        return jnp.asarray(given)  # values are not known yet
    if isinstance(given, np.ndarray):
        check_memory_map(given)
    native = given.dtype if isinstance(given, jax.Array) else given.dtype.newbyteorder("=")
    own = jnp.result_type(float) if given.dtype.kind in "biu" else jax.dtypes.canonicalize_dtype(native)
    computed = np.dtype(jnp.result_type(own, jnp.float32) if dtype is None else dtype)
    # on a processor a view, and no compilation for every shape
    check_rows(np.asarray(given), name, computed)
    return jnp.asarray(given if isinstance(given, jax.Array) else np.asarray(given, dtype=own))


def rms_norm(x: Float[Array | np.ndarray, "n p"]) -> float:
    """τ_0 of a data set: the root mean square norm of its rows.

    Raises
    ------
    ValueError
        If all rows are zero, or so small that their squares are.
    """
    array = np.asarray(x)
    check_memory_map(array)
    tau0 = float(np.sqrt(np.einsum("ij,ij->", array, array, dtype=np.float64) / array.shape[0]))
    if tau0**2 >= np.finfo(np.float64).tiny:
        return tau0
    if np.any(array):
        raise ValueError(
            f"the largest value of x is {np.max(np.abs(array)):.3g}, whose square underflows: rescale x, for instance "
            "to x / np.abs(x).max()."
        )
    raise ValueError("all rows of x are zero: nothing can be scaled by their norm.")
