r"""Products of ternary matrices and few-level values in JAX, on their bit planes.

With the words of one position in all rows of a matrix side by side, a product is a scan over positions: 32 weights a
word, for which AND, XOR and a population count stand, on as many rows at a time as fit a vector register.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int32, UInt32

from hntk.planes import Code, row_constants, word_planes
from hntk.weights import WeightMatrix

WORD = 32
# samples up to which one sum a plane is kept: fewer operations on more memory
FEW = 4


class BitMatrix(NamedTuple):
    """A ternary or ±1 matrix, ready for values of one code.

    Attributes
    ----------
    mask, signs : words of a position side by side, (words, d).
    start : what Σ_j W_ij v_j is where no count is taken off, bias included, (d,).
    """

    mask: UInt32[Array, "words d"]
    signs: UInt32[Array, "words d"]
    start: Int32[Array, " d"]

    @classmethod
    def of(cls, matrix: WeightMatrix, code: Code, bias: np.ndarray | None = None) -> BitMatrix:
        """From its values."""
        mask, signs = (jnp.asarray(np.ascontiguousarray(plane.T)) for plane in word_planes(matrix))
        start = row_constants(matrix, code) + (0 if bias is None else bias)
        return cls(mask, signs, jnp.asarray(start, jnp.int32))


@partial(jax.jit, static_argnames="code")
def bit_product(matrix: BitMatrix, h: Float[Array, "n p"], code: Code) -> Int32[Array, "n d"]:
    """Whole sums Σ_j W_ij v_j + bias_i of values that the code has."""
    if not code.jumps:
        return jnp.broadcast_to(matrix.start, (h.shape[0], matrix.start.shape[0]))
    bits = _bits(h, code, matrix.mask.shape[0])

    def counts(mask: Array, signs: Array, values: Array) -> Array:
        return jax.lax.population_count(mask & (signs ^ values[..., None])).astype(jnp.int32)

    def apart(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        return sums + counts(*words), None

    def together(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        mask, signs, values = words
        return sums + weighted([counts(mask, signs, plane) for plane in values]), None

    def weighted(planes: Iterable[Array]) -> Array:
        return sum((jump * plane for jump, plane in zip(code.jumps, planes, strict=True)), jnp.int32(0))

    few, words = h.shape[0] <= FEW, (matrix.mask, matrix.signs, bits)
    shape = (h.shape[0], matrix.mask.shape[1])
    start = jnp.zeros((len(code.jumps), *shape) if few else shape, jnp.int32)
    sums, _ = jax.lax.scan(apart if few else together, start, words)
    return matrix.start - (weighted(sums) if few else sums)


def _bits(h: Float[Array, "n p"], code: Code, words: int) -> UInt32[Array, "words planes n"]:
    """The planes of values, in words of one position side by side."""
    if code.thermometer:
        levels = code.base + np.cumsum(code.jumps)
        planes = jnp.stack([h >= level for level in levels])
    else:
        # whole multiples of the first jump
        rank = ((h - code.base) / code.jumps[0]).astype(jnp.int32)
        planes = jnp.stack([(rank >> t) & 1 for t in range(len(code.jumps))])
    padded = jnp.pad(planes.astype(jnp.uint32), ((0, 0), (0, 0), (0, words * WORD - h.shape[1])))
    places = jnp.arange(WORD, dtype=jnp.uint32)
    packed = jnp.sum(padded.reshape(*planes.shape[:2], words, WORD) << places, axis=-1, dtype=jnp.uint32)
    return packed.transpose(2, 0, 1)
