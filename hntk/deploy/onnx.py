"""Classifiers as ONNX models: weights of 2 bits, of 8 bits for runtimes without such a type, or float32.

Orthogonal blocks become Walsh–Hadamard transforms, where their signs and permutations take fewer bytes than explicit
weights. Float models have biases, residual branches and normalisation where the network has them.

A classifier of whole numbers predicts in ONNX what :class:`hntk.IntegerClassifier` predicts, to the bit, whether its
products are of bytes or of float32. So does a regressor.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import singledispatch
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hntk._utils.arguments import as_choice
from hntk._utils.atomic_file import replacing
from hntk.activations import Activation, Staircase, activation
from hntk.activations.elementary import GaussianBump
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.data.normalization import Normalization, check_normalization
from hntk.deploy.checks import check_folder, check_integers, check_labels, check_readout, check_readout_of_integers
from hntk.deploy.onnx_bytes import add_fastest
from hntk.deploy.onnx_graph import Graph, WeightType
from hntk.deploy.onnx_integers import add_portable
from hntk.deploy.onnx_transform import TRANSFORMS
from hntk.deploy.onnx_weights import BLOCK_FORMS, BlockForm, WeightForms
from hntk.networks.classifier import Classifier
from hntk.networks.float_readout import FloatReadout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.read_layers import read_widths
from hntk.networks.regressor import Regressor
from hntk.networks.value_bounds import HiddenLayer

if TYPE_CHECKING:
    from onnx import ModelProto

# INT2 came with opset 25, additions of bytes with 14, and all else with 13
OPSETS: dict[WeightType, tuple[int, int]] = {"int2": (25, 13), "int8": (13, 8)}
BYTES_OPSET = (14, 8)
ProductForm = Literal["fastest", "portable"]
PRODUCT_FORMS = ("fastest", "portable")
# activations that ONNX has an operator for
OPERATORS = {"cos": "Cos", "sin": "Sin", "erf": "Erf", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus"}


def to_onnx(
    classifier: IntegerClassifier | IntegerRegressor | Classifier | Regressor,
    weights: WeightType = "int2",
    *,
    blocks: BlockForm = "smaller",
    form: ProductForm = "fastest",
) -> ModelProto:
    """Return an ONNX model with the input ``input`` and the outputs ``scores`` and ``label``, or ``prediction``.

    The input is (n, p) raw samples, or normalised ones where the classifier has no normalisation. Labels that are text
    become strings, booleans and real numbers keep their types, and whole numbers become int64, or uint64 where int64
    does not hold them. A regressor has no labels: its predictions have the shape that its ``predict`` gives, and are
    float64, or float32 where it is of float32.

    Parameters
    ----------
    classifier : IntegerClassifier, IntegerRegressor, Classifier or Regressor
        A classifier or regressor of whole numbers (:func:`hntk.to_integers`), whose scores are whole numbers in
        float64; or one of float32.
    weights : {"int2", "int8"}
        The type of explicit weights that are not float32. ``"int2"`` needs opset 25 and cannot hold int8 weights.
        Models without explicit weights of this type need opset 14, or 13 in the portable form.
    blocks : {"smaller", "transform", "explicit"}
        What orthogonal blocks become: a Walsh–Hadamard transform made of standard operators, explicit weights, or the
        one of both that takes fewer bytes, layer by layer. In onnxruntime transforms are faster from widths of about
        1,000 on, and explicit weights below.
    form : {"fastest", "portable"}
        How whole numbers are multiplied, with the same scores to the bit. ``"fastest"`` multiplies bytes by
        MatMulInteger and keeps levels as bytes, which is fastest in onnxruntime. ``"portable"`` multiplies them in
        float32, for runtimes without MatMulInteger or arithmetic of bytes. Both consist of ONNX's own operators.
        Classifiers and regressors in float32 have one form.

    Returns
    -------
    onnx.ModelProto
        The model, which onnx has checked.

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError
        If this is no classifier or regressor.
    ValueError
        If the type cannot hold the weights, ONNX has no function for an activation, a number or a label cannot be
        written, or the model is larger than an ONNX file may be.

    Examples
    --------
    >>> import jax, hntk
    >>> from hntk.deploy import to_onnx
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> model = to_onnx(hntk.to_integers(hntk.fit_ridge(net, data.x, data.labels), x=data.x))
    >>> [output.name for output in model.graph.output]
    ['scores', 'label']
    """
    if not isinstance(weights, str) or weights not in OPSETS:
        raise ValueError(f"weights must be one of {', '.join(OPSETS)}, got {weights!r:.60}.")
    as_choice(blocks, "blocks", BLOCK_FORMS)
    as_choice(form, "form", PRODUCT_FORMS)
    integers, labels = isinstance(classifier, IntegerReadout), _checked_labels(classifier)
    if isinstance(classifier, IntegerReadout):
        classifier = replace(classifier, network=_without_unreached(classifier.network))
    matrices = classifier.network.matrices
    if weights == "int2" and any(w.kind == "int8" for w in matrices):
        raise ValueError("2 bits do not hold int8 weights: use weights='int8'.")
    graph = Graph()
    forms = WeightForms.of(matrices, weights, blocks)
    forms.check_size()
    by_bytes = integers and form == "fastest"
    add = (add_fastest if by_bytes else add_portable) if integers else _add_floats
    add(graph, classifier, forms)  # type: ignore[arg-type]
    network = classifier.network
    pixels = isinstance(network, IntegerNetwork) and isinstance(network.inputs, Pixels | PooledPixels)
    size = network.raw_size if isinstance(network, IntegerNetwork) else matrices[0].shape[1]
    graph.input("input", np.uint8 if pixels else np.float32, ["n", size])
    graph.output("scores", np.float64 if integers else np.float32, ["n", classifier.offset.shape[0]])
    if labels is None:
        _add_prediction(graph, classifier)  # type: ignore[arg-type]
    else:
        _add_label(graph, labels)
    model = graph.model(*max(OPSETS[weights if forms.typed else "int8"], BYTES_OPSET if by_bytes else (0, 0)))
    if integers and any(forms.transforms):
        # by which hntk.interchange.from_onnx reads them back
        model.metadata_props.add(key=TRANSFORMS, value=json.dumps(forms.layouts, separators=(",", ":")))
    return model


def write_onnx(
    classifier: IntegerClassifier | IntegerRegressor | Classifier | Regressor,
    path: str | os.PathLike[str],
    weights: WeightType = "int2",
    *,
    blocks: BlockForm = "smaller",
    form: ProductForm = "fastest",
) -> int:
    """Write the model of :func:`to_onnx` to a file, as a whole or not at all.

    Parameters
    ----------
    classifier : IntegerClassifier, IntegerRegressor, Classifier or Regressor
        The classifier or regressor.
    path : path
        The file, in an existing folder.
    weights : {"int2", "int8"}
        The type of explicit weights that are not float32.
    blocks : {"smaller", "transform", "explicit"}
        What orthogonal blocks become, see :func:`to_onnx`.
    form : {"fastest", "portable"}
        How whole numbers are multiplied, see :func:`to_onnx`.

    Returns
    -------
    int
        Bytes of the file.

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
    data = to_onnx(classifier, weights, blocks=blocks, form=form).SerializeToString()
    with replacing(Path(path)) as part:
        part.write_bytes(data)
    return len(data)


