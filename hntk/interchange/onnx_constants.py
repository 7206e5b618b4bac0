"""What the constants of an ONNX model of whole numbers describe, by the names that hntk gives them."""

from __future__ import annotations

import json
from functools import cached_property
from math import log2
from typing import Any

import numpy as np

from hntk.deploy.onnx_bytes import MIDDLE, TWO_BYTES
from hntk.deploy.onnx_transform import TRANSFORMS
from hntk.interchange.onnx_bits import read_transforms
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.networks.read_layers import ReadLayers
from hntk.weights.weight_matrix import WeightMatrix, Weights

INT32 = np.iinfo(np.int32)
# Names of the jumps of a staircase, and their directions.
JUMPS = {"jump": 1, "rise": 1, "fall": -1}


class Constants:
    """The constants of a model.

    Parameters
    ----------
    onnx : module
        The package onnx.
    model : onnx.ModelProto
        The model.

    Raises
    ------
    ValueError
        If the model has transforms, and does not say of which blocks.
    """

    def __init__(self, onnx: Any, model: Any) -> None:
        self._values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._made = {name: node for node in model.graph.node for name in node.output}
        self._has_pixels = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
        kept = {entry.key: entry.value for entry in model.metadata_props}
        if "bits" in self._values and TRANSFORMS not in kept:
            raise ValueError("it has transforms of an earlier version")
        self._transforms = (
            read_transforms(json.loads(kept[TRANSFORMS]), self._values["bits"], self._values["counts"])
            if "bits" in self._values
            else {}
        )

    def classifier(self) -> IntegerClassifier | IntegerRegressor:
        """Return the classifier or regressor that is described.

        Raises
        ------
        KeyError, ValueError, TypeError, IndexError, OverflowError
            If there is none.
        """
        read, readout = self._values, np.ascontiguousarray(self._values["readout"].T)
        shifts = self._shifts()
        layers: ReadLayers = "all" if shifts or readout.shape[1] != self._network.widths[-1] else "last"
        parts: dict[str, Any] = {"layers": layers, "shifts": shifts}
        offset = read["offset"].astype(np.int32)
        if "labels" not in read:
            # one number, or one for each target
            unit = read["unit"]
            parts["unit"] = tuple(unit.tolist()) if unit.ndim else unit.item()
            return IntegerRegressor(self._network, readout, offset, **parts)
        labels = read["labels"]
        labels = labels.astype(str) if labels.dtype == object else labels
        return IntegerClassifier(self._network, readout, offset, labels, 1.0, **parts)

    @cached_property
    def _network(self) -> IntegerNetwork:
        depth = 0
        while {f"level{depth + 1}_0", f"levels{depth + 1}"} & self._values.keys():
            depth += 1
        weights = tuple(self._weights(number) for number in range(1, depth + 1))
        steps = tuple(self._steps(number) for number in range(1, depth + 1))
        bias = self._values["bias1"].astype(np.int32) if "bias1" in self._values else None
        return IntegerNetwork(self._inputs(), weights, steps, bias, 1.0, (0.0,) * depth)

    def _weights(self, number: int) -> Weights:
        """Return the weights of a layer; bytes are less their middle, and as products of bytes take them."""
        if number in self._transforms:
            return self._transforms[number]
        name = f"weights{number}"
        stored = self._values[name]
        values = (stored.astype(np.int16) - (MIDDLE if stored.dtype == np.uint8 else 0)).astype(np.int8)
        if self._is_multiplied_as_bytes(name):
            values = np.ascontiguousarray(values.T)
        ternary = stored.dtype != np.uint8 and np.abs(values).max() <= 1
        return WeightMatrix(values, 1.0, "ternary" if ternary else "int8")  # type: ignore[arg-type]

    def _is_multiplied_as_bytes(self, name: str) -> bool:
        """Return whether MatMulInteger takes a constant, or its conversion to bytes."""
        names = {name} | {output for output, node in self._made.items() if list(node.input) == [name]}
        return any(node.op_type == "MatMulInteger" and node.input[1] in names for node in self._made.values())

    def _inputs(self) -> Pixels | PooledPixels | Rounded:
        """Return what raw samples become first."""
        read = self._values
        if "rows" in read:
            rows, columns = read["rows"], read["columns"]
            return PooledPixels((rows.shape[1], columns.shape[0]), (rows.shape[0], columns.shape[1]))
        centre = read.get("centre")
        if self._has_pixels:
            return Pixels(int(read.get("fine", 1)), None if centre is None else centre.astype(np.uint8).ravel())
        if centre is None:
            raise ValueError("it has no input of whole numbers")
        # one number, or one for each coordinate
        factor: Any = read["factor"] if read["factor"].ndim else read["factor"].item()
        return Rounded(centre, factor, int(read["most"]))

    def _steps(self, number: int) -> Steps | NeuronSteps:
        """Return the staircase of a layer: a table of thresholds that is searched, or a threshold for each jump."""
        read = self._values
        if f"from{number}" in read:
            stored = read[f"levels{number}"]
            levels, thresholds = stored.astype(np.int64), read[f"from{number}"][: len(stored) - 1]
        else:
            stored, jumps = read[f"level{number}_0"], self._jumps(number)
            levels = np.cumsum([int(stored), *jumps])
            thresholds = np.array([read[f"from{number}_{k}"] for k in range(1, len(levels))])
        zero = int(read.get(f"zero_point{number}", 0)) * (TWO_BYTES if stored.dtype == np.uint16 else 1)
        cells = tuple((levels - zero).tolist())
        whole = np.clip(np.asarray(thresholds, np.float64), INT32.min, INT32.max).astype(np.int64)
        if whole.ndim == 2:
            return NeuronSteps(np.ascontiguousarray(whole.T, np.int32), cells)
        return Steps(tuple(whole.tolist()), cells)

    def _jumps(self, number: int) -> list[int]:
        """Return the jump at every threshold; of equal ones in a row, the last has the constant."""
        count = 0
        while f"from{number}_{count + 1}" in self._values:
            count += 1
        jumps: list[int] = []
        for k in range(count, 0, -1):
            known = [s * int(self._values[f"{name}{number}_{k}"]) for name, s in JUMPS.items()
                     if f"{name}{number}_{k}" in self._values]  # fmt: skip
            jumps.append(known[0] if known else jumps[-1])
        return jumps[::-1]

    def _shifts(self) -> tuple[int, ...]:
        """Return the shift of every layer that is read: its levels go through a factor before they are joined."""
        product = self._made[self._made["scores"].input[0]]
        joined = self._made[self._made[product.input[0]].input[0]]
        shifts = tuple(self._shift(name) for name in (joined.input if joined.op_type == "Concat" else joined.output))
        return shifts if any(shifts) else ()

    def _shift(self, name: str) -> int:
        node = self._made[name]
        shifted = node.op_type == "Mul" and node.input[1].startswith("constant")
        return int(log2(float(self._values[node.input[1]]))) if shifted else 0
