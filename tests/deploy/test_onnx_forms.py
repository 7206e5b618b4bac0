"""Products of bytes and of float32 in ONNX: the same scores to the bit, in two runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.__main__ import main
from hntk.deploy import onnx_bytes, to_onnx, write_onnx
from hntk.deploy.onnx_bytes import NumberForm
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.weight_matrix import WeightMatrix
from tests.support.neuron_classifiers import neuron_sample
from tests.support.random_classifiers import Sample, random_sample

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FORMS = ("fastest", "portable")
LABELS = np.arange(3)


def session(model: Any, **options: Any) -> Any:
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads, made.log_severity_level = 1, 3
    for name, value in options.items():
        setattr(made, name, value)
    return onnxruntime.InferenceSession(model.SerializeToString(), made)


def check(sample: Sample, weights: str, form: str, *, another: bool = False) -> Any:
    """Check scores and labels in onnxruntime, and scores in onnx's own evaluator; return the model."""
    model = to_onnx(sample.classifier, weights, form=form)  # type: ignore[arg-type]
    scores, labels = session(model).run(None, {"input": sample.raw})
    np.testing.assert_array_equal(scores, sample.scores)
    assert labels.tolist() == sample.labels.tolist()
    if another:
        from onnx.reference import ReferenceEvaluator

        (scores,) = ReferenceEvaluator(model).run(["scores"], {"input": sample.raw})
        np.testing.assert_array_equal(scores, sample.scores)
    return model