def _without_unreached(network: IntegerNetwork) -> IntegerNetwork:
    """Return the network without cells that no sum reaches; the sums of a layer shrink with the levels before it."""
    while True:
        tables = [[steps.table(np.float64) for steps in layers] for layers in (network.steps, network.reachable)]
        if all(np.array_equal(a, b) for pair in zip(*tables, strict=True) for a, b in zip(*pair, strict=True)):
            return network
        network = replace(network, steps=network.reachable)


def _add_label(graph: Graph, labels: np.ndarray) -> None:
    """Add the label of the largest score as an output."""
    best = graph.node("ArgMax", ["scores"], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("labels", labels), best], "label")
    graph.output("label", labels.dtype, ["n"])


def _add_prediction(graph: Graph, regressor: IntegerRegressor | Regressor) -> None:
    """Add the predictions of a regressor as an output."""
    single = regressor.offset.shape[0] == 1
    scores, integers = graph.reshaped("scores", (-1,)) if single else "scores", isinstance(regressor, IntegerRegressor)
    if isinstance(regressor, IntegerRegressor):
        unit = graph.constant("unit", np.asarray(regressor.unit, np.float64))
        graph.node("Mul", [scores, unit], "prediction")
    else:
        graph.node("Identity", [scores], "prediction")
    shape = ["n"] if single else ["n", regressor.offset.shape[0]]
    graph.output("prediction", np.float64 if integers else np.float32, shape)


def _add_floats(graph: Graph, classifier: FloatReadout, forms: WeightForms) -> None:
    """Add the scores of a float classifier or regressor."""
    h, values = "input" if classifier.normalization is None else _normalized(graph, classifier.normalization), []
    # the forms of branches follow those of all layers
    outer = count(len(classifier.network.weights) + 1)
    for number, layer in enumerate(classifier.network.layers(), 1):
        rows = h if layer.normalize is None else _unit_rows(graph, h, layer)
        bias = None if layer.bias is None else np.asarray(layer.bias)
        sums = forms.add(graph, rows, number, alpha=layer.sums_factor, bias=bias)
        level = _add_activation(layer.activation, graph, number, sums)
        f = graph.node("Sub", [level, graph.constant(f"mean{number}", np.float32(layer.centre))])
        if layer.branch is not None:
            state = h if layer.carried == 1.0 else graph.node("Mul", [h, graph.number(layer.carried)])
            f = graph.node("Add", [state, forms.add(graph, f, next(outer), alpha=layer.branch_factor)])
        h = f
        values.append(h)
    read = read_widths(classifier.network.widths, classifier.layers)
    sizes = np.sqrt(np.repeat(read, read)).astype(np.float32)[:, None]
    readout = graph.constant("readout", classifier.weights.astype(np.float32) / sizes)
    offset = graph.constant("offset", classifier.offset.astype(np.float32))
    graph.node("Gemm", [graph.joined(values[-len(read) :]), readout, offset], "scores")


