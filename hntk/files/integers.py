"""Networks and classifiers of whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from hntk.files.matrices import classes_of, describe_classes, describe_matrices, matrices_of
from hntk.files.origin import describe_origin, origin_of, statistics_of
from hntk.files.told import Told
from hntk.integers import EXACT, LIMIT, IntegerClassifier, IntegerNetwork, Pixels, Rounded, Steps


def describe_integers(what: IntegerNetwork | IntegerClassifier, encoding: str | None) -> tuple[dict, dict]:
    """Arrays and metadata."""
    network = what.network if isinstance(what, IntegerClassifier) else what
    arrays, layers = describe_matrices(network.weights, encoding)
    for number, (layer, steps, rounding) in enumerate(zip(layers, network.steps, network.rounding, strict=True), 1):
        layer["rounding"] = rounding
        arrays[f"layer{number}.thresholds"] = np.array(steps.thresholds, np.int32)
        arrays[f"layer{number}.levels"] = np.array(steps.levels, np.int16)
    metadata: dict[str, Any] = {"layers": layers, "unit": network.unit, **describe_origin(what)}
    if isinstance(network.inputs, Rounded):
        metadata["input"] = {"type": "rounded", "factor": network.inputs.factor, "most": network.inputs.most}
        arrays["input.centre"] = np.asarray(network.inputs.centre, np.float32)
    else:
        metadata["input"] = {"type": "pixels", "fine": network.inputs.fine}
    if network.bias is not None:
        arrays["input.bias"] = network.bias
    if isinstance(what, IntegerClassifier):
        metadata |= {**describe_classes(what.classes), "score_unit": what.unit}
        arrays |= {"readout.weights": what.readout, "readout.offset": what.offset}
    return arrays, metadata


def integers_of(part: Told) -> IntegerNetwork | IntegerClassifier:
    """What was described; what is small is checked before matrices are unpacked."""
    layers = part.parts("layers")
    steps = tuple(_steps(layer, f"layer{i}") for i, layer in enumerate(layers, 1))
    rounding = tuple(layer.number("rounding") for layer in layers)
    inputs = _inputs(part, layers[0].shape("shape")[1])
    first, last = layers[0].shape("shape")[0], layers[-1].shape("shape")[0]
    bias = part.array("input.bias", np.int32, first) if "input.bias" in part.arrays else None
    readout = _readout(part, last) if "classes" in part else None
    unit = part.number("unit", positive=True)
    origin, statistics = origin_of(part), statistics_of(part)
    network = IntegerNetwork(inputs, tuple(matrices_of(layers)), steps, bias, unit, rounding, origin=origin)
    if any(w.kind == "float32" for w in network.weights) or max(network.largest_sums) > EXACT:
        raise ValueError("weights of a network of whole numbers must be such, and their sums stay below 2**24")
    if readout is None:
        return network
    classifier = IntegerClassifier(network, *readout, statistics=statistics)
    if classifier.largest_score > LIMIT:
        raise ValueError("scores could leave 32 bits")
    return classifier


def _inputs(part: Told, size: int) -> Pixels | Rounded:
    told = part.part("input")
    if told.text("type", ("pixels", "rounded")) == "pixels":
        fine = told.number("fine", positive=True)
        if fine not in (1, 2, 4, 8, 16):
            raise ValueError(f"fine must be a power of 2 of at most 16, not {fine}")
        return Pixels(int(fine))
    most = told.number("most", positive=True)
    if most not in range(1, 2**15):
        raise ValueError(f"most must be a whole number below 2**15, not {most}")
    return Rounded(part.array("input.centre", np.float32, size), told.number("factor", positive=True), int(most))


def _readout(part: Told, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Readout, offset, classes and unit."""
    classes = classes_of(part)
    kind = np.int8 if part.arrays["readout.weights"].dtype == np.int8 else np.int16
    weights = part.array("readout.weights", kind, classes.size, width)
    offset = part.array("readout.offset", np.int32, classes.size)
    return weights, offset, classes, part.number("score_unit", positive=True)


def _steps(part: Told, layer: str) -> Steps:
    thresholds = part.array(f"{layer}.thresholds", np.int32, None)
    if np.any(np.diff(thresholds.astype(np.int64)) < 0):
        raise ValueError(f"the thresholds of {layer} are out of order")
    levels = part.array(f"{layer}.levels", np.int16, thresholds.size + 1)
    return Steps(tuple(thresholds.tolist()), tuple(levels.tolist()))
