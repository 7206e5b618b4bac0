"""Orthogonal blocks in ONNX: transforms of standard operators give what explicit weights give, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.__main__ import main
from hntk.deploy.onnx import to_onnx, write_onnx
from hntk.deploy.onnx_graph import Graph
from hntk.deploy.onnx_transform import add_transform
from hntk.deploy.onnx_weights import UNPACKING_BYTES
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.orthogonal import OrthogonalMatrix
from tests.support.architectures import INPUTS, LABELS, NORMALIZATION, raw_samples, whole_classifier
from tests.support.orthogonal import explicit_values, random_blocks
from tests.support.random_blocks import random_block_sample

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Full and partial blocks, groups of unequal and of no rows, one input, one output.
SHAPES = [(1, 1), (3, 1), (1, 3), (16, 16), (5, 7), (19, 13), (40, 16), (33, 9), (70, 20), (2, 70)]


def run(model: Any, samples: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"input": samples})


def transform_alone(matrix: OrthogonalMatrix, dtype: Any = np.float32, zero: int = 0) -> Any:
    graph = Graph()
    zero_point = graph.constant("zero", np.asarray(zero, dtype)) if zero else ""
    sums = add_transform(graph, "input", matrix, dtype, zero_point)
    graph.node("Identity", [sums], "sums")
    graph.input("input", dtype, ["n", matrix.shape[1]])
    graph.output("sums", np.float32, ["n", matrix.shape[0]])
    return graph.model(13, 8)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("order", ["none", "random", "generated"])
def test_transforms_are_products_with_the_explicit_values(groups: int, order: str) -> None:
    rng = np.random.default_rng(groups)
    for number, shape in enumerate(SHAPES):
        matrix = random_blocks(number, shape, groups, order)
        h = rng.integers(-1000, 1001, (5, shape[1])).astype(np.float32)
        (sums,) = run(transform_alone(matrix), h)
        np.testing.assert_array_equal(sums, h.astype(np.int64) @ explicit_values(matrix).T, err_msg=str(shape))
        small = rng.integers(0, 256, (5, shape[1])).astype(np.uint8)
        (sums,) = run(transform_alone(matrix, np.uint8, 99), small)
        wanted = (small.astype(np.int64) - 99) @ explicit_values(matrix).T
        np.testing.assert_array_equal(sums, wanted, err_msg=f"bytes, {shape}")


def test_long_transforms_are_exact_up_to_the_bound() -> None:
    # Two and three factors; sums of absolute values just below 2²⁴.
    for shape, groups in (((300, 2000), 2), ((9000, 8192), 1)):
        matrix = random_blocks(1, shape, groups)
        h = np.random.default_rng(0).integers(-2047, 2048, (2, shape[1])).astype(np.float32)
        (sums,) = run(transform_alone(matrix), h)
        np.testing.assert_array_equal(sums, matrix.product_on_host(h.astype(np.int64)))


def test_another_runtime_computes_the_same() -> None:
    from onnx.reference import ReferenceEvaluator

    matrix = random_blocks(3, (19, 13), 4, "random")
    h = np.random.default_rng(0).integers(-9, 10, (3, 13)).astype(np.float32)
    (sums,) = ReferenceEvaluator(transform_alone(matrix)).run(None, {"input": h})
    np.testing.assert_array_equal(sums, h @ explicit_values(matrix).T)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_integer_classifiers_score_the_same_in_every_form(pixels: bool, groups: int) -> None:
    made = whole_classifier(pixels=pixels, widths=(70, 33), law="orthogonal", sparsity=1 - 1 / groups)
    assert all(isinstance(w, OrthogonalMatrix) for w in made.network.weights)
    raw, sizes = raw_samples(made), {}
    for blocks, form in (
        ("transform", "portable"),
        ("transform", "fastest"),
        ("explicit", "fastest"),
        ("smaller", "fastest"),
    ):
        model = to_onnx(made, blocks=blocks, form=form)  # type: ignore[arg-type]
        scores, labels = run(model, raw)
        np.testing.assert_array_equal(scores, made.scores(raw))
        assert labels.tolist() == made.predict(raw).tolist()
        assert len(set(labels.tolist())) == 2
        sizes[blocks] = model.ByteSize()
    assert sizes["smaller"] <= min(sizes["transform"], sizes["explicit"])


def check_random(seed: int) -> None:
    sample = random_block_sample(seed)
    forms = {"blocks": ("transform", "smaller")[seed // 2 % 2], "form": ("fastest", "portable")[seed // 4 % 2]}
    model = to_onnx(sample.classifier, ("int2", "int8")[seed % 2], **forms)  # type: ignore[arg-type]
    scores, labels = run(model, sample.raw)
    np.testing.assert_array_equal(scores, sample.scores, err_msg=str(seed))
    assert labels.tolist() == sample.labels.tolist()


def test_random_classifiers_of_blocks_score_the_same() -> None:
    """Of all groups, orders, inputs and readouts, against scores of the explicit weights."""
    for seed in range(12):
        check_random(seed)


@pytest.mark.nightly
def test_many_random_classifiers_of_blocks_score_the_same() -> None:
    for seed in range(12, 600):
        check_random(seed)


def test_float_classifiers_score_the_same_in_every_form() -> None:
    law = hntk.weight_law("orthogonal", sparsity=0.75)
    net = hntk.draw_network(["tanh", "relu"], (70, 33), INPUTS, tau0=1.0, law=law, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    made = hntk.Classifier(net, LABELS, rng.normal(size=(33, 2)), np.zeros(2), normalization=NORMALIZATION)
    raw = rng.integers(0, 256, (20, INPUTS)).astype(np.float32)
    known = made.scores(NORMALIZATION(raw))
    for blocks in ("transform", "explicit"):
        scores, labels = run(to_onnx(made, blocks=blocks), raw)  # type: ignore[arg-type]
        np.testing.assert_allclose(scores, known, atol=2e-5)
        assert labels.tolist() == LABELS[np.argmax(known, axis=1)].tolist()


@pytest.mark.parametrize("shifts", [(), (3, 0, 7)])
def test_readouts_of_every_layer_are_exported(shifts: tuple[int, ...]) -> None:
    one = matrices_alone([(40, 20), (30, 40), (9, 30)])
    readout = np.random.default_rng(0).integers(-9, 10, (2, 79)).astype(np.int8)
    made = replace(one, readout=readout, layers="all", shifts=shifts)
    raw = np.random.default_rng(1).integers(0, 256, (7, 20)).astype(np.uint8)
    scores, labels = run(to_onnx(made), raw)
    h, wanted = raw.astype(np.int64), 0
    columns = np.split(readout.astype(np.int64), [40, 70], axis=1)
    for w, part, shift in zip(made.network.weights, columns, shifts or (0, 0, 0), strict=True):
        h = np.where(h @ explicit_values(w).T >= 0, 1, -1)
        wanted = wanted + 2**shift * (h @ part.T)
    np.testing.assert_array_equal(scores, wanted)
    np.testing.assert_array_equal(made.scores(raw), wanted)
    assert labels.tolist() == LABELS[np.argmax(wanted, axis=1)].tolist()


def test_float_readouts_of_every_layer_are_exported() -> None:
    law = hntk.weight_law("orthogonal", sparsity=0.5)
    net = hntk.draw_network(["tanh", "relu"], (70, 33), INPUTS, tau0=1.0, law=law, key=jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(20, INPUTS)).astype(np.float32)
    made = hntk.Classifier(net, LABELS, np.random.default_rng(1).normal(size=(103, 2)), np.zeros(2), layers="all")
    scores, _ = run(to_onnx(made), x)
    np.testing.assert_allclose(scores, made.scores(x), atol=5e-5)


def matrices_alone(shapes: list[tuple[int, int]]) -> hntk.IntegerClassifier:
    """A classifier of orthogonal blocks of these shapes, with an arbitrary readout."""
    weights = tuple(random_blocks(i, shape, 2, "none" if i else "random") for i, shape in enumerate(shapes))
    steps = (Steps((0,), (-1, 1)),) * len(shapes)
    network = IntegerNetwork(Pixels(), weights, steps, None, 1.0, (0.0,) * len(shapes))
    readout = np.ones((2, shapes[-1][0]), np.int8)
    return hntk.IntegerClassifier(network, readout, np.zeros(2, np.int32), LABELS, 1.0)


def test_the_smaller_form_is_chosen_layer_by_layer() -> None:
    forms = ("transform", "explicit", "smaller")
    for shapes in ([(8, 9)], [(64, 64), (1024, 64)], [(512, 512), (4, 512)], [(512, 512), (512, 512)]):
        made = matrices_alone(shapes)
        for weights in ("int2", "int8"):
            models = {b: to_onnx(made, weights, blocks=b) for b in forms}  # type: ignore[arg-type]
            sizes = {b: model.ByteSize() for b, model in models.items()}
            # Matrices that transforms share are counted for each layer.
            assert sizes["smaller"] <= min(sizes["transform"], sizes["explicit"]) + 600
            assert models["transform"].opset_import[0].version == 14
    small, large = matrices_alone([(8, 9)]), matrices_alone([(512, 512), (512, 512)])
    assert to_onnx(small).ByteSize() == to_onnx(small, blocks="explicit").ByteSize()
    assert to_onnx(large).ByteSize() == to_onnx(large, blocks="transform").ByteSize()
    # Explicit int2 weights need a newer opset; transforms do not.
    assert [to_onnx(m).opset_import[0].version for m in (small, large)] == [25, 14]
    assert [to_onnx(m, form="portable").opset_import[0].version for m in (small, large)] == [25, 13]


def test_the_bytes_that_are_chosen_by_are_those_of_the_file() -> None:
    matrix = random_blocks(0, (300, 200), 2, "random")
    graph = Graph()
    add_transform(graph, "input", matrix)
    alone = transform_alone(matrix).ByteSize()
    assert 0 < alone - graph.nbytes - UNPACKING_BYTES < 250  # input, output and versions
    # A bit a sign and a swap, and a small matrix of signs.
    bits = matrix.stored_bits + 2 * (256 - 200) + 256 * 9 - 200 * 8 + 16 * 16 + 8 * 8
    assert bits / 8 < alone < bits / 8 + 4100


def test_layers_share_the_hadamard_matrices() -> None:
    names = [node.name for node in to_onnx(matrices_alone([(512, 512)] * 3)).graph.initializer]
    assert len(names) == len(set(names))
    one, three = (to_onnx(matrices_alone([(512, 512)] * n)).ByteSize() for n in (1, 3))
    assert three < 3 * one - 2 * (UNPACKING_BYTES + 16 * 16 // 8)


def test_sizes_are_checked_before_values_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = matrices_alone([(2048, 1000)])
    monkeypatch.setattr("hntk.deploy.onnx_weights.MOST_WEIGHT_BYTES", 10_000)
    monkeypatch.setattr(OrthogonalMatrix, "values", property(lambda self: pytest.fail("values were made")))
    to_onnx(made, blocks="transform")
    with pytest.raises(ValueError, match="2,048,000 bytes.*blocks='smaller'"):
        to_onnx(made, "int8", blocks="explicit")


def test_unknown_forms_are_refused() -> None:
    for blocks in (None, "fast", 2, ["smaller"]):
        with pytest.raises(ValueError, match="blocks must be 'smaller' or 'transform' or 'explicit'"):
            to_onnx(matrices_alone([(4, 4)]), blocks=blocks)  # type: ignore[arg-type]


def test_the_command_line_writes_either_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = whole_classifier(widths=(700,), law="orthogonal", sparsity=0.5)
    hntk.save(made, tmp_path / "net")
    sizes = {}
    for blocks in ("smaller", "explicit"):
        out = tmp_path / blocks
        assert main(["export", str(tmp_path / "net"), "--to", "onnx", "--blocks", blocks, "--out", str(out)]) == 0
        sizes[blocks] = out.stat().st_size
        assert f"{sizes[blocks]:,} bytes" in capsys.readouterr().out
    assert sizes["smaller"] == write_onnx(made, tmp_path / "again", blocks="smaller") < sizes["explicit"]