def _normalized(graph: Graph, normalization: Normalization) -> str:
    """Add the normalised input."""
    moved = graph.node("Sub", ["input", graph.constant("centre", np.asarray(normalization.centre, np.float32))])
    h = graph.node("Div", [moved, graph.constant("scale", np.float32(normalization.scale))])
    if normalization.whitening is not None:
        h = graph.node("Gemm", [h, graph.constant("whitening", np.asarray(normalization.whitening, np.float32))])
    return graph.node("LpNormalization", [h], axis=1, p=2) if normalization.unit_norm else h


def _unit_rows(graph: Graph, h: str, layer: HiddenLayer) -> str:
    """Add a layer's input as rows of norm 1, less their means before that where it asks for it."""
    if layer.normalize == "layer":
        total = graph.node("ReduceSum", [h, graph.shared("columns", np.array([1], np.int64))], keepdims=1)
        mean = graph.node("Mul", [total, graph.number(1 / layer.weights.shape[1])])
        h = graph.node("Sub", [h, mean])
    return graph.node("LpNormalization", [h], axis=1, p=2)


@singledispatch
def _add_activation(sigma: Activation, graph: Graph, number: int, t: str) -> str:
    """Add σ(t) of layer ``number``; one function for each class of activations that ONNX has no operator for."""
    if sigma.name == "silu":
        return graph.node("Mul", [t, graph.node("Sigmoid", [t])])
    if sigma.name not in OPERATORS or sigma != activation(sigma.name):
        raise ValueError(
            f"ONNX has no function for the activation {sigma.name!r}: compress the network, whose staircases it has."
        )
    return graph.node(OPERATORS[sigma.name], [t])


@_add_activation.register
def _(sigma: Staircase, graph: Graph, number: int, t: str) -> str:
    return graph.staircase(number, t, sigma.thresholds, sigma.levels)


@_add_activation.register
def _(sigma: Rectifier, graph: Graph, number: int, t: str) -> str:
    if sigma.odd == sigma.even == 0.5:
        return graph.node("Relu", [t])
    odd = graph.node("Mul", [t, graph.number(sigma.odd)])
    return graph.node("Add", [odd, graph.node("Mul", [graph.node("Abs", [t]), graph.number(sigma.even)])])


@_add_activation.register
def _(sigma: Polynomial, graph: Graph, number: int, t: str) -> str:
    total = graph.number(sigma.coefficients[-1])
    for c in sigma.coefficients[-2::-1]:
        total = graph.node("Add", [graph.node("Mul", [total, t]), graph.number(c)])
    return total


@_add_activation.register
def _(sigma: GaussianBump, graph: Graph, number: int, t: str) -> str:
    return graph.node("Exp", [graph.node("Mul", [graph.node("Mul", [t, t]), graph.number(-0.5)])])


def _checked_labels(classifier: object) -> np.ndarray | None:
    """Return the labels of what fits together, None for a regressor."""
    if isinstance(classifier, IntegerRegressor):
        check_readout_of_integers(classifier)
        return None
    labels = check_integers(classifier) if isinstance(classifier, IntegerReadout) else _check_floats(classifier)
    return None if labels is None else _onnx_labels(labels)


def _onnx_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels in a type that ONNX has; text as objects."""
    kind = labels.dtype.kind
    if kind == "U":
        return labels.astype(object)
    if kind in "iu":
        return labels.astype(np.int64 if max(labels.tolist()) < 2**63 else np.uint64)
    return labels if labels.dtype in (np.bool_, np.float32, np.float64) else labels.astype(np.float32)


def _check_floats(classifier: object) -> np.ndarray | None:
    """Return the labels of a float classifier whose parts fit each other; None for a regressor."""
    if not isinstance(classifier, FloatReadout):
        raise TypeError(
            f"a classifier is needed, not {type(classifier).__name__}: fit a readout, for instance with hntk.fit_ridge."
        )
    labels = check_labels(classifier.classes) if isinstance(classifier, Classifier) else None
    check_readout(classifier)
    check_normalization(classifier.normalization, classifier.network.inputs)
    return labels
