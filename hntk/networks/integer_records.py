"""Networks and classifiers of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hntk.files.limits import LEVELS, shown
from hntk.files.matrices import describe_matrices, matrices_of
from hntk.files.reader import FieldReader
from hntk.networks.class_records import classes_of, describe_classes
from hntk.networks.integer_network import EXACT, LIMIT, IntegerClassifier, IntegerNetwork, Pixels, Rounded, Steps
from hntk.networks.provenance_records import describe_origin, origin_of, statistics_of
from hntk.networks.value_bounds import LARGEST, LARGEST_INPUT, largest_row_sum
from hntk.weights.laws import WeightMatrix


def describe_integers(what: IntegerNetwork | IntegerClassifier, encoding: str | None) -> tuple[dict, dict]:
    """Return arrays and metadata.

    Raises
    ------
    ValueError
        If a number is not whole, or too large for the type that a file has for it.
    """
    network = what.network if isinstance(what, IntegerClassifier) else what
    arrays, layers = describe_matrices(network.weights, encoding)
    for number, (layer, steps, rounding) in enumerate(zip(layers, network.steps, network.rounding, strict=True), 1):
        layer["rounding"] = rounding
        for name, values, dtype in (("thresholds", steps.thresholds, np.int32), ("levels", steps.levels, np.int16)):
            arrays[f"layer{number}.{name}"] = _exactly(values, dtype, f"{name} of layer {number}")
    metadata: dict[str, Any] = {"layers": layers, "unit": network.unit, **describe_origin(what)}
    if isinstance(network.inputs, Rounded):
        metadata["input"] = {"type": "rounded", "factor": network.inputs.factor, "most": network.inputs.most}
        arrays["input.centre"] = np.asarray(network.inputs.centre, np.float32)
    else:
        metadata["input"] = {"type": "pixels", "fine": network.inputs.fine}
    if network.bias is not None:
        arrays["input.bias"] = _exactly(network.bias, np.int32, "bias")
    if isinstance(what, IntegerClassifier):
        metadata |= {**describe_classes(what.classes), "score_unit": what.unit}
        kind = np.int8 if np.asarray(what.readout).dtype == np.int8 else np.int16
        arrays["readout.weights"] = _exactly(what.readout, kind, "readout")
        arrays["readout.offset"] = _exactly(what.offset, np.int32, "offset")
    return arrays, metadata


def integers_of(part: FieldReader, known: Sequence[WeightMatrix] | None = None) -> IntegerNetwork | IntegerClassifier:
    """Return what was described; what is small is checked before matrices are unpacked.

    Parameters
    ----------
    part : what a file tells.
    known : the matrices, where they are at hand: then they are not unpacked.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it makes no network, or one whose sums could leave the range in which they are exact.
    """
    layers = part.parts("layers")
    steps = tuple(_steps(layer, f"layer{i}") for i, layer in enumerate(layers, 1))
    rounding = tuple(layer.number("rounding") for layer in layers)
    inputs = _inputs(part, layers[0].shape("shape")[1])
    first, last = layers[0].shape("shape")[0], layers[-1].shape("shape")[0]
    bias = part.array("input.bias", np.int32, first) if "input.bias" in part.arrays else None
    readout = _readout(part, last) if "classes" in part else None
    unit = part.number("unit", positive=True)
    origin, statistics = origin_of(part), statistics_of(part)
    weights = tuple(matrices_of(layers, known))
    network = IntegerNetwork(inputs, weights, steps, bias, unit, rounding, origin=origin)
    if any(w.kind == "float32" for w in weights) or _largest_sum(network) > EXACT:
        raise ValueError("weights of a network of whole numbers must be such, and their sums stay below 2**24")
    if readout is None:
        return network
    classifier = IntegerClassifier(network, *readout, statistics=statistics)
    if classifier.largest_score > LIMIT:
        raise ValueError("scores could leave 32 bits")
    return classifier


def _exactly(given: object, dtype: type, name: str) -> np.ndarray:
    """Return whole numbers in a type that has them all."""
    values, limits = np.asarray(given), np.iinfo(dtype)
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool(np.all(values == np.rint(values))))
    if not whole or (values.size and not limits.min <= values.min() <= values.max() <= limits.max):
        raise ValueError(
            f"{name} must be whole numbers from {limits.min:,} to {limits.max:,}, got {values.dtype} such as "
            f"{shown(values.ravel()[:3].tolist())}: make them with hntk.to_integers."
        )
    return values.astype(dtype)


def _largest_sum(network: IntegerNetwork) -> int:
    """Return what no |Σ W v + b| of any layer exceeds."""
    values = [max(-network.inputs.least, network.inputs.most), *(steps.most for steps in network.steps)]
    sums = [int(largest_row_sum(w)) * most for w, most in zip(network.weights, values, strict=False)]
    bias = 0 if network.bias is None else int(np.abs(network.bias.astype(np.int64)).max())
    return max([sums[0] + bias, *sums[1:]])


def _inputs(part: FieldReader, size: int) -> Pixels | Rounded:
    told = part.part("input")
    if told.text("type", ("pixels", "rounded")) == "pixels":
        fine = told.number("fine", positive=True)
        if fine not in (1, 2, 4, 8, 16):
            raise ValueError(f"fine must be a power of 2 of at most 16, not {fine}")
        return Pixels(int(fine))
    most = told.number("most", positive=True)
    if most not in range(1, 2**15):
        raise ValueError(f"most must be a whole number below 2**15, not {most}")
    centre, factor = part.array("input.centre", np.float32, size), told.number("factor", positive=True)
    if (float(np.abs(centre).max()) + LARGEST_INPUT) * factor > LARGEST:
        raise ValueError(f"samples times the factor {factor:.3g} would overflow float32: rescale them")
    return Rounded(centre, factor, int(most))


def _readout(part: FieldReader, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Readout, offset, classes and unit."""
    classes = classes_of(part)
    given = part.arrays.get("readout.weights")
    kind = np.int8 if given is not None and given.dtype == np.int8 else np.int16
    weights = part.array("readout.weights", kind, classes.size, width)
    offset = part.array("readout.offset", np.int32, classes.size)
    return weights, offset, classes, part.number("score_unit", positive=True)


def _steps(part: FieldReader, layer: str) -> Steps:
    thresholds = part.array(f"{layer}.thresholds", np.int32, None)
    if not 0 < thresholds.size < LEVELS:
        raise ValueError(f"{layer} must have 2 to {LEVELS:,} levels, not {thresholds.size + 1:,}")
    if np.any(np.diff(thresholds.astype(np.int64)) < 0):
        raise ValueError(f"the thresholds of {layer} are out of order")
    levels = part.array(f"{layer}.levels", np.int16, thresholds.size + 1)
    return Steps(tuple(thresholds.tolist()), tuple(levels.tolist()))
