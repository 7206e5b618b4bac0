"""Classifiers and regressors of whole numbers in ONNX as products of float32, which every runtime has.

Hidden sums stay below 2²⁴, so that products in float32 are exact in any order, and scores are float64, exact up to 2⁵³.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from hntk.deploy.onnx_graph import Graph
from hntk.deploy.onnx_weights import WeightForms
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.integer_steps import NeuronSteps


def add_portable(graph: Graph, classifier: IntegerReadout, forms: WeightForms) -> None:
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
    h, levels = add_input(graph, network.inputs), []
    for number, steps in enumerate(network.reachable, 1):
        sums = forms.add(graph, h, number, bias=network.bias if number == 1 else None)
        thresholds = np.asarray(steps.table(np.float32)[0]) if isinstance(steps, NeuronSteps) else steps.thresholds
        h = graph.staircase(number, sums, thresholds, steps.levels)
        levels.append(h)
    add_scores(graph, classifier, levels[-len(classifier.read_widths) :])


def add_scores(graph: Graph, classifier: IntegerReadout, levels: Sequence[str]) -> None:
    """Add the output ``scores``, in float64.

    Parameters
    ----------
    graph : Graph
        The graph.
    classifier : IntegerClassifier or IntegerRegressor
        The classifier or regressor.
    levels : sequence of str
        Names of the levels of the layers that are read; in float32 where there are several, or shifts.
    """
    # Powers of two times whole numbers of 16 bits are exact in float32.
    shifts = classifier.shifts or (0,) * len(levels)
    shifted = [graph.node("Mul", [h, graph.number(2.0**s)]) if s else h for h, s in zip(levels, shifts, strict=True)]
    readout = graph.cast(graph.constant("readout", np.ascontiguousarray(classifier.readout.T)), np.float64)
    offset = graph.constant("offset", classifier.offset.astype(np.float64))
    values = graph.cast(graph.joined(shifted), np.float64)
    graph.node("Add", [graph.node("MatMul", [values, readout]), offset], "scores")


def add_input(graph: Graph, inputs: Pixels | PooledPixels | Rounded) -> str:
    """Add the input as whole numbers in float32."""
    if isinstance(inputs, PooledPixels):
        return add_pooled(graph, inputs, np.float32)
    if isinstance(inputs, Pixels):
        pixels = graph.cast("input", np.float32)
        if inputs.centre is not None:
            pixels = graph.node("Sub", [pixels, graph.constant("centre", np.asarray(inputs.centre, np.float32))])
        return graph.node("Mul", [pixels, graph.constant("fine", np.float32(inputs.fine))])
    moved = graph.node("Sub", ["input", graph.constant("centre", np.asarray(inputs.centre, np.float32))])
    scaled = graph.node("Mul", [moved, graph.constant("factor", np.asarray(inputs.factor, np.float32))])
    bounds = [graph.constant(name, np.float32(v)) for name, v in (("least", inputs.least), ("most", inputs.most))]
    return graph.node("Clip", [graph.node("Round", [scaled]), *bounds])


def add_pooled(graph: Graph, inputs: PooledPixels, dtype: type[np.generic]) -> str:
    """Add the rounded means of cells in a type: sums in float32, below 2²⁴, and a division of whole numbers."""
    overlaps = [part.astype(np.float32) for part in inputs.overlaps]
    rows = graph.constant("rows", overlaps[0])
    columns = graph.constant("columns", np.ascontiguousarray(overlaps[1].T))
    images = graph.reshaped(graph.cast("input", np.float32), (-1, *inputs.shape))
    sums = graph.cast(graph.node("MatMul", [rows, graph.node("MatMul", [images, columns])]), np.int32)
    area, twice = graph.constant("area", np.int32(inputs.area)), graph.constant("twice_area", np.int32(2 * inputs.area))
    doubled = graph.node("Add", [graph.node("Add", [sums, sums]), area])
    rounded = graph.cast(graph.node("Div", [doubled, twice]), dtype)
    return graph.reshaped(rounded, (-1, prod(inputs.pooled)))
