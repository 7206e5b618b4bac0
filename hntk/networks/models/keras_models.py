"""Keras: sequential and functional models whose layers follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hntk._utils.extras import import_extra
from hntk.networks.models.chain import Chain, Value, normalised
from hntk.networks.models.records import refuse
from hntk.networks.models.source import Options, Source, refuse_options, words

# layers that change nothing in inference
UNCHANGED = words(
    "InputLayer Dropout AlphaDropout GaussianDropout GaussianNoise SpatialDropout1D ActivityRegularization Identity"
)
# layers that are functions of single numbers
FUNCTIONS = words("Activation ReLU LeakyReLU ELU")


def read(model: Any, options: Options) -> Source:
    """Read a model of Keras, as it predicts.

    Parameters
    ----------
    model : keras.Model
        A sequential or functional model of one input and one output.
    options : Options
        No variables.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ValueError
        If it has not been built, is a subclass with a forward function of its own, or no chain of dense layers.
    """
    keras = import_extra("keras", "models", "Reading a Keras model")
    refuse_options(options, "a Keras model")
    chain = Chain()
    reading = _Model(keras, chain)
    value = reading.run(model, chain.input)
    to_numpy = keras.ops.convert_to_numpy
    return Source(chain.close(value), lambda x: to_numpy(model(x.astype(np.float32), training=False)))


class _Model:
    """The reading of one model, layer by layer."""

    def __init__(self, keras: Any, chain: Chain) -> None:
        self._keras, self._chain = keras, chain

    def run(self, model: Any, value: Value) -> Value:
        """Return what a model makes of a value."""
        for layer in self._in_order(model):
            nested = isinstance(layer, self._keras.Model)
            value = self.run(layer, value) if nested else self._layer(layer, value)
        return value

    def _in_order(self, model: Any) -> Iterator[Any]:
        """Yield the layers from the input to the output."""
        functional = isinstance(model, self._keras.Sequential) or type(model).__name__ == "Functional"
        if not functional:
            raise ValueError(
                f"the model {type(model).__name__!r} has a forward function of its own, which Keras does not show: "
                "give a Sequential or functional model, or export it with model.export(path, format='onnx')."
            )
        if not model.built or not getattr(model, "inputs", None):
            raise ValueError("the Keras model has no parameters yet: build it, or call it on some samples once.")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError("the Keras model has more than one input or output: only chains of layers can be read.")
        if isinstance(model, self._keras.Sequential):
            return iter(model.layers)
        return reversed(list(self._backwards(model)))

    def _backwards(self, model: Any) -> Iterator[Any]:
        """Yield the layers of a functional model from its output to its input."""
        tensor = model.outputs[0]
        while tensor is not model.inputs[0]:
            layer = next(op for op in model.operations if any(out is tensor for out in _tensors(op, "output")))
            yield layer
            inputs = _tensors(layer, "input")
            if len(inputs) != 1:
                refuse(layer.name, f"it joins {len(inputs)} branches", "only chains of layers can be read")
            (tensor,) = inputs

    def _layer(self, layer: Any, value: Value) -> Value:
        kind = type(layer).__name__
        if getattr(layer, "compute_dtype", "float32") not in ("float32", "float64"):
            refuse(layer.name, f"it computes in {layer.compute_dtype}", "give a model of the dtype policy 'float32'")
        if kind in UNCHANGED:
            return value
        if kind == "Flatten" or (kind == "Reshape" and len(layer.target_shape) == 1):
            return value
        if kind == "Dense":
            return self._dense(layer, value)
        if kind == "BatchNormalization":
            return self._batch_norm(layer, value)
        if kind == "Rescaling":
            return self._chain.affine(value, layer.name, _one_row(layer.scale), _one_row(layer.offset))
        if kind == "Normalization" and layer.mean is not None and not layer.invert:
            mean, variance = (part.reshape(-1) for part in self._numbers(layer.mean, layer.variance))
            spread = np.maximum(np.sqrt(variance), self._keras.config.epsilon())
            return self._chain.affine(value, layer.name, 1 / spread, -mean / spread)
        if kind == "Softmax":
            return self._chain.last(value, layer.name, "softmax")
        if kind in FUNCTIONS:
            return self._function(value, layer.name, layer.activation if kind == "Activation" else layer)
        return refuse(layer.name, f"it is a {kind}", "only chains of dense layers can be read")

    def _dense(self, layer: Any, value: Value) -> Value:
        if len(layer.input.shape) != 2:
            refuse(layer.name, f"it takes arrays of shape {layer.input.shape}", "put a Flatten before it")
        kernel, bias = self._numbers(layer.kernel, layer.bias)
        value = self._chain.dense(value, layer.name, kernel.T, bias)
        return self._function(value, layer.name, layer.activation)

    def _batch_norm(self, layer: Any, value: Value) -> Value:
        axis = layer.axis if isinstance(layer.axis, int) else -1
        if axis not in (-1, len(layer.input.shape) - 1) or len(layer.input.shape) != 2:
            refuse(layer.name, f"it normalises axis {axis} of {layer.input.shape}", "normalise the last axis of two")
        numbers = self._numbers(layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        return self._chain.affine(value, layer.name, *normalised(numbers, layer.epsilon))

    def _numbers(self, *variables: Any) -> list[Any]:
        """Return variables as arrays of NumPy; None stays None."""
        return [None if part is None else self._keras.ops.convert_to_numpy(part) for part in variables]

    def _function(self, value: Value, name: str, function: Any) -> Value:
        called = getattr(function, "__name__", "")
        if function is None or called == "linear":
            return value
        if called in ("softmax", "log_softmax"):
            return self._chain.last(value, name, called)
        keras = self._keras

        def of_arrays(t: np.ndarray) -> np.ndarray:
            return np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(t, "float32"))))

        return self._chain.apply(name, of_arrays, value)


def _tensors(layer: Any, which: str) -> list[Any]:
    """Return the inputs or outputs of a layer that is used once."""
    try:
        found = getattr(layer, which)
    except (AttributeError, ValueError):
        return refuse(layer.name, "it is used more than once", "only chains of layers can be read")
    return list(found) if isinstance(found, list | tuple) else [found]


def _one_row(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, np.float64).reshape(-1)
