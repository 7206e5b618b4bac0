"""Multi-layer perceptrons of scikit-learn: MLPClassifier and MLPRegressor, alone or behind scalers in a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from hntk.networks.models.chain import Chain, Value, unchanged
from hntk.networks.models.records import refuse
from hntk.networks.models.source import Options, Source, refuse_options

FUNCTIONS = {
    "identity": unchanged,
    "relu": lambda t: np.maximum(t, 0),
    "tanh": np.tanh,
    "logistic": lambda t: scipy.special.expit(t),
    "exp": np.exp,
}


def read(model: Any, options: Options) -> Source:
    """Read a multi-layer perceptron of scikit-learn.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor or Pipeline
        The fitted model; of a pipeline, scalers may come before it.
    options : Options
        No variables.

    Returns
    -------
    Source
        The model, with the labels that it was fitted on.

    Raises
    ------
    ValueError
        If it is another estimator, or not fitted.
    """
    refuse_options(options, "a scikit-learn model")
    chain = Chain()
    steps = [*model.steps] if type(model).__name__ == "Pipeline" else [("", model)]
    value, (_, last) = chain.input, steps[-1]
    for name, scaler in steps[:-1]:
        value = _scaled(chain, value, name, scaler)
    if not hasattr(last, "out_activation_"):
        known = type(last).__name__ in ("MLPClassifier", "MLPRegressor")
        remedy = (
            "fit it first" if known else "only MLPClassifier and MLPRegressor are read, and pipelines ending in one"
        )
        refuse(type(last).__name__, "it has no layers", remedy)
    for number, (weights, bias) in enumerate(zip(last.coefs_, last.intercepts_, strict=True), 1):
        value = chain.dense(value, f"coefs_[{number - 1}]", weights.T, bias)
        final = number == len(last.coefs_)
        kind = last.out_activation_ if final else last.activation
        if kind == "softmax":
            value = chain.last(value, "out_activation_", kind)
        else:
            value = chain.apply("out_activation_" if final else "activation", FUNCTIONS[kind], value)
    classes = getattr(last, "classes_", None)
    return Source(chain.close(value), lambda x: _outputs(model, x), classes)


def _outputs(model: Any, x: np.ndarray) -> np.ndarray:
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(x))
    shares = np.asarray(model.predict_proba(x))
    binary = shares.shape[1] == 2 and len(model.classes_) == 2
    # of two classes the model has one output
    return shares[:, 1:] if binary and _readout(model).n_outputs_ == 1 else shares


def _readout(model: Any) -> Any:
    return model.steps[-1][1] if hasattr(model, "steps") else model


def _scaled(chain: Chain, value: Value, name: str, scaler: Any) -> Value:
    """Read a scaler of a pipeline."""
    kind = type(scaler).__name__
    if kind in ("NoneType", "str"):  # "passthrough"
        return value
    if kind == "StandardScaler":
        scale = 1.0 if scaler.scale_ is None else 1 / scaler.scale_
        centre = 0.0 if scaler.mean_ is None or not scaler.with_mean else scaler.mean_
        return chain.affine(value, name, scale, -centre * scale)
    if kind == "MinMaxScaler" and not scaler.clip:
        return chain.affine(value, name, scaler.scale_, scaler.min_)
    if kind == "MaxAbsScaler" and not getattr(scaler, "clip", False):
        return chain.affine(value, name, 1 / scaler.scale_)
    return refuse(
        name,
        f"it is a {kind}",
        "of transformers, StandardScaler, MinMaxScaler and MaxAbsScaler are read: apply this one to x before, and give "
        "the perceptron alone",
    )
