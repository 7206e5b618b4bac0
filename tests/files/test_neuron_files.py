"""Files with thresholds of each neuron, pooled pixels, regressors and records of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hntk
from hntk.__main__ import main
from hntk.files import container

INPUTS, WIDTHS = 12, (9, 5)
INT32 = np.iinfo(np.int32)
RECORD = hntk.TrainingRecord("match", 30, 24, 0.9712, 60_000, (0.4, 0.51), (4, 3), "shifts of 1 pixel", "three of it")
Change = Callable[[dict, dict], Any]


def by_hand(*, regressor: bool = False, training: hntk.TrainingRecord | None = RECORD, **parts: Any) -> Any:
    """Make a network from NumPy arrays alone, with a readout."""
    rng = np.random.default_rng(0)
    weights = [
        hntk.WeightMatrix(rng.integers(-1, 2, shape).astype(np.int8), 1.0, "ternary") for shape in ((9, 12), (5, 9))
    ]
    # around the sums of grey images
    middle = 127 * np.asarray(weights[0].values, np.int32).sum(axis=1, keepdims=True)
    thresholds = (middle + np.sort(rng.integers(-130, 130, (9, 3)), axis=1)).astype(np.int32)
    steps = hntk.NeuronSteps(thresholds, (0, 1, 2, 3)), hntk.Steps((-1, 2), (-1, 0, 1))
    inputs = hntk.PooledPixels((6, 5), (4, 3))
    network = hntk.IntegerNetwork(inputs, tuple(weights), steps, None, 0.5, (0.0, 0.0))
    network = replace(network, **parts)
    readout, offset = rng.integers(-90, 90, (2, 5)).astype(np.int8), np.array([40, -3], np.int32)
    if regressor:
        return hntk.IntegerRegressor(network, readout, offset, 0.25, training=training)
    return hntk.IntegerClassifier(network, readout, offset, np.array(["no", "yes"]), 0.25, training=training)


def raw() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 30)).astype(np.uint8)


def again(made: Any, path: Path) -> Any:
    hntk.save(made, path)
    return hntk.load(path)


@pytest.mark.parametrize("regressor", [False, True])
def test_everything_comes_back(regressor: bool, tmp_path: Path) -> None:
    made = by_hand(regressor=regressor)
    found = again(made, tmp_path / "net")
    assert type(found) is type(made)
    assert len(np.unique(made.scores(raw()), axis=0)) > 10
    np.testing.assert_array_equal(found.scores(raw()), made.scores(raw()))
    np.testing.assert_array_equal(found.predict(raw()), made.predict(raw()))
    np.testing.assert_array_equal(found.network.steps[0].thresholds, made.network.steps[0].thresholds)
    assert found.network.steps[0].levels == (0, 1, 2, 3)
    assert found.network.steps[1] == made.network.steps[1]
    assert (found.network.inputs.shape, found.network.inputs.pooled) == ((6, 5), (4, 3))
    assert found.training == RECORD
    assert repr(found) == repr(made)


@pytest.mark.parametrize(
    ("first", "gaps", "types"),
    [
        ([-128, 127], [0, 255], ("i1", "u1")),
        ([-129, 0], [255, 256], ("i2", "u2")),
        ([2**15, -(2**31)], [0, 65535], ("i4", "u2")),
        ([0, 5], [65536, 1], None),
        ([-(2**31), 0], [2**32 - 1, 2**31 - 1], None),
    ],
)
def test_thresholds_take_the_smallest_types(first: list, gaps: list, types: tuple | None, tmp_path: Path) -> None:
    thresholds = np.tile(np.array([first, np.add(first, gaps)]).T, (1, 1)).astype(np.int32)
    steps = hntk.NeuronSteps(thresholds, (0, 1, 2))
    arrays = steps.to_arrays(1)
    if types is None:
        assert arrays["layer1.thresholds"].dtype == np.int32
    else:
        assert (arrays["layer1.first"].dtype, arrays["layer1.gaps"].dtype) == tuple(map(np.dtype, types))
    assert steps.nbytes == sum(array.nbytes for array in arrays.values())
    one = hntk.WeightMatrix(np.ones((2, 12), np.int8), 1.0, "sign")
    made = hntk.IntegerNetwork(hntk.Pixels(), (one,), (steps,), None, 1.0, (0.0,))
    np.testing.assert_array_equal(again(made, tmp_path / "net").steps[0].thresholds, thresholds)


def test_one_threshold_a_neuron_has_no_gaps() -> None:
    arrays = hntk.NeuronSteps(np.array([[3], [-4]], np.int32), (0, 1)).to_arrays(2)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "layer2.first": [3, -4],
        "layer2.levels": [0, 1],
    }


def test_only_what_is_new_takes_version_2(tmp_path: Path) -> None:
    shared = (hntk.Steps((0, 9), (0, 1, 2)), hntk.Steps((-1, 2), (-1, 0, 1)))
    plain: dict[str, Any] = {"training": None, "inputs": hntk.Pixels(), "steps": shared}
    wanted = {
        1: [plain],
        2: [plain | {"training": RECORD}, plain | {"regressor": True},
            plain | {"inputs": hntk.PooledPixels((3, 4), (3, 4))}, plain | {"steps": by_hand().network.steps}],
    }  # fmt: skip
    for version, kinds in wanted.items():
        for kind in kinds:
            hntk.save(by_hand(**kind), tmp_path / "net")
            arrays, metadata = container.read(tmp_path / "net")
            assert metadata["version"] == version
            container.write(tmp_path / "net", arrays, metadata | {"version": 1})
            if version == 2:
                with pytest.raises(hntk.FileError, match="of version 1, and holds what only files of version 2 do"):
                    hntk.load(tmp_path / "net")


def test_a_summary_and_the_console_tell_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for regressor in (False, True):
        hntk.save(by_hand(regressor=regressor), tmp_path / "net")
        assert main(["inspect", str(tmp_path / "net")]) == 0
        shown = capsys.readouterr().out
        assert (
            "trained: from match on 60,000 samples, epoch 24 of 30 kept, 4-3 levels, validation 0.9712, augmentation "
            "shifts of 1 pixel, teacher three of it"
        ) in shown
        assert "input: pixels, 0 to 255, of 6 x 5 images averaged over 4 x 3 cells" in shown
        assert ("classes: no, yes" in shown, "predictions: 2 targets, whole scores times 0.25" in shown) == (
            not regressor, regressor,
        )  # fmt: skip


def test_the_console_exports_regressors_to_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "net.safetensors"
    hntk.save(by_hand(regressor=True), path)
    assert main(["export", str(path), "--to", "onnx"]) == 0
    assert path.with_suffix(".onnx").stat().st_size > 0


# --- forged and damaged ---


def array(name: str, value: np.ndarray | None) -> Change:
    return lambda arrays, metadata: arrays.pop(name) if value is None else arrays.update({name: value})


def told(**changes: Any) -> Change:
    return lambda arrays, metadata: metadata.update(changes)


def trained(**changes: Any) -> Change:
    return lambda arrays, metadata: metadata["training"].update(changes)


def pooled(**changes: Any) -> Change:
    return lambda arrays, metadata: metadata["input"].update(changes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (array("layer1.first", np.zeros(8, np.int16)), "layer1.first must be"),
        (array("layer1.first", np.zeros(9, np.uint8)), "layer1.first must be int32"),
        (array("layer1.gaps", np.zeros((9, 2), np.int16)), "layer1.gaps must be uint16"),
        (array("layer1.gaps", np.zeros((8, 2), np.uint8)), "layer1.gaps must be"),
        (array("layer1.gaps", np.zeros((9, 3), np.uint8)), "layer1.levels must be"),
        (array("layer1.gaps", np.zeros((9, 0), np.uint8)), "layer1.levels must be"),
        (array("layer1.gaps", np.zeros((9, 1023), np.uint8)), "2 to 1,024 levels"),
        (array("layer1.gaps", None), "layer1.levels must be"),
        (array("layer1.first", np.full(9, INT32.max, np.int32)), "leave 32 bits"),
        (array("layer1.first", None), "layer1.thresholds is missing"),
        (array("layer2.thresholds", np.zeros((5, 3), np.int32)), "layer2.levels must be"),
        (array("layer2.thresholds", np.array([[1, 0]] * 5, np.int32)), "out of order"),
        (array("layer2.thresholds", np.zeros((4, 2), np.int32)), "layer2.thresholds must be"),
        (array("layer2.thresholds", np.zeros((5, 0), np.int32)), "2 to 1,024 levels"),
        (pooled(shape=[3, 5]), "no \\(4, 3\\) cells"),
        (pooled(pooled=[4, 4]), "takes 12 coordinates"),
        (pooled(shape=[6]), "two numbers"),
        (pooled(shape=[6.0, 5]), "positive whole numbers"),
        (pooled(shape=[2**40 + 1, 2**40 + 1]), "2\\*\\*24"),
        (trained(epochs=-1), "epochs must be"),
        (trained(best_epoch=31), "best epoch is 31 of 30"),
        (trained(best_epoch=True), "best_epoch must be"),
        (trained(samples=0), "samples must be"),
        (trained(validation="high"), "validation must be"),
        (trained(levels=[]), "levels must be"),
        (trained(levels=[4] * 1025), "1,025 layers"),
        (trained(sparsity=[0.5, 1.5]), "shares of zeros"),
        (trained(sparsity=[0.5] * 1025), "one to 1,024"),
        (trained(start="x" * 1025), "1,025 characters"),
        (trained(teacher=3), "teacher cannot be"),
        (told(training=[]), "a table was expected"),
    ],
)
def test_forged_parts_are_refused(change: Change, why: str, tmp_path: Path) -> None:
    hntk.save(by_hand(), tmp_path / "net")
    arrays, metadata = container.read(tmp_path / "net")
    change(arrays, metadata)
    container.write(tmp_path / "net", arrays, metadata)
    with pytest.raises(hntk.FileError, match=why):
        hntk.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (told(targets=3), "readout.weights must be"),
        (told(targets=0), "targets must be"),
        (told(targets=10**9), "65,536 at most"),
        (told(score_unit=-1.0), "score_unit must be positive"),
        (array("readout.offset", np.full(2, INT32.max, np.int32)), "leave 32 bits"),
    ],
)
def test_forged_regressors_are_refused(change: Change, why: str, tmp_path: Path) -> None:
    hntk.save(by_hand(regressor=True), tmp_path / "net")
    arrays, metadata = container.read(tmp_path / "net")
    change(arrays, metadata)
    container.write(tmp_path / "net", arrays, metadata)
    with pytest.raises(hntk.FileError, match=why):
        hntk.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"steps": (hntk.NeuronSteps(np.array([[1, 0]] * 9, np.int32), (0, 1, 2)),) * 2}, "out of order"),
        ({"steps": (hntk.NeuronSteps(np.zeros((9, 2), np.int32), (0, 1)),) * 2}, "levels must be"),
        ({"steps": (hntk.NeuronSteps(np.zeros((8, 2), np.int32), (0, 1, 2)),) * 2}, "layer1.first must be"),
        ({"steps": (hntk.NeuronSteps(np.full((9, 1), 2**40), (0, 1)),) * 2}, "whole numbers from"),
        ({"steps": (hntk.NeuronSteps(np.full((9, 1), 0.5), (0, 1)),) * 2}, "whole numbers from"),
        ({"inputs": hntk.PooledPixels((6, 5), (4, 4))}, "takes 12 coordinates"),
        ({"inputs": hntk.PooledPixels((3, 3), (4, 3))}, "no \\(4, 3\\) cells"),
        ({"training": replace(RECORD, best_epoch=99)}, "best epoch is 99"),
        ({"training": replace(RECORD, validation=float("nan"))}, "saved"),
        ({"training": replace(RECORD, levels=[4, 3])}, "record of the training"),
    ],
)
def test_what_would_not_come_back_is_not_written(parts: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        hntk.save(by_hand(**parts), tmp_path / "net")
    assert not list(tmp_path.iterdir())
