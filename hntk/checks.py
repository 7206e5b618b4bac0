"""Checks of what users hand in; every message says what to do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def as_samples(x: object, name: str = "x") -> Float[Array, "n p"]:
    """A finite (n, p) array, samples as rows.

    Raises
    ------
    ValueError
        For another number of dimensions, an empty array, or values that are not finite or not numbers.
    """
    try:
        array = x if isinstance(x, jax.Array) else jnp.asarray(np.asarray(x))
    except TypeError as error:
        raise ValueError(f"{name} must be an (n, p) array of numbers: {error}.") from error
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must have shape (n, p), one sample per row and none empty; got shape {array.shape}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"{name} must be real numbers, got dtype {array.dtype}.")
        array = array.astype(float)
    bad = int(jnp.sum(~jnp.all(jnp.isfinite(array), axis=1)))
    if bad:
        raise ValueError(
            f"{name} has NaN or infinite values in {bad} of its {array.shape[0]} rows: clean or drop them."
        )
    return array


def check_columns(v: Array | np.ndarray, n: int, name: str) -> None:
    """Refuse what an (n, n) matrix cannot be multiplied with.

    Raises
    ------
    ValueError
        If it is neither (n,) nor (n, m).
    """
    if v.ndim not in (1, 2) or v.shape[0] != n:
        raise ValueError(f"{name} must have shape ({n},) or ({n}, m), got {v.shape}.")


def norm_scale(x: Float[Array | np.ndarray, "n p"]) -> float:
    """τ_0 of a data set: the root mean square norm of its rows.

    Raises
    ------
    ValueError
        If all rows are zero.
    """
    array = np.asarray(x)
    tau0 = float(np.sqrt(np.einsum("ij,ij->", array, array, dtype=np.float64) / array.shape[0]))
    if tau0 == 0.0:
        raise ValueError("all rows of x are zero: nothing can be scaled by their norm.")
    return tau0
