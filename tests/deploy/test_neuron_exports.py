"""Thresholds of each neuron, pooled pixels and regressors in ONNX, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hntk
from hntk.deploy import to_onnx

pytest.importorskip("onnxruntime")


def run(made: Any, raw: np.ndarray) -> list[Any]:
    import onnxruntime

    return list(onnxruntime.InferenceSession(to_onnx(made).SerializeToString()).run(None, {"input": raw}))


def network(**changes: Any) -> hntk.IntegerNetwork:
    """Return one layer that passes on each of two inputs."""
    weights = hntk.WeightMatrix(np.eye(2, dtype=np.int8), 1.0, "ternary")  # type: ignore[arg-type]
    steps = hntk.NeuronSteps(np.array([[3, 9], [-5, 200]], np.int32), (0, 1, 2))
    return replace(hntk.IntegerNetwork(hntk.Pixels(), (weights,), (steps,), None, 1.0, (0.0,)), **changes)


def classifier(**changes: Any) -> hntk.IntegerClassifier:
    parts: dict[str, Any] = {"readout": np.eye(2, dtype=np.int8), "offset": np.zeros(2, np.int32)}
    made = hntk.IntegerClassifier(network(), classes=np.arange(2), unit=1.0, **parts)
    return replace(made, **changes)


def identity(most: int) -> hntk.NeuronSteps:
    """Return staircases that give each byte itself."""
    return hntk.NeuronSteps(np.tile(np.arange(1, most + 1, dtype=np.int32), (2, 1)), tuple(range(most + 1)))


@pytest.mark.parametrize("shape", [((1, 4), (1, 2)), ((1, 7), (1, 2))])
def test_all_means_of_cells_are_rounded_as_in_python(shape: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Every sum that a cell can have, halves among them, gives the same level; 255 thresholds show each mean."""
    inputs, made = hntk.PooledPixels(*shape), network(steps=(identity(255),))
    sums = np.arange(255 * inputs.area + 1)
    # pixels of a cell that add up to each sum, with the other cell's the same from the other side
    areas = inputs.overlaps[1][0][inputs.overlaps[1][0] > 0]
    raw = np.zeros((len(sums), inputs.raw_size), np.uint8)
    left = sums.copy()
    for place, area in sorted(enumerate(areas), key=lambda pair: -pair[1]):
        taken = np.minimum(255, left // area)
        raw[:, place], left = taken, left - taken * area
    whole = replace(classifier(), network=replace(made, inputs=inputs))
    reached = raw[:, : len(areas)].astype(int) @ areas
    scores, _ = run(whole, raw)
    np.testing.assert_array_equal(scores[:, 0], (2 * reached + inputs.area) // (2 * inputs.area))
    np.testing.assert_array_equal(scores, whole.scores(raw))
    assert len(np.unique(reached)) > 255 * 2


@pytest.mark.parametrize("count", [1, 16, 17, 100])
def test_many_thresholds_are_searched_for_each_neuron(count: int) -> None:
    rng = np.random.default_rng(count)
    thresholds = np.sort(rng.integers(-10, 260, (2, count)), axis=1).astype(np.int32)
    steps = hntk.NeuronSteps(thresholds, tuple(rng.integers(-99, 100, count + 1).tolist()))
    made = classifier(network=network(steps=(steps,)))
    raw = np.stack([np.arange(256), np.arange(256)[::-1]], axis=1).astype(np.uint8)
    scores, labels = run(made, raw)
    wanted = np.asarray(steps.levels)[(raw[:, :, None] >= thresholds).sum(axis=-1)]
    np.testing.assert_array_equal(scores, wanted)
    np.testing.assert_array_equal(made.scores(raw), wanted)
    assert labels.tolist() == made.predict(raw).tolist()


def test_small_thresholds_take_two_bytes_in_a_model() -> None:
    def size(most: int) -> int:
        weights = hntk.WeightMatrix(np.ones((400, 400), np.int8), 1.0, "sign")  # type: ignore[arg-type]
        steps = hntk.NeuronSteps(np.full((400, 1), most, np.int32), (0, 1))
        made = hntk.IntegerNetwork(hntk.Pixels(), (weights,), (steps,), None, 1.0, (0.0,))
        readout = np.ones((1, 400), np.int8)
        return to_onnx(hntk.IntegerRegressor(made, readout, np.zeros(1, np.int32), 1.0)).ByteSize()

    assert 700 < size(2**15) - size(2**15 - 1) < 800


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": (hntk.NeuronSteps(np.zeros((3, 1), np.int32), (0, 1)),)}, "thresholds of shape"),
        ({"steps": (hntk.NeuronSteps(np.zeros(2, np.int32), (0, 1, 2)),)}, "thresholds of shape"),
        ({"steps": (hntk.NeuronSteps(np.zeros((2, 2), np.int32), (0, 1)),)}, "levels of"),
        ({"steps": (hntk.NeuronSteps(np.array([[0, 1], [1, 0]]), (0, 1, 2)),)}, "ascend"),
        ({"steps": (hntk.NeuronSteps(np.full((2, 1), 2**31), (0, 1)),)}, "32 bits"),
        ({"steps": (hntk.NeuronSteps(np.zeros((2, 1)), (0, 1)),)}, "not whole"),
        ({"inputs": hntk.PooledPixels((2, 2), (2, 2))}, "2 inputs"),
        ({"inputs": hntk.PooledPixels((1, 2), (2, 1))}, "no .* cells"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, why: str) -> None:
    for made in (classifier(network=network(**changes)), regressor(network=network(**changes))):
        with pytest.raises(ValueError, match=why):
            to_onnx(made)


def regressor(**changes: Any) -> hntk.IntegerRegressor:
    made = hntk.IntegerRegressor(network(), np.eye(2, dtype=np.int8), np.zeros(2, np.int32), 1.0)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"unit": 0.0}, "positive unit"),
        ({"unit": float("nan")}, "positive unit"),
        ({"offset": np.zeros(3, np.int32)}, "do not fit 2 neurons"),
        ({"readout": np.ones((2, 2), np.int32)}, "int8 or int16"),
        ({"readout": np.ones((0, 2), np.int8), "offset": np.zeros(0, np.int32)}, "must have a target"),
        ({"offset": np.full(2, 2**31 - 1)}, "32 bits"),
    ],
)
def test_regressors_that_do_not_fit_are_refused(changes: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        to_onnx(regressor(**changes))


def test_outputs_of_regressors() -> None:
    raw = np.array([[0, 0], [255, 4], [9, 201]], np.uint8)
    made = regressor(unit=0.1)
    scores, predictions = run(made, raw)
    assert scores.tolist() == [[0, 1], [2, 1], [2, 2]]
    assert predictions.dtype == np.float64
    np.testing.assert_array_equal(predictions, made.predict(raw))
    single = regressor(readout=np.ones((1, 2), np.int8), offset=np.zeros(1, np.int32), unit=0.1)
    np.testing.assert_array_equal(run(single, raw)[1], single.predict(raw))
    assert run(single, raw)[1].shape == (3,)
