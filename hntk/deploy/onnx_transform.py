"""Products with orthogonal blocks in ONNX: a gather, signs, and small Hadamard matrices.

Signs, swaps and places are stored as bits, which standard operators unpack; runtimes do so once, when they load the
model. The Hadamard matrices are shared by all layers. Sums of whole numbers are exact in float32 where the explicit
product's are, because no sum on the way has more terms than a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from hntk.deploy.onnx_graph import Graph
from hntk.weights.hadamard import factors_of, transform_on_host
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.orthogonal_layout import folded_length

# Key of a model's metadata: the layouts of its transforms, by the number of the layer.
TRANSFORMS = "hntk.transforms"


def add_transform(
    graph: Graph, h: str, matrix: OrthogonalMatrix, dtype: DTypeLike = np.float32, zero_point: str = ""
) -> str:
    """Add the sums Σ_j W_ij h_j of the values W.

    Parameters
    ----------
    graph : Graph
        The graph.
    h : str
        Name of (n, inputs) numbers.
    matrix : OrthogonalMatrix
        The blocks.
    dtype : dtype
        Type of the numbers. Those of a byte move faster than those of float32.
    zero_point : str
        Name of the constant that stands for 0, of the same type: h_j is a number less this. Nothing if it is 0.

    Returns
    -------
    str
        Name of the (n, outputs) sums in float32.
    """
    columns = _add_columns(graph, matrix)
    moves = matrix.groups > 1 or columns is not None
    if moves:
        # A row for each input, which runtimes move as a whole. onnxruntime would move columns, an element at a time,
        # if no Reshape kept it from taking out both transpositions.
        h = graph.reshaped(graph.node("Transpose", [h], perm=[1, 0]), (matrix.shape[1], -1))
    padded = _padded(graph, h, matrix, zero_point, 0 if moves else 1)
    values = _Taken(padded, moves, columns, np.dtype(dtype), zero_point)
    parts = [_blocks(graph, values, matrix, blocks, rows) for blocks, rows in parts_of(matrix)]
    return graph.joined(parts[::-1])


def parts_of(matrix: OrthogonalMatrix) -> list[tuple[slice, tuple[int, ...]]]:
    """Return the blocks that are transformed together and the rows that each group of them gives, the last first."""
    full, last, whole = matrix.blocks - 1, matrix.last_rows, (matrix.length,) * matrix.groups
    if last == whole:
        return [(slice(None), whole)]
    return [(slice(full, None), last), *([(slice(full), whole)] if full else [])]


def hadamard_sizes(rows: tuple[int, ...]) -> list[int]:
    """Return the sizes of the Hadamard matrices that give so many rows of each group, in the order of products."""
    return factors_of(folded_length(rows[0]))[::-1]


def layout_of(matrix: OrthogonalMatrix) -> list[int | bool]:
    """Return what a reader of a transform's bits has to know: its shape, groups, and whether inputs are ordered."""
    return [*matrix.shape, matrix.groups, not np.array_equal(_columns(matrix), np.arange(matrix.size))]


class _Taken(NamedTuple):
    """What all blocks take their values from.

    Attributes
    ----------
    name : str
        Values as (inputs, n) if they move, else as (n, inputs).
    moves : bool
        Whether blocks take them in another order.
    columns : str or None
        The order that all blocks have in common, see :func:`_add_columns`.
    dtype : dtype
        Type of the values.
    zero_point : str
        Name of what stands for 0, if it is not 0.
    """

    name: str
    moves: bool
    columns: str | None
    dtype: np.dtype
    zero_point: str


def _padded(graph: Graph, h: str, matrix: OrthogonalMatrix, zero_point: str, axis: int) -> str:
    """Add zeros at the places that no input has; of stored places all take one."""
    missing = matrix.size - matrix.shape[1]
    if not missing:
        return h
    count = missing if matrix.places is None else 1
    pads = graph.shared(f"pads{axis}_{count}", np.array([0, 0, count * (1 - axis), count * axis]))
    return graph.node("Pad", [h, pads, *([zero_point] if zero_point else [])])


