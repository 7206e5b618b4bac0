"""Classifiers as ONNX models: weights of 2 bits, or of 8 for runtimes that have no type so small, or float32.

Of whole numbers hidden sums stay below 2²⁴, so that float32 products are exact in any order, and scores are float64,
exact up to 2⁵³: the model predicts what :class:`hntk.IntegerClassifier` does, to the bit.
"""

from __future__ import annotations

import os
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import GaussianBump
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.atomic import replacing
from hntk.classifier import Classifier
from hntk.export.graph import Graph, WeightType, onnx_type
from hntk.integers import IntegerClassifier, Pixels, Rounded

if TYPE_CHECKING:
    from onnx import ModelProto

# INT2 came with opset 25; DequantizeLinear of a whole matrix by one scale, with 13
OPSETS: dict[WeightType, tuple[int, int]] = {"int2": (25, 13), "int8": (13, 8)}


def to_onnx(classifier: IntegerClassifier | Classifier, weights: WeightType = "int2") -> ModelProto:
    """The model: ``input``, raw samples where the normalisation is known, to ``scores`` and ``label``.

    Parameters
    ----------
    classifier : of whole numbers (:func:`hntk.to_integers`), whose scores are such in float64; or of float32.
    weights : the type of weights that are not float32; ``"int2"`` (opset 25) cannot hold int8 weights.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the type cannot hold the weights, or ONNX has no function for an activation.
    """
    if weights not in OPSETS:
        raise ValueError(f"weights must be one of {', '.join(OPSETS)}, got {weights!r}.")
    if weights == "int2" and any(w.kind == "int8" for w in classifier.network.weights):
        raise ValueError("2 bits do not hold int8 weights: use weights='int8'.")
    try:
        from onnx import TensorProto, checker, helper
    except ImportError as error:
        raise ImportError("writing ONNX needs the package onnx: pip install 'hntk[export]'.") from error
    graph = Graph()
    whole = isinstance(classifier, IntegerClassifier)
    (_of_integers if whole else _of_floats)(graph, classifier, weights)  # type: ignore[arg-type]
    best = graph.node("ArgMax", ["scores"], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("labels", _labels(classifier.classes)), best], "label")
    pixels = whole and isinstance(classifier.network.inputs, Pixels)
    size = classifier.network.weights[0].shape[1]
    inputs = [helper.make_tensor_value_info("input", onnx_type(np.uint8 if pixels else np.float32), ["n", size])]
    scores, labels = onnx_type(np.float64 if whole else np.float32), TensorProto.STRING
    if np.issubdtype(classifier.classes.dtype, np.integer):
        labels = onnx_type(np.int64)
    outputs = [
        helper.make_tensor_value_info("scores", scores, ["n", len(classifier.classes)]),
        helper.make_tensor_value_info("label", labels, ["n"]),
    ]
    opset, ir = OPSETS[weights]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "hntk", inputs, outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir,
        producer_name="hntk",
    )
    checker.check_model(model, full_check=True)
    return model


def write_onnx(
    classifier: IntegerClassifier | Classifier, path: str | os.PathLike[str], weights: WeightType = "int2"
) -> int:
    """Write the model, at once or not at all, and return its number of bytes."""
    data = to_onnx(classifier, weights).SerializeToString()
    with replacing(Path(path)) as part:
        part.write_bytes(data)
    return len(data)


def _of_integers(graph: Graph, classifier: IntegerClassifier, weights: WeightType) -> None:
    network = classifier.network
    h = _take(graph, network.inputs)
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True), 1):
        sums = graph.product(h, number, w, weights, bias=network.bias if number == 1 else None)
        h = graph.staircase(number, sums, steps.thresholds, steps.levels)
    readout = graph.cast(graph.constant("readout", np.ascontiguousarray(classifier.readout.T)), np.float64)
    offset = graph.constant("offset", classifier.offset.astype(np.float64))
    graph.node("Add", [graph.node("MatMul", [graph.cast(h, np.float64), readout]), offset], "scores")


def _take(graph: Graph, inputs: Pixels | Rounded) -> str:
    if isinstance(inputs, Pixels):
        return graph.node("Mul", [graph.cast("input", np.float32), graph.constant("fine", np.float32(inputs.fine))])
    moved = graph.node("Sub", ["input", graph.constant("centre", np.asarray(inputs.centre, np.float32))])
    scaled = graph.node("Mul", [moved, graph.constant("factor", np.float32(inputs.factor))])
    bounds = [graph.constant(name, np.float32(v)) for name, v in (("least", inputs.least), ("most", inputs.most))]
    return graph.node("Clip", [graph.node("Round", [scaled]), *bounds])


def _of_floats(graph: Graph, classifier: Classifier, weights: WeightType) -> None:
    h, known = "input", classifier.normalization
    if known is not None:
        moved = graph.node("Sub", [h, graph.constant("centre", np.asarray(known.centre, np.float32))])
        h = graph.node("Div", [moved, graph.constant("scale", np.float32(known.scale))])
    for number, (w, factor, sigma, m) in enumerate(classifier.network.layers(), 1):
        sums = graph.product(h, number, w, weights, alpha=w.scale * factor)
        h = graph.node("Sub", [_activation(graph, number, sigma, sums), graph.constant(f"mean{number}", np.float32(m))])
    readout = classifier.weights.astype(np.float32) / np.float32(sqrt(classifier.network.widths[-1]))
    offset = graph.constant("offset", classifier.offset.astype(np.float32))
    graph.node("Gemm", [h, graph.constant("readout", readout), offset], "scores")


def _activation(graph: Graph, number: int, sigma: Activation, t: str) -> str:
    """σ(t) by ONNX's own functions."""

    def number_of(value: float) -> str:
        return graph.constant(f"constant{len(graph.initializers)}", np.float32(value))

    if isinstance(sigma, Staircase):
        return graph.staircase(number, t, sigma.thresholds, sigma.levels)
    if isinstance(sigma, Rectifier):
        if sigma.odd == sigma.even == 0.5:
            return graph.node("Relu", [t])
        odd = graph.node("Mul", [t, number_of(sigma.odd)])
        return graph.node("Add", [odd, graph.node("Mul", [graph.node("Abs", [t]), number_of(sigma.even)])])
    if isinstance(sigma, Polynomial):
        total = number_of(sigma.coefficients[-1])
        for c in sigma.coefficients[-2::-1]:
            total = graph.node("Add", [graph.node("Mul", [total, t]), number_of(c)])
        return total
    if isinstance(sigma, GaussianBump):
        return graph.node("Exp", [graph.node("Mul", [graph.node("Mul", [t, t]), number_of(-0.5)])])
    if sigma.name == "silu":
        return graph.node("Mul", [t, graph.node("Sigmoid", [t])])
    plain = {"cos": "Cos", "sin": "Sin", "erf": "Erf", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus"}
    if sigma.name not in plain or sigma != activation(sigma.name):
        raise ValueError(
            f"ONNX has no function for the activation {sigma.name!r}: compress the network, whose staircases it has."
        )
    return graph.node(plain[sigma.name], [t])


def _labels(classes: np.ndarray) -> np.ndarray:
    return classes.astype(np.int64) if np.issubdtype(classes.dtype, np.integer) else classes.astype(object)
