"""Classifiers and regressors of whole numbers, read back from the ONNX models that hntk writes of them.

What is made of a model's constants is written as ONNX once more, and accepted if that gives the same graph: it then
predicts what the model predicts, to the bit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hntk._utils.extras import import_extra
from hntk.deploy.onnx import PRODUCT_FORMS, to_onnx
from hntk.interchange.onnx_constants import Constants
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.models.onnx_models import holds_whole_numbers, load_model
from hntk.networks.models.reading import from_model


def from_onnx(model: Any) -> Classifier | IntegerClassifier | IntegerRegressor:
    """Read an ONNX model: one of whole numbers that hntk wrote, or a chain of dense layers of any origin.

    A classifier or regressor of whole numbers predicts what it predicted before it was written, to the bit. ONNX does
    not hold the unit of a classifier's scores, which becomes 1, nor records of matches, data and training; thresholds
    that no sum reaches were not written either. Other models are read by :func:`hntk.from_model`.

    Parameters
    ----------
    model : path or onnx.ModelProto
        The model or its file.

    Returns
    -------
    IntegerClassifier, IntegerRegressor or Classifier
        What the model computes.

    Raises
    ------
    ImportError
        If onnx is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If this is no ONNX model, one of whole numbers has another graph than this hntk writes, or
        :func:`hntk.from_model` cannot read it.
    """
    onnx = import_extra("onnx", "export", "Reading an ONNX model")
    loaded = load_model(onnx, Path(model)) if isinstance(model, str | os.PathLike) else model
    if not isinstance(loaded, onnx.ModelProto):
        raise ValueError(f"model must be an ONNX model or the path of its file, got {type(loaded).__name__}.")
    return _read(onnx, loaded) if holds_whole_numbers(loaded) else from_model(loaded)


def _read(onnx: Any, model: Any) -> IntegerClassifier | IntegerRegressor:
    """Read a model of whole numbers."""
    types = {tensor.data_type for tensor in model.graph.initializer if tensor.name.startswith("weights")}
    weights = "int2" if onnx.TensorProto.INT2 in types else "int8"
    try:
        graph = _with_casts(onnx, model.graph)
        made = Constants(onnx, model).classifier()
        # what was not read as a transform has explicit weights
        graphs = [to_onnx(made, weights, blocks="transform", form=form).graph for form in PRODUCT_FORMS]
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"the model is none of whole numbers that hntk wrote ({error}): write it again.") from error
    if graph not in graphs:
        raise ValueError(
            "the model has another graph than this hntk writes: read it with the version that wrote it, or write it "
            "again."
        )
    return made


def _with_casts(onnx: Any, graph: Any) -> Any:
    """Return a graph whose weights go through a Cast, where hntk 0.2 wrote a DequantizeLinear with the scale 1."""
    kept = [tensor for tensor in graph.initializer if not tensor.name.removeprefix("one").isdecimal()]
    if len(kept) == len(graph.initializer):
        return graph
    made, names = onnx.GraphProto(), {}
    made.CopyFrom(graph)
    del made.initializer[:]
    made.initializer.extend(kept)
    for node in made.node:
        inputs = [names.get(name, name) for name in node.input]
        if node.op_type == "DequantizeLinear":
            name = names[node.output[0]] = node.output[0].replace("dequantizelinear", "cast")
            node.CopyFrom(onnx.helper.make_node("Cast", inputs[:1], [name], to=onnx.TensorProto.FLOAT))
        else:
            node.input[:] = inputs
    return made
