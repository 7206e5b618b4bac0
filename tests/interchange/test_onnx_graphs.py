"""ONNX models that hntk wrote, read back."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

import hntk
from hntk.deploy import to_onnx, write_onnx
from hntk.interchange import from_onnx
from tests.support.neuron_classifiers import neuron_sample
from tests.support.onnx_chains import onnx_model, onnx_outputs
from tests.support.random_classifiers import Sample, random_sample

X = np.random.default_rng(0).normal(size=(60, 20))
LABELS = np.arange(60) % 3


@pytest.mark.parametrize("weights", ["int2", "int8"])
@pytest.mark.parametrize(
    "sample",
    [*map(neuron_sample, range(4)), random_sample(5), random_sample(2, own=True)],
    ids=["pooled", "pixels", "centred", "rounded", "shared steps", "spaced steps"],
)
def test_whole_numbers_come_back_to_the_bit(sample: Sample, weights: str) -> None:
    read = from_onnx(to_onnx(sample.classifier, weights))  # type: ignore[arg-type]
    assert isinstance(read, hntk.IntegerClassifier)
    np.testing.assert_array_equal(read.scores(sample.raw), sample.scores)
    np.testing.assert_array_equal(read.predict(sample.raw), sample.labels)


def test_a_readout_of_every_layer_labels_of_text_and_a_file_come_back(tmp_path: Path) -> None:
    sample = neuron_sample(1)
    net, rng = sample.classifier.network, np.random.default_rng(0)
    widths, labels = net.widths, np.array(["a", "b", "ç"])
    shifts = tuple(rng.integers(0, 4, len(widths)).tolist())
    assert len(set(shifts)) > 1
    readout = rng.integers(-99, 99, (3, sum(widths))).astype(np.int8)
    made = hntk.IntegerClassifier(net, readout, np.arange(3, dtype=np.int32), labels, 1.0, layers="all", shifts=shifts)
    write_onnx(made, tmp_path / "net.onnx")
    read = from_onnx(tmp_path / "net.onnx")
    assert isinstance(read, hntk.IntegerClassifier)
    assert (read.layers, read.shifts) == ("all", shifts)
    np.testing.assert_array_equal(read.scores(sample.raw), made.scores(sample.raw))
    np.testing.assert_array_equal(read.predict(sample.raw), made.predict(sample.raw))


def test_a_regressor_comes_back_with_its_unit() -> None:
    sample = neuron_sample(1)
    parts = sample.classifier
    for count in (1, 3):
        made = hntk.IntegerRegressor(parts.network, parts.readout[:count], parts.offset[:count], 0.3)
        read = from_onnx(to_onnx(made))
        assert isinstance(read, hntk.IntegerRegressor)
        np.testing.assert_array_equal(read.predict(sample.raw), made.predict(sample.raw))


def test_orthogonal_blocks_come_back_as_explicit_weights_alone() -> None:
    sample = neuron_sample(5, orthogonal=True)
    read = from_onnx(to_onnx(sample.classifier, blocks="explicit"))
    np.testing.assert_array_equal(read.scores(sample.raw), sample.scores)
    with pytest.raises(ValueError, match="blocks='explicit'"):
        from_onnx(to_onnx(sample.classifier, blocks="transform"))


def test_a_changed_graph_is_refused() -> None:
    changed = to_onnx(neuron_sample(1).classifier)
    next(node for node in changed.graph.node if node.op_type == "GreaterOrEqual").op_type = "Greater"
    with pytest.raises(ValueError, match="another graph than this hntk writes"):
        from_onnx(changed)
    incomplete = to_onnx(neuron_sample(1).classifier)
    kept = [tensor for tensor in incomplete.graph.initializer if tensor.name not in ("fine", "centre")]
    del incomplete.graph.initializer[:]
    incomplete.graph.initializer.extend(kept)
    with pytest.raises(ValueError, match="none of whole numbers that hntk wrote"):
        from_onnx(incomplete)


def test_each_reader_names_the_other() -> None:
    whole = to_onnx(neuron_sample(1).classifier)
    with pytest.raises(ValueError, match=r"hntk\.interchange\.from_onnx"):
        hntk.from_model(whole)
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(5, 6)), "V": rng.normal(size=(6, 3))}
    nodes = [("MatMul", ["x", "W"], "u"), ("Relu", ["u"], "h"), ("MatMul", ["h", "V"], "y")]
    chain, x = onnx_model(nodes, constants), rng.normal(size=(4, 5))
    read = from_onnx(chain)
    assert isinstance(read, hntk.Classifier)
    np.testing.assert_allclose(read.scores(x), onnx_outputs(chain, x), atol=1e-5)


def test_float_staircases_come_back() -> None:
    net = hntk.compress(["relu"] * 2, [24, 16], X, levels=4, key=jax.random.key(0))
    made = hntk.fit_ridge(net, X, LABELS, 0.1)
    for read in (from_onnx(to_onnx(made)), hntk.from_model(to_onnx(made))):
        assert isinstance(read, hntk.Classifier)
        for sigma, original in zip(read.network.activations, made.network.activations, strict=True):
            assert isinstance(sigma, hntk.Staircase)
            assert isinstance(original, hntk.Staircase)
            np.testing.assert_array_equal(sigma.thresholds, np.float32(original.thresholds))
        scores = np.asarray(made.scores(X))
        assert np.abs(read.scores(X) - scores).max() < 1e-5 * np.abs(scores).max()


def test_a_step_that_is_open_at_its_edge_is_no_staircase() -> None:
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(5, 6)), "V": rng.normal(size=(6, 3)), "edge": 0.3, "a": -1.0, "b": 2.0}

    def steps(comparison: str) -> onnx.ModelProto:
        nodes = [("MatMul", ["x", "W"], "u"), (comparison, ["u", "edge"], "r"), ("Where", ["r", "b", "a"], "h"),
                 ("MatMul", ["h", "V"], "y")]  # fmt: skip
        return onnx_model(nodes, constants)

    (sigma,) = hntk.from_model(steps("GreaterOrEqual")).network.activations
    assert isinstance(sigma, hntk.Staircase)
    assert (sigma.thresholds, sigma.levels) == ((float(np.float32(0.3)),), (-1.0, 2.0))
    with pytest.raises(ValueError, match="none that hntk knows"):
        hntk.from_model(steps("Greater"))
    # a constant, whose only edge is infinite
    constants["edge"] = np.inf
    with pytest.raises(ValueError, match="none that hntk knows"):
        hntk.from_model(steps("GreaterOrEqual"))


def test_what_is_no_onnx_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give the path"):
        from_onnx(tmp_path / "none.onnx")
    (tmp_path / "no.onnx").write_bytes(b"hello")
    with pytest.raises(ValueError, match="is no ONNX model"):
        from_onnx(tmp_path / "no.onnx")
    with pytest.raises(ValueError, match="an ONNX model or the path of its file"):
        from_onnx(3)