def operators(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


def constants(model: Any) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def dense_sample(
    kind: str, sides: list[int], levels: tuple[int, ...], inputs: Pixels | Rounded, *, extreme: bool = False
) -> Sample:
    """Return a classifier of explicit weights, samples, and scores in whole numbers."""
    rng = np.random.default_rng([len(sides), len(levels)])
    most = 127 if kind == "int8" else 1
    values = [-most, most] if extreme else np.arange(-most, most + 1)
    weights = tuple(
        WeightMatrix(rng.choice(values, (d, p)).astype(np.int8), 1.0, kind)  # type: ignore[arg-type]
        for p, d in zip(sides[:-1], sides[1:], strict=True)
    )
    if isinstance(inputs, Pixels):
        raw = rng.integers(0, 256, (9, sides[0])).astype(np.uint8)
        centre = 0 if inputs.centre is None else inputs.centre
        values = (raw.astype(np.int64) - centre) * inputs.fine
    else:
        raw = rng.normal(size=(9, sides[0])).astype(np.float32)
        values = np.asarray(inputs(raw), np.int64)
    steps = []
    for w in weights:
        sums = values @ np.asarray(w.values, np.int64).T
        thresholds = np.sort(np.quantile(sums, np.linspace(0.1, 0.9, len(levels) - 1)).astype(int))
        steps.append(Steps(tuple(thresholds.tolist()), levels))
        values = np.asarray(levels)[np.searchsorted(thresholds, sums, side="right")]
    network = IntegerNetwork(inputs, weights, tuple(steps), None, 1.0, (0.0,) * len(weights))
    assert max(network.largest_sums) <= 2**24
    readout = rng.integers(-999, 999, (3, sides[-1])).astype(np.int16)
    scores = values @ readout.T.astype(np.int64)
    offset = -np.median(scores, axis=0).astype(np.int32)
    return Sample(hntk.IntegerClassifier(network, readout, offset, LABELS, 1.0), raw, scores + offset)


CENTRE = np.arange(40, dtype=np.uint8)
# Kind of weights, levels, input, and the types that inputs of products have in the fastest form.
CASES = {
    "bytes": ("ternary", (-9, 200, 3), Pixels(4, CENTRE), {"uint8"}),
    "two bytes": ("ternary", (-2047, 5, 2047, 300), Rounded(np.zeros(40, np.float32), 30.0, 127), {"uint8", "uint16"}),
    "wide inputs": ("ternary", (-2, 5), Rounded(np.zeros(40, np.float32), 9000.0, 32767), {"float32", "uint8"}),
    "weights of 8 bits": ("int8", (255, 0, 7), Pixels(), {"uint8"}),
    "levels of 16 bits": ("ternary", (-32767, 9, 32767), Pixels(1, CENTRE), {"uint8", "float32"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_every_range_of_numbers_is_exact(case: str, form: str) -> None:
    kind, levels, inputs, types = CASES[case]
    model = check(dense_sample(kind, [40, 50, 30, 20], levels, inputs), "int8", form, another=True)
    if form == "portable":
        assert not operators(model) & {"MatMulInteger", "DequantizeLinear"}
        return
    stored = {"uint8"} if isinstance(inputs, Pixels) or inputs.most <= 127 else {"float32"}
    # the last layer's levels go to the readout, and no product takes them
    stored |= {str(constants(model)[f"level{number}_0"].dtype) for number in (1, 2)}
    assert stored == types
    assert ("MatMulInteger" in operators(model)) == ("uint8" in types)


def test_pairs_of_the_largest_products_do_not_saturate() -> None:
    """Two products of 255 and 127 leave 16 bits: such weights are unsigned, which every processor adds in 32."""
    sample = dense_sample("int8", [40, 50, 30], (0, 255), Pixels(), extreme=True)
    model = check(sample, "int8", "fastest", another=True)
    assert constants(model)["weights1"].dtype == np.uint8
    # ternary weights stay signed, as no pair of their products leaves 16 bits
    ternary = to_onnx(dense_sample("ternary", [40, 50, 30], (0, 255), Pixels()).classifier, "int8")
    assert constants(ternary)["weights1"].dtype == np.int8


def test_levels_by_default_are_exact_in_two_bytes() -> None:
    steps = hntk.staircase([-0.7, 0.2, 1.1], [-0.9, 0.31, -0.05, 1.7])
    law, rng = hntk.weight_law("ternary", sparsity=0.5), np.random.default_rng(0)
    net = hntk.draw_network([steps] * 2, (60, 50), 45, tau0=1.0, law=law, key=jax.random.key(0))
    floats = hntk.Classifier(net, LABELS, rng.normal(size=(50, 3)), np.zeros(3))
    raw = rng.normal(size=(30, 45)).astype(np.float32)
    made = hntk.to_integers(floats, x=raw)
    assert isinstance(made, hntk.IntegerClassifier)
    model = check(Sample(made, raw, np.asarray(made.scores(raw))), "int2", "fastest")
    assert constants(model)["level1_0"].dtype == np.uint16
    assert {"MatMulInteger", "ReduceSum"} <= operators(model)


@pytest.mark.parametrize("form", FORMS)
def test_random_classifiers_score_the_same_in_both_forms(form: str) -> None:
    for seed in range(4):
        check(neuron_sample(seed), ("int2", "int8")[seed % 2], form, another=seed == 1)
        check(neuron_sample(seed + 4, orthogonal=True), ("int2", "int8")[seed % 2], form, another=seed == 1)
        check(random_sample(seed + 5), ("int2", "int8")[seed % 2], form)


@pytest.mark.nightly
@pytest.mark.parametrize("form", FORMS)
def test_many_random_classifiers_score_the_same_in_both_forms(form: str) -> None:
    for seed in range(9, 80):
        for weights in ("int2", "int8"):
            check(neuron_sample(seed), weights, form)
            check(neuron_sample(seed, orthogonal=True), weights, form)
            check(random_sample(seed), weights, form)


def test_products_that_could_leave_32_bits_are_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = dense_sample("ternary", [40, 50, 30], (-2, 5, 9), Pixels(2, CENTRE))
    widest = max(int(w.largest_row_sum) for w in sample.classifier.network.weights)
    for limit, there in ((255 * widest, True), (1, False)):
        monkeypatch.setattr(onnx_bytes, "INT32", type("Limit", (), {"max": limit}))
        assert ("MatMulInteger" in operators(check(sample, "int8", "fastest"))) == there


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weights", ["int2", "int8"])
def test_onnxruntime_converts_weights_once(form: str, weights: str, tmp_path: Path) -> None:
    """No node of what onnxruntime runs has constants alone: none is computed anew for every call."""
    samples = [neuron_sample(seed, orthogonal=blocks) for seed in (1, 3) for blocks in (False, True)]
    if weights == "int8":
        samples.append(dense_sample("int8", [40, 50, 30], (0, 9), Pixels(1, CENTRE)))
    for number, sample in enumerate(samples):
        for blocks in ("transform", "explicit"):
            path = tmp_path / f"{number}{blocks}.onnx"
            model = to_onnx(sample.classifier, weights, blocks=blocks, form=form)  # type: ignore[arg-type]
            session(model, optimized_model_filepath=str(path))
            graph = onnx.load(path).graph
            known = {tensor.name for tensor in graph.initializer} | {""}
            assert graph.node
            assert not [node.op_type for node in graph.node if set(node.input) <= known]


def test_conversions_are_seen_where_there_are_some(tmp_path: Path) -> None:
    """A negative control of the test above: a DequantizeLinear of weights is computed anew for every call."""
    model, path = to_onnx(neuron_sample(1).classifier, "int8", form="portable"), tmp_path / "slow.onnx"
    cast = next(node for node in model.graph.node if node.op_type == "Cast" and node.input[0] == "weights2")
    scale = onnx.numpy_helper.from_array(np.float32(1), "one")
    model.graph.initializer.append(scale)
    cast.CopyFrom(onnx.helper.make_node("DequantizeLinear", ["weights2", "one"], list(cast.output)))
    session(model, optimized_model_filepath=str(path))
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}


def test_a_wrong_zero_point_changes_scores() -> None:
    sample = dense_sample("ternary", [40, 50, 30], (-9, 20, 3), Pixels())
    model = check(sample, "int8", "fastest")
    (zero,) = (tensor for tensor in model.graph.initializer if tensor.name == "zero_point1")
    assert onnx.numpy_helper.to_array(zero) == 9
    zero.CopyFrom(onnx.numpy_helper.from_array(np.uint8(8), "zero_point1"))
    scores, _ = session(model).run(None, {"input": sample.raw})
    assert not np.array_equal(scores, sample.scores)


@pytest.mark.parametrize(
    ("levels", "multiplied", "form"),
    [
        ((-128, 0, 127), False, (np.uint8, 128)),
        ((-64, 0, 63), False, (np.int8, 0)),
        ((-64, 0, 63), True, (np.uint8, 64)),
        ((0, 255), True, (np.uint8, 0)),
        ((3, 258), True, (np.uint16, 0)),
        ((-1, 255), True, (np.uint16, 1)),
        ((-1, 255), False, (np.float32, 0)),
        ((-32767, 32511), True, (np.uint16, 128)),
        ((-32767, 32767), True, (np.float32, 0)),
        ((-32767, -32600), True, (np.uint16, 128)),
    ],
)
def test_the_smallest_type_of_levels(levels: tuple[int, ...], multiplied: bool, form: tuple) -> None:
    made = NumberForm.of_levels(levels, multiplied)
    assert (made.dtype, made.zero) == form
    stored = np.asarray(levels) + made.added
    np.testing.assert_array_equal(stored.astype(made.dtype).astype(np.int64), stored)


def test_models_need_opsets_that_runtimes_have() -> None:
    made = dense_sample("ternary", [40, 20, 10], (0, 1), Pixels()).classifier
    versions = {(w, f): to_onnx(made, w, form=f) for w in ("int2", "int8") for f in FORMS}  # type: ignore[arg-type]
    assert {key: (model.opset_import[0].version, model.ir_version) for key, model in versions.items()} == {
        ("int2", "fastest"): (25, 13), ("int2", "portable"): (25, 13),
        ("int8", "fastest"): (14, 8), ("int8", "portable"): (13, 8),
    }  # fmt: skip
    # ONNX's own operators alone
    assert {node.domain for model in versions.values() for node in model.graph.node} == {""}


def test_forms_are_checked_and_asked_for_on_the_command_line(tmp_path: Path) -> None:
    made = dense_sample("ternary", [40, 20, 10], (0, 1), Pixels()).classifier
    for wrong in (None, "fast", 2, ["fastest"]):
        with pytest.raises(ValueError, match="form must be 'fastest' or 'portable'"):
            to_onnx(made, form=wrong)  # type: ignore[arg-type]
    hntk.save(made, tmp_path / "net")
    for form in FORMS:
        out = tmp_path / f"{form}.onnx"
        assert main(["export", str(tmp_path / "net"), "--to", "onnx", "--form", form, "--out", str(out)]) == 0
        assert ("MatMulInteger" in operators(onnx.load(out))) == (form == "fastest")
        assert out.stat().st_size == write_onnx(made, tmp_path / "again", form=form)  # type: ignore[arg-type]
