"""A classifier of whole numbers as an ONNX model: weights of 2 bits, or of 8 for runtimes that have no type so small.

Hidden sums stay below 2²⁴, so that float32 products are exact in any order; scores are float64, exact up to 2⁵³. What
the model predicts is therefore what :class:`hntk.IntegerClassifier` does, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hntk.integers import IntegerClassifier, Pixels
from hntk.packing import pack
from hntk.weights import WeightMatrix

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

WeightType = Literal["int2", "int8"]
# INT2 came with opset 25; DequantizeLinear of a whole matrix by one scale, with 13
OPSETS: dict[WeightType, tuple[int, int]] = {"int2": (25, 13), "int8": (13, 8)}


def to_onnx(classifier: IntegerClassifier, weights: WeightType = "int2") -> ModelProto:
    """The model: raw samples in, ``scores`` (whole numbers in float64) and ``label`` out.

    Parameters
    ----------
    classifier : see :func:`hntk.to_integers`.
    weights : the type of weights; ``"int2"`` (opset 25) cannot hold int8 weights.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the type cannot hold the weights.
    """
    if weights not in OPSETS:
        raise ValueError(f"weights must be one of {', '.join(OPSETS)}, got {weights!r}.")
    if weights == "int2" and any(w.kind == "int8" for w in classifier.network.weights):
        raise ValueError("2 bits do not hold int8 weights: use weights='int8'.")
    try:
        from onnx import checker, helper
    except ImportError as error:
        raise ImportError("writing ONNX needs the package onnx: pip install 'hntk[export]'.") from error
    graph = _Graph()
    network = classifier.network
    pixels = isinstance(network.inputs, Pixels)
    h = _take(graph, classifier)
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True), 1):
        one = graph.constant(f"one{number}", np.float32(1.0))
        dense = graph.node("DequantizeLinear", [graph.weights(f"weights{number}", w, weights), one])
        bias = network.bias if number == 1 else None
        added = [] if bias is None else [graph.constant("bias", bias.astype(np.float32))]
        # not MatMul: onnxruntime makes its product with dequantized weights one that rounds the other factor to 8 bits
        sums = graph.node("Gemm", [h, dense, *added], transB=1)
        h = graph.constant(f"level{number}_0", np.float32(steps.levels[0]))
        for k, (threshold, level) in enumerate(zip(steps.thresholds, steps.levels[1:], strict=True), 1):
            reached = graph.node("GreaterOrEqual", [sums, graph.constant(f"from{number}_{k}", np.float32(threshold))])
            h = graph.node("Where", [reached, graph.constant(f"level{number}_{k}", np.float32(level)), h])
    readout = graph.cast(graph.constant("readout", np.ascontiguousarray(classifier.readout.T)), np.float64)
    offset = graph.constant("offset", classifier.offset.astype(np.float64))
    graph.node("Add", [graph.node("MatMul", [graph.cast(h, np.float64), readout]), offset], "scores")
    best = graph.node("ArgMax", ["scores"], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("labels", _labels(classifier.classes)), best], "label")
    inputs = helper.make_tensor_value_info(
        "input", _type(np.uint8 if pixels else np.float32), ["n", _inputs(classifier)]
    )
    label_type = _type(np.int64) if np.issubdtype(classifier.classes.dtype, np.integer) else _string()
    outputs = [
        helper.make_tensor_value_info("scores", _type(np.float64), ["n", len(classifier.classes)]),
        helper.make_tensor_value_info("label", label_type, ["n"]),
    ]
    opset, ir = OPSETS[weights]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "hntk", [inputs], outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir,
        producer_name="hntk",
    )
    checker.check_model(model, full_check=True)
    return model


def write_onnx(classifier: IntegerClassifier, path: str | os.PathLike[str], weights: WeightType = "int2") -> int:
    """Write the model, at once or not at all, and return its number of bytes."""
    data = to_onnx(classifier, weights).SerializeToString()
    part = Path(path).with_name(f".{Path(path).name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return len(data)


class _Graph:
    """Nodes and constants, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def node(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        """Add an array."""
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def cast(self, name: str, dtype: type) -> str:
        """The same numbers in another type."""
        return self.node("Cast", [name], to=_type(dtype))

    def weights(self, name: str, matrix: WeightMatrix, kind: WeightType) -> str:
        """W, (outputs, inputs)."""
        from onnx import TensorProto, helper

        if kind == "int8":
            return self.constant(name, np.asarray(matrix.values, np.int8))
        # four a byte, the lowest bits first: the order that ONNX has too
        packed = pack(WeightMatrix(matrix.values, 1.0, "ternary"), "bits2").values
        tensor = helper.make_tensor(name, TensorProto.INT2, matrix.shape, packed.tobytes(), raw=True)
        self.initializers.append(tensor)
        return name


def _take(graph: _Graph, classifier: IntegerClassifier) -> str:
    inputs = classifier.network.inputs
    if isinstance(inputs, Pixels):
        return graph.cast("input", np.float32)
    moved = graph.node("Sub", ["input", graph.constant("centre", inputs.centre.astype(np.float32))])
    scaled = graph.node("Mul", [moved, graph.constant("factor", np.float32(inputs.factor))])
    bounds = [graph.constant(name, np.float32(v)) for name, v in (("least", inputs.least), ("most", inputs.most))]
    return graph.node("Clip", [graph.node("Round", [scaled]), *bounds])


def _inputs(classifier: IntegerClassifier) -> int:
    return int(classifier.network.weights[0].shape[1])


def _labels(classes: np.ndarray) -> np.ndarray:
    return classes.astype(np.int64) if np.issubdtype(classes.dtype, np.integer) else classes.astype(object)


def _type(dtype: type) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _string() -> int:
    from onnx import TensorProto

    return TensorProto.STRING
