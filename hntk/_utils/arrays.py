"""Check arrays of numbers that users give in any form, and results that are computed from them."""

from __future__ import annotations

import mmap
import sys
from decimal import Decimal
from numbers import Real as RealNumber

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import Array
from jaxtyping import Float, Real

# Characters of a value that a message shows.
SHOWN = 80


def brief(value: object) -> str:
    """Return a short text of a value, for messages."""
    text = f"an array of shape {value.shape}" if isinstance(value, np.ndarray | Array) and value.ndim else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def real_array(given: object, name: str = "x") -> Real[Array | np.ndarray, ...]:
    """Return real numbers as an array, of the type they have where NumPy knows it.

    Arrays of JAX and memory maps are returned as they are; arrays of Python objects that are numbers become float64.

    Raises
    ------
    ValueError
        If it is a sparse matrix, or holds masked places, missing values, text, complex numbers or anything else that
        is no real number.
    """
    array = given if isinstance(given, jax.Array) else _numpy(given, name)
    # Arrays of JAX's random keys have no kind.
    if getattr(array.dtype, "kind", "") in tuple("biu"):
        return array
    if not jnp.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be real numbers, got dtype {array.dtype}.")
    if isinstance(array, np.ndarray) and (array.dtype.kind != "f" or array.dtype.itemsize > 8):
        # NumPy does no arithmetic in bfloat16, nor JAX in long double.
        with np.errstate(over="ignore"):
            return array.astype(np.float64 if array.dtype.kind == "f" else np.float32)
    return array


def finite_array(given: object, name: str) -> np.ndarray:
    """Return finite real numbers as float64, of any shape.

    Raises
    ------
    ValueError
        If it is no array of real numbers (see :func:`real_array`), or holds NaN or infinite values.
    """
    array = np.asarray(real_array(given, name), dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got NaN or infinite values among {brief(given)}.")
    return array


def point_array(given: object, name: str) -> np.ndarray:
    """Return real numbers, which may be infinite, as float64, of any shape.

    Raises
    ------
    ValueError
        If it is no array of real numbers (see :func:`real_array`), or holds NaN.
    """
    array = np.asarray(real_array(given, name), dtype=np.float64)
    if np.any(np.isnan(array)):
        raise ValueError(f"{name} must be numbers, got NaN among {brief(given)}.")
    return array


def is_sparse(given: object) -> bool:
    """Return whether an object is a sparse matrix of SciPy's, without loading what would make one."""
    return "scipy.sparse" in sys.modules and scipy.sparse.issparse(given)


def _numpy(given: object, name: str) -> np.ndarray:
    if is_sparse(given):
        raise ValueError(f"{name} is a sparse matrix: give {name}.toarray(), where that fits into memory.")
    if isinstance(given, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in given):
        given = _converted(np.ma.array, given, name)
    if isinstance(given, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(given))
        if masked:
            raise ValueError(f"{name} is masked in {masked} of {given.size} places: fill them, or drop those rows.")
        given = given.data
    array = given if isinstance(given, np.ndarray) else _converted(np.asarray, given, name)
    return _unbox(array, name) if array.dtype.kind == "O" else array


def _converted(convert, given: object, name: str) -> np.ndarray:
    try:
        return convert(given)
    except Exception as error:  # An object's own conversion may raise anything.
        raise ValueError(f"{name} must be an array of numbers: {error}.") from error


def _unbox(array: np.ndarray, name: str) -> np.ndarray:
    """Turn an array of Python objects that are real numbers into float64."""
    known = (RealNumber, Decimal, np.bool_)
    unknown = sorted({type(item).__name__ for item in array.flat if not isinstance(item, known)})
    if unknown:
        raise ValueError(
            f"{name} holds Python objects of the type {', '.join(unknown)}, which are no real numbers: fill or drop "
            f"missing values, turn text into numbers, or leave those columns out."
        )
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"{name} holds whole numbers beyond what float64 reaches: rescale them.") from error


def check_memory_map(array: np.ndarray) -> None:
    """Refuse a memory map whose file has become shorter than it: reading it would kill the process.

    Raises
    ------
    ValueError
        If bytes are missing; the message says how many are left.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and isinstance(getattr(base, "_mmap", None), mmap.mmap):
            _check_map(base)
            return
        base = base.base


def _check_map(array: np.memmap) -> None:
    mapped: mmap.mmap = array._mmap  # type: ignore[attr-defined]
    needed = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY + len(mapped)
    present = mapped.size()
    if present < needed:
        raise ValueError(
            f"the file behind the memory map, {array.filename}, has become shorter while it is used: {present:,} bytes "
            f"of {needed:,} are left. Write it anew, and open it again."
        )


def as_columns(v: object, n: int, name: str) -> Float[np.ndarray, "n ..."]:
    """Return finite numbers that an (n, n) matrix can be multiplied with, in float64.

    Raises
    ------
    ValueError
        If they are neither (n,) nor (n, m), or not finite.
    """
    array = finite_array(v, name)
    if array.ndim not in (1, 2) or array.shape[0] != n:
        raise ValueError(f"{name} must have shape ({n},) or ({n}, m), got {array.shape}.")
    return array


def check_result(values: Array | np.ndarray, what: str) -> None:
    """Refuse a result that overflowed; ``what`` names it at the beginning of the message.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    if not np.all(np.isfinite(np.asarray(values))):
        raise ValueError(
            f"{what} overflowed: numbers of the data or of the settings are out of scale. Bring x to norms about 1 "
            "(x / sqrt(mean of its squared norms)), and look for a setting that is far from 1."
        )
