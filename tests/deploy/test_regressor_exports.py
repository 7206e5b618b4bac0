"""Fitted regressors in whole numbers: fixed-point predictions, their precision, and the same bits in C and ONNX."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.deploy import c_library, to_c, to_onnx

N, P = 120, 20


@lru_cache
def problem() -> tuple[hntk.Network, np.ndarray, np.ndarray]:
    """A network of levels on a grid, samples, and targets of very different sizes; the second has a large mean."""
    x = np.asarray(hntk.reference_mixture(n=N, p=P, key=jax.random.key(0)).x)
    net = hntk.on_grid(hntk.compress(["relu"] * 2, [48, 32], x, levels=4, key=jax.random.key(1)))
    return net, x, np.stack([1e4 * x[:, 0], 3 + 1e-3 * np.sum(x**2, axis=1)], axis=1)


@lru_cache
def fitted(targets: int, layers: str = "last") -> hntk.RidgeRegressor:
    net, x, y = problem()
    return hntk.fit_ridge(net, x, y[:, :targets], ridge=0.1, layers=layers)  # type: ignore[return-value, arg-type]


def whole(targets: int, layers: str = "last", **options: int) -> hntk.IntegerRegressor:
    made = hntk.to_integers(fitted(targets, layers), x=problem()[1], **options)  # type: ignore[arg-type]
    assert isinstance(made, hntk.IntegerRegressor)
    return made


def exact_predictions(made: hntk.IntegerRegressor, source: hntk.Regressor, x: np.ndarray) -> np.ndarray:
    """Return what the readout in floats says of the levels that whole numbers have."""
    features = [
        np.asarray(levels, np.float64) * unit / np.sqrt(levels.shape[1])
        for levels, unit in zip(layer_levels(made, x), level_units(made, source), strict=True)
    ]
    return np.concatenate(features, axis=1) @ source.weights + source.offset


def layer_levels(made: hntk.IntegerRegressor, x: np.ndarray) -> list[np.ndarray]:
    levels = np.concatenate(list(made.network.feature_batches(x, layers=made.layers)))
    return np.split(levels, np.cumsum(made.read_widths)[:-1], axis=1)


def level_units(made: hntk.IntegerRegressor, source: hntk.Regressor) -> list[float]:
    """Return the unit of each layer's levels: on a grid, a level over its whole number."""
    pairs = zip(source.network.activations, made.network.steps, strict=True)
    units = [float(np.abs(sigma.levels).max() / steps.most) for sigma, steps in pairs]  # type: ignore[attr-defined]
    return units[-len(made.read_widths) :]


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("bits", [6, 8, 16])
def test_rounding_is_a_bound_and_falls_with_the_bits(bits: int, layers: str) -> None:
    _, x, y = problem()
    made, source = whole(2, layers, readout_bits=bits), fitted(2, layers)
    assert made.readout.dtype == (np.int8 if bits <= 8 else np.int16)
    units = np.asarray(made.unit)
    assert units.shape == (2,)
    np.testing.assert_array_equal(np.exp2(np.rint(np.log2(units))), units)
    errors = np.abs(made.predict(x) - exact_predictions(made, source, x)).max(axis=0)
    assert np.all(errors <= made.rounding)
    # a bound that is not idle: levels that are far from the worst give a part of it
    assert np.all(errors > np.asarray(made.rounding) / 300)
    # the second target's mean of 4,000 deviations takes bits of its scores, which have 32
    assert made.rounding[0] < 2.0 ** (2 - bits) * 32 * y[:, 0].std()
    assert made.statistics == source.statistics


def test_each_target_has_all_bits_of_its_own() -> None:
    """One unit for both, as scores that are compared have, would leave nothing of the small target."""
    _, x, y = problem()
    made, source = whole(2), fitted(2)
    assert made.r2(x, y) == pytest.approx(source.r2(x, y), abs=0.01)
    coarse = np.rint(source.weights.T / (np.abs(source.weights).max() / 32767))
    assert not np.any(coarse[1])
    single = whole(1)
    assert isinstance(single.unit, float)
    assert single.predict(x).shape == (N,)
    # fits of one and of two targets differ by rounding in float32
    np.testing.assert_allclose(single.predict(x), made.predict(x)[:, 0], atol=1e-5 * y[:, 0].std())


