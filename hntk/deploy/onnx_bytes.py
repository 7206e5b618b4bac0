"""Classifiers and regressors of whole numbers in ONNX as products of bytes, which processors multiply fastest.

Levels and inputs are kept as bytes, or as two where one does not hold them. MatMulInteger multiplies them with weights
of 8 bits into sums of 32 bits: exact in any order, since hidden sums stay below 2²⁴. Staircases compare those sums and
add up jumps between levels, in the type of the levels. All operators are ONNX's own, of opset 14.

On x86 processors without VNNI, onnxruntime adds two products of an unsigned and a signed byte in 16 bits, which can
saturate. With ternary weights such a sum is at most 2 · 255. Weights of 8 bits are written as unsigned bytes, whose
products it adds in 32 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hntk.deploy.onnx_graph import Graph
from hntk.deploy.onnx_integers import add_input, add_pooled, add_scores
from hntk.deploy.onnx_transform import add_transform
from hntk.deploy.onnx_weights import WeightForms
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

INT8, UINT8, UINT16, INT32 = (np.iinfo(t) for t in (np.int8, np.uint8, np.uint16, np.int32))
# Weights of 8 bits are written as bytes less this.
MIDDLE = 128
# A number is 256 high + low − (256 + 1) zero, in two bytes with the same zero point.
TWO_BYTES = 257
# Thresholds up to which one comparison each is faster than a binary search.
MOST_ADDED = 32


class NumberForm(NamedTuple):
    """How whole numbers are stored: as numbers of a type with a zero point added, or 257 times that in uint16.

    Attributes
    ----------
    dtype : type
        int8, uint8, uint16 or float32.
    zero : int
        The zero point.
    """

    dtype: type[np.generic]
    zero: int = 0

    @property
    def added(self) -> int:
        """What is added to a number before it is stored."""
        return self.zero * (TWO_BYTES if self.dtype is np.uint16 else 1)

    @classmethod
    def of_levels(cls, levels: tuple[int, ...], multiplied: bool) -> NumberForm:
        """Return the smallest form of levels and of the jumps between them.

        ``multiplied`` says whether a product of bytes takes them, which needs unsigned ones and can take two of them.
        """
        low, high = min(levels), max(levels)
        steepest = int(np.abs(np.diff(levels)).max(initial=0))
        if not multiplied and INT8.min <= low and max(high, steepest) <= INT8.max:
            return cls(np.int8)
        zero = max(0, -low)
        if max(zero, high + zero) <= UINT8.max:
            return cls(np.uint8, zero)
        zero = -(-zero // TWO_BYTES)
        if multiplied and high + TWO_BYTES * zero <= UINT16.max:
            return cls(np.uint16, zero)
        return cls(np.float32)


class Values(NamedTuple):
    """Numbers in a graph.

    Attributes
    ----------
    name : str
        Their name.
    form : NumberForm
        How they are stored.
    zero_point : str
        Name of the zero point in uint8, or nothing.
    """

    name: str
    form: NumberForm
    zero_point: str = ""


class ByteWeights(NamedTuple):
    """Weights that a product of bytes takes: the names of the matrix and of its zero point, and the outputs."""

    name: str
    zero_point: str
    outputs: int


class Sums(NamedTuple):
    """Sums of a layer: their name and type, and the weights of bytes that made them."""

    name: str
    dtype: type[np.generic]
    weights: ByteWeights | None = None


def add_fastest(graph: Graph, classifier: IntegerReadout, forms: WeightForms) -> None:
    """Add the scores of an integer classifier or regressor.

    Parameters
    ----------
    graph : Graph
        The graph.
    classifier : IntegerClassifier or IntegerRegressor
        The classifier or regressor.
    forms : WeightForms
        How its weights are written.
    """
    network = classifier.network
    # whether a product of bytes takes the input and what each layer gives
    multiplied = [not t and _fits(w) for w, t in zip(forms.matrices, forms.transforms, strict=True)] + [False]
    h, levels = _add_input(graph, network.inputs, multiplied[0]), []
    for number, steps in enumerate(network.reachable, 1):
        sums = _add_sums(graph, h, number, forms, multiplied[number - 1])
        if number == 1:
            sums = _add_shift(graph, sums, network)
        h = _add_levels(graph, number, sums, steps, NumberForm.of_levels(steps.levels, multiplied[number]))
        levels.append(h)
    read = levels[-len(classifier.read_widths) :]
    alone = len(read) == 1 and not any(classifier.shifts) and not read[0].form.zero
    add_scores(graph, classifier, [read[0].name] if alone else [_as_float(graph, part) for part in read])


def _fits(matrix: Weights) -> bool:
    """Return whether sums of products of bytes fit 32 bits before zero points are subtracted."""
    largest = int(matrix.largest_row_sum) + (MIDDLE * matrix.shape[1] if matrix.kind == "int8" else 0)
    return largest * UINT8.max <= INT32.max


def _add_input(graph: Graph, inputs: Pixels | PooledPixels | Rounded, multiplied: bool) -> Values:
    """Add the input. Pixels that a product of bytes takes stay as they are."""
    if isinstance(inputs, PooledPixels):
        return Values(add_pooled(graph, inputs, np.uint8), NumberForm(np.uint8))
    if isinstance(inputs, Pixels) and (multiplied or (inputs.centre is None and inputs.fine == 1)):
        return Values("input", NumberForm(np.uint8))
    whole = add_input(graph, inputs)
    if inputs.most > INT8.max:
        return Values(whole, NumberForm(np.float32))
    if not multiplied:
        return Values(graph.cast(whole, np.int8), NumberForm(np.int8))
    moved = graph.cast(graph.node("Add", [whole, "most"]), np.uint8)
    return _with_zero_point(graph, 0, moved, NumberForm(np.uint8, inputs.most))


def _with_zero_point(graph: Graph, number: int, name: str, form: NumberForm) -> Values:
    """Return numbers of a form, with their zero point as a constant."""
    return Values(name, form, graph.constant(f"zero_point{number}", np.uint8(form.zero)) if form.zero else "")


def _as_float(graph: Graph, h: Values) -> str:
    """Add the numbers in float32."""
    name = h.name if h.form.dtype is np.float32 else graph.cast(h.name, np.float32)
    if not h.form.zero:
        return name
    added = graph.cast(h.zero_point, np.float32)
    added = added if h.form.added == h.form.zero else graph.node("Mul", [added, graph.number(TWO_BYTES)])
    return graph.node("Sub", [name, added])


def _add_sums(graph: Graph, h: Values, number: int, forms: WeightForms, multiplied: bool) -> Sums:
    """Add the sums of a layer."""
    matrix = forms.matrices[number - 1]
    if forms.transforms[number - 1]:
        assert isinstance(matrix, OrthogonalMatrix)
        return Sums(add_transform(graph, h.name, matrix, h.form.dtype, h.zero_point), np.float32)
    if not multiplied or h.form.dtype is np.float32:
        return Sums(graph.product(_as_float(graph, h), number, matrix, forms.kind), np.float32)
    weights = _add_weights(graph, number, matrix, forms)
    return Sums(_add_product(graph, h, weights), np.int32, weights)


def _add_weights(graph: Graph, number: int, matrix: Weights, forms: WeightForms) -> ByteWeights:
    """Add weights as MatMulInteger takes them: (inputs, outputs) bytes."""
    name, values = f"weights{number}", np.ascontiguousarray(np.asarray(matrix.values).T)
    if matrix.kind == "int8":
        stored = graph.constant(name, (values.astype(np.int16) + MIDDLE).astype(np.uint8))
        return ByteWeights(stored, graph.shared("middle", np.uint8(MIDDLE)), matrix.shape[0])
    stored = graph.weights(name, values, forms.kind)
    return ByteWeights(graph.cast(stored, np.int8) if forms.kind == "int2" else stored, "", matrix.shape[0])


def _add_product(graph: Graph, h: Values, weights: ByteWeights) -> str:
    """Add the product of numbers of one or two bytes, in int32."""
    zeros = [h.zero_point, weights.zero_point]
    while zeros and not zeros[-1]:
        zeros.pop()
    if h.form.dtype is np.uint8:
        return graph.node("MatMulInteger", [h.name, weights.name, *zeros])
    # high and low bytes as rows below each other, so that one product reads the weights once
    radix = graph.shared("radix", np.uint16(256))
    high = graph.node("Div", [h.name, radix])
    low = graph.node("Sub", [h.name, graph.node("Mul", [high, radix])])
    both = graph.node("Concat", [graph.cast(high, np.uint8), graph.cast(low, np.uint8)], axis=0)
    sums = graph.reshaped(graph.node("MatMulInteger", [both, weights.name, *zeros]), (2, -1, weights.outputs))
    scaled = graph.node("Mul", [sums, graph.shared("place_values", np.array([[[256]], [[1]]], np.int32))])
    return graph.node("ReduceSum", [scaled, graph.shared("first_axis", np.array([0]))], keepdims=0)


def _add_shift(graph: Graph, sums: Sums, network: IntegerNetwork) -> Sums:
    """Add to the sums of the first layer what the product of pixels as they are leaves out, and the bias."""
    name, inputs = sums.name, network.inputs
    if sums.weights and isinstance(inputs, Pixels):
        if inputs.centre is not None:
            centre = graph.constant("centre", np.asarray(inputs.centre, np.uint8)[None])
            # a product of constants, which runtimes compute once
            name = graph.node("Sub", [name, _add_product(graph, Values(centre, NumberForm(np.uint8)), sums.weights)])
        if inputs.fine != 1:
            name = graph.node("Mul", [name, graph.constant("fine", np.int32(inputs.fine))])
    if network.bias is not None:
        name = graph.node("Add", [name, graph.constant("bias1", np.asarray(network.bias, sums.dtype))])
    return sums._replace(name=name)


def _add_levels(graph: Graph, number: int, sums: Sums, steps: Steps | NeuronSteps, form: NumberForm) -> Values:
    """Add the levels of sums in a form.

    Jumps are added from the lowest threshold on: the number so far is a level of the staircase at every step, and never
    leaves the type.
    """
    thresholds = np.asarray(steps.table(sums.dtype)[0])
    levels = (np.asarray(steps.levels, np.int64) + form.added).astype(form.dtype)
    if len(thresholds) > MOST_ADDED:
        return _with_zero_point(graph, number, graph.searched_staircase(number, sums.name, thresholds, levels), form)
    h = graph.constant(f"level{number}_0", levels[0])
    jumps, run = np.diff(steps.levels).tolist(), ""
    for k, (threshold, jump) in enumerate(zip(thresholds, jumps, strict=True), 1):
        reached = graph.cast(graph.reached(f"from{number}_{k}", sums.name, threshold, sums.dtype), form.dtype)
        run = graph.node("Add", [run, reached]) if run else reached
        # equal jumps in a row are counted first
        if jumps[k : k + 1] != [jump]:
            height = graph.constant(f"{'rise' if jump > 0 else 'fall'}{number}_{k}", form.dtype(abs(jump)))
            h, run = graph.node("Add" if jump > 0 else "Sub", [h, graph.node("Mul", [run, height])]), ""
    if not jumps:
        h = graph.node("Expand", [h, graph.node("Shape", [sums.name])])
    return _with_zero_point(graph, number, h, form)
