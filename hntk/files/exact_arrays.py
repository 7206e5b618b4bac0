"""Arrays in the types that files have for them, converted without a change of value beyond rounding to float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Integer

from hntk.files.limits import shorten


def to_float32(values: object, name: str) -> Float32[np.ndarray, ...]:
    """Round values to float32.

    Raises
    ------
    ValueError
        If a value is not finite in float32.
    """
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, np.float32)
    overflowing = np.asarray(values)[~np.isfinite(rounded)]
    if overflowing.size:
        first = float(overflowing.ravel()[0])
        raise ValueError(f"{name} hold {first!r}, which is not finite in float32 (3.4e38 at most): rescale them.")
    return rounded


def to_integers_of(values: object, dtype: type, name: str) -> Integer[np.ndarray, ...]:
    """Convert whole numbers to an integer type that can hold all of them.

    Raises
    ------
    ValueError
        If a value is not a whole number, or outside the type's range.
    """
    array, limits = np.asarray(values), np.iinfo(dtype)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.all(array == np.rint(array))))
    if not whole or (array.size and not limits.min <= array.min() <= array.max() <= limits.max):
        raise ValueError(
            f"{name} must be whole numbers from {limits.min:,} to {limits.max:,}, got {array.dtype} such as "
            f"{shorten(array.ravel()[:3].tolist())}: make them with hntk.to_integers."
        )
    return array.astype(dtype)


def to_smallest(values: Integer[np.ndarray, ...], dtypes: Sequence[type]) -> Integer[np.ndarray, ...]:
    """Convert whole numbers to the first of some integer types that holds all of them; the last one must."""
    least, most = (int(end) for end in (values.min(), values.max()))
    holds = (np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max for dtype in dtypes)
    return values.astype(next(dtype for dtype, does in zip(dtypes, holds, strict=True) if does))
