"""Checks of what users hand in; every message says what to do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int


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


def as_labels(labels: object, n: int, *, least: int = 2) -> tuple[np.ndarray, Int[np.ndarray, " n"]]:
    """The sorted classes, and each sample's index into them.

    Raises
    ------
    ValueError
        If there is not one label per sample, labels are not finite, or fewer than ``least`` classes occur.
    """
    given = np.asarray(labels)
    if given.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one per row of x; got shape {given.shape}.")
    if given.dtype.kind == "f" and not np.all(np.isfinite(given)):
        raise ValueError("labels contain NaN or infinite values: drop those samples.")
    classes, index = np.unique(given, return_inverse=True)
    if classes.size < least:
        raise ValueError(
            f"labels hold only one class ({classes.tolist()}): at least {least} are needed. "
            "Check how the data was subset or sorted before it was cut."
        )
    return classes, index


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
