"""Normalisation of the states of a batch over the width, sample by sample."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.theory.architecture import Normalize


def unit_rows(h: Float[Array, "n d"], kind: Normalize) -> Float[Array, "n d"]:
    r"""Return $n(h)/\sqrt{d}$: rows of norm 1, less their means before that if ``kind`` is ``"layer"``.

    A row without any size left stays 0.

    Parameters
    ----------
    h : (n, d) array
        States, one sample a row.
    kind : {"rms", "layer"}
        The normalisation.

    Returns
    -------
    (n, d) array
        Normalised rows.
    """
    moved = h - jnp.mean(h, axis=1, keepdims=True) if kind == "layer" else h
    # Numbers of size 1 have squares that float32 holds; the result does not depend on the size.
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(moved), axis=1, keepdims=True))
    scaled = moved / jnp.where(size > 0, size, 1.0)
    squares = jnp.sum(scaled * scaled, axis=1, keepdims=True)
    # at least 1, but for rows of zeros
    return scaled / jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def unit_columns_on_host(h: Float[np.ndarray, "d n"], kind: Normalize) -> Float[np.ndarray, "d n"]:
    """Return the same of samples in columns, with NumPy."""
    moved = h - np.mean(h, axis=0, keepdims=True) if kind == "layer" else h
    size = np.max(np.abs(moved), axis=0, keepdims=True)
    scaled = moved / np.where(size > 0, size, h.dtype.type(1))
    squares = np.sum(scaled * scaled, axis=0, keepdims=True)
    return scaled / np.sqrt(np.where(squares > 0, squares, h.dtype.type(1)))
