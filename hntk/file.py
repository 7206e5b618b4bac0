"""Networks and classifiers as one safetensors file.

Weights are packed (:mod:`hntk.packing`); thresholds, levels and the readout are float32, so that a loaded classifier
gives the same scores as the saved one; what is not an array is JSON in the file's metadata. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.classifier import Classifier, Normalization
from hntk.network import Network
from hntk.packing import PackedMatrix, pack

VERSION = 1
KEY = "hntk"
CLOSED_FORMS = {cls.__name__: cls for cls in (Rectifier, Polynomial, Cosine, Sine, Erf, GaussianBump)}


class FileError(ValueError):
    """A file that holds no network of this library, or a damaged one."""


def save(
    what: Network | Classifier,
    path: str | os.PathLike[str],
    *,
    encoding: str | None = None,
) -> int:
    """Write a network, with or without a readout, and return the number of bytes.

    Parameters
    ----------
    what : a network or a classifier. The readout at initialisation, which only the NTK sees, is kept for a network
        without a fitted readout alone.
    path : of the file; it is replaced at once or not at all.
    encoding : of the weights, see :mod:`hntk.packing`; by default the smallest.

    Raises
    ------
    ValueError
        If an activation is a function of the user's own, or the encoding does not suit the weights.
    OSError
        If the file cannot be written; what was there before is untouched.

    Examples
    --------
    >>> import jax, hntk, tempfile
    >>> net = hntk.draw_network(["relu"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = hntk.save(net, f"{folder}/net.safetensors")
    ...     again = hntk.load(f"{folder}/net.safetensors")
    >>> size < 100 * 80 / 4 + 2000, bool((again.weights[0].values == net.weights[0].values).all())
    (True, True)
    """
    network = what.network if isinstance(what, Classifier) else what
    packed = [pack(w, encoding) for w in network.weights]
    arrays: dict[str, np.ndarray] = {}
    for number, (matrix, sigma) in enumerate(zip(packed, network.activations, strict=True), 1):
        arrays |= _arrays(f"layer{number}", matrix, sigma)
    layers = [
        {"encoding": m.encoding, "kind": m.kind, "shape": list(m.shape), "scale": m.scale, "centre": c}
        | {"activation": _describe(a)}
        for m, a, c in zip(packed, network.activations, network.centres, strict=True)
    ]
    metadata: dict[str, Any] = {"version": VERSION, "layers": layers}
    if isinstance(what, Classifier):
        metadata["classes"] = what.classes.tolist()
        arrays |= {"readout.weights": what.weights.astype(np.float32), "readout.offset": what.offset}
        if what.normalization is not None:
            metadata["scale"] = what.normalization.scale
            arrays["input.centre"] = what.normalization.centre
    elif network.readout is not None:
        arrays["readout.initial"] = np.asarray(network.readout, np.float32)
    return _write(Path(path), arrays, metadata)


def load(path: str | os.PathLike[str]) -> Network | Classifier:
    """The network or classifier of a file.

    Raises
    ------
    FileError
        If the file is damaged, or was not written by :func:`save`.
    FileNotFoundError
        If there is none.
    """
    arrays, metadata = _read(Path(path))
    try:
        network = _network(arrays, metadata["layers"])
        if "classes" not in metadata:
            return network
        return Classifier(
            network,
            np.array(metadata["classes"]),
            arrays["readout.weights"].astype(np.float64),
            arrays["readout.offset"],
            normalization=Normalization(arrays["input.centre"], metadata["scale"]) if "scale" in metadata else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is damaged: {type(error).__name__} {error}. Write it again with hntk.save.") from error


def _arrays(layer: str, matrix: PackedMatrix, sigma: Activation) -> dict[str, np.ndarray]:
    made = {f"{layer}.weights": matrix.values}
    if matrix.positions is not None:
        made[f"{layer}.positions"] = matrix.positions
    if isinstance(sigma, Staircase):
        made[f"{layer}.thresholds"] = np.array(sigma.thresholds, np.float32)
        made[f"{layer}.levels"] = np.array(sigma.levels, np.float32)
    return made


def _describe(sigma: Activation) -> dict[str, Any]:
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


def _activation(described: dict[str, Any], arrays: dict[str, np.ndarray], layer: str) -> Activation:
    kind, parameters = described["type"], {k: v for k, v in described.items() if k != "type"}
    if kind == "Staircase":
        thresholds, levels = (arrays[f"{layer}.{part}"].astype(float) for part in ("thresholds", "levels"))
        return activation("staircase", thresholds=thresholds, levels=levels, name=parameters["name"])
    if kind == "registered":
        return activation(parameters["name"])
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return CLOSED_FORMS[kind](**fields)


def _network(arrays: dict[str, np.ndarray], layers: list[dict[str, Any]]) -> Network:
    weights, activations = [], []
    for number, layer in enumerate(layers, 1):
        name = f"layer{number}"
        outputs, inputs = layer["shape"]
        matrix = PackedMatrix(
            layer["encoding"],
            layer["kind"],
            (int(outputs), int(inputs)),
            float(layer["scale"]),
            arrays[f"{name}.weights"],
            arrays.get(f"{name}.positions"),
        )
        weights.append(matrix.unpack())
        activations.append(_activation(layer["activation"], arrays, name))
    centres = tuple(float(layer["centre"]) for layer in layers)
    initial = arrays.get("readout.initial")
    return Network(tuple(weights), tuple(activations), centres, None if initial is None else jnp.asarray(initial), None)


def _write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> int:
    part = path.with_name(f".{path.name}.part")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        save_file(contiguous, part, {KEY: json.dumps(metadata)})
        size = part.stat().st_size
        os.replace(part, path)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return size


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        arrays = load_file(path)
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        metadata = json.loads(header["__metadata__"][KEY])
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise FileError(f"{path} is not a network that hntk.save wrote, or it is damaged ({error}).") from error
    if metadata.get("version") != VERSION:
        raise FileError(
            f"{path} has format version {metadata.get('version')}, and this hntk reads {VERSION}: use the hntk that "
            "wrote it."
        )
    return arrays, metadata
