"""Models of Keras against themselves, with JAX or torch below."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores

if find_spec("keras") is not None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
keras: Any = pytest.importorskip("keras")
layers: Any = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore")
NIGHTLY = pytest.mark.nightly
SAMPLES = X.astype(np.float32)


def sequential(*parts: Any, shape: tuple[int, ...] = (5,)) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *parts])


def outputs(model: Any, x: np.ndarray = SAMPLES) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model(x)))


@NIGHTLY
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("relu", "relu"),
        ("gelu", "gelu"),
        ("silu", "silu"),
        ("elu", "elu"),
        ("selu", "selu"),
        ("tanh", "tanh"),
        ("softplus", "softplus"),
        ("leaky_relu", "leaky_relu(0.2)"),
        ("hard_sigmoid", "ramp(0.166667, 0.5, 0, 1)"),
        ("exponential", "exp"),
    ],
)
def test_activations_of_dense_layers(given: str, name: str) -> None:
    model = sequential(layers.Dense(8, activation=given, bias_initializer="normal"), layers.Dense(3))
    found = hntk.from_model(model, x=X)
    assert found.network.activations[0].name == name
    assert_scores(found, outputs(model))


def test_normalisation_rescaling_and_layers_that_are_activations() -> None:
    model = sequential(
        layers.BatchNormalization(),
        layers.Rescaling(0.3, 0.1),
        layers.Dense(8, bias_initializer="normal"),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Dropout(0.5),
        layers.Dense(8),
        layers.ReLU(max_value=3),
        layers.BatchNormalization(),
        layers.Dense(3),
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    assert_scores(hntk.from_model(model, x=X), outputs(model))
    adapted = layers.Normalization()
    adapted.adapt(3 * X + 1)
    model = sequential(adapted, layers.Dense(8, "relu"), layers.Dense(2))
    assert_scores(hntk.from_model(model, x=X), outputs(model))


@NIGHTLY
def test_functional_models_nested_models_and_links() -> None:
    start = keras.Input((2, 4))
    hidden = sequential(layers.Dense(8, "relu"), shape=(8,))(layers.Flatten()(start))
    model = keras.Model(start, layers.Dense(1, "sigmoid")(hidden))
    images = np.random.default_rng(0).normal(size=(10, 2, 4))
    shares = outputs(model, images)
    found = hntk.from_model(model, x=images)
    assert found.classes.tolist() == [0, 1]
    assert_scores(found, np.log(shares / (1 - shares)), images)
    model = sequential(layers.Dense(8, "relu"), layers.Dense(3, "softmax"))
    found = hntk.from_model(model, x=X)
    np.testing.assert_allclose(np.argmax(outputs(model), axis=1), found.predict(X))


class Own(keras.Model):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


@NIGHTLY
def test_what_cannot_be_read_is_refused_by_name() -> None:
    start = keras.Input((5,))
    hidden = layers.Dense(8, "relu")(start)
    joined = layers.Add(name="joining")([hidden, layers.Dense(8)(hidden)])
    assert_refused(keras.Model(start, layers.Dense(2)(joined)), "'joining'", "joins 2 branches")
    convolved = sequential(layers.Conv1D(3, 2, name="conv"), layers.Flatten(), layers.Dense(2), shape=(5, 1))
    assert_refused(convolved, "'conv'", "Conv1D")
    assert_refused(sequential(layers.Dense(4), layers.LayerNormalization(name="ln"), layers.Dense(2)), "'ln'")
    assert_refused(sequential(layers.Dense(4, name="wide"), layers.Flatten(), shape=(5, 2)), "'wide'", "Flatten")
    assert_refused(sequential(layers.Dense(4), layers.PReLU(name="slopes"), layers.Dense(2)), "'slopes'", "PReLU")
    assert_refused(keras.Sequential([layers.Dense(4), layers.Dense(2)]), "build it")
    assert_refused(Own(), "'Own'", "forward function of its own")
    broken = sequential(layers.Dense(4, "relu", name="broken"), layers.Dense(2))
    broken.layers[0].kernel.assign(np.full((5, 4), np.nan))
    assert_refused(broken, "'broken'", "finite")
    half = sequential(layers.Dense(4, "relu", dtype="mixed_float16", name="half"), layers.Dense(2))
    assert_refused(half, "'half'", "float16")
