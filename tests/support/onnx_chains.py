"""ONNX models made of a list of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Node = tuple[str, list[str], str, dict[str, Any]]


def onnx_model(
    nodes: Sequence[tuple], constants: Mapping[str, Any], inputs: int | Sequence[int] = 5, outputs: int = 3
) -> onnx.ModelProto:
    """Return a checked model of nodes (operator, inputs, output, attributes) from ``x`` to the last node's output."""
    shape = ["n", inputs] if isinstance(inputs, int) else ["n", *inputs]
    made = [
        helper.make_node(kind, given, [output] if isinstance(output, str) else output, name=f"the {output}", **more)
        for kind, given, output, more in ((*node, *[{}] * (4 - len(node))) for node in nodes)
    ]
    tensors = [
        numpy_helper.from_array(
            np.asarray(value, np.int64 if np.asarray(value).dtype.kind == "i" else np.float32), name
        )
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(made[-1].output[0], TensorProto.FLOAT, ["n", outputs])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def onnx_outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return what onnx's own evaluator computes."""
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": np.asarray(x, np.float32)})[0])
