"""Weight matrices in files: packed, described by a table a layer, and unpacked again."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import numpy as np

from hntk._utils.memory import available_memory, gigabytes
from hntk.files.limits import LAYERS
from hntk.files.reader import FieldReader
from hntk.weights.encodings import ENCODINGS, HADAMARD, PackedMatrix, check_bytes, pack
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

# Copies of a matrix that exist while it is unpacked: one of NumPy and one of JAX.
COPIES = 2
# Bytes for each bit of orthogonal blocks while they are unpacked.
BIT_BYTES = 5
# What the outer matrix of a layer's residual branch is called, in its table and in the names of its arrays.
BRANCH = "branch"


def matrices_to_arrays(
    weights: Sequence[Weights], encoding: str | None
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Pack matrices, and return their arrays and one table of metadata a layer.

    Every matrix is unpacked again, one at a time, so that bytes that would give another matrix are never written.

    Raises
    ------
    ValueError
        If a matrix does not hold what its kind says, or the encoding does not suit it.
    """
    arrays, tables = {}, []
    for number, matrix in enumerate(weights, 1):
        more, table = matrix_to_arrays(matrix, encoding, f"layer{number}")
        arrays |= more
        tables.append(table)
    return arrays, tables


def matrix_to_arrays(matrix: Weights, encoding: str | None, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Pack one matrix, and return its arrays, whose names begin with ``name``, and its table of metadata.

    Raises
    ------
    ValueError
        As :func:`matrices_to_arrays`.
    """
    packed = _pack_checked(matrix, encoding, name)
    arrays = {f"{name}.weights": packed.values}
    if packed.positions is not None:
        arrays[f"{name}.positions"] = packed.positions
    table = {"encoding": packed.encoding, "kind": packed.kind, "shape": list(packed.shape), "scale": packed.scale}
    return arrays, table


def _pack_checked(matrix: Weights, encoding: str | None, name: str) -> PackedMatrix:
    """Pack one matrix, and check that it comes back."""
    place = name.replace("layer", "layer ").replace(BRANCH, f"{BRANCH} ")
    try:
        packed = pack(matrix, encoding)
    except ValueError as error:
        raise ValueError(f"the weights of {place} cannot be packed: {error}") from error
    unpacked = packed.unpack()
    if isinstance(unpacked, OrthogonalMatrix) and isinstance(matrix, OrthogonalMatrix):
        same = all(map(np.array_equal, jax.tree.leaves(unpacked), jax.tree.leaves(matrix)))
    else:
        values = np.asarray(unpacked.values)
        same = np.array_equal(values, np.asarray(matrix.values, values.dtype))
    if not same:
        raise ValueError(f"the weights of {place} do not come back from {packed.encoding!r}: use another.")
    return packed


def matrices_from_fields(
    layers: Sequence[FieldReader], packed_from: Sequence[Weights] | None = None, *, branches: bool = False
) -> tuple[Weights, ...]:
    """Unpack the matrices of all layers, after their sizes were checked against each other and against the bytes.

    Parameters
    ----------
    layers : sequence of FieldReader
        One table a layer.
    packed_from : sequence of WeightMatrix or OrthogonalMatrix, optional
        The matrices that were packed, when a file is checked before it is written; they are returned instead of
        unpacking the bytes.
    branches : bool
        Whether the outer matrices of residual branches, of the layers that have one, follow those of all layers.
    """
    shapes = [layer.shape("shape") for layer in layers]
    if any(before[0] != after[1] for before, after in zip(shapes[:-1], shapes[1:], strict=True)):
        raise ValueError(f"layers of shapes {shapes} do not follow each other")
    packed = [_read_packed(layer, f"layer{number}") for number, layer in enumerate(layers, 1)]
    for number, layer in enumerate(layers, 1):
        if branches and BRANCH in layer:
            outer, (width, _) = layer.subtable(BRANCH), layer.shape("shape")
            if outer.shape("shape") != (width, width):
                raise ValueError(f"the branch of layer {number}, of width {width:,}, has another shape")
            packed.append(_read_packed(outer, f"{BRANCH}{number}"))
    for matrix in packed:
        check_bytes(matrix)
    if packed_from is not None:
        return tuple(packed_from)
    _check_memory(packed)
    return tuple(matrix.unpack() for matrix in packed)


def check_layers(weights: Sequence[Weights], **others: Sequence[object]) -> None:
    """Refuse layers whose parts do not belong together.

    Parameters
    ----------
    weights : sequence of WeightMatrix or OrthogonalMatrix
        One matrix a layer.
    **others : sequence
        What else there must be one of for each layer.

    Raises
    ------
    ValueError
        If there are no or too many layers, not one of each a layer, or weights that are no weight matrices.
    """
    layers = len(weights)
    if not 0 < layers <= LAYERS:
        raise ValueError(f"it has {layers:,} layers, and a file has 1 to {LAYERS:,}: keep it in parts")
    counts = {"weights": layers, **{name: len(parts) for name, parts in others.items()}}
    if set(counts.values()) != {layers}:
        raise ValueError(f"it has {', '.join(f'{n} {name}' for name, n in counts.items())}: give one of each a layer")
    if not all(isinstance(matrix, Weights) for matrix in weights):
        raise ValueError("weights are no hntk.WeightMatrix: make them so, with their scale and kind")


def encodings_of(layers: Sequence[FieldReader]) -> list[str]:
    """Return the encoding of every layer's weights, and then of every branch's."""
    known = sorted({encoding for encodings in ENCODINGS.values() for encoding in encodings})
    tables = [*layers, *(layer.subtable(BRANCH) for layer in layers if BRANCH in layer)]
    return [table.text("encoding", known) for table in tables]


def _check_memory(packed: Sequence[PackedMatrix]) -> None:
    """Refuse matrices that do not fit into memory: a byte can stand for 255 weights that are zero."""
    needed = sum(COPIES * _unpacked_bytes(p) for p in packed)
    free = available_memory()
    if free is not None and needed > free:
        raise ValueError(f"its weights unpack to {gigabytes(needed)}, and {gigabytes(free)} of memory are free")


def _unpacked_bytes(packed: PackedMatrix) -> int:
    if packed.encoding == HADAMARD:
        # What is computed of a bit of the file takes some bytes for a while, and what is counted of an output eight.
        return BIT_BYTES * 8 * packed.nbytes + 8 * packed.shape[0]
    return prod(packed.shape) * (4 if packed.kind == "float32" else 1)


def _read_packed(table: FieldReader, name: str) -> PackedMatrix:
    kind: Any = table.text("kind", ENCODINGS)
    encoding = table.text("encoding", ENCODINGS[kind])
    positions = table.array(f"{name}.positions", np.uint8, None) if "+" in encoding else None
    values = table.array(f"{name}.weights", np.uint8, None)
    return PackedMatrix(encoding, kind, table.shape("shape"), table.number("scale", positive=True), values, positions)
