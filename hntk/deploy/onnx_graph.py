"""ONNX graphs in the making."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from hntk.weights.encodings import pack
from hntk.weights.laws import WeightMatrix

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

WeightType = Literal["int2", "int8"]
# thresholds up to which one comparison each makes the smaller graph
COMPARED = 16


def onnx_type(dtype: DTypeLike) -> int:
    """The number ONNX has for a type of NumPy."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Graph:
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

    def cast(self, name: str, dtype: DTypeLike) -> str:
        """The same numbers in another type."""
        return self.node("Cast", [name], to=onnx_type(dtype))

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

    def product(self, h: str, number: int, matrix: WeightMatrix, kind: WeightType, **options: Any) -> str:
        """Alpha · (h Wᵀ) + bias; weights that are float32 already take the factor in.

        Not MatMul: onnxruntime makes its product with dequantized weights one that rounds the other factor to 8 bits.
        """
        bias = options.pop("bias", None)
        name = f"weights{number}"
        if matrix.kind == "float32":
            # quantisers take products without factors alone
            factor = np.float32(options.pop("alpha", 1.0))
            dense = self.constant(name, np.asarray(matrix.values, np.float32) * factor)
        else:
            one = self.constant(f"one{number}", np.float32(1.0))
            dense = self.node("DequantizeLinear", [self.weights(name, matrix, kind), one])
        added = [] if bias is None else [self.constant(f"bias{number}", np.asarray(bias, np.float32))]
        return self.node("Gemm", [h, dense, *added], transB=1, **options)

    def staircase(self, number: int, sums: str, thresholds: Sequence[float], levels: Sequence[float]) -> str:
        """levels[number of thresholds ≤ sums]."""
        if len(thresholds) > COMPARED:
            return self._searched(number, sums, np.asarray(thresholds), np.asarray(levels, np.float32))
        # of the shape of the sums, even without thresholds; a level alone would be a scalar
        h = self.node("Expand", [self.constant(f"level{number}_0", np.float32(levels[0])), self.node("Shape", [sums])])
        for k, (threshold, level) in enumerate(zip(thresholds, levels[1:], strict=True), 1):
            reached = self.node("GreaterOrEqual", [sums, self.constant(f"from{number}_{k}", np.float32(threshold))])
            h = self.node("Where", [reached, self.constant(f"level{number}_{k}", np.float32(level)), h])
        return h

    def _searched(self, number: int, sums: str, thresholds: np.ndarray, levels: np.ndarray) -> str:
        """The same by halving, in as many comparisons as the number of thresholds has bits."""
        bits = thresholds.size.bit_length()
        # what is never reached fills the thresholds up to 2^bits - 1
        padded = np.full(2**bits - 1, np.nan, np.float32)
        padded[: thresholds.size] = thresholds
        table = self.constant(f"from{number}", padded)
        zero = self.constant(f"zero{number}", np.int64(0))
        place = self.node("Expand", [zero, self.node("Shape", [sums])])
        for bit in reversed(range(bits)):
            before = self.constant(f"before{number}_{bit}", np.int64(2**bit - 1))
            half = self.constant(f"half{number}_{bit}", np.int64(2**bit))
            middle = self.node("Gather", [table, self.node("Add", [place, before])])
            reached = self.node("GreaterOrEqual", [sums, middle])
            place = self.node("Add", [place, self.node("Where", [reached, half, zero])])
        return self.node("Gather", [self.constant(f"levels{number}", levels), place])
