"""Sizes of orthogonal ternary blocks: how many there are, and which rows they give."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockLayout:
    """Blocks of a matrix.

    Attributes
    ----------
    shape : (int, int)
        Outputs and inputs.
    groups : int
        Number g of groups, a power of two.
    """

    shape: tuple[int, int]
    groups: int

    @property
    def size(self) -> int:
        """Rows m of a full block."""
        return block_size(self.shape[1], self.groups)

    @property
    def length(self) -> int:
        """Length m/g of a transform."""
        return self.size // self.groups

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.shape[0] // self.size)

    @property
    def last_rows(self) -> tuple[int, ...]:
        """Rows that each group of the last block gives."""
        return rows_of_groups(self.shape[0] - (self.blocks - 1) * self.size, self.groups)

    def stored_bits(self, order: str) -> int:
        """Return the bits of a matrix: a sign an input and block, log₂ g bits a swap, and log₂ m bits a place."""
        inputs, place_bits = self.shape[1], self.size.bit_length() - 1
        swap_bits = self.length * (self.groups.bit_length() - 1)
        numbers = {"none": 0, "random": inputs, "generated": 4}[order]
        return self.blocks * (inputs + swap_bits) + numbers * place_bits


def block_size(inputs: int, groups: int) -> int:
    """Return the rows m of a full block: the power of two at or above the number of inputs, at least one a group."""
    return max(groups, 1 << (inputs - 1).bit_length())


def rows_of_groups(rows: int, groups: int) -> tuple[int, ...]:
    """Return how many of its first rows each group gives, so that a block gives ``rows``."""
    return tuple((rows - a + groups - 1) // groups for a in range(groups))


def folded_length(rows: int) -> int:
    """Return the length of the transform that gives the first ``rows`` rows."""
    return 1 << (rows - 1).bit_length()
