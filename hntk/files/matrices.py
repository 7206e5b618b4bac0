"""What all files hold: packed matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from hntk._utils.memory import available_memory, gigabytes
from hntk.files.reader import FieldReader
from hntk.weights.encodings import ENCODINGS, PackedMatrix, check_bytes, pack
from hntk.weights.laws import WeightMatrix

# of a matrix while it is unpacked: NumPy's, and JAX's
COPIES = 2


def describe_matrices(weights: Sequence[WeightMatrix], encoding: str | None) -> tuple[dict, list[dict]]:
    """Return arrays, and a table for each layer.

    Every matrix is unpacked again, one at a time, so that bytes that would give another one are never written.

    Raises
    ------
    ValueError
        If a matrix does not hold what its kind says, or the encoding does not suit it.
    """
    arrays, layers = {}, []
    for number, matrix in enumerate(weights, 1):
        try:
            packed = pack(matrix, encoding)
        except ValueError as error:
            raise ValueError(f"the weights of layer {number} cannot be packed: {error}") from error
        again = np.asarray(packed.unpack().values)
        if not np.array_equal(again, np.asarray(matrix.values, again.dtype)):
            raise ValueError(f"the weights of layer {number} do not come back from {packed.encoding!r}: use another.")
        arrays[f"layer{number}.weights"] = packed.values
        if packed.positions is not None:
            arrays[f"layer{number}.positions"] = packed.positions
        layers.append(
            {"encoding": packed.encoding, "kind": packed.kind, "shape": list(packed.shape), "scale": packed.scale}
        )
    return arrays, layers


def matrices_of(layers: list[FieldReader], known: Sequence[WeightMatrix] | None = None) -> list[WeightMatrix]:
    """Return the matrices of all layers; sizes are checked against each other and the bytes there are first.

    Parameters
    ----------
    layers : a table for each.
    known : the matrices that were packed, where they are at hand: then nothing is unpacked.
    """
    shapes = [layer.shape("shape") for layer in layers]
    if any(before[0] != after[1] for before, after in zip(shapes[:-1], shapes[1:], strict=True)):
        raise ValueError(f"layers of shapes {shapes} do not follow each other")
    packed = [
        _packed(layer, number, shape) for number, (layer, shape) in enumerate(zip(layers, shapes, strict=True), 1)
    ]
    for matrix in packed:
        check_bytes(matrix)
    if known is not None:
        return list(known)
    _check_room(packed)
    return [matrix.unpack() for matrix in packed]


def _check_room(packed: list[PackedMatrix]) -> None:
    """Refuse matrices that do not fit into memory: of zeros alone, a byte is 255 weights."""
    needed = sum(COPIES * prod(p.shape) * (4 if p.kind == "float32" else 1) for p in packed)
    free = available_memory()
    if free is not None and needed > free:
        raise ValueError(f"its weights unpack to {gigabytes(needed)}, and {gigabytes(free)} of memory are free")


def _packed(layer: FieldReader, number: int, shape: tuple[int, int]) -> PackedMatrix:
    kind: Any = layer.text("kind", ENCODINGS)
    encoding = layer.text("encoding", ENCODINGS[kind])
    positions = layer.array(f"layer{number}.positions", np.uint8, None) if "+" in encoding else None
    values = layer.array(f"layer{number}.weights", np.uint8, None)
    return PackedMatrix(encoding, kind, shape, layer.number("scale", positive=True), values, positions)
