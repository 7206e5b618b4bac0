"""Files of networks of whole numbers: every bit comes back, and every claim is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hntk
from hntk.files import container
from hntk.networks.integer_inputs import Pixels
from tests.support.architectures import INPUTS, architectures, raw_samples, whole_classifier


@pytest.mark.nightly
@settings(max_examples=20, deadline=None, derandomize=True)
@given(architectures(), st.sampled_from(["bits2", "base3", "mask+signs", "gaps+signs", "rice"]))
def test_files_give_back_every_bit(tmp_path_factory: pytest.TempPathFactory, shape: dict, encoding: str) -> None:
    made = whole_classifier(**shape)
    path = tmp_path_factory.mktemp("files") / "net.safetensors"
    hntk.save(made, path, encoding=None if made.network.weights[0].kind == "sign" else encoding)
    again = hntk.load(path)
    assert isinstance(again, hntk.IntegerClassifier)
    raw = raw_samples(made)
    np.testing.assert_array_equal(again.scores(raw), made.scores(raw))
    np.testing.assert_array_equal(again.predict(raw), made.predict(raw))
    assert again.predict(raw).dtype == made.predict(raw).dtype
    assert again.network.steps == made.network.steps


def rewritten(path: Path, arrays: dict[str, np.ndarray], metadata: dict, **changes: object) -> None:
    """Write a file with changed contents and a valid checksum."""
    layer = {k: v for k, v in changes.items() if k in metadata["layers"][0]}
    told = {**metadata, **{k: v for k, v in changes.items() if k in metadata}}
    told["layers"] = [{**metadata["layers"][0], **layer}, *metadata["layers"][1:]]
    replaced = {k.replace("__", "."): v for k, v in changes.items() if k.replace("__", ".") in arrays}
    assert len(layer) + len(replaced) + sum(k in metadata for k in changes) == len(changes)
    container.write(path, {**arrays, **replaced}, told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"layer1__thresholds": np.array([5, 4, 9], np.int32)}, "out of order"),
        ({"layer1__levels": np.array([1, 2], np.int16)}, "levels must be"),
        ({"layer1__thresholds": np.array([1.0, 2.0, 3.0])}, "thresholds must be"),
        ({"shape": [10**12, INPUTS]}, "follow each other"),
        ({"shape": [-1, INPUTS]}, "positive whole numbers"),
        ({"shape": [300, 10**15]}, "input.centre must be"),
        ({"scale": float("1e400")}, "JSON|finite"),
        ({"scale": 0}, "positive"),
        ({"kind": "pickled"}, "kind"),
        ({"encoding": "zip"}, "encoding"),
        ({"version": 3}, "version 3"),
        ({"form": "other"}, "form"),
        ({"input": {"type": "rounded", "factor": 1.0, "most": 10**6}}, "most"),
        ({"classes": [0, 0]}, "different labels"),
        ({"data": {"n": 3, "p": 4, "tau0": 1.0, "norm_deviation": 0.1, "class_counts": [2, -1]}}, "whole numbers"),
        ({"data": {"n": 3.5, "p": 4, "tau0": 1.0, "norm_deviation": 0.1, "class_counts": [2, 1]}}, "whole numbers"),
        ({"data": "MNIST"}, "table"),
        ({"classes": {"a": 1}}, "list of labels"),
        ({"readout__weights": np.full((2, 40), 2**15 - 1, np.int32)}, "readout"),
        ({"unit": None}, "finite number"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_file_says_is_checked(tmp_path: Path, changes: dict, why: str) -> None:
    path = tmp_path / "net.safetensors"
    hntk.save(whole_classifier(levels=4, widths=(300, 40)), path)
    arrays, metadata = container.read(path)
    if changes.get("scale") == float("inf"):
        with pytest.raises(ValueError, match=why):
            rewritten(path, arrays, metadata, **changes)
        return
    rewritten(path, arrays, metadata, **changes)
    with pytest.raises(hntk.FileError, match=why):
        hntk.load(path)


def test_an_unpacked_matrix_is_never_larger_than_its_bytes_allow(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    made = whole_classifier(levels=4, widths=(300,), sparsity=0.99)
    hntk.save(made, path, encoding="gaps+signs")
    arrays, metadata = container.read(path)
    rewritten(path, arrays, metadata, shape=[10**9, INPUTS])
    with pytest.raises(hntk.FileError, match="must be|do not fill"):
        hntk.load(path)


def test_the_centre_of_pixels_comes_back_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    made = whole_classifier(levels=4, widths=(33, 7), pixels=True, law="orthogonal")
    hntk.save(made, path)
    again, raw = hntk.load(path), raw_samples(made)
    assert isinstance(again, hntk.IntegerClassifier)
    np.testing.assert_array_equal(again.network.inputs.centre, made.network.inputs.centre)
    np.testing.assert_array_equal(again.scores(raw), made.scores(raw))
    arrays, metadata = container.read(path)
    for centre in (np.zeros(INPUTS - 1, np.uint8), np.zeros(INPUTS, np.int16), np.zeros((1, INPUTS), np.uint8)):
        rewritten(path, arrays, metadata, input__centre=centre)
        with pytest.raises(hntk.FileError, match="input.centre must be"):
            hntk.load(path)
    missing = {name: array for name, array in arrays.items() if name != "input.centre"}
    container.write(path, missing, metadata)
    with pytest.raises(hntk.FileError, match="input.centre"):
        hntk.load(path)
    # files of before: pixels as they are
    container.write(path, missing, {**metadata, "input": {"type": "pixels", "fine": 1}})
    before = hntk.load(path)
    assert isinstance(before, hntk.IntegerClassifier)
    assert before.network.inputs.centre is None
    assert np.any(before.scores(raw) != made.scores(raw))


@pytest.mark.parametrize("value", [256, -1, 0.5])
def test_a_centre_that_is_no_byte_is_not_written(tmp_path: Path, value: float) -> None:
    made = whole_classifier(levels=4, widths=(33, 7), pixels=True, law="orthogonal")
    wrong = replace(made, network=replace(made.network, inputs=Pixels(1, np.full(INPUTS, value))))
    with pytest.raises(ValueError, match="centre must be whole numbers from 0 to 255"):
        hntk.save(wrong, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []
