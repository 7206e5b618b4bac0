"""ONNX models against onnx's own evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest

import hntk
from hntk.deploy import to_onnx
from tests.support.models import X, assert_refused, assert_scores
from tests.support.onnx_chains import onnx_model, onnx_outputs

RNG = np.random.default_rng(3)


def normalisation(d: int) -> dict[str, np.ndarray]:
    """Return parameters of a batch normalisation by the names g, b, m and v with the width behind."""
    return dict(zip([f"{c}{d}" for c in "gbmv"], [*RNG.normal(size=(3, d)), RNG.uniform(0.5, 2, d)], strict=True))


CONSTANTS: Mapping[str, Any] = {
    "W1": RNG.normal(size=(5, 8)), "c1": RNG.normal(size=8), "W2": RNG.normal(size=(6, 8)), "c2": RNG.normal(size=6),
    "W3": RNG.normal(size=(6, 3)), "c3": RNG.normal(size=3), "U": RNG.normal(size=(8, 8)),
    **normalisation(5), **normalisation(8), **normalisation(6),
    "half": 0.5, "one": 1.0, "root": 2**0.5, "zero": 0.0, "flat": np.array([0, -1]), "k": RNG.normal(size=(2, 1, 3)),
}  # fmt: skip
# GELU as exporters write it where the operator set has none
GELU = [("Div", ["h3", "root"], "e1"), ("Erf", ["e1"], "e2"), ("Add", ["e2", "one"], "e3"), ("Mul", ["h3", "e3"], "e4")]
LONG = [
    ("Reshape", ["x", "flat"], "x0"), ("BatchNormalization", ["x0", "g5", "b5", "m5", "v5"], "x1"),
    ("Cast", ["x1"], "x2", {"to": 1}), ("MatMul", ["x2", "W1"], "h1"), ("Add", ["c1", "h1"], "h2"),
    ("BatchNormalization", ["h2", "g8", "b8", "m8", "v8"], "h3"), *GELU, ("Mul", ["e4", "half"], "h4"),
    ("Dropout", ["h4"], "h5"), ("Identity", ["h5"], "h6"),
    ("Gemm", ["h6", "W2", "c2"], "h7", {"transB": 1, "alpha": 0.7, "beta": 0.3}),
    ("LeakyRelu", ["h7"], "h8", {"alpha": 0.2}), ("BatchNormalization", ["h8", "g6", "b6", "m6", "v6"], "h9"),
    ("MatMul", ["h9", "W3"], "z"), ("Add", ["z", "c3"], "scores"),
]  # fmt: skip


def two_layers(*middle: tuple, last: str = "h") -> onnx.ModelProto:
    """Return a model with some nodes between ``u`` and ``h``."""
    return onnx_model(
        [("Gemm", ["x", "W1", "c1"], "u"), *middle, ("Gemm", [last, "W2", "c2"], "y", {"transB": 1})],
        CONSTANTS,
        outputs=6,
    )


def test_a_chain_with_normalisation_and_gelu_in_parts() -> None:
    model = onnx_model(LONG, CONSTANTS)
    onnx.checker.check_model(model)
    found = hntk.from_model(model, x=X, classes=["a", "b", "c"])
    assert_scores(found, onnx_outputs(model, X))
    assert [sigma.name for sigma in found.network.activations] == ["gelu", "leaky_relu(0.2)"]
    assert found.predict(X).tolist() == [["a", "b", "c"][k] for k in onnx_outputs(model, X).argmax(axis=1)]


def test_softmax_at_the_end_is_left_out_and_files_are_read(tmp_path: Path) -> None:
    model = onnx_model([*LONG, ("Softmax", ["scores"], "p", {"axis": -1})], CONSTANTS)
    onnx.save(model, tmp_path / "model.onnx")
    assert_scores(hntk.from_model(tmp_path / "model.onnx", x=X), onnx_outputs(onnx_model(LONG, CONSTANTS), X))


@pytest.mark.parametrize(
    ("operator", "options", "name"),
    [
        ("Relu", {}, "relu"),
        ("Elu", {"alpha": 0.4}, "elu(0.4)"),
        ("Gelu", {"approximate": "tanh"}, "gelu_tanh"),
        ("HardSigmoid", {}, "ramp(0.2, 0.5, 0, 1)"),
        ("Tanh", {}, "tanh"),
        ("Mish", {}, "mish"),
    ],
)
def test_operators_of_activations(operator: str, options: dict, name: str) -> None:
    model = two_layers((operator, ["u"], "h", options))
    found = hntk.from_model(model)
    assert found.network.activations[0].name == name
    assert_scores(found, onnx_outputs(model, X))


def test_functions_of_constants_and_of_the_same_value_twice() -> None:
    clipped = two_layers(("Clip", ["u", "zero", "one"], "h"))
    assert_scores(hntk.from_model(clipped), onnx_outputs(clipped, X))
    twice = two_layers(("Relu", ["u"], "r"), ("Add", ["r", "u"], "h"))
    assert_scores(hntk.from_model(twice), onnx_outputs(twice, X))


def test_a_classifier_that_hntk_wrote_comes_back() -> None:
    data = hntk.reference_mixture(n=40, p=20, key=jax.random.key(0))
    made = hntk.fit_ridge(hntk.dense(["tanh"] * 2, [16, 12], data.x, key=jax.random.key(1)), data.x, data.labels, 0.1)
    assert_scores(hntk.from_model(to_onnx(made)), made.scores(data.x), np.asarray(data.x))


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        ([("Relu", ["u"], "r"), ("MatMul", ["r", "U"], "v"), ("Add", ["r", "v"], "h")], ["the h", "residual"]),
        ([("LayerNormalization", ["u", "g8", "b8"], "h")], ["the h", "LayerNormalization"]),
        ([("Dropout", ["u", "half", "training"], "h")], ["the h", "training mode"]),
        ([("Softmax", ["u"], "h")], ["softmax"]),
        ([("MatMul", ["u", "u"], "h")], ["the h", "two functions of the input"]),
        ([("Mul", ["u", "c1"], "v"), ("Relu", ["v"], "r"), ("Max", ["r", "c1"], "h")], ["the h", "each neuron"]),
        ([("ThresholdedRelu", ["u"], "h")], ["the h", "none that hntk knows", "activations="]),
        ([("Cast", ["u"], "h", {"to": 10})], ["the h", "float32"]),
        ([("Transpose", ["u"], "h")], ["the h", "Transpose"]),
        ([("Flatten", ["u"], "h", {"axis": 0})], ["the h", "mixes samples"]),
        ([("Reshape", ["u", "pairs"], "h")], ["the h", "reshapes"]),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(middle: list, words: list[str]) -> None:
    model = two_layers(*middle)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "training"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 16]), "pairs"))
    assert_refused(model, *words)


def test_normalisation_in_training_shapes_and_numbers_are_refused() -> None:
    parts = ["u", "g8", "b8", "m8", "v8"]
    training = two_layers(("BatchNormalization", parts, ["h", "m", "v"], {"training_mode": 1}))
    assert_refused(training, "training mode", "inference")
    assert_refused(onnx_model([("Conv", ["x", "k"], "y")], CONSTANTS, inputs=(1, 8)), "the y", "Conv")
    wrong = onnx_model([("Gemm", ["x", "W1"], "u"), ("Relu", ["u"], "h"), ("MatMul", ["h", "W3"], "y")], CONSTANTS)
    assert_refused(wrong, "the y", "takes 6 inputs but the layer before has 8 outputs")
    infinite = onnx_model(LONG, {**CONSTANTS, "W3": np.full((6, 3), np.nan)})
    assert_refused(infinite, "the z", "finite")


def test_files_that_are_none_and_models_of_two_outputs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"hello")
    assert_refused(tmp_path / "no.onnx", "no ONNX model")
    with pytest.raises(FileNotFoundError):
        hntk.from_model(tmp_path / "missing.onnx")
    model = onnx_model(LONG, CONSTANTS)
    model.graph.output.append(onnx.helper.make_tensor_value_info("h9", 1, ["n", 6]))
    # of two, the one that is named as scores are
    assert_scores(hntk.from_model(model), onnx_outputs(onnx_model(LONG, CONSTANTS), X))
    model.graph.output[0].name = "z"
    assert_refused(model, "outputs z, h9")
