"""Networks and classifiers in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import jax.numpy as jnp
import numpy as np

from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.classifier import Classifier
from hntk.files.matrices import classes_of, describe_classes, describe_matrices, matrices_of
from hntk.files.origin import describe_origin, origin_of, statistics_of
from hntk.files.told import Told
from hntk.network import Network
from hntk.normalization import Normalization

# by the annotation of a parameter
READERS: dict[str, Callable[[Told, str], Any]] = {
    "float": Told.number,
    "str": Told.text,
    "tuple[float, ...]": lambda part, name: tuple(part.numbers(name)),
}
CLOSED_FORMS = {cls.__name__: cls for cls in (Rectifier, Polynomial, Cosine, Sine, Erf, GaussianBump)}


def describe_floats(what: Network | Classifier, encoding: str | None) -> tuple[dict, dict]:
    """Arrays and metadata."""
    network = what.network if isinstance(what, Classifier) else what
    arrays, layers = describe_matrices(network.weights, encoding)
    for number, (layer, sigma, centre) in enumerate(zip(layers, network.activations, network.centres, strict=True), 1):
        layer |= {"centre": centre, "activation": _describe_activation(sigma)}
        if isinstance(sigma, Staircase):
            arrays[f"layer{number}.thresholds"] = np.array(sigma.thresholds, np.float32)
            arrays[f"layer{number}.levels"] = np.array(sigma.levels, np.float32)
    metadata: dict[str, Any] = {"layers": layers, **describe_origin(what)}
    if isinstance(what, Classifier):
        metadata |= describe_classes(what.classes)
        arrays |= {"readout.weights": what.weights.astype(np.float32), "readout.offset": what.offset}
        if what.normalization is not None:
            metadata["scale"] = what.normalization.scale
            arrays["input.centre"] = np.asarray(what.normalization.centre, np.float32)
            if what.normalization.whitening is not None:
                arrays["input.whitening"] = np.asarray(what.normalization.whitening, np.float32)
            if what.normalization.unit_norm:
                metadata["unit_norm"] = True
    elif network.readout is not None:
        arrays["readout.initial"] = np.asarray(network.readout, np.float32)
    return arrays, metadata


def floats_of(part: Told) -> Network | Classifier:
    """What was described; what is small is checked before matrices are unpacked."""
    layers = part.parts("layers")
    activations = [_activation(layer.part("activation"), f"layer{i}") for i, layer in enumerate(layers, 1)]
    centres = tuple(layer.number("centre") for layer in layers)
    last, inputs = layers[-1].shape("shape")[0], layers[0].shape("shape")[1]
    initial = part.array("readout.initial", np.float32, last) if "readout.initial" in part.arrays else None
    readout = _readout(part, last) if "classes" in part else None
    normalization = _normalization(part, inputs) if "scale" in part else None
    origin, statistics = origin_of(part), statistics_of(part)
    kept = None if initial is None else jnp.asarray(initial)
    network = Network(tuple(matrices_of(layers)), tuple(activations), centres, kept, None, origin=origin)
    if readout is None:
        return network
    return Classifier(network, *readout, normalization=normalization, statistics=statistics)


def _normalization(part: Told, inputs: int) -> Normalization:
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


def _readout(part: Told, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _activation(part: Told, layer: str) -> Activation:
    kind = part.text("type", {*CLOSED_FORMS, "Staircase", "registered"})
    if kind == "Staircase":
        thresholds = part.array(f"{layer}.thresholds", np.float32, None).astype(float)
        levels = part.array(f"{layer}.levels", np.float32, thresholds.size + 1).astype(float)
        return activation("staircase", thresholds=thresholds, levels=levels, name=part.text("name"))
    if kind == "registered":
        return activation(part.text("name"))
    made = CLOSED_FORMS[kind]
    parameters = {field.name: READERS[str(field.type)](part, field.name) for field in fields(made)}
    if part.told.keys() - {"type"} != parameters.keys():
        raise ValueError(f"the activation {kind} has the parameters {', '.join(parameters)}, not {part.told!r:.80}")
    return made(**parameters)
