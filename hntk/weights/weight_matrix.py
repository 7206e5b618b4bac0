"""A weight matrix as the values that have to be stored and a scale, and what a network's layer can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.scaled_matrix import ScaledMatrix

Kind = Literal["float32", "int8", "ternary", "sign"]
# Weights of the rows that are worked on at a time.
ROW_BLOCK = 2**22


@array_dataclass(static=("scale", "kind"))
class WeightMatrix(ScaledMatrix):
    """A weight matrix ``scale * values``, kept as the values that have to be stored.

    Matrices are pytrees: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take them as arguments.

    Attributes
    ----------
    values : (outputs, inputs) array
        float32, or int8 for whole numbers.
    scale : float
        The factor that makes the variance 1.
    kind : {"float32", "int8", "ternary", "sign"}
        Which values there can be: any, whole numbers from −127 to 127, {0, ±1} or ±1.
    """

    values: Array
    scale: float = 1.0
    kind: Kind = "float32"

    def __repr__(self) -> str:
        return f"WeightMatrix({self.kind}, shape {tuple(jnp.shape(self.values))}, scale {self.scale:.6g})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (outputs, inputs)."""
        return self.values.shape

    @property
    def nonzero(self) -> int:
        """Number of weights that are not 0."""
        return int(np.count_nonzero(np.asarray(self.values)))

    @property
    def largest_row_sum(self) -> float:
        """Largest Σ_j |W_ij| of the values, without the scale; exact for whole numbers."""
        return max(float(np.abs(rows).sum(axis=1, dtype=np.float64).max()) for rows in self._row_blocks())

    def product_on_host(self, h: Float[np.ndarray, "n inputs"]) -> Float[np.ndarray, "n outputs"]:
        """Return the sums Σ_j W_ij h_j of the values in float32 with NumPy, without compiling anything."""
        return np.concatenate([h @ np.asarray(rows, np.float32).T for rows in self._row_blocks()], axis=1)

    def _row_blocks(self) -> Iterator[np.ndarray]:
        """Yield the values, some rows at a time."""
        values = np.asarray(self.values)
        step = max(1, ROW_BLOCK // values.shape[1])
        return (values[start : start + step] for start in range(0, len(values), step))


# What a network's layer can hold.
Weights = WeightMatrix | OrthogonalMatrix
