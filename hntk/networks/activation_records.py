"""Networks and classifiers in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import jax.numpy as jnp
import numpy as np

from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.data.normalization import Normalization
from hntk.files.limits import LEVELS, shown
from hntk.files.matrices import describe_matrices, matrices_of
from hntk.files.reader import FieldReader
from hntk.networks.class_records import classes_of, describe_classes
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network
from hntk.networks.provenance_records import describe_origin, origin_of, statistics_of
from hntk.networks.value_bounds import check_finite
from hntk.weights.laws import WeightMatrix

# by the annotation of a parameter
READERS: dict[str, Callable[[FieldReader, str], Any]] = {
    "float": FieldReader.number,
    "str": FieldReader.text,
    "tuple[float, ...]": lambda part, name: tuple(part.numbers(name)),
}
CLOSED_FORMS = {cls.__name__: cls for cls in (Rectifier, Polynomial, Cosine, Sine, Erf, GaussianBump)}


def describe_floats(what: Network | Classifier, encoding: str | None) -> tuple[dict, dict]:
    """Return arrays and metadata.

    Raises
    ------
    ValueError
        If an activation is a function of the user's own, or a number does not fit into float32.
    """
    network = what.network if isinstance(what, Classifier) else what
    arrays, layers = describe_matrices(network.weights, encoding)
    for number, (layer, sigma, centre) in enumerate(zip(layers, network.activations, network.centres, strict=True), 1):
        layer |= {"centre": centre, "activation": _describe_activation(sigma)}
        if isinstance(sigma, Staircase):
            arrays |= _describe_staircase(sigma, number)
    metadata: dict[str, Any] = {"layers": layers, **describe_origin(what)}
    if isinstance(what, Classifier):
        metadata |= describe_classes(what.classes)
        arrays["readout.weights"] = _in_float32(what.weights, "the readout's weights")
        arrays["readout.offset"] = np.asarray(what.offset, np.float64)
        if what.normalization is not None:
            metadata["scale"] = what.normalization.scale
            arrays["input.centre"] = np.asarray(what.normalization.centre, np.float32)
            if what.normalization.whitening is not None:
                arrays["input.whitening"] = np.asarray(what.normalization.whitening, np.float32)
            if what.normalization.unit_norm:
                metadata["unit_norm"] = True
    elif network.readout is not None:
        arrays["readout.initial"] = _in_float32(network.readout, "the readout at initialisation")
    return arrays, metadata


def floats_of(part: FieldReader, known: Sequence[WeightMatrix] | None = None) -> Network | Classifier:
    """Return what was described; what is small is checked before matrices are unpacked.

    Parameters
    ----------
    part : what a file tells.
    known : the matrices, where they are at hand: then they are not unpacked.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it makes no network, or one whose predictions would not be finite.
    """
    layers = part.parts("layers")
    # of a name many layers share, the activation is made once: its function is examined, which takes a while
    registered: dict[str, Activation] = {}
    activations = [_activation(layer.part("activation"), f"layer{i}", registered) for i, layer in enumerate(layers, 1)]
    centres = tuple(layer.number("centre") for layer in layers)
    last, inputs = layers[-1].shape("shape")[0], layers[0].shape("shape")[1]
    initial = part.array("readout.initial", np.float32, last) if "readout.initial" in part.arrays else None
    readout = _readout(part, last) if "classes" in part else None
    normalization = _normalization(part, inputs) if "scale" in part else None
    origin, statistics = origin_of(part), statistics_of(part)
    kept = None if initial is None else jnp.asarray(initial)
    network = Network(tuple(matrices_of(layers, known)), tuple(activations), centres, kept, None, origin=origin)
    check_finite(network, None if readout is None else readout[1:])
    if readout is None:
        return network
    return Classifier(network, *readout, normalization=normalization, statistics=statistics)


def _normalization(part: FieldReader, inputs: int) -> Normalization:
    """What raw samples go through."""
    centre = part.array("input.centre", np.float32, inputs)
    whitening = None
    if "input.whitening" in part.arrays:
        whitening = part.array("input.whitening", np.float32, inputs, inputs)
    if part.told.get("unit_norm", False) not in (True, False):
        raise ValueError(f"unit_norm must be true or false, not {part.told['unit_norm']!r:.60}")
    return Normalization(
        centre, part.number("scale", positive=True), whitening, unit_norm=bool(part.told.get("unit_norm", False))
    )


def _readout(part: FieldReader, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, weights and offset."""
    classes = classes_of(part)
    weights = part.array("readout.weights", np.float32, width, classes.size).astype(np.float64)
    return classes, weights, part.array("readout.offset", np.float64, classes.size)


def _describe_activation(sigma: Activation) -> dict[str, Any]:
    """Type, name and parameters, but for a staircase's, which are arrays."""
    if isinstance(sigma, Staircase):
        return {"type": "Staircase", "name": sigma.name}
    if type(sigma).__name__ in CLOSED_FORMS:
        return {"type": type(sigma).__name__, **asdict(sigma)}  # type: ignore[call-overload]
    name = sigma.name if isinstance(sigma, QuadratureActivation) else str(sigma)
    try:
        known = activation(name) == sigma
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"the activation {name!r} is a function of your own, and a file holds no code: give it a name with "
            "hntk.register_activation, there and where the file is loaded."
        )
    return {"type": "registered", "name": name}


def _describe_staircase(sigma: Staircase, number: int) -> dict[str, np.ndarray]:
    """Return thresholds and levels in float32, in which they are computed with."""
    thresholds = _in_float32(sigma.thresholds, f"thresholds of layer {number}")
    same = np.flatnonzero(np.diff(thresholds) <= 0)
    if same.size:
        pair = sigma.thresholds[same[0] : same[0] + 2]
        raise ValueError(
            f"thresholds {pair[0]!r} and {pair[1]!r} of layer {number} are one number in float32, or out of order, and "
            "no value is between them: leave one out, with its level, or rescale the activation."
        )
    levels = _in_float32(sigma.levels, f"levels of layer {number}")
    return {f"layer{number}.thresholds": thresholds, f"layer{number}.levels": levels}


def _in_float32(given: object, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        made = np.asarray(given, np.float32)
    wrong = np.asarray(given)[~np.isfinite(made)]
    if wrong.size:
        raise ValueError(
            f"{name} hold {wrong.ravel()[0]!r}, which is not finite in float32 (3.4e38 at most): rescale them."
        )
    return made


def _activation(part: FieldReader, layer: str, registered: dict[str, Activation]) -> Activation:
    kind = part.text("type", {*CLOSED_FORMS, "Staircase", "registered"})
    if kind == "Staircase":
        thresholds = part.array(f"{layer}.thresholds", np.float32, None).astype(float)
        if not 0 < thresholds.size < LEVELS:
            raise ValueError(f"{layer} must have 2 to {LEVELS:,} levels, not {thresholds.size + 1:,}")
        levels = part.array(f"{layer}.levels", np.float32, thresholds.size + 1).astype(float)
        return activation("staircase", thresholds=thresholds, levels=levels, name=part.text("name"))
    if kind == "registered":
        name = part.text("name")
        if name not in registered:
            registered[name] = activation(name)
        return registered[name]
    made = CLOSED_FORMS[kind]
    parameters = {field.name: READERS[str(field.type)](part, field.name) for field in fields(made)}
    if part.told.keys() - {"type"} != parameters.keys():
        names = ", ".join(parameters)
        raise ValueError(f"the activation {kind} has the parameters {names}, not {shown(list(part.told))}")
    return made(**parameters)
