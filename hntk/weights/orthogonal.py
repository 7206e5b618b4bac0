r"""Orthogonal ternary matrices: blocks made of Hadamard matrices, kept as signs and permutations.

With m the power of two at or above the number of inputs, and $g = 1/(1-\varepsilon)$, a block is

$$(I_g \otimes H_{m/g})\, P\, D, \qquad P = S\,\Pi,$$

for random signs D and a permutation P. Its entries are {0, ±1}, a share ε of them is zero, and its m rows are
orthogonal. The rows of a matrix are those of as many blocks as it takes; of the last block, each of the g groups gives
equally many of its first rows. Where there are fewer inputs than m, the other columns are left out; the columns that
stay are still orthogonal, the rows only nearly.

The permutation has two parts. Π puts the inputs at places, the same in all blocks. S, drawn for each block, moves
inputs between the groups: group a takes at place j what stood at place j of group $a \oplus s_j$. S and D are enough
for inputs that are the outputs of a random layer. Raw data needs Π as well, because neighbouring coordinates are alike,
or the first ones hold most of the variance.

Multiplying by a block takes $m\log_2(m/g)$ additions. See Yu et al. 2016 (orthogonal random features), Le et al. 2013
(Fastfood) and Choromanski et al. 2017, whose blocks are dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Int8, Num

from hntk._utils.pytree import array_dataclass
from hntk.weights.hadamard import hadamard_entries, hadamard_transform, transform_on_host


@dataclass(frozen=True)
class GeneratedOrder:
    """Places that a few instructions compute: f₂(f₁(t)) for input t, with f(t) = u ⊕ (u >> s) and u = (a t + b) mod m.

    Attributes
    ----------
    factors : (int, int)
        The numbers a, which are odd, of both rounds.
    offsets : (int, int)
        The numbers b of both rounds.
    """

    factors: tuple[int, int]
    offsets: tuple[int, int]

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """The numbers a, b, a, b."""
        return self.factors[0], self.offsets[0], self.factors[1], self.offsets[1]

    def places(self, inputs: int, size: int) -> Int[np.ndarray, " inputs"]:
        """Return the place of each input among ``size``; s is half of a place's bits, rounded up."""
        t = np.arange(inputs, dtype=np.int64)
        for factor, offset in zip(self.factors, self.offsets, strict=True):
            t = (factor * t + offset) % size
            t ^= t >> generator_shift(size)
        return t


