"""ONNX: files and models whose nodes follow each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hntk._utils.extras import import_extra
from hntk.networks.models.chain import Chain, Value, normalised
from hntk.networks.models.records import POINTS, refuse
from hntk.networks.models.source import Options, Source, refuse_options, words

ELEMENTWISE = words(
    "Abs Add Celu Clip Cos Div Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mish Mul Neg PRelu Pow "
    "Reciprocal Relu Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Tanh ThresholdedRelu Where Greater Less "
    "GreaterOrEqual LessOrEqual Not And Or Swish"
)
COMPARISONS = words("Greater Less GreaterOrEqual LessOrEqual")
UNCHANGED = frozenset(["Identity", "Squeeze"])
LINKS = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
# ONNX's numbers of the types int8 and int16
WHOLE_TYPES = frozenset([3, 5])
# names that exporters give to scores
SCORES = ("scores", "logits", "output", "probabilities")


def read(model: Any, options: Options) -> Source:
    """Read an ONNX model.

    Parameters
    ----------
    model : path or onnx.ModelProto
        The model or its file.
    options : Options
        No variables.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ImportError
        If onnx is not installed.
    OSError
        If there is no such file.
    ValueError
        If the file holds no ONNX model, or the model is no chain of dense layers.
    """
    onnx = import_extra("onnx", "export", "Reading an ONNX model")
    refuse_options(options, "an ONNX model")
    if isinstance(model, str | os.PathLike):
        model = load_model(onnx, Path(model))
    if holds_whole_numbers(model):
        raise ValueError(
            "the ONNX model is one of whole numbers that hntk wrote, and no float32 chain: read it with "
            "hntk.interchange.from_onnx(model)."
        )
    if model.functions:
        model = import_extra("onnx.inliner", "export", "Reading an ONNX model").inline_local_functions(model)
    reading = _Graph(onnx, model)
    output = _output(onnx, model.graph)
    chain = reading.run(output)
    evaluator = import_extra("onnx.reference", "export", "Reading an ONNX model").ReferenceEvaluator(model)
    return Source(chain, lambda x: evaluator.run([output], {reading.input: x.astype(reading.dtype)})[0])


def holds_whole_numbers(model: Any) -> bool:
    """Return whether a model says that it is a classifier or regressor of whole numbers, written by hntk.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.

    Returns
    -------
    bool
        Whether its producer is hntk, and its readout whole.
    """
    kinds = {tensor.data_type for tensor in model.graph.initializer if tensor.name == "readout"}
    return model.producer_name == "hntk" and bool(kinds & WHOLE_TYPES)


def load_model(onnx: Any, path: Path) -> Any:
    """Return the ONNX model of a file.

    Parameters
    ----------
    onnx : module
        The package onnx.
    path : Path
        The file.

    Returns
    -------
    onnx.ModelProto
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no ONNX model.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of an ONNX model.")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf has its own errors
        raise ValueError(f"{path} is no ONNX model: {error}.") from error


def _output(onnx: Any, graph: Any) -> str:
    """Return the name of the output that scores are: the only one of real numbers, or one that has such a name."""
    real = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    names = [output.name for output in graph.output if output.type.tensor_type.elem_type in real]
    named = [name for name in names if name in SCORES]
    if len(names) != 1 and len(named) != 1:
        every = ", ".join(output.name for output in graph.output)
        raise ValueError(f"the ONNX model has the outputs {every}: give a model of one output of float32, the scores.")
    return names[0] if len(names) == 1 else named[0]


@dataclass(frozen=True)
class _Shape:
    """The shape of a value, which only a constant of this shape is made of."""

    value: Value


