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

from hntk._utils.atomic_file import replacing
from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import GaussianBump
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.data.normalization import check_normalization
from hntk.deploy.exportable import check_folder, check_integers, check_labels
from hntk.deploy.onnx_graph import Graph, WeightType, onnx_type
from hntk.deploy.roundable import check_readout
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded

if TYPE_CHECKING:
    from onnx import ModelProto

# bytes of weights; the rest has room beside them in the 2 GiB that protobuf has
LARGEST = 2**31 - 2**24
# INT2 came with opset 25; DequantizeLinear of a whole matrix by one scale, with 13
OPSETS: dict[WeightType, tuple[int, int]] = {"int2": (25, 13), "int8": (13, 8)}


def to_onnx(classifier: IntegerClassifier | Classifier, weights: WeightType = "int2") -> ModelProto:
    """The model: ``input``, raw samples where the normalisation is known, to ``scores`` and ``label``.

    Parameters
    ----------
    classifier : of whole numbers (:func:`hntk.to_integers`), whose scores are such in float64; or of float32.
    weights : the type of weights that are not float32; ``"int2"`` (opset 25) cannot hold int8 weights.

    Labels that are text become strings, booleans and real numbers keep their types, and whole numbers become int64,
    or uint64 where that does not hold them.

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError
        If this is no classifier.
    ValueError
        If the type cannot hold the weights, ONNX has no function for an activation, a number or a label cannot be, or
        the model is larger than a file of ONNX may be.
    """
    if not isinstance(weights, str) or weights not in OPSETS:
        raise ValueError(f"weights must be one of {', '.join(OPSETS)}, got {weights!r:.60}.")
    whole = isinstance(classifier, IntegerClassifier)
    given = check_integers(classifier) if whole else _check_floats(classifier)
    if weights == "int2" and any(w.kind == "int8" for w in classifier.network.weights):
        raise ValueError("2 bits do not hold int8 weights: use weights='int8'.")
    try:
        from onnx import TensorProto, checker, helper
    except ImportError as error:
        raise ImportError("writing ONNX needs the package onnx: pip install 'hntk[export]'.") from error
    _check_size(classifier, weights)
    graph = Graph()
    (_of_integers if whole else _of_floats)(graph, classifier, weights)  # type: ignore[arg-type]
    best = graph.node("ArgMax", ["scores"], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("labels", _labels(given)), best], "label")
    pixels = whole and isinstance(classifier.network.inputs, Pixels)
    size = classifier.network.weights[0].shape[1]
    inputs = [helper.make_tensor_value_info("input", onnx_type(np.uint8 if pixels else np.float32), ["n", size])]
    scores = onnx_type(np.float64 if whole else np.float32)
    labels = TensorProto.STRING if given.dtype.kind == "U" else onnx_type(_labels(given).dtype)
    outputs = [
        helper.make_tensor_value_info("scores", scores, ["n", given.size]),
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
    """Write the model, at once or not at all, and return its number of bytes.

    Raises
    ------
    ImportError, TypeError, ValueError
        As :func:`to_onnx` does.
    OSError
        If there is no such folder, or it cannot be written to.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must name a file, not be {type(path).__name__}: give text or a pathlib.Path.")
    check_folder(Path(path).parent)
    data = to_onnx(classifier, weights).SerializeToString()
    with replacing(Path(path)) as part:
        part.write_bytes(data)
    return len(data)


def _of_integers(graph: Graph, classifier: IntegerClassifier, weights: WeightType) -> None:
    network = classifier.network
    h = _take(graph, network.inputs)
    for number, (w, steps) in enumerate(zip(network.weights, network.reachable, strict=True), 1):
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
        if known.whitening is not None:
            h = graph.node("Gemm", [h, graph.constant("whitening", np.asarray(known.whitening, np.float32))])
        if known.unit_norm:
            h = graph.node("LpNormalization", [h], axis=1, p=2)
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


def _labels(given: np.ndarray) -> np.ndarray:
    """Labels of a type that ONNX has."""
    kind = given.dtype.kind
    if kind == "U":
        return given.astype(object)
    if kind in "iu":
        return given.astype(np.int64 if max(given.tolist()) < 2**63 else np.uint64)
    return given if given.dtype in (np.bool_, np.float32, np.float64) else given.astype(np.float32)


def _check_floats(classifier: object) -> np.ndarray:
    """Labels of a classifier in float32 whose parts fit each other."""
    if not isinstance(classifier, Classifier):
        raise TypeError(
            f"a classifier is needed, not {type(classifier).__name__}: fit a readout, for instance with hntk.fit_ridge."
        )
    labels = check_labels(classifier.classes)
    check_readout(classifier)
    check_normalization(classifier.normalization, classifier.network.inputs)
    return labels


def _check_size(classifier: IntegerClassifier | Classifier, weights: WeightType) -> None:
    """Refuse what one file of ONNX cannot hold."""
    bits = {"float32": 32}
    size = sum(w.values.size * bits.get(w.kind, int(weights[3:])) // 8 for w in classifier.network.weights)
    if size > LARGEST:
        raise ValueError(
            f"the weights take {size:,} bytes, and a file of ONNX holds 2 GB: use weights='int2', or write C or "
            "hntk.save's own files."
        )
