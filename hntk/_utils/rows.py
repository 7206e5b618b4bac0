"""Check samples as rows, and read them in blocks, so that float64 arithmetic needs no float64 copy of x."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int, Real

from hntk._utils.arrays import check_memory_map, real_array
from hntk._utils.devices import accelerated
from hntk._utils.float64 import float64

# Bytes of a block of rows in float64.
BLOCK = 2**25
# most rows that a product with few columns takes at a time
NARROW_ROWS = 128
# multiplications up to which OpenBLAS multiplies narrow matrices without packing them, in about half the time
NARROW = 10**6


def narrow_blocks(shape: tuple[int, int], columns: int) -> Iterator[slice]:
    """Yield rows of a matrix of some shape that stay in a core's cache while a product takes them with few columns.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the matrix.
    columns : int
        Columns of what it is multiplied by.

    Yields
    ------
    slice
        The rows.
    """
    few = NARROW // max(shape[1] * columns, 1)
    # of many columns no rows are few enough
    step = NARROW_ROWS if few < NARROW_ROWS // 8 else min(few, NARROW_ROWS)
    yield from (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def row_blocks(x: Real[np.ndarray, "n p"], columns: int | None = None) -> Iterator[slice]:
    """Yield slices of rows that take about `BLOCK` bytes in float64, with so many columns (x's own by default).

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


def each_block(
    x: Any, function: Callable[..., Any], *arrays: np.ndarray, columns: int | None = None
) -> Iterator[tuple[slice, Any]]:
    """Yield some rows at a time, and what a function gives for them and for the same rows of further arrays.

    Samples that have a method ``each``, such as those that the machines of a cluster share, have it called there.
    """
    if hasattr(x, "each"):
        yield from x.each(function, *arrays, columns=columns)
        return
    for rows in row_blocks(x, columns):
        yield rows, function(x[rows], *(array[rows] for array in arrays))


def as_rows(x: object, name: str = "x") -> Real[np.ndarray, "n p"]:
    """Return a finite (n, p) array in memory or a memory map, in the type it has.

    Raises
    ------
    ValueError
        If it has another number of dimensions, is empty, or holds values that are no numbers, not finite, or so large
        that their squares overflow.
    """
    if hasattr(x, "each"):
        return x  # type: ignore[return-value]  # checked when it was made
    array = np.asanyarray(real_array(x, name))
    check_shape(array, name)
    check_rows(array, name, np.float64 if array.dtype.kind in "biu" else np.result_type(array.dtype, np.float32))
    return array


def check_shape(array: Any, name: str) -> None:
    """Refuse an array that is not (n, p) with n and p at least 1.

    Raises
    ------
    ValueError
        If it is not; the message gives the remedy for one sample and for images.
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
    """Refuse rows that are not finite, or whose squared norms overflow in the precision of the computation.

    Raises
    ------
    ValueError
        If there are such rows; the message says how many.
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
    """Return the mean of every class 0 … K − 1."""
    sums = np.zeros((int(index.max()) + 1, x.shape[1]))
    for a, block in class_blocks(x, index):
        sums[a] += block.sum(axis=0)
    return sums / np.bincount(index)[:, None]


def class_scatters(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]
) -> Float[np.ndarray, "K p p"]:
    """Return Σ (x_i − m_a)(x_i − m_a)ᵀ over every class a."""
    scatters = np.zeros((len(means), x.shape[1], x.shape[1]))
    for _, products in each_block(x, partial(_class_products, means=means), index):
        for a, product in products:
            scatters[a] += product
    return scatters


def _class_products(
    x: Real[np.ndarray, "rows p"], index: Int[np.ndarray, " rows"], means: Float[np.ndarray, "K p"]
) -> Iterator[tuple[int, Float[np.ndarray, "p p"]]]:
    for a in np.unique(index):
        block = x[index == a].astype(np.float64)
        block -= means[a]
        yield int(a), block.T @ block


def class_blocks(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"]
) -> Iterator[tuple[int, Float[np.ndarray, "rows p"]]]:
    """Yield every class with blocks of its rows in float64; the caller may write to a block."""
    for part in row_blocks(x):
        own = index[part]
        for a in np.unique(own):
            yield int(a), x[part][own == a].astype(np.float64)


def as_samples(x: object, name: str = "x", dtype: Any = None) -> Float[Array, "n p"]:
    """Return a finite (n, p) array of samples as rows, on JAX's device.

    Parameters
    ----------
    x : array of shape (n, p)
        Numbers in any form.
    name : str
        Name of the argument, for messages.
    dtype : dtype, optional
        Precision of the computation that they are for; by default their own, float32 at least.

    Returns
    -------
    Array of shape (n, p)
        The samples.

    Raises
    ------
    ValueError
        If it has another number of dimensions, is empty, or holds values that are no numbers, not finite, or so large
        that their squares overflow.
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
    if isinstance(given, jax.Array) and dtype is None and accelerated() and _are_sound(given, computed):
        return given
    # NumPy checks: on a CPU it gets a view, and nothing is compiled for every shape.
    check_rows(np.asarray(given), name, computed)
    # jnp.asarray would compile a copy for every shape
    return given if isinstance(given, jax.Array) else jax.device_put(np.array(given, dtype=own))


@partial(jax.jit, static_argnums=1)
def _are_sound(x: Float[Array, "n p"], dtype: np.dtype) -> Array:
    """Return whether all squared norms are finite in a precision, without moving samples away from their device."""
    rows = x.astype(dtype)
    return jnp.all(jnp.isfinite(jnp.sum(rows * rows, axis=1)))


@jax.jit
def _sum_of_squares(x: Float[Array, "n p"]) -> Array:
    """Return the sum of squares in float64, without moving samples away from their device."""
    return jnp.sum(jnp.square(x.astype(jnp.float64)))


@jax.jit
def take_rows(x: Float[Array, "n p"], index: Int[Array | np.ndarray, " m"]) -> Float[Array, "m p"]:
    """Return some samples, by one compiled program."""
    return x[index]


def rms_norm(x: Float[Array | np.ndarray, "n p"]) -> float:
    """Return τ_0 of a data set: the root mean square norm of its rows.

    Raises
    ------
    ValueError
        If all rows are zero, or so small that their squares are.
    """
    if isinstance(x, jax.Array) and accelerated():
        with float64():
            square = float(_sum_of_squares(x))
    else:
        array = np.asarray(x)
        check_memory_map(array)
        square = float(np.einsum("ij,ij->", array, array, dtype=np.float64))
    tau0 = float(np.sqrt(square / len(x)))
    if tau0**2 >= np.finfo(np.float64).tiny:
        return tau0
    array = np.asarray(x)
    if np.any(array):
        raise ValueError(
            f"the largest value of x is {np.max(np.abs(array)):.3g}, whose square underflows: rescale x, for instance "
            "to x / np.abs(x).max()."
        )
    raise ValueError("all rows of x are zero: nothing can be scaled by their norm.")
