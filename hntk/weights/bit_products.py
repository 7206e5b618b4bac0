r"""Products of ternary matrices and few-level values in JAX, on their bit planes.

With the words of one position in all rows of a matrix side by side, a product is a scan over positions: 32 weights a
word, for which AND, XOR and a population count stand, on as many rows at a time as fit a vector register.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int32, UInt32

from hntk.weights.bit_planes import Code, row_constants, word_planes
from hntk.weights.laws import WeightMatrix

WORD = 32
# samples up to which one sum a plane is kept: fewer operations on more memory
FEW = 4


@partial(jax.tree_util.register_dataclass, data_fields=["base", "jumps"], meta_fields=["thermometer"])
@dataclass(frozen=True)
class TracedCode:
    """A :class:`hntk.weights.bit_planes.Code` whose numbers are arrays: codes of as many planes share what is compiled.

    Products take about half as long again as with numbers that are known to the compiler.
    """

    base: Float[Array, ""]
    jumps: Int32[Array, " planes"]
    thermometer: bool


@partial(
    jax.tree_util.register_dataclass, data_fields=["mask", "signs", "start", "traced_code"], meta_fields=["known_code"]
)
@dataclass(frozen=True)
class BitMatrix:
    """A ternary or ±1 matrix, ready for values of one code.

    Attributes
    ----------
    mask, signs : words of a position side by side, (words, d).
    start : what Σ_j W_ij v_j is where no count is taken off, bias included, (d,).
    traced_code, known_code : the code; one of them is None.
    """

    mask: UInt32[Array, "words d"]
    signs: UInt32[Array, "words d"]
    start: Int32[Array, " d"]
    traced_code: TracedCode | None
    known_code: Code | None

    @classmethod
    def of(cls, matrix: WeightMatrix, code: Code, bias: np.ndarray | None = None) -> BitMatrix:
        """From its values."""
        mask, signs = (jnp.asarray(np.ascontiguousarray(plane.T)) for plane in word_planes(matrix))
        start = row_constants(matrix, code) + (0 if bias is None else bias)
        return cls(mask, signs, jnp.asarray(start, jnp.int32), None, code)

    @property
    def code(self) -> Code | TracedCode:
        """Whichever there is."""
        code = self.known_code if self.traced_code is None else self.traced_code
        assert code is not None
        return code

    def traced(self) -> BitMatrix:
        """Return the same matrix with the code's numbers as arrays."""
        code = self.code
        numbers = jnp.asarray(code.base, jnp.float32), jnp.asarray(code.jumps, jnp.int32)
        return replace(self, traced_code=TracedCode(*numbers, code.thermometer), known_code=None)


@jax.jit
def bit_product(matrix: BitMatrix, h: Float[Array, "n p"]) -> Int32[Array, "n d"]:
    """Whole sums Σ_j W_ij v_j + bias_i of values that the matrix's code has."""
    jumps, shape = matrix.code.jumps, (h.shape[0], matrix.mask.shape[1])
    planes = len(jumps)
    if planes == 0:
        return jnp.broadcast_to(matrix.start, shape)

    def counts(mask: Array, signs: Array, values: Array) -> Array:
        return jax.lax.population_count(mask & (signs ^ values[..., None])).astype(jnp.int32)

    def apart(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        return sums + counts(*words), None

    def together(sums: Array, words: tuple[Array, Array, Array]) -> tuple[Array, None]:
        mask, signs, values = words
        return sums + weighted([counts(mask, signs, values[t]) for t in range(planes)]), None

    def weighted(counted: Sequence[Array] | Array) -> Array:
        return sum((jumps[t] * counted[t] for t in range(planes)), jnp.int32(0))

    few, words = h.shape[0] <= FEW, (matrix.mask, matrix.signs, _bits(h, matrix))
    sums, _ = jax.lax.scan(apart if few else together, jnp.zeros((planes, *shape) if few else shape, jnp.int32), words)
    return matrix.start - (weighted(sums) if few else sums)


def _bits(h: Float[Array, "n p"], matrix: BitMatrix) -> UInt32[Array, "words planes n"]:
    """The planes of values, in words of one position side by side."""
    words, code = matrix.mask.shape[0], matrix.code
    count = len(code.jumps)
    if code.thermometer:
        levels = code.base + jnp.cumsum(jnp.asarray(code.jumps)).astype(jnp.float32)
        planes = jnp.stack([h >= levels[t] for t in range(count)])
    else:
        # whole multiples of the first jump, which a compiler may divide by through its rounded reciprocal
        rank = jnp.rint((h - code.base) / code.jumps[0]).astype(jnp.int32)
        planes = jnp.stack([(rank >> t) & 1 for t in range(count)])
    padded = jnp.pad(planes.astype(jnp.uint32), ((0, 0), (0, 0), (0, words * WORD - h.shape[1])))
    places = jnp.arange(WORD, dtype=jnp.uint32)
    packed = jnp.sum(padded.reshape(count, h.shape[0], words, WORD) << places, axis=-1, dtype=jnp.uint32)
    return packed.transpose(2, 0, 1)
