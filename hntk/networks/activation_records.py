"""Activations in files: a type, a name and parameters each; thresholds and levels of staircases are arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.files.exact_arrays import to_float32
from hntk.files.limits import shorten
from hntk.files.reader import FieldReader

# How a parameter is read, by its annotation.
READERS: dict[str, Callable[[FieldReader, str], Any]] = {
    "float": FieldReader.number,
    "str": FieldReader.text,
    "tuple[float, ...]": lambda table, name: tuple(table.numbers(name)),
}
CLOSED_FORMS = {cls.__name__: cls for cls in (Rectifier, Polynomial, Cosine, Sine, Erf, GaussianBump)}


def activation_to_record(sigma: Activation, layer: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the table of an activation, and the arrays of a staircase, whose names begin with the layer's.

    Raises
    ------
    ValueError
        If the activation is a function that has no registered name, or has numbers that float32 cannot hold.
    """
    if isinstance(sigma, Staircase):
        return {"type": "Staircase", "name": sigma.name}, _staircase_to_arrays(sigma, layer)
    if type(sigma).__name__ in CLOSED_FORMS:
        return {"type": type(sigma).__name__, **(sigma.parameters or {})}, {}
    name = sigma.name if isinstance(sigma, QuadratureActivation) else str(sigma)
    try:
        registered = activation(name) == sigma
    except ValueError:
        registered = False
    if not registered:
        raise ValueError(
            f"the activation {name!r} is a function of your own, and a file holds no code: give it a name with "
            "hntk.register_activation, there and where the file is loaded."
        )
    return {"type": "registered", "name": name}, {}


def read_activations(layers: Sequence[FieldReader]) -> tuple[Activation, ...]:
    """Return the activations of all layers, given one table a layer.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a table describes no activation.
    """
    # Layers of one registered name share the object: examining its function takes a while.
    registered: dict[str, Activation] = {}
    return tuple(
        _read_activation(layer.subtable("activation"), f"layer{number}", registered)
        for number, layer in enumerate(layers, 1)
    )


def _staircase_to_arrays(sigma: Staircase, layer: str) -> dict[str, np.ndarray]:
    """Return thresholds and levels in float32, in which networks compute."""
    place = f"layer {layer.removeprefix('layer')}"
    thresholds = to_float32(sigma.thresholds, f"thresholds of {place}")
    equal = np.flatnonzero(np.diff(thresholds) <= 0)
    if equal.size:
        pair = sigma.thresholds[equal[0] : equal[0] + 2]
        raise ValueError(
            f"thresholds {pair[0]!r} and {pair[1]!r} of {place} are one number in float32, or out of order, and "
            "no value is between them: leave one out, with its level, or rescale the activation."
        )
    return {f"{layer}.thresholds": thresholds, f"{layer}.levels": to_float32(sigma.levels, f"levels of {place}")}


def _read_activation(record: FieldReader, layer: str, registered: dict[str, Activation]) -> Activation:
    kind = record.text("type", {*CLOSED_FORMS, "Staircase", "registered"})
    if kind == "Staircase":
        thresholds = record.thresholds(layer, np.float32).astype(float)
        levels = record.array(f"{layer}.levels", np.float32, thresholds.size + 1).astype(float)
        return activation("staircase", thresholds=thresholds, levels=levels, name=record.text("name"))
    if kind == "registered":
        name = record.text("name")
        if name not in registered:
            registered[name] = activation(name)
        return registered[name]
    cls = CLOSED_FORMS[kind]
    parameters = {field.name: READERS[str(field.type)](record, field.name) for field in fields(cls)}
    if record.table.keys() - {"type"} != parameters.keys():
        names = ", ".join(parameters)
        raise ValueError(f"the activation {kind} has the parameters {names}, not {shorten(list(record.table))}")
    return cls(**parameters)
