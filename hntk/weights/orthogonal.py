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
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jax import Array
from jaxtyping import Int, Int8, Num

from hntk._utils.pytree import array_dataclass
from hntk.weights.orthogonal_layout import BlockLayout, folded_length
from hntk.weights.orthogonal_products import block_product, block_product_on_host, explicit_values
from hntk.weights.scaled_matrix import ScaledMatrix


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

    def fits(self, size: int) -> bool:
        """Return whether all are whole numbers of a place's bits, and factors are odd, as permutations need."""
        whole = all(type(n) is int and 0 <= n < max(size, 2) for n in self.numbers)
        return whole and all(factor % 2 for factor in self.factors)

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


# Largest number of groups, whose numbers take a byte.
MOST_GROUPS = 256
# Whether raw inputs are put at random places, at places that are computed, or stay.
ORDERS = ("none", "random", "generated")


@array_dataclass(static=("shape", "groups", "scale", "generator"))
class OrthogonalMatrix(ScaledMatrix):
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
    def layout(self) -> BlockLayout:
        """Sizes of the blocks."""
        return BlockLayout(self.shape, self.groups)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.layout.blocks

    @property
    def size(self) -> int:
        """Rows m of a full block."""
        return self.layout.size

    @property
    def length(self) -> int:
        """Length m/g of a transform."""
        return self.layout.length

    @property
    def last_rows(self) -> tuple[int, ...]:
        """Rows that each group of the last block gives."""
        return self.layout.last_rows

    @property
    def values(self) -> Int8[Array, "outputs inputs"]:
        """The explicit values {0, ±1}, computed at each access: a byte a weight."""
        return explicit_values(self.layout, self.signs, self.swaps, self.places)

    @property
    def nonzero_counts(self) -> Int[np.ndarray, " outputs"]:
        """Number of weights of each row that are not 0."""
        rows = [(self.length,) * self.groups] * (self.blocks - 1) + [self.last_rows]
        return np.concatenate([np.repeat(c, r) for c, r in zip(self._inputs_of_groups(), rows, strict=True)])

    @property
    def nonzero(self) -> int:
        """Number of weights that are not 0."""
        counts = self._inputs_of_groups()
        return int(counts[:-1].sum()) * self.length + int(counts[-1] @ np.array(self.last_rows))

    @property
    def largest_row_sum(self) -> float:
        """Largest Σ_j |W_ij| of the values."""
        counts = self._inputs_of_groups()
        return float(max(counts[:-1].max(initial=0), counts[-1][np.array(self.last_rows) > 0].max()))

    @property
    def additions(self) -> tuple[int, ...]:
        """Additions of one product in each step of its transforms, whose sums are a bit longer than the step before."""
        steps = self.length.bit_length() - 1
        total = np.full(steps, (self.blocks - 1) * self.size, np.int64)
        kept, groups = folded_length(self.last_rows[0]), np.count_nonzero(self.last_rows)
        # A step of the last block that only adds halves its length; the others keep it.
        for step in range(steps):
            halving = self.length >> (step + 1)
            total[step] += groups * max(halving, kept)
        return tuple(int(t) for t in total)

    @property
    def order(self) -> str:
        """Where inputs are put: ``"none"``, ``"random"`` or ``"generated"`` places."""
        return "none" if self.places is None else "random" if self.generator is None else "generated"

    @property
    def stored_bits(self) -> int:
        """Bits of signs, swaps and places, or of the four numbers that generate places."""
        return self.layout.stored_bits(self.order)

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
        shape, groups = self.shape, self.groups
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
            yield f"have the shape {shape!r:.60}, which must be (outputs, inputs)"
        if type(groups) is not int or not 0 < groups <= MOST_GROUPS or groups & (groups - 1):
            yield f"have {groups!r:.20} groups, and not a power of two up to {MOST_GROUPS}"
        signs, swaps, inputs = np.asarray(self.signs), np.asarray(self.swaps), self.shape[1]
        if signs.shape != (self.blocks, inputs) or swaps.shape != (self.blocks, self.length):
            yield f"of shape {self.shape} have signs of shape {signs.shape} and swaps of {swaps.shape}"
        if signs.dtype != np.int8 or not np.all(np.abs(signs) == 1):
            yield "have signs that are not +1 or -1 in int8"
        if swaps.dtype.kind not in "iu" or swaps.min() < 0 or swaps.max() >= groups:
            yield f"have swaps that are no whole numbers below {groups}"
        yield from self._defects_of_places()

    def _defects_of_places(self) -> Iterator[str]:
        inputs = self.shape[1]
        if self.places is None:
            if self.generator is not None:
                yield "have a generator and no places"
            return
        if self.generator is not None and not self.generator.fits(self.size):
            yield f"have a generator of other numbers than two odd and two below {self.size}"
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
        return block_product(self.layout, self.signs, self.swaps, self.places, h)

    def product_on_host(self, h: Num[np.ndarray, "n inputs"]) -> Num[np.ndarray, "n outputs"]:
        """Compute the same with NumPy, without compiling anything."""
        places = None if self.places is None else np.asarray(self.places)
        return block_product_on_host(self.layout, np.asarray(self.signs), np.asarray(self.swaps), places, h)

    @property
    def input_places(self) -> Int[np.ndarray, " inputs"]:
        """The place of each input."""
        return np.arange(self.shape[1]) if self.places is None else np.asarray(self.places)

    @property
    def taken_groups(self) -> Int[np.ndarray, "blocks groups places"]:
        """The group whose input each group takes at each place, in each block."""
        return np.arange(self.groups)[:, None] ^ np.asarray(self.swaps, np.int64)[:, None]

    def _inputs_of_groups(self) -> Int[np.ndarray, "blocks groups"]:
        """Return how many inputs each group of each block takes."""
        place = self.input_places
        group = (place // self.length).astype(np.uint8) ^ np.asarray(self.swaps)[:, place % self.length]
        return np.stack([np.count_nonzero(group == a, axis=1) for a in range(self.groups)], axis=1)
