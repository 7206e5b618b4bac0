"""What is common to all readers: scales, files, labels, samples, and what is no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores
from tests.support.onnx_chains import onnx_model, onnx_outputs

RNG = np.random.default_rng(11)
CONSTANTS = {
    "W1": RNG.normal(size=(5, 8)), "c1": RNG.normal(size=8), "W2": RNG.normal(size=(8, 6)),
    "W3": RNG.normal(size=(6, 3)), "W4": RNG.normal(size=(6, 1)),
}  # fmt: skip
NODES = [("Gemm", ["x", "W1", "c1"], "u"), ("Relu", ["u"], "h"), ("MatMul", ["h", "W2"], "v"), ("Tanh", ["v"], "k")]
MODEL = onnx_model([*NODES, ("MatMul", ["k", "W3"], "y")], CONSTANTS)
ONE = onnx_model([*NODES, ("MatMul", ["k", "W4"], "y")], CONSTANTS, outputs=1)
SIGMOID = onnx_model([*NODES, ("MatMul", ["k", "W4"], "z"), ("Sigmoid", ["z"], "y")], CONSTANTS, outputs=1)


def test_weights_and_biases_are_standard_and_the_scales_are_measured() -> None:
    network = hntk.from_model(MODEL).network
    for weights in network.weights:
        assert np.mean(np.square(weights.scale * np.asarray(weights.values))) == pytest.approx(1)
    first, second = network.biases or ()
    assert np.mean(np.square(first)) == pytest.approx(1)
    assert second is None
    found = network.architecture
    expected = [np.sqrt(np.mean(CONSTANTS["W1"] ** 2)), np.sqrt(8 * np.mean(CONSTANTS["W2"] ** 2))]
    np.testing.assert_allclose(found.weight_std, expected)
    np.testing.assert_allclose(found.bias_std, [np.sqrt(np.mean(CONSTANTS["c1"] ** 2)), 0])
    assert (found.centred, [sigma.name for sigma in found.layers]) == (False, ["relu", "tanh"])


@pytest.mark.parametrize(
    "network",
    [
        hntk.Architecture(["relu", "erf"]),
        hntk.Architecture(["erf"]),
        hntk.Architecture(["relu", "tanh"], [1.0, 2.0], 0.3, centred=False, residual=[0.0, 0.5], normalize="rms"),
    ],
)
def test_a_drawn_network_has_the_architecture_it_was_drawn_from(network: hntk.Architecture) -> None:
    assert hntk.draw_network(network, [6] * network.depth, 5, tau0=1.0, key=jax.random.key(0)).architecture == network


def test_files_keep_what_was_read(tmp_path: Path) -> None:
    made = hntk.from_model(MODEL, classes=["a", "b", "c"])
    hntk.save(made, tmp_path / "made.hntk")
    again: Any = hntk.load(tmp_path / "made.hntk")
    np.testing.assert_allclose(again.scores(X), made.scores(X), rtol=1e-6, atol=1e-6)
    assert_scores(again, onnx_outputs(MODEL, X))
    assert again.architecture == made.architecture


def test_labels() -> None:
    assert hntk.from_model(MODEL).classes.tolist() == [0, 1, 2]
    assert hntk.from_model(ONE).classes.tolist() == [0]
    assert hntk.from_model(SIGMOID, x=X).classes.tolist() == [0, 1]
    two = hntk.from_model(ONE, classes=["no", "yes"])
    assert (two.predict(X) == "yes").tolist() == (onnx_outputs(ONE, X)[:, 0] > 0).tolist()
    for classes in (["a", "b"], ["a", "b", "b"], ["a", "b", "c", "d"]):
        assert_refused(MODEL, "classes must be 3 different labels", classes=classes)
    assert_refused(ONE, "or two for its one output", classes=["a", "b", "c"])


def test_samples_that_show_a_difference() -> None:
    perceptrons = pytest.importorskip("sklearn.neural_network")

    class Doubled(perceptrons.MLPRegressor):
        def predict(self, x: Any) -> Any:
            return 2 * super().predict(x)

    with pytest.warns(Warning, match="converge"):
        model = Doubled(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, X[:, 0])
    assert hntk.from_model(model).weights.shape == (8, 1)
    assert_refused(model, "differs from the model on x", x=X)
    assert_refused(MODEL, "x must be samples", x=X[0])
    assert_refused(MODEL, "the model fails on x", x=X[:, :3])


@pytest.mark.parametrize(
    "given", [None, 3, {}, [np.zeros((2, 2))], hntk.Architecture(["relu"]), np.zeros((3, 3)), dict]
)
def test_what_is_no_model_is_refused(given: Any) -> None:
    assert_refused(given, "model must be a model of torch", "scikit-learn", "ONNX")
