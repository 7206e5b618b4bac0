"""Products of ternary matrices with values of few levels in JAX, computed on bit planes.

A word holds 32 weights of a row, whose products take one AND, one XOR and one population count. The words at one
position of all rows lie side by side, so that these operations run on as many rows at a time as a vector register
holds; a product is a scan over positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int32, UInt32

from hntk._utils.pytree import array_dataclass
from hntk.weights.bit_planes import Code, row_constants, word_planes
from hntk.weights.weight_matrix import Weights

WORD_BITS = 32
# up to this many samples a sum is kept for each plane, which takes fewer operations and more memory
FEW_SAMPLES = 4


@array_dataclass(static=("thermometer",))
class TracedCode:
    """A :class:`hntk.weights.bit_planes.Code` whose numbers are arrays.

    One compiled product serves all such codes with equally many planes, but takes about 1.5 times as long as one whose
    numbers the compiler knows.
    """

    base: Float[Array, ""]
    jumps: Int32[Array, " planes"]
    thermometer: bool


@array_dataclass(static=("known_code",))
class BitMatrix:
    """A ternary or ±1 matrix as bit planes, for products with values of one code.

    Attributes
    ----------
    mask, signs : (words, d) array
        The planes of the weights that are not 0, and of those that are +1.
    start : (d,) array
        The part of the sums that does not depend on the values' planes, bias included.
    traced_code, known_code : TracedCode or None, Code or None
        The code; exactly one of them is not None.
    """

    mask: UInt32[Array, "words d"]
    signs: UInt32[Array, "words d"]
    start: Int32[Array, " d"]
    traced_code: TracedCode | None
    known_code: Code | None

    @classmethod
    def of(cls, matrix: Weights, code: Code, bias: np.ndarray | None = None) -> BitMatrix:
        """Return the bit planes of a matrix, for values of a code."""
        # with a type, arrays are not copied by a program that is compiled for every shape
        mask, signs = (jnp.asarray(np.ascontiguousarray(plane.T), plane.dtype) for plane in word_planes(matrix))
        start = row_constants(matrix, code) + (0 if bias is None else bias)
        return cls(mask, signs, jnp.asarray(np.asarray(start, np.int32), jnp.int32), None, code)

    @property
    def code(self) -> Code | TracedCode:
        """The values' code."""
        code = self.known_code if self.traced_code is None else self.traced_code
        assert code is not None
        return code

    def traced(self) -> BitMatrix:
        """Return this matrix with the code's numbers as arrays."""
        code = self.code
        numbers = jnp.asarray(code.base, jnp.float32), jnp.asarray(np.asarray(code.jumps, np.int32), jnp.int32)
        return replace(self, traced_code=TracedCode(*numbers, code.thermometer), known_code=None)


@jax.jit
def bit_product(matrix: BitMatrix, h: Float[Array, "n p"]) -> Int32[Array, "n d"]:
    """Return the sums Σ_j W_ij v_j + bias_i of whole values v that the matrix's code can represent."""
    jumps, shape = matrix.code.jumps, (h.shape[0], matrix.mask.shape[1])
    planes = len(jumps)
    if planes == 0:
        return jnp.broadcast_to(matrix.start, shape)

    def counts(mask: Array, signs: Array, values: Array) -> Array:
        return jax.lax.population_count(mask & (signs ^ values[..., None])).astype(jnp.int32)

    def add_each_plane(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        return sums + counts(*words), None

    def add_all_planes(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        mask, signs, values = words
        return sums + weighted([counts(mask, signs, values[t]) for t in range(planes)]), None

    def weighted(counted: Sequence[Array] | Array) -> Array:
        return sum((jumps[t] * counted[t] for t in range(planes)), jnp.int32(0))

    few, words = h.shape[0] <= FEW_SAMPLES, (matrix.mask, matrix.signs, _value_planes(h, matrix))
    zeros = jnp.zeros((planes, *shape) if few else shape, jnp.int32)
    sums, _ = jax.lax.scan(add_each_plane if few else add_all_planes, zeros, words)
    return matrix.start - (weighted(sums) if few else sums)


def _value_planes(h: Float[Array, "n p"], matrix: BitMatrix) -> UInt32[Array, "words planes n"]:
    """Return the planes of values, the words at one position side by side."""
    words, code = matrix.mask.shape[0], matrix.code
    count = len(code.jumps)
    if code.thermometer:
        levels = code.base + jnp.cumsum(jnp.asarray(code.jumps)).astype(jnp.float32)
        planes = jnp.stack([h >= levels[t] for t in range(count)])
    else:
        # rounded, because a compiler may divide by multiplying with a rounded reciprocal
        rank = jnp.rint((h - code.base) / code.jumps[0]).astype(jnp.int32)
        planes = jnp.stack([(rank >> t) & 1 for t in range(count)])
    padded = jnp.pad(planes.astype(jnp.uint32), ((0, 0), (0, 0), (0, words * WORD_BITS - h.shape[1])))
    places = jnp.arange(WORD_BITS, dtype=jnp.uint32)
    packed = jnp.sum(padded.reshape(count, h.shape[0], words, WORD_BITS) << places, axis=-1, dtype=jnp.uint32)
    return packed.transpose(2, 0, 1)
