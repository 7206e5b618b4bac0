"""What weight matrices have in common, however they are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@partial(jax.jit, static_argnames="dtype")
def _scaled(values: Array, scale: float, dtype: jnp.dtype) -> Array:
    return values.astype(dtype) * jnp.asarray(scale, dtype)


class _Scaled(Protocol):
    @property
    def values(self) -> Array: ...
    @property
    def scale(self) -> float: ...


class _Counted(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def nonzero(self) -> int: ...


Matrix = TypeVar("Matrix", bound=Any)


class ScaledMatrix:
    """A matrix ``scale * values``."""

    def dense(self: _Scaled, dtype: jnp.dtype = jnp.float32) -> Float[Array, "outputs inputs"]:
        """Return the matrix ``scale * values``, whose entries have variance 1.

        Parameters
        ----------
        dtype : dtype
            Type of the result.

        Returns
        -------
        (outputs, inputs) array
            The matrix.
        """
        return _scaled(self.values, self.scale, dtype)

    @property
    def unscaled(self: Matrix) -> Matrix:
        """The matrix with the scale 1."""
        return replace(self, scale=1.0)

    @property
    def zeros(self: _Counted) -> float:
        """Share of weights that are 0."""
        return 1 - self.nonzero / prod(self.shape)
