"""Samples that are rounded in a unit of each coordinate: the same numbers in Python, in files, in C and in ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hntk
from hntk.deploy import c_library, to_c, to_onnx
from hntk.files import container

P = 7
MEAN, DEVIATION = np.array([0, 5, -2e4, 1e-3, 3, 0, 100.0]), np.array([1, 2e3, 1e4, 1e-3, 0.5, 7, 40])


def raw() -> np.ndarray:
    return (MEAN + DEVIATION * np.random.default_rng(1).normal(size=(60, P))).astype(np.float32)


def made(inputs: hntk.Rounded) -> hntk.IntegerClassifier:
    """Return a classifier of one layer, whose answer depends on every coordinate."""
    rng = np.random.default_rng(0)
    weights = hntk.WeightMatrix(rng.choice([-1, 1], (9, P)).astype(np.int8), 1.0, "ternary")
    network = hntk.IntegerNetwork(inputs, (weights,), (hntk.Steps((-60, 0, 80), (0, 1, 2, 3)),), None, 0.5, (0.0,))
    readout = rng.integers(-90, 90, (3, 9)).astype(np.int8)
    return hntk.IntegerClassifier(network, readout, np.zeros(3, np.int32), np.array(["a", "b", "c"]), 0.25)


STANDARD = hntk.Rounded(np.full(P, 0.25, np.float32), 40.0, 127)
EACH = made(STANDARD.after(MEAN, DEVIATION))


def test_raw_samples_become_what_standardised_ones_do() -> None:
    standardised = ((raw() - MEAN) / DEVIATION).astype(np.float32)
    ours, theirs = np.asarray(EACH.network.inputs(raw())), np.asarray(STANDARD(standardised))
    # a number halfway between two whole ones may go either way
    assert np.max(np.abs(ours - theirs)) <= 1
    assert np.mean(ours != theirs) < 0.02
    assert len(np.unique(EACH.scores(raw()), axis=0)) > 20


def test_files_hold_a_factor_for_each_coordinate(tmp_path: Path) -> None:
    hntk.save(EACH, tmp_path / "net")
    found = hntk.load(tmp_path / "net")
    np.testing.assert_array_equal(found.scores(raw()), EACH.scores(raw()))
    assert "each coordinate in a unit of its own" in str(hntk.summarize(found))
    arrays, metadata = EACH.to_arrays()
    for factors in (np.zeros(P, np.float32), np.full(P, 1e38, np.float32), np.ones(P - 1, np.float32)):
        container.write(tmp_path / "forged", arrays | {"input.factor": factors}, metadata)
        with pytest.raises(hntk.FileError):
            hntk.load(tmp_path / "forged")


def test_the_c_program_rounds_as_python_does() -> None:
    program = to_c(EACH, "each")
    np.testing.assert_array_equal(c_library(program).scores(raw()), EACH.scores(raw()))
    one = to_c(made(replace(EACH.network.inputs, factor=1.0)), "one")
    assert program.table_bytes == one.table_bytes + 4 * P


def test_the_onnx_model_rounds_as_python_does() -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(to_onnx(EACH, weights="int8").SerializeToString())
    scores = session.run(["scores"], {"input": raw()})[0]
    np.testing.assert_array_equal(scores, EACH.scores(raw()))


def test_numbers_that_do_not_fit_are_refused() -> None:
    for mean, deviation in ((MEAN, -DEVIATION), (MEAN[:3], DEVIATION), (MEAN * np.nan, DEVIATION)):
        with pytest.raises(ValueError, match="finite numbers each"):
            STANDARD.after(mean, deviation)
    with pytest.raises(ValueError, match="rescale"):
        STANDARD.after(MEAN, np.full(P, 1e-40))
