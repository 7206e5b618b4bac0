"""Compression of networks and of models that another framework has trained: their scales are taken."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from tests.support.onnx_chains import onnx_model

KEY = jax.random.key(0)
X = np.asarray(hntk.reference_mixture(n=40, p=30, key=KEY).x)


def perceptron() -> object:
    rng = np.random.default_rng(0)
    constants = {"W1": rng.normal(size=(30, 64)) / 5, "b1": rng.normal(size=64) / 9, "W2": rng.normal(size=(64, 3))}
    nodes = [("Gemm", ["x", "W1", "b1"], "u"), ("Relu", ["u"], "h"), ("MatMul", ["h", "W2"], "y")]
    return onnx_model(nodes, constants, inputs=30)


def test_a_model_is_compressed_as_the_architecture_of_its_scales() -> None:
    model = perceptron()
    read = hntk.from_model(model)
    expected = hntk.compress(read.network.architecture, [64], X, 3, key=KEY)
    for given in (model, read, read.network):
        found = hntk.compress(given, x=X, levels=3, key=KEY)
        assert found.widths == (64,)
        np.testing.assert_array_equal(np.asarray(found.features(X)), np.asarray(expected.features(X)))
        assert found.activations == expected.activations
    # with other scales another staircase is the match: the control
    assert hntk.compress(["relu"], [64], X, 3, key=KEY).activations != expected.activations


def test_widths_must_be_given_without_a_network() -> None:
    with pytest.raises(ValueError, match="widths"):
        hntk.compress(["relu"], x=X, key=KEY)
    assert hntk.compress(perceptron(), [32], X, 3, key=KEY).widths == (32,)
