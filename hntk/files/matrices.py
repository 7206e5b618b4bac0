"""What all files hold: packed matrices and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from hntk.files.told import Told
from hntk.packing import ENCODINGS, PackedMatrix, pack
from hntk.weights import WeightMatrix


def describe_matrices(weights: tuple[WeightMatrix, ...], encoding: str | None) -> tuple[dict, list[dict]]:
    """Arrays, and a table for each layer."""
    arrays, layers = {}, []
    for number, matrix in enumerate(weights, 1):
        packed = pack(matrix, encoding)
        arrays[f"layer{number}.weights"] = packed.values
        if packed.positions is not None:
            arrays[f"layer{number}.positions"] = packed.positions
        layers.append(
            {"encoding": packed.encoding, "kind": packed.kind, "shape": list(packed.shape), "scale": packed.scale}
        )
    return arrays, layers


def matrices_of(layers: list[Told]) -> list[WeightMatrix]:
    """Of all layers; their sizes are checked against each other and the bytes there are before they are made."""
    shapes = [layer.shape("shape") for layer in layers]
    if any(before[0] != after[1] for before, after in zip(shapes[:-1], shapes[1:], strict=True)):
        raise ValueError(f"layers of shapes {shapes} do not follow each other")
    found = []
    for number, (layer, shape) in enumerate(zip(layers, shapes, strict=True), 1):
        kind: Any = layer.text("kind", ENCODINGS)
        encoding = layer.text("encoding", ENCODINGS[kind])
        positions = layer.array(f"layer{number}.positions", np.uint8, None) if "+" in encoding else None
        values = layer.array(f"layer{number}.weights", np.uint8, None)
        scale = layer.number("scale", positive=True)
        found.append(PackedMatrix(encoding, kind, shape, scale, values, positions).unpack())
    return found


def describe_classes(classes: np.ndarray) -> dict[str, Any]:
    """Labels and their type."""
    return {"classes": classes.tolist(), "classes_type": classes.dtype.str}


def classes_of(part: Told) -> np.ndarray:
    """Labels, all different."""
    given = part.told["classes"]
    if not isinstance(given, list) or not given or not all(isinstance(v, int | float | str) for v in given):
        raise TypeError(f"classes must be a list of labels, not {given!r:.60}")
    made = np.array(given, dtype=part.text("classes_type"))
    if made.dtype.kind not in "biufU" or len(set(made.tolist())) != len(given):
        raise ValueError(f"classes must be different labels, not {given!r:.60}")
    return made