def _blocks(graph: Graph, h: _Taken, matrix: OrthogonalMatrix, blocks: slice, rows: tuple[int, ...]) -> str:
    """Add the sums of some blocks, of which every group gives so many of its first rows."""
    groups, length = matrix.groups, matrix.length
    taken = taken_columns(matrix)[blocks]
    count = len(taken)
    placed = _add_placed(graph, h, matrix, count, blocks)
    signs = np.pad(np.asarray(matrix.signs)[blocks], ((0, 0), (0, max(1, matrix.size - matrix.shape[1]))))
    moved = np.take_along_axis(signs, taken.reshape(count, -1), axis=1)
    values = graph.node("Mul", [placed, graph.signs(moved < 0, (count, groups, length))])
    short = folded_length(rows[0])
    if short < length:
        folded = graph.reshaped(values, (-1, count, groups, length // short, short))
        values = graph.node("ReduceSum", [folded, graph.shared("folded_axis", np.array([3]))], keepdims=0)
    return _first_rows(graph, _transformed(graph, values, short), (count, groups, short), rows)


def _add_placed(graph: Graph, h: _Taken, matrix: OrthogonalMatrix, count: int, blocks: slice) -> str:
    """Add the values that so many blocks take, as (n, blocks, groups, length) in float32; or one block for all."""
    groups, length, name = matrix.groups, matrix.length, h.name
    # without groups all blocks take the same
    count = count if groups > 1 else 1
    if h.moves:
        gathered = graph.node("Gather", [name, _add_taken(graph, matrix, h.columns, blocks)], axis=0)
        name = graph.node("Transpose", [graph.reshaped(gathered, (count * groups * length, -1))], perm=[1, 0])
    name = graph.reshaped(name, (-1, count, groups, length))
    name = name if h.dtype == np.float32 else graph.cast(name, np.float32)
    return graph.node("Sub", [name, graph.cast(h.zero_point, np.float32)]) if h.zero_point else name


def _columns(matrix: OrthogonalMatrix) -> np.ndarray:
    """Return the column at each place before the swaps; the one behind the last input where no input is put."""
    if matrix.places is None:
        return np.arange(matrix.size)
    columns = np.full(matrix.size, matrix.shape[1])
    columns[matrix.input_places] = np.arange(matrix.shape[1])
    return columns


def _add_columns(graph: Graph, matrix: OrthogonalMatrix) -> str | None:
    """Add :func:`_columns` in int32; None if each column is at its own place."""
    columns = _columns(matrix)
    if np.array_equal(columns, np.arange(matrix.size)):
        return None
    width = int(columns.max()).bit_length()
    powers = graph.shared(f"powers{width}", (1 << np.arange(width)).astype(np.int32))
    return graph.node("MatMul", [graph.bits(columns, width), powers])


def taken_columns(matrix: OrthogonalMatrix) -> np.ndarray:
    """Return the column that each (block, group, place) takes behind the swaps."""
    return _columns(matrix)[matrix.taken_groups * matrix.length + np.arange(matrix.length)]


def _add_taken(graph: Graph, matrix: OrthogonalMatrix, columns: str | None, blocks: slice) -> str:
    """Add :func:`taken_columns` of some blocks, or of all at once if they are the same."""
    groups, length, swaps = matrix.groups, matrix.length, np.asarray(matrix.swaps)[blocks]
    if groups == 1:
        assert columns is not None
        return graph.reshaped(columns, (1, 1, length))
    ends = [graph.shared(f"int{n}", np.int32(n)) for n in (0, matrix.size, 1)]
    place = graph.reshaped(graph.node("Range", ends), (1, groups, length))
    bits = np.arange(groups.bit_length() - 1)
    # Bit k of group a ⊕ s is a_k + s_k (1 − 2 a_k), so that a product of matrices adds what a swap moves by.
    steps = (1 - 2 * ((np.arange(groups) >> bits[:, None]) & 1)) * (length << bits[:, None])
    moves = graph.shared(f"moves{groups}_{length}", steps.astype(np.int32))
    moved = graph.node("MatMul", [graph.bits(swaps.ravel(), len(bits)), moves])
    by_group = graph.node("Transpose", [graph.reshaped(moved, (len(swaps), length, groups))], perm=[0, 2, 1])
    place = graph.node("Add", [by_group, place])
    return place if columns is None else graph.node("Gather", [columns, place])


def _transformed(graph: Graph, values: str, length: int) -> str:
    """Add Walsh–Hadamard transforms of a length as products with small matrices; see ``hadamard_transform``."""
    *outer, last = factors_of(length)
    y = graph.node("MatMul", [graph.reshaped(values, (-1, last)), _hadamard(graph, last)])
    done = last
    for factor in reversed(outer):
        y = graph.node("MatMul", [_hadamard(graph, factor), graph.reshaped(y, (-1, factor, done))])
        done *= factor
    return y


def _hadamard(graph: Graph, size: int) -> str:
    negative = transform_on_host(np.eye(size, dtype=np.int8)) < 0
    return graph.signs(negative, (size, size), f"hadamard{size}")


def _first_rows(graph: Graph, sums: str, shape: tuple[int, int, int], rows: tuple[int, ...]) -> str:
    """Keep so many first rows of each group, as (n, all that is kept); the counts are equal or fall by 1 once."""
    count, groups, length = shape
    if rows == (length,) * groups:
        return graph.reshaped(sums, (-1, count * groups * length))
    sums, parts = graph.reshaped(sums, (-1, *shape)), []
    for most in sorted(set(rows) - {0}, reverse=True):
        first, these = rows.index(most), rows.count(most)
        bounds = [("begin", (first, 0)), ("end", (first + these, most))]
        kept = [graph.shared(f"{name}{a}_{b}", np.array([a, b])) for name, (a, b) in bounds]
        part = graph.node("Slice", [sums, *kept, graph.shared("group_axes", np.array([2, 3]))])
        parts.append(graph.reshaped(part, (-1, count * these * most)))
    return graph.joined(parts)
