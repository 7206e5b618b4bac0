r"""Tables of layers of orthogonal blocks, whose sums a C program computes by Walsh–Hadamard transforms.

A transform of length h works in place on numbers of 2 bytes where none of them can leave 16 bits, else of 4. Let v be
the largest magnitude of an input. After steps that add numbers up to stride t, each number is a signed sum of at most
$\min(n, t)$ inputs, where n is the largest number of inputs that a row takes. The last two steps are done in 32 bits
and not stored, so that the largest stored number is $\min(n, h/4)\,v$. Rows that are left out do not change that: where
numbers are added up because only the first rows are wanted, as many inputs are in them as after as many steps.
"""

from __future__ import annotations

from math import prod

import numpy as np

from hntk.deploy.c_arrays import Struct, Table, reference, smallest_unsigned_type
from hntk.weights.orthogonal import OrthogonalMatrix, generator_shift
from hntk.weights.orthogonal_layout import folded_length

# bits of a word of signs and swaps
WORD = 16
LARGEST_SHORT, LARGEST = 2**15 - 1, 2**31 - 1
NO_ORDER = Struct("order places", [], {"shift": 0})


def number_bytes(matrix: OrthogonalMatrix, most: int, bias: int = 0) -> int:
    """Return 2 or 4, the bytes of each number that is transformed.

    Parameters
    ----------
    matrix : OrthogonalMatrix
        The layer's weights.
    most : int
        Largest magnitude of an input.
    bias : int
        Largest magnitude that is added to a sum.

    Raises
    ------
    ValueError
        If a sum could leave 32 bits.
    """
    inputs = int(matrix.largest_row_sum)
    if inputs * most + bias > LARGEST:
        raise ValueError(f"sums could reach {inputs * most + bias:,}, which leaves 32 bits: use fewer level_bits.")
    return 2 if min(inputs, matrix.length // _last_parts(matrix)) * most <= LARGEST_SHORT else 4


def longest(matrix: OrthogonalMatrix) -> int:
    """Return how many numbers the longest transform has."""
    return matrix.length if matrix.blocks > 1 else _folded(matrix)


def transform_tables(
    number: int, matrix: OrthogonalMatrix, most: int, bias: int
) -> tuple[list[Table], dict[str, object]]:
    """Return the tables and the fields of layer ``number``, whose inputs are at most ``most``; see ``number_bytes``."""
    flips = Table(f"flips{number}", _words(_flips(matrix)))
    width = number_bytes(matrix, most, bias)
    fields: dict[str, object] = {
        "layout_of": "TRANSFORMS",
        "length": matrix.length,
        "groups": matrix.groups,
        "number_bytes": width,
    }
    fields["flips"], tables = flips.name, [flips]
    if matrix.groups > 1:
        swaps = np.asarray(matrix.swaps, np.int64)[:, None]
        planes = (swaps >> np.arange(matrix.groups.bit_length() - 1)[:, None]) & 1
        tables.append(Table(f"swaps{number}", _words(planes)))
        fields["swaps"] = tables[-1].name
    else:
        fields["swaps"] = flips.name
    return tables, fields


def input_order(matrix: OrthogonalMatrix) -> Struct:
    """Return where the first layer's inputs are put."""
    if matrix.generator is not None:
        a, b, c, d = matrix.generator.numbers
        shift = generator_shift(matrix.size)
        return Struct("order places", [], {"factors": f"{{{a}, {c}}}", "offsets": f"{{{b}, {d}}}", "shift": shift})
    if matrix.places is None:
        return NO_ORDER
    stored = Table("place_of", smallest_unsigned_type(np.asarray(matrix.places)))
    return Struct("order places", [stored], {"places": reference(stored)})


def at_places(matrix: OrthogonalMatrix, values: np.ndarray) -> np.ndarray:
    """Return values of inputs at their places, and 0 at places that no input has."""
    placed = np.zeros((*values.shape[:-1], matrix.size), values.dtype)
    placed[..., matrix.input_places] = values
    return placed


def _flips(matrix: OrthogonalMatrix) -> np.ndarray:
    """Return (blocks, groups, h) bits: whether what each group takes at each place of a block changes its sign."""
    negative = at_places(matrix, (np.asarray(matrix.signs) < 0).astype(np.int64))
    groups = negative.reshape(matrix.blocks, matrix.groups, matrix.length)
    return np.take_along_axis(groups, matrix.taken_groups, axis=1)


def _words(bits: np.ndarray) -> np.ndarray:
    """Return rows of bits as words of 16: of k words, word i % k has bit i of a row as its bit i // k."""
    length = bits.shape[-1]
    count = -(-length // WORD)
    rows = np.zeros((prod(bits.shape[:-1]), WORD * count), np.int64)
    rows[:, :length] = bits.reshape(-1, length)
    powers = np.left_shift(1, np.arange(WORD))[:, None]
    return (rows.reshape(-1, WORD, count) * powers).sum(axis=1).astype(np.uint16).ravel()


def _folded(matrix: OrthogonalMatrix) -> int:
    """Return the length of the last block's transforms."""
    return folded_length(matrix.last_rows[0])


def _last_parts(matrix: OrthogonalMatrix) -> int:
    """Return how many numbers the last steps, which are not stored, add up at least."""
    return min(4, _folded(matrix))
