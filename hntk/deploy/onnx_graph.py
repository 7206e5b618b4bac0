"""ONNX graphs, built node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from hntk._utils.extras import import_extra
from hntk.weights.encodings import pack
from hntk.weights.orthogonal_bytes import to_bits
from hntk.weights.weight_matrix import WeightMatrix, Weights

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

WeightType = Literal["int2", "int8"]
# Whole levels below which jumps between them are exact in float32.
EXACT_LEVELS = 2**23
# Bytes that name the field and the size of a node or constant.
FIELD_BYTES = 3
# Bytes of the name and the size of some bits.
PART_BYTES = 16
# thresholds up to which one comparison each makes the smaller graph
MOST_COMPARED = 16


class Graph:
    """Nodes and constants, named in the order in which they are added.

    Raises
    ------
    ImportError
        If onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = import_extra("onnx", "export", "Writing ONNX files")
        self._nodes, self._constants, self._inputs, self._outputs = [], [], [], []
        self._shared: dict[str, str] = {}
        self._bits: list[np.ndarray] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the nodes and constants so far, and of bits and their names without the nodes that unpack them."""
        bits = sum(PART_BYTES + part.size // 8 for part in self._bits)
        return bits + sum(FIELD_BYTES + part.ByteSize() for part in (*self._nodes, *self._constants))

    def model(self, opset: int, ir_version: int) -> ModelProto:
        """Return the graph as a model, checked by onnx."""
        helper = self._onnx.helper
        nodes = [*self._unpacked_bits(), *self._nodes]
        graph = helper.make_graph(nodes, "hntk", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="hntk")
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> None:
        """Add an input of the model."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))

    def output(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> None:
        """Add an output of the model: the node of the same name."""
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))

    def node(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        """Add a constant array and return its name."""
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        """Add a float32 constant and return the name that it is given."""
        return self.constant(f"constant{len(self._constants)}", np.float32(value))

    def shared(self, name: str, value: Any) -> str:
        """Add a constant that others have added before, if they have not; and return its name."""
        return self._once(name, lambda: self.constant(name, value))

    def joined(self, names: Sequence[str]) -> str:
        """Add values side by side; one is itself."""
        return names[0] if len(names) == 1 else self.node("Concat", names, axis=1)

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """Add the same values in another shape."""
        sizes = self.shared("x".join(map(str, shape)), np.array(shape, np.int64))
        return self.node("Reshape", [name, sizes])

    def bits(self, numbers: np.ndarray, width: int) -> str:
        """Add whole numbers of a width in bits as (numbers, width) bits in int32, the lowest first.

        All bits of a model are stored together, eight a byte.
        """
        self._bits.append(to_bits(numbers, width))
        return self.reshaped(f"bits{len(self._bits) - 1}", (-1, width))

    def signs(self, negative: np.ndarray, shape: Sequence[int], shared_as: str | None = None) -> str:
        """Add signs in float32, −1 where ``negative``; those of one name are added once."""

        def added() -> str:
            table = self.shared("signs", np.array([1.0, -1.0], np.float32))
            return self.reshaped(self.node("Gather", [table, self.bits(negative.ravel(), 1)]), shape)

        return added() if shared_as is None else self._once(shared_as, added)

    def _once(self, name: str, add: Callable[[], str]) -> str:
        if name not in self._shared:
            self._shared[name] = add()
        return self._shared[name]

    def _unpacked_bits(self) -> list[NodeProto]:
        """Add the constant of all bits, and return the nodes that take them apart."""
        if not self._bits:
            return []
        counts = [part.size for part in self._bits]
        names = [f"bits{number}" for number in range(len(counts))]
        if sum(counts) % 8:
            counts.append(8 - sum(counts) % 8)
            names.append("bits_left")
        packed = np.packbits(np.concatenate(self._bits), bitorder="little")[:, None]
        stored = self.constant("bits", packed)
        powers, two = self.constant("powers", 1 << np.arange(8, dtype=np.int32)), self.constant("two", np.int32(2))
        make = self._onnx.helper.make_node
        flat = self.shared("-1", np.array([-1], np.int64))
        return [
            make("Cast", [stored], ["bytes"], to=self._type(np.int32)),
            make("Div", ["bytes", powers], ["shifted"]),
            make("Mod", ["shifted", two], ["bits_by_byte"]),
            make("Reshape", ["bits_by_byte", flat], ["all_bits"]),
            make("Split", ["all_bits", self.constant("counts", np.array(counts, np.int64))], names, axis=0),
        ]

    def cast(self, name: str, dtype: DTypeLike) -> str:
        """Add a conversion to another type."""
        return self.node("Cast", [name], to=self._type(dtype))

    def weights(self, name: str, values: Any, kind: WeightType) -> str:
        """Add a matrix of whole weights."""
        if kind == "int8":
            return self.constant(name, np.asarray(values, np.int8))
        # four weights a byte, the lowest bits first, as in ONNX
        packed = pack(WeightMatrix(values, 1.0, "ternary"), "bits2").values
        int2 = self._onnx.TensorProto.INT2
        self._constants.append(self._onnx.helper.make_tensor(name, int2, values.shape, packed.tobytes(), raw=True))
        return name

    def product(
        self,
        h: str,
        number: int,
        matrix: Weights,
        kind: WeightType,
        *,
        alpha: float = 1.0,
        bias: np.ndarray | None = None,
    ) -> str:
        """Add alpha · (h Wᵀ) + bias for the weights of layer ``number``.

        Whole weights are converted by a Cast, which onnxruntime does once, when it loads the model; a DequantizeLinear
        it repeats for every call.
        """
        name = f"weights{number}"
        if matrix.kind == "float32":
            # the factor goes into the weights: quantisers only take products without one
            dense = self.constant(name, np.asarray(matrix.values, np.float32) * np.float32(alpha))
            alpha = 1.0
        else:
            dense = self.cast(self.weights(name, matrix.values, kind), np.float32)
        factor: dict[str, Any] = {} if alpha == 1.0 else {"alpha": alpha}
        added = [] if bias is None else [self.constant(f"bias{number}", np.asarray(bias, np.float32))]
        return self.node("Gemm", [h, dense, *added], transB=1, **factor)

    def staircase(
        self, number: int, sums: str, thresholds: Sequence[float] | np.ndarray, levels: Sequence[float]
    ) -> str:
        """Add the levels of sums: levels[k], where k thresholds are at most the sum.

        A matrix of thresholds has a row for each k, with the threshold of each column of the sums.
        """
        if len(thresholds) > MOST_COMPARED:
            return self.searched_staircase(
                number, sums, np.asarray(thresholds, np.float32), np.asarray(levels, np.float32)
            )
        # has the shape of the sums even without thresholds
        h = self.node("Expand", [self.constant(f"level{number}_0", np.float32(levels[0])), self.node("Shape", [sums])])
        whole = all(float(level).is_integer() and abs(level) < EXACT_LEVELS for level in levels)
        for k, (threshold, level) in enumerate(zip(thresholds, levels[1:], strict=True), 1):
            reached = self.reached(f"from{number}_{k}", sums, np.asarray(threshold), np.float32)
            if whole:
                # Jumps of whole numbers add up exactly, four times as fast as choices.
                jump = self.constant(f"jump{number}_{k}", np.float32(level - levels[k - 1]))
                h = self.node("Add", [h, self.node("Mul", [self.cast(reached, np.float32), jump])])
            else:
                h = self.node("Where", [reached, self.constant(f"level{number}_{k}", np.float32(level)), h])
        return h

    def reached(self, name: str, sums: str, threshold: np.ndarray, dtype: DTypeLike) -> str:
        """Add whether sums of a type are at least a threshold, or that of their column.

        Thresholds of columns are kept in 16 bits if these hold them.
        """
        if threshold.ndim and np.abs(threshold.astype(np.int64)).max() <= np.iinfo(np.int16).max:
            least = self.cast(self.constant(name, threshold.astype(np.int16)), dtype)
        else:
            least = self.constant(name, threshold.astype(dtype))
        return self.node("GreaterOrEqual", [sums, least])

    def searched_staircase(self, number: int, sums: str, thresholds: np.ndarray, levels: np.ndarray) -> str:
        """Add a binary search, of as many comparisons as the number of thresholds has bits.

        Thresholds have the type of the sums, and levels the type of the result.
        """
        bits, gather = len(thresholds).bit_length(), "Gather" if thresholds.ndim == 1 else "GatherElements"
        # what no sum reaches fills the thresholds up to 2^bits - 1
        beyond = np.nan if np.issubdtype(thresholds.dtype, np.floating) else np.iinfo(thresholds.dtype).max
        padded = np.full((2**bits - 1, *thresholds.shape[1:]), beyond, thresholds.dtype)
        padded[: len(thresholds)] = thresholds
        table = self.constant(f"from{number}", padded)
        zero = self.constant(f"zero{number}", np.int64(0))
        place = self.node("Expand", [zero, self.node("Shape", [sums])])
        for bit in reversed(range(bits)):
            before = self.constant(f"before{number}_{bit}", np.int64(2**bit - 1))
            half = self.constant(f"half{number}_{bit}", np.int64(2**bit))
            middle = self.node(gather, [table, self.node("Add", [place, before])])
            reached = self.node("GreaterOrEqual", [sums, middle])
            place = self.node("Add", [place, self.node("Where", [reached, half, zero])])
        return self.node("Gather", [self.constant(f"levels{number}", levels), place])

    def _type(self, dtype: DTypeLike) -> int:
        """Return ONNX's number of a NumPy type; objects are text."""
        if np.dtype(dtype) == object:
            return self._onnx.TensorProto.STRING
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