def generator_shift(size: int) -> int:
    """Return the number s of bits by which an order of ``size`` places shifts."""
    return max(1, size.bit_length() // 2)


# Whether raw inputs are put at random places, at places that are computed, or stay.
ORDERS = ("none", "random", "generated")


@array_dataclass(static=("shape", "groups", "scale", "generator"))
class OrthogonalMatrix:
    """A ternary matrix ``scale * values`` of orthogonal blocks, kept as signs and permutations.

    It serves wherever a :class:`hntk.WeightMatrix` does. Matrices are pytrees: ``jax.jit``, ``jax.vmap`` and
    ``jax.grad`` take them as arguments.

    Attributes
    ----------
    signs : (blocks, inputs) array of int8
        Diagonal of D in each block, by input.
    swaps : (blocks, m/g) array of uint8
        The numbers s_j in [0, g) of each block.
    places : (inputs,) array of int32 or None
        Place of each input in Π; the places in [0, m) that are left take zeros. None if input t stands at place t.
    shape : (int, int)
        Outputs and inputs.
    groups : int
        Number g of groups, a power of two.
    scale : float
        √g, which makes the variance of a full block's entries 1.
    generator : GeneratedOrder or None
        What computes ``places``; None if they are drawn at random and have to be stored.
    """

    signs: Int8[Array, "blocks inputs"]
    swaps: Int[Array, "blocks places"]
    places: Int[Array, " inputs"] | None
    shape: tuple[int, int]
    groups: int
    scale: float
    generator: GeneratedOrder | None = None

    kind: ClassVar[Literal["ternary"]] = "ternary"

    def __repr__(self) -> str:
        outputs, inputs = self.shape
        return f"OrthogonalMatrix(shape {(outputs, inputs)}, {self.blocks} block(s) of {self.size} x {self.size}, " + (
            f"{self.groups} groups, scale {self.scale:.6g})"
        )

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.shape[0] // self.size)

    @property
    def size(self) -> int:
        """Rows m of a full block."""
        return block_size(self.shape[1], self.groups)

    @property
    def length(self) -> int:
        """Length m/g of a transform."""
        return self.size // self.groups

    @property
    def unscaled(self) -> OrthogonalMatrix:
        """The matrix with the scale 1."""
        return replace(self, scale=1.0)

    @property
    def last_rows(self) -> tuple[int, ...]:
        """Rows that each group of the last block gives."""
        return rows_of_groups(self.shape[0] - (self.blocks - 1) * self.size, self.groups)

    @property
    def values(self) -> Int8[Array, "outputs inputs"]:
        """The explicit values {0, ±1}, computed at each access: a byte a weight."""
        return _values(self)

    def dense(self, dtype: jnp.dtype = jnp.float32) -> Float[Array, "outputs inputs"]:
        """Return the matrix ``scale * values``.

        Parameters
        ----------
        dtype : dtype
            Type of the result.

        Returns
        -------
        (outputs, inputs) array
            The matrix.
        """
        return self.values.astype(dtype) * jnp.asarray(self.scale, dtype)

    @property
    def nonzero_counts(self) -> Int[np.ndarray, " outputs"]:
        """Number of weights of each row that are not 0."""
        groups = self._groups_of_inputs()
        counts = np.stack([np.sum(groups == a, axis=1) for a in range(self.groups)], axis=1)
        rows = [(self.length,) * self.groups] * (self.blocks - 1) + [self.last_rows]
        return np.concatenate([np.repeat(c, r) for c, r in zip(counts, rows, strict=True)])

    @property
    def nonzero(self) -> int:
        """Number of weights that are not 0."""
        return int(self.nonzero_counts.sum())

    @property
    def largest_row_sum(self) -> float:
        """Largest Σ_j |W_ij| of the values."""
        return float(self.nonzero_counts.max())

    @property
    def additions(self) -> tuple[int, ...]:
        """Additions of one product in each step of its transforms, whose sums are a bit longer than the step before."""
        steps = self.length.bit_length() - 1
        total = np.full(steps, (self.blocks - 1) * self.size, np.int64)
        kept = _folded(self.last_rows[0])
        # A step of the last block that only adds halves its length; the others keep it.
        for step in range(steps):
            halving = self.length >> (step + 1)
            total[step] += self.groups * max(halving, kept)
        return tuple(int(t) for t in total)

    @property
    def order(self) -> str:
        """Where inputs are put: ``"none"``, ``"random"`` or ``"generated"`` places."""
        return "none" if self.places is None else "random" if self.generator is None else "generated"

    @property
    def stored_bits(self) -> int:
        """Bits of signs, swaps and places, or of the four numbers that generate places."""
        return stored_bits(self.shape, self.groups, self.order)

    def check(self) -> None:
        """Check that the parts make a matrix of this shape.

        Raises
        ------
        ValueError
            If they do not.
        """
        if self.defect:
            raise ValueError(f"orthogonal weights {self.defect}: draw them with hntk.weight_law('orthogonal').")

    @property
    def defect(self) -> str | None:
        """What is wrong with the parts, if anything."""
        return next(self._defects(), None)

    def _defects(self) -> Iterator[str]:
        """Yield what is wrong; each check relies on the ones before it."""
        groups, numbers = self.groups, (*self.shape, self.groups)
        if len(self.shape) != 2 or not all(type(n) is int and n > 0 for n in numbers) or groups & (groups - 1):
            yield f"have the shape {self.shape!r:.60} in {groups!r:.20} groups, which must be a power of two"
        signs, swaps, inputs = np.asarray(self.signs), np.asarray(self.swaps), self.shape[1]
        if signs.shape != (self.blocks, inputs) or swaps.shape != (self.blocks, self.length):
            yield f"of shape {self.shape} have signs of shape {signs.shape} and swaps of {swaps.shape}"
        if signs.dtype != np.int8 or not np.all(np.abs(signs) == 1):
            yield "have signs that are not +1 or -1 in int8"
        if swaps.dtype.kind not in "iu" or swaps.min() < 0 or swaps.max() >= groups:
            yield f"have swaps that are no whole numbers below {groups}"
        if self.places is None:
            return
        places = np.asarray(self.places)
        if places.shape != (inputs,) or places.dtype.kind not in "iu" or len(np.unique(places)) != inputs:
            yield f"do not have a place of its own for each of {inputs} inputs"
        if places.min() < 0 or places.max() >= self.size:
            yield f"have places beyond the {self.size} of a block"
        if self.generator is not None and not np.array_equal(self.generator.places(inputs, self.size), places):
            yield "have places that their generator does not give"

    def product(self, h: Num[Array, "n inputs"]) -> Num[Array, "n outputs"]:
        """Return the sums Σ_j W_ij h_j of the values W, without the scale.

        Parameters
        ----------
        h : (n, inputs) array
            Samples. Whole numbers whose sums pass their type overflow.

        Returns
        -------
        (n, outputs) array
            The sums, of the type of h.
        """
        return _product(self, h)

    def product_on_host(self, h: Num[np.ndarray, "n inputs"]) -> Num[np.ndarray, "n outputs"]:
        """Compute the same with NumPy, without compiling anything."""
        signs, swaps = np.asarray(self.signs), np.asarray(self.swaps)
        sums, placed = [], np.zeros((len(h), self.size), h.dtype)
        for block in range(self.blocks):
            placed[:, self.input_places] = h * signs[block].astype(h.dtype)
            taken = np.arange(self.groups)[:, None] ^ swaps[block].astype(np.int64)
            groups = np.take_along_axis(placed.reshape(len(h), self.groups, -1), taken[None], axis=1)
            rows = self.last_rows if block == self.blocks - 1 else (self.length,) * self.groups
            z = transform_on_host(groups)
            sums += [z[:, a, :count] for a, count in enumerate(rows)]
        return np.concatenate(sums, axis=1)

    @property
    def input_places(self) -> Int[np.ndarray, " inputs"]:
        """The place of each input."""
        return np.arange(self.shape[1]) if self.places is None else np.asarray(self.places)

    def _groups_of_inputs(self) -> Int[np.ndarray, "blocks inputs"]:
        """Return the group that takes each input, in each block."""
        place = self.input_places
        return (place // self.length) ^ np.asarray(self.swaps, np.int64)[:, place % self.length]


def block_size(inputs: int, groups: int) -> int:
    """Return the rows m of a full block: the power of two at or above the number of inputs, at least one a group."""
    return max(groups, 1 << (inputs - 1).bit_length())


def stored_bits(shape: tuple[int, int], groups: int, order: str) -> int:
    """Return the bits of a matrix: a sign an input and block, log₂ g bits a swap, and log₂ m bits a place."""
    outputs, inputs = shape
    size = block_size(inputs, groups)
    blocks, place_bits = -(-outputs // size), size.bit_length() - 1
    swap_bits = (size // groups) * (groups.bit_length() - 1)
    numbers = {"none": 0, "random": inputs, "generated": 4}[order]
    return blocks * (inputs + swap_bits) + numbers * place_bits


def rows_of_groups(rows: int, groups: int) -> tuple[int, ...]:
    """Return how many of its first rows each group gives, so that a block gives ``rows``."""
    return tuple((rows - a + groups - 1) // groups for a in range(groups))


def draw_orthogonal(key: Array, shape: tuple[int, int], groups: int, order: str, scale: float) -> OrthogonalMatrix:
    """Draw signs, swaps and an order: ``"random"``, ``"generated"`` or ``"none"``."""
    outputs, inputs = shape
    size = block_size(inputs, groups)
    blocks = -(-outputs // size)
    sign_key, swap_key, order_key = jax.random.split(key, 3)
    signs = jax.random.rademacher(sign_key, (blocks, inputs), dtype=jnp.int8)
    swaps = jax.random.randint(swap_key, (blocks, size // groups), 0, groups, jnp.int32)
    places, generator = None, None
    if order == "random":
        places = jax.random.permutation(order_key, size)[:inputs].astype(jnp.int32)
    if order == "generated":
        numbers = np.asarray(jax.random.randint(order_key, (4,), 0, size, jnp.int32)).tolist()
        generator = GeneratedOrder((numbers[0] | 1, numbers[1] | 1), (numbers[2], numbers[3]))
        places = jnp.asarray(generator.places(inputs, size), jnp.int32)
    return OrthogonalMatrix(signs, swaps.astype(jnp.uint8), places, (outputs, inputs), groups, scale, generator)


@jax.jit
def _values(matrix: OrthogonalMatrix) -> Array:
    inputs = matrix.shape[1]
    place = jnp.arange(inputs, dtype=jnp.int32) if matrix.places is None else matrix.places
    in_group = place % matrix.length
    group = (place // matrix.length) ^ matrix.swaps[:, in_group].astype(jnp.int32)
    block, row_group, row = (jnp.asarray(part) for part in _rows(matrix))
    entries = hadamard_entries(row[:, None], in_group) * matrix.signs[block]
    return jnp.where(group[block] == row_group[:, None], entries, 0).astype(jnp.int8)


def _rows(matrix: OrthogonalMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the block, the group and the row of its transform of every output."""
    full = (matrix.length,) * matrix.groups
    counts = full * (matrix.blocks - 1) + matrix.last_rows
    part = np.repeat(np.arange(len(counts)), counts)
    row = np.concatenate([np.arange(count) for count in counts])
    return part // matrix.groups, part % matrix.groups, row.astype(np.int32)


@jax.jit
def _product(matrix: OrthogonalMatrix, h: Array) -> Array:
    size, inputs = matrix.size, matrix.shape[1]
    pad = ((0, 0), (0, max(size - inputs, 1)))
    placed, signs = jnp.pad(h, pad), jnp.pad(matrix.signs, pad).astype(h.dtype)
    if matrix.places is None:
        placed, signs = placed[:, :size], signs[:, :size]
    else:
        # Places that no input has take the zero behind the last input.
        taken = jnp.full(size, inputs, jnp.int32).at[matrix.places].set(jnp.arange(inputs, dtype=jnp.int32))
        placed, signs = placed[:, taken], signs[:, taken]
    full, last = matrix.blocks - 1, matrix.last_rows
    if len(set(last)) == 1 and last[0] == matrix.length:
        return _blocks(matrix, placed, signs, matrix.swaps, last)
    parts = [_blocks(matrix, placed, signs[full:], matrix.swaps[full:], last)]
    if full:
        rows = (matrix.length,) * matrix.groups
        parts.insert(0, _blocks(matrix, placed, signs[:full], matrix.swaps[:full], rows))
    return jnp.concatenate(parts, axis=1)


def _blocks(matrix: OrthogonalMatrix, placed: Array, signs: Array, swaps: Array, rows: tuple[int, ...]) -> Array:
    """Return the products with some blocks, of which every group gives so many of its first rows."""
    n, count, groups = len(placed), len(signs), matrix.groups
    values = (placed[:, None] * signs).reshape(n, count, groups, matrix.length)
    for bit in range(groups.bit_length() - 1):
        pairs = values.reshape(n, count, groups >> (bit + 1), 2, 1 << bit, matrix.length)
        moved = ((swaps >> bit) & 1).astype(bool)[None, :, None, None, None]
        values = jnp.where(moved, pairs[:, :, :, ::-1], pairs).reshape(values.shape)
    # The first rows of a Hadamard matrix repeat: adding the repetitions leaves a shorter transform.
    length = _folded(rows[0])
    sums = hadamard_transform(values.reshape(n, count, groups, -1, length).sum(axis=3, dtype=values.dtype))
    if len(set(rows)) == 1:
        return sums[..., : rows[0]].reshape(n, count * prod((groups, rows[0])))
    return jnp.concatenate([sums[:, :, a, :size] for a, size in enumerate(rows)], axis=2).reshape(n, -1)


def _folded(rows: int) -> int:
    """Return the length of the transform that gives the first ``rows`` rows."""
    return 1 << (rows - 1).bit_length()
