"""Biases, residual branches, scales and normalisation in ONNX models, and refused where only whole numbers are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk import Architecture
from hntk.deploy import to_c, to_onnx
from hntk.networks.integer_network import NotIntegerError

INPUTS, LABELS = 12, np.array(["left", "right"])
SETTINGS: dict[str, Any] = {"weight_std": [1.4, 1.0, 0.8], "bias_std": [0.3, 0.0, 0.2], "centred": False}


def drawn(law: Any = "gaussian", width: Any = 10, **settings: Any) -> hntk.Network:
    net = Architecture(["tanh", "relu", "erf"], **SETTINGS | settings)
    return hntk.draw_network(net, width, INPUTS, tau0=1.0, law=law, key=jax.random.key(3))


def classifier(net: hntk.Network, **settings: Any) -> hntk.Classifier:
    rng = np.random.default_rng(0)
    width = sum(net.widths) if settings.get("layers") == "all" else net.widths[-1]
    return hntk.Classifier(net, LABELS, rng.normal(size=(width, 2)), rng.normal(size=2), **settings)


def samples(n: int = 30) -> np.ndarray:
    return (np.random.default_rng(1).normal(size=(n, INPUTS)) + 0.3).astype(np.float32) / np.float32(INPUTS**0.5)


BLOCKS = hntk.weight_law("orthogonal", sparsity=0.5)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "biases": ({"width": (10, 7, 5)}, {}, "int2"),
    "branches": ({"residual": [0.0, 0.7, 0.9], "law": "ternary"}, {}, "int2"),
    "branch of the data": ({"residual": [0.8, 0.0, 0.9], "width": INPUTS, "normalize": "layer"}, {}, "int8"),
    "rms": ({"normalize": "rms", "residual": [0.0, 0.0, 0.9], "law": "bernoulli"}, {}, "int2"),
    "layer": ({"normalize": "layer", "law": "int8_gaussian", "centred": True}, {"layers": "all"}, "int8"),
    "transforms": ({"normalize": "layer", "residual": [0.0, 0.7, 0.9], "law": BLOCKS}, {"layers": "all"}, "transform"),
}  # fmt: skip


DEFAULT = ("branch of the data", "transforms")


@pytest.mark.parametrize(
    ("net", "settings", "form"),
    [pytest.param(*v, id=k, marks=() if k in DEFAULT else pytest.mark.nightly) for k, v in CASES.items()],
)
def test_onnx_models_have_the_scores_of_the_network(net: dict, settings: dict, form: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made, x = classifier(drawn(**net), **settings), samples()
    forms = {"blocks": form} if form == "transform" else {"weights": form}
    model = to_onnx(made, **forms)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    scores, labels = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"input": x})
    expected = made.scores(x)
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)
    assert labels.tolist() == made.predict(x).tolist()
    assert np.std(expected, axis=0).min() > 0.03
    # a model without the parts has other scores
    plain = hntk.Network(made.network.weights, made.network.activations, made.network.centres, None, None)
    assert np.abs(replace(made, network=plain).scores(x) - expected).max() > 0.1


def test_raw_samples_and_samples_of_norm_zero_pass(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    known = hntk.Normalization(np.linspace(100, 150, INPUTS).astype(np.float32), 300.0)
    made = classifier(drawn(normalize="rms", residual=[0.0, 0.7, 0.0]), normalization=known)
    raw = np.random.default_rng(0).integers(0, 256, (9, INPUTS)).astype(np.float32)
    raw[0] = known.centre
    session = onnxruntime.InferenceSession(to_onnx(made).SerializeToString())
    scores, _ = session.run(None, {"input": raw})
    np.testing.assert_allclose(scores, made.scores(raw, raw=True), rtol=2e-5, atol=2e-5)


# --- whole numbers ---


def whole(**parts: Any) -> hntk.Network:
    staircases = [hntk.staircase([-0.5, 0.5], [-1, 0, 1]), hntk.staircase([0.1], [-1, 1])]
    net = Architecture(staircases, centred=False, **parts)
    return hntk.draw_network(net, INPUTS, INPUTS, tau0=1.0, law="ternary", key=jax.random.key(3))


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"bias_std": 0.1}, "this network has biases, which networks of whole numbers do not have"),
        ({"residual": [0.0, 0.5]}, "has residual branches"),
        ({"normalize": "rms"}, "has a normalisation"),
        ({"bias_std": 0.1, "residual": 0.5, "normalize": "layer"}, "biases, residual branches and a normalisation"),
    ],
    ids=str,
)
def test_networks_of_whole_numbers_have_no_parts(parts: dict, why: str) -> None:
    net, x = whole(**parts), samples()
    with pytest.raises(NotIntegerError, match=why) as caught:
        hntk.to_integers(net, x=x)
    assert "hntk.compress draws" in str(caught.value)
    with pytest.raises(NotIntegerError, match=why):
        hntk.to_integers(classifier(net), x=x)
    with pytest.raises(NotIntegerError, match=why):
        hntk.on_grid(net)
    with pytest.raises(TypeError, match="hntk.to_integers"):
        to_c(classifier(net))  # type: ignore[arg-type]


def test_scales_of_weights_become_thresholds() -> None:
    net, x = whole(weight_std=[0.7, 1.9]), samples(400)
    assert net.scales is not None
    made = hntk.to_integers(net, x=x, input_bits=16)
    features = np.asarray(net.features(x)) / made.unit
    found = np.concatenate(list(made.feature_batches(x)))
    # rounding of the input moves a sum across a threshold now and then
    assert np.mean(np.abs(found - features) > 1e-3) < 0.01
    plain = hntk.Network(net.weights, net.activations, net.centres, None, None)
    assert np.mean(np.abs(np.asarray(plain.features(x)) / made.unit - found) > 1e-3) > 0.05
    np.testing.assert_allclose(hntk.on_grid(net).features(x), net.features(x), atol=1e-6)
