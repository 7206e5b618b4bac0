"""Classifiers and regressors of whole numbers, read back from the ONNX models that hntk writes of them.

The constants of such a model are its weights, thresholds and levels by their names. What is made of them is written as
ONNX once more, and accepted if that gives the same graph: it then predicts what the model predicts, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from hntk._utils.extras import import_extra
from hntk.deploy.onnx import to_onnx
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.networks.models.onnx_models import holds_whole_numbers, load_model
from hntk.networks.models.reading import from_model
from hntk.networks.read_layers import ReadLayers
from hntk.weights.weight_matrix import WeightMatrix

INT32 = np.iinfo(np.int32)


def from_onnx(model: Any) -> Classifier | IntegerClassifier | IntegerRegressor:
    """Read an ONNX model: one of whole numbers that hntk wrote, or a chain of dense layers of any origin.

    A classifier or regressor of whole numbers predicts what it predicted before it was written, to the bit. ONNX does
    not hold the unit of a classifier's scores, which becomes 1, nor records of matches, data and training; thresholds
    that no sum reaches were not written either. Other models are read by :func:`hntk.from_model`.

    Parameters
    ----------
    model : path or onnx.ModelProto
        The model or its file.

    Returns
    -------
    IntegerClassifier, IntegerRegressor or Classifier
        What the model computes.

    Raises
    ------
    ImportError
        If onnx is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If this is no ONNX model, one of whole numbers has transforms in place of weights or another graph than this
        hntk writes, or :func:`hntk.from_model` cannot read it.
    """
    onnx = import_extra("onnx", "export", "Reading an ONNX model")
    loaded = load_model(onnx, Path(model)) if isinstance(model, str | os.PathLike) else model
    if not isinstance(loaded, onnx.ModelProto):
        raise ValueError(f"model must be an ONNX model or the path of its file, got {type(loaded).__name__}.")
    return _read(onnx, loaded) if holds_whole_numbers(loaded) else from_model(loaded)


def _read(onnx: Any, model: Any) -> IntegerClassifier | IntegerRegressor:
    """Read a model of whole numbers."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if "bits" in constants:
        raise ValueError(
            "the model has orthogonal blocks as transforms, which are not read back: write it with blocks='explicit', "
            "or keep the file of hntk.save."
        )
    kinds = {tensor.data_type for tensor in model.graph.initializer if tensor.name == "weights1"}
    try:
        made = _rebuilt(constants, model.graph.node)
        again = to_onnx(made, "int2" if onnx.TensorProto.INT2 in kinds else "int8", blocks="explicit")
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"the model is none of whole numbers that hntk wrote ({error}): write it again.") from error
    if again.graph != model.graph:
        raise ValueError(
            "the model has another graph than this hntk writes: read it with the version that wrote it, or write it "
            "again."
        )
    return made


def _rebuilt(constants: dict[str, np.ndarray], nodes: Sequence[Any]) -> IntegerClassifier | IntegerRegressor:
    """Return what the constants of a model describe."""
    depth = sum(name.removeprefix("weights").isdecimal() for name in constants if name.startswith("weights"))
    weights = tuple(_weights(constants[f"weights{number}"]) for number in range(1, depth + 1))
    steps = tuple(_steps(constants, number) for number in range(1, depth + 1))
    bias = constants["bias1"].astype(np.int32) if "bias1" in constants else None
    network = IntegerNetwork(_inputs(constants), weights, steps, bias, 1.0, (0.0,) * depth)
    readout = np.ascontiguousarray(constants["readout"].T)
    layers: ReadLayers = "last" if readout.shape[1] == network.widths[-1] else "all"
    parts: dict[str, Any] = {"layers": layers, "shifts": _shifts(constants, nodes) if layers == "all" else ()}
    offset = constants["offset"].astype(np.int32)
    if "labels" not in constants:
        # one number, or one for each target
        unit = constants["unit"]
        parts["unit"] = tuple(unit.tolist()) if unit.ndim else unit.item()
        return IntegerRegressor(network, readout, offset, **parts)
    labels = constants["labels"]
    return IntegerClassifier(
        network, readout, offset, labels.astype(str) if labels.dtype == object else labels, 1.0, **parts
    )


def _weights(stored: np.ndarray) -> WeightMatrix:
    values = stored.astype(np.int8)
    return WeightMatrix(values, 1.0, "ternary" if np.abs(values).max() <= 1 else "int8")  # type: ignore[arg-type]


def _inputs(constants: dict[str, np.ndarray]) -> Pixels | PooledPixels | Rounded:
    """Return what raw samples become first."""
    if "rows" in constants:
        rows, columns = constants["rows"], constants["columns"]
        return PooledPixels((rows.shape[1], columns.shape[0]), (rows.shape[0], columns.shape[1]))
    centre = constants.get("centre")
    if "fine" in constants:
        return Pixels(int(constants["fine"]), None if centre is None else centre.astype(np.uint8))
    if centre is None:
        raise ValueError("it has no input of whole numbers")
    # one number, or one for each coordinate
    factor: Any = constants["factor"] if constants["factor"].ndim else constants["factor"].item()
    return Rounded(centre, factor, int(constants["most"]))


def _steps(constants: dict[str, np.ndarray], number: int) -> Steps | NeuronSteps:
    """Return the staircase of a layer: by a table of thresholds that is searched, or by a threshold for each jump."""
    if f"from{number}" in constants:
        table, levels = constants[f"from{number}"], constants[f"levels{number}"]
        thresholds = table[: len(levels) - 1]
    else:
        levels = [constants[f"level{number}_0"]]
        while (jump := constants.get(f"jump{number}_{len(levels)}")) is not None:
            levels.append(levels[-1] + jump)
        thresholds = np.array([constants[f"from{number}_{k}"] for k in range(1, len(levels))])
    whole = np.clip(np.asarray(thresholds, np.float64), INT32.min, INT32.max).astype(np.int64)
    cells = tuple(int(level) for level in levels)
    if whole.ndim == 2:
        return NeuronSteps(np.ascontiguousarray(whole.T, np.int32), cells)
    return Steps(tuple(whole.tolist()), cells)


def _shifts(constants: dict[str, np.ndarray], nodes: Sequence[Any]) -> tuple[int, ...]:
    """Return the shift of every layer that is read: its levels go through a factor before they are joined."""
    made = {name: node for node in nodes for name in node.output}
    (joined,) = [node for node in nodes if node.op_type == "Concat"]
    factors = [
        float(constants[made[name].input[1]])
        if made[name].op_type == "Mul" and made[name].input[1].startswith("constant")
        else 1.0
        for name in joined.input
    ]
    shifts = tuple(int(log2(factor)) for factor in factors)
    return shifts if any(shifts) else ()