class _Graph:
    """The reading of one graph, node by node."""

    def __init__(self, onnx: Any, model: Any) -> None:
        self._onnx, self.chain, graph = onnx, Chain(), model.graph
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._values: dict[str, Any] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        inputs = [entry for entry in graph.input if entry.name not in self._values]
        if len(inputs) != 1:
            raise ValueError(f"the ONNX model has {len(inputs)} inputs: only chains of one input can be read.")
        self.input = inputs[0].name
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        self._values[self.input] = self.chain.input
        self._nodes = graph.node
        self._readers: dict[str, Callable[[Any, list[Any]], Value]] = {
            "Gemm": self._gemm,
            "MatMul": self._product,
            "BatchNormalization": self._batch_norm,
            "Flatten": self._flatten,
            "Reshape": self._reshape,
            "Cast": self._cast,
            "Dropout": self._dropout,
        }

    def run(self, output: str) -> Chain:
        """Return the chain from the input to an output."""
        for node in _needed(self._nodes, output):
            given = [self._values[name] if name else None for name in node.input]
            if any(isinstance(part, Value | _Shape) for part in given):
                self._values[node.output[0]] = self._node(node, given)
            else:
                self._values.update(zip(node.output, self._evaluated(node, given), strict=True))
        value = self._values.get(output)
        if not isinstance(value, Value):
            raise ValueError(f"the output {output!r} of the ONNX model does not depend on its input.")
        return self.chain.close(value)

    def _node(self, node: Any, given: list[Any]) -> Value | _Shape:
        kind, value = node.op_type, given[0]
        if node.domain not in ("", "ai.onnx"):
            refuse(_name(node), f"it is a {kind} of the domain {node.domain}", "only standard operators can be read")
        if kind in self._readers and isinstance(value, Value):
            return self._readers[kind](node, given)
        if kind == "Shape":
            return _Shape(value)
        if kind == "Expand" and isinstance(given[1], _Shape) and np.size(value) == 1:
            return self.chain.apply(_name(node), lambda t: np.full(np.shape(t), value, np.float64), given[1].value)
        if kind in UNCHANGED:
            return value
        if kind in LINKS:
            if self._attributes(node).get("axis", -1) not in (-1, 1):
                refuse(_name(node), "it works along another axis", "use the last one")
            return self.chain.last(value, _name(node), LINKS[kind])
        if kind in ELEMENTWISE:
            return self._elementwise(node, given)
        return refuse(_name(node), f"it is a {kind}", "only chains of dense layers can be read")

    def _gemm(self, node: Any, given: list[Any]) -> Value:
        options = self._attributes(node)
        if options.get("transA") or not isinstance(given[1], np.ndarray):
            refuse(_name(node), "it multiplies two functions of the input", "only dense layers can be read")
        matrix = given[1] if options.get("transB") else given[1].T
        bias = None
        if len(given) > 2 and given[2] is not None:
            bias = options.get("beta", 1.0) * np.broadcast_to(np.squeeze(given[2]), len(matrix)).astype(np.float64)
        return self.chain.dense(given[0], _name(node), options.get("alpha", 1.0) * matrix.astype(np.float64), bias)

    def _product(self, node: Any, given: list[Any]) -> Value:
        if not isinstance(given[1], np.ndarray) or given[1].ndim != 2:
            refuse(_name(node), "it multiplies two functions of the input", "only dense layers can be read")
        return self.chain.dense(given[0], _name(node), given[1].T)

    def _batch_norm(self, node: Any, given: list[Any]) -> Value:
        options = self._attributes(node)
        if options.get("training_mode"):
            refuse(_name(node), "it is in training mode", "export the model in inference")
        return self.chain.affine(given[0], _name(node), *normalised(given[1:5], options.get("epsilon", 1e-5)))

    def _flatten(self, node: Any, given: list[Any]) -> Value:
        if self._attributes(node).get("axis", 1) != 1:
            refuse(_name(node), "it mixes samples", "flatten from axis 1 on")
        return given[0]

    def _reshape(self, node: Any, given: list[Any]) -> Value:
        shape = given[1].tolist() if isinstance(given[1], np.ndarray) else []
        last = shape[-1:] in ([-1], [self.chain.width]) or not self.chain.width
        if len(shape) != 2 or shape[0] not in (0, -1) or shape == [-1, -1] or not last:
            refuse(_name(node), f"it reshapes to {shape}", "only samples can be flattened")
        return given[0]

    def _cast(self, node: Any, given: list[Any]) -> Value:
        real = (self._onnx.TensorProto.FLOAT, self._onnx.TensorProto.DOUBLE)
        if self._attributes(node)["to"] not in real:
            refuse(_name(node), "it casts to another type than float32 and float64", "give a model of float32")
        if np.asarray(given[0].function(POINTS)).dtype.kind != "b":
            return given[0]
        return self.chain.apply(_name(node), lambda t: np.asarray(t, np.float64), given[0])

    def _dropout(self, node: Any, given: list[Any]) -> Value:
        if len(given) > 2 and (not isinstance(given[2], np.ndarray) or bool(given[2])):
            refuse(_name(node), "it is in training mode", "export the model in inference")
        return given[0]

    def _elementwise(self, node: Any, given: list[Any]) -> Value:
        kind = node.op_type
        values = [part for part in given if isinstance(part, Value)]
        arrays = [part for part in given if isinstance(part, np.ndarray) and part.size > 1]
        if arrays and kind in ("Add", "Sub", "Mul", "Div"):
            (array,) = arrays
            vector = array.reshape(-1) if array.size == array.shape[-1] else array
            behind = isinstance(given[1], Value)
            return self.chain.arithmetic(values[0], _name(node), kind.lower(), vector, behind=behind)
        if arrays:
            refuse(_name(node), "its function has other numbers for each neuron", "give one for all")

        if kind in COMPARISONS:
            self.chain.edges.extend(float(part) for part in given if isinstance(part, np.ndarray))

        def function(*parts: np.ndarray) -> np.ndarray:
            queue = iter(parts)
            full = [next(queue) if isinstance(part, Value) else part for part in given]
            # the evaluator wants one type for all
            reals = [None if f is None else f if f.dtype.kind == "b" else f.astype(np.float32) for f in full]
            return np.asarray(self._evaluated(node, reals)[0])

        return self.chain.apply(_name(node), function, *values)

    def _evaluated(self, node: Any, given: Sequence[Any]) -> list[Any]:
        """Return the outputs of a node for known inputs."""
        helper, evaluator = self._onnx.helper, import_extra("onnx.reference", "export", "Reading an ONNX model")
        feeds = {name: part for name, part in zip(node.input, given, strict=True) if name}
        # as a model of its own, as some operators are defined by the types of their inputs
        types = {name: helper.np_dtype_to_tensor_dtype(part.dtype) for name, part in feeds.items()}
        inputs = [helper.make_tensor_value_info(name, types[name], part.shape) for name, part in feeds.items()]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "one", inputs, outputs)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        try:
            return evaluator.ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, feeds)
        except Exception as error:  # the evaluator raises what its operators raise
            return refuse(_name(node), f"onnx cannot evaluate it: {error}", "simplify the model")

    def _attributes(self, node: Any) -> dict[str, Any]:
        return {entry.name: self._onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _needed(nodes: Sequence[Any], output: str) -> list[Any]:
    """Return the nodes that an output depends on, in their order."""
    names, needed = {output}, []
    for node in reversed(nodes):
        if names.intersection(node.output):
            needed.append(node)
            names.update(node.input)
    return needed[::-1]


def _name(node: Any) -> str:
    return node.name or node.output[0]
