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
from hntk.weights.orthogonal import OrthogonalMatrix
from tests.support.neuron_classifiers import neuron_sample
from tests.support.onnx_chains import onnx_model, onnx_outputs
from tests.support.random_blocks import random_block_sample
from tests.support.random_classifiers import Sample, random_sample

X = np.random.default_rng(0).normal(size=(60, 20))
LABELS = np.arange(60) % 3
WRITTEN = Path(__file__).parent / "written"


@pytest.mark.parametrize("form", ["fastest", "portable"])
@pytest.mark.parametrize("weights", ["int2", "int8"])
@pytest.mark.parametrize(
    "sample",
    [*map(neuron_sample, range(4)), random_sample(5), random_sample(2, own=True)],
    ids=["pooled", "pixels", "centred", "rounded", "shared steps", "spaced steps"],
)
def test_whole_numbers_come_back_to_the_bit(sample: Sample, weights: str, form: str) -> None:
    check(sample, to_onnx(sample.classifier, weights, form=form))  # type: ignore[arg-type]


def check(sample: Sample, model: onnx.ModelProto | Path) -> hntk.IntegerClassifier:
    read = from_onnx(model)
    assert isinstance(read, hntk.IntegerClassifier)
    np.testing.assert_array_equal(read.scores(sample.raw), sample.scores)
    np.testing.assert_array_equal(read.predict(sample.raw), sample.labels)
    return read


@pytest.mark.parametrize("name", ["neurons5_int2", "neurons23_int2", "neurons28_int8"])
def test_models_of_version_0_2_come_back(name: str) -> None:
    """Their weights went through a DequantizeLinear; names say the seed that drew them."""
    path = WRITTEN / f"{name}.onnx"
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    check(neuron_sample(int(name.removeprefix("neurons").split("_")[0])), path)


@pytest.mark.parametrize("form", ["fastest", "portable"])
def test_cells_that_no_sum_reaches_do_not_hinder_the_reader(form: str) -> None:
    """A level that is never reached was the largest: without it, sums of the next layer reach fewer cells still."""
    sample = neuron_sample(30)
    net = sample.classifier.network
    first = net.reachable[0]
    assert first.most < net.steps[0].most
    check(sample, to_onnx(sample.classifier, "int8", form=form))  # type: ignore[arg-type]


@pytest.mark.often("smaller-fastest", "transform-portable")
@pytest.mark.parametrize("form", ["fastest", "portable"])
@pytest.mark.parametrize("blocks", ["transform", "smaller"])
def test_transforms_come_back_as_orthogonal_blocks(blocks: str, form: str) -> None:
    for seed in range(12):
        sample = random_block_sample(seed)
        model = to_onnx(sample.classifier, blocks=blocks, form=form)  # type: ignore[arg-type]
        # what is read has the same graph; one of them predicts, which compiles programs
        read = check(sample, model) if seed == 5 else from_onnx(model)
        if blocks == "smaller":
            continue
        assert isinstance(read, hntk.IntegerClassifier)
        for made, original in zip(read.network.weights, sample.classifier.network.weights, strict=True):
            assert isinstance(made, OrthogonalMatrix)
            assert isinstance(original, OrthogonalMatrix)
            assert (made.shape, made.groups) == (original.shape, original.groups)
            np.testing.assert_array_equal(made.signs, original.signs)
            np.testing.assert_array_equal(made.swaps, original.swaps)
            np.testing.assert_array_equal(made.input_places, original.input_places)


@pytest.mark.nightly
def test_many_models_come_back() -> None:
    for seed in range(12, 100):
        for form in ("fastest", "portable"):
            for sample in (random_block_sample(seed), neuron_sample(seed), random_sample(seed)):
                model = to_onnx(sample.classifier, form=form)  # type: ignore[arg-type]
                # what is read has the same graph; some of them predict, which compiles programs
                check(sample, model) if seed % 20 == 0 else from_onnx(model)


def test_transforms_of_other_layouts_are_refused() -> None:
    for change in (
        '{"1":[1000000000000,5,2,true]}',
        '{"1":[7,5,2,true]}',
        '{"1":[7,5,3,true]}',
        '{"1":[7,5]}',
        '{"1":[33,33,4,false]}',
        "{}",
        "[1]",
        '{"one":[3,3,1,false]}',
        "{",
    ):
        model = to_onnx(random_block_sample(0).classifier, blocks="transform")
        (kept,) = model.metadata_props
        kept.value = change
        with pytest.raises(ValueError, match="hntk wrote|another graph"):
            from_onnx(model)
    model = to_onnx(random_block_sample(0).classifier, blocks="transform")
    del model.metadata_props[:]
    with pytest.raises(ValueError, match="transforms of an earlier version"):
        from_onnx(model)


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


def test_orthogonal_blocks_come_back_as_the_weights_they_were_written_as() -> None:
    sample = neuron_sample(5, orthogonal=True)
    for blocks in ("explicit", "transform"):
        read = check(sample, to_onnx(sample.classifier, blocks=blocks))  # type: ignore[arg-type]
        assert all(isinstance(w, OrthogonalMatrix) == (blocks == "transform") for w in read.network.weights)


def test_a_changed_graph_is_refused() -> None:
    changed = to_onnx(neuron_sample(1).classifier)
    next(node for node in changed.graph.node if node.op_type == "GreaterOrEqual").op_type = "Greater"
    with pytest.raises(ValueError, match="another graph than this hntk writes"):
        from_onnx(changed)
    incomplete = to_onnx(neuron_sample(1).classifier)
    kept = [tensor for tensor in incomplete.graph.initializer if tensor.name != "weights1"]
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
