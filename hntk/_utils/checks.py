"""Checks of samples and of what is computed from them; every message says what to do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import check_backing, finite_array, real_array
from hntk._utils.rows import check_rows, check_shape


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
    if isinstance(given, np.ndarray):
        check_backing(given)
    native = given.dtype if isinstance(given, jax.Array) else given.dtype.newbyteorder("=")
    own = jnp.result_type(float) if given.dtype.kind in "biu" else jax.dtypes.canonicalize_dtype(native)
    computed = np.dtype(jnp.result_type(own, jnp.float32) if dtype is None else dtype)
    # on a processor a view, and no compilation for every shape
    check_rows(np.asarray(given), name, computed)
    return jnp.asarray(given if isinstance(given, jax.Array) else np.asarray(given, dtype=own))


def check_columns(v: Array | np.ndarray, n: int, name: str) -> None:
    """Refuse what an (n, n) matrix cannot be multiplied with.

    Raises
    ------
    ValueError
        If it is neither (n,) nor (n, m).
    """
    if v.ndim not in (1, 2) or v.shape[0] != n:
        raise ValueError(f"{name} must have shape ({n},) or ({n}, m), got {v.shape}.")


def as_columns(v: object, n: int, name: str) -> Float[np.ndarray, "n ..."]:
    """Finite numbers that an (n, n) matrix can be multiplied with, in float64.

    Raises
    ------
    ValueError
        If they are neither (n,) nor (n, m), or not finite.
    """
    array = finite_array(v, name)
    check_columns(array, n, name)
    return array


def check_result(values: Array | np.ndarray, what: str) -> None:
    """Refuse a result that overflowed.

    Raises
    ------
    ValueError
        With what to do.
    """
    if not np.all(np.isfinite(np.asarray(values))):
        raise ValueError(
            f"{what} overflowed: numbers of the data or of the settings are out of scale. Bring x to norms about 1 "
            "(x / sqrt(mean of its squared norms)), and look for a setting that is far from 1."
        )


def norm_scale(x: Float[Array | np.ndarray, "n p"]) -> float:
    """τ_0 of a data set: the root mean square norm of its rows.

    Raises
    ------
    ValueError
        If all rows are zero, or so small that their squares are.
    """
    array = np.asarray(x)
    check_backing(array)
    tau0 = float(np.sqrt(np.einsum("ij,ij->", array, array, dtype=np.float64) / array.shape[0]))
    if tau0**2 >= np.finfo(np.float64).tiny:
        return tau0
    if np.any(array):
        raise ValueError(
            f"the largest value of x is {np.max(np.abs(array)):.3g}, whose square underflows: rescale x, for instance "
            "to x / np.abs(x).max()."
        )
    raise ValueError("all rows of x are zero: nothing can be scaled by their norm.")