@pytest.mark.parametrize(("targets", "layers"), [(1, "last"), (2, "last"), (2, "all")])
def test_c_onnx_and_python_predict_the_same_bits(targets: int, layers: str, tmp_path: Path) -> None:
    _, x, _ = problem()
    made, raw = whole(targets, layers), x.astype(np.float32)
    expected = made.predict(raw)
    program = to_c(made, "reg")
    if toolchain.has("gcc"):
        library = c_library(program, compiler="gcc", options=("-Wall", "-Wextra", "-Wpedantic", "-Werror"))
        np.testing.assert_array_equal(library.scores(raw), made.scores(raw))
        np.testing.assert_array_equal(library.predict(raw).reshape(expected.shape), expected)
        built = toolchain.compile_program(program, tmp_path, "gcc", ())
        printed = subprocess.run([built], input=raw.tobytes(), capture_output=True, check=True).stdout
        np.testing.assert_array_equal(np.array(printed.split(), float).reshape(expected.shape), expected)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(to_onnx(made).SerializeToString())
    scores, predictions = session.run(["scores", "prediction"], {"input": raw})
    np.testing.assert_array_equal(scores, made.scores(raw))
    assert predictions.dtype == np.float64
    np.testing.assert_array_equal(predictions, expected)


def test_the_header_states_the_precision() -> None:
    one, two = to_c(whole(1), "reg").header, to_c(whole(2), "reg").header
    made = whole(2)
    assert f"#define REG_UNIT {whole(1).unit!r}\n" in one
    bits = [int(-np.log2(unit)) for unit in made.unit]  # type: ignore[union-attr]
    assert f"#define REG_UNITS {{{made.unit[0]!r}, {made.unit[1]!r}}}\n" in two  # type: ignore[index]
    assert f"#define REG_FRACTION_BITS {{{bits[0]}, {bits[1]}}}\n" in two
    assert f"#define REG_ROUNDING {{{made.rounding[0]!r}, {made.rounding[1]!r}}}\n" in two
    assert int(re.findall(r"LARGEST_SCORE (\d+)", two)[0]) == made.largest_score < 2**31
    # a unit that is no power of two has no fractional bits
    assert "FRACTION_BITS" not in to_c(replace(whole(1), unit=0.3, rounding=()), "reg").header


def test_files_keep_units_and_precision(tmp_path: Path) -> None:
    made = whole(2, "all")
    made.save(tmp_path / "net")
    again = hntk.load(tmp_path / "net")
    assert isinstance(again, hntk.IntegerRegressor)
    assert (again.unit, again.rounding, again.statistics) == (made.unit, made.rounding, made.statistics)
    np.testing.assert_array_equal(again.predict(problem()[1]), made.predict(problem()[1]))
    assert "rounding the readout moves them by at most" in str(hntk.summarize(again))
    for wrong in ((0.5, -1.0), (0.5, np.inf), (0.5, 0.5, 0.5)):
        with pytest.raises(ValueError, match="cannot be saved"):
            replace(made, unit=wrong).save(tmp_path / "wrong")
        with pytest.raises(ValueError, match="positive unit"):
            to_c(replace(made, unit=wrong))


@pytest.mark.parametrize("targets", [1, 2])
def test_float_regressors_in_onnx(targets: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    _, x, y = problem()
    source, raw = fitted(targets), x.astype(np.float32)
    session = runtime.InferenceSession(to_onnx(source).SerializeToString())
    (predictions,) = session.run(["prediction"], {"input": raw})
    assert predictions.dtype == np.float32
    expected = source.predict(raw)
    assert predictions.shape == expected.shape
    np.testing.assert_allclose(predictions, expected, atol=1e-5 * y[:, :targets].std(axis=0).max())
