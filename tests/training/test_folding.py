"""Folding: the program of whole numbers computes what the trained network does."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hntk.networks.training_record import TrainingRecord
from hntk.training.few_level_layers import FewLevelLayer
from hntk.training.folding import (
    ExactStatistics,
    folded,
    folded_network,
    reached_levels,
    whole_readout,
    whole_staircase,
    whole_sums,
)
from hntk.training.forward_pass import LEAST_VARIANCE, SumStatistics, forward
from hntk.training.samples import TrainingData, training_data
from tests.support.few_level_networks import parameters

LAYERS = (FewLevelLayer((0, 3, -1, 4), (0.9, 0.7, 1.3)), FewLevelLayer((0, 1, 2, 3), (0.5,) * 3))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 36), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 300)


def pixels(**options: Any) -> TrainingData:
    return training_data(IMAGES, LABELS, validation=None, **options)


def test_statistics_are_exact() -> None:
    rng = np.random.default_rng(2)
    weights = rng.integers(-1, 2, (4, 36)).astype(np.int8)
    mean, variance = ExactStatistics.of(weights, IMAGES)
    for neuron, row in enumerate(weights.tolist()):
        sums = [sum(w * v for w, v in zip(row, image, strict=True)) for image in IMAGES.tolist()]
        exact = Fraction(sum(sums), len(sums))
        assert mean[neuron] == float(exact)
        assert variance[neuron] == float(sum((s - exact) ** 2 for s in sums) / len(sums))


def test_statistics_of_large_sums_do_not_overflow() -> None:
    """Squares whose sum passes 64 bits."""
    h = np.full((3000, 1), 2**24 - 1, np.int64)
    h[::2] = -h[::2]
    first = ExactStatistics.of(np.ones((1, 1), np.int8), np.repeat(h, 20, axis=0))
    assert first.mean[0] == 0
    assert first.variance[0] == float((2**24 - 1) ** 2)


def test_a_sum_reaches_a_threshold_exactly_where_its_standardised_value_does() -> None:
    statistics = ExactStatistics(np.array([3.25, -7.0]), np.array([20.0, 0.0]))
    thresholds = np.array([[0.5, -0.3, 0.0], [0.0, 2.0, -1.0]])
    layer = FewLevelLayer((0, 1, 2, 3), (0.5,) * 3)
    whole = np.asarray(whole_staircase(statistics, np.sort(thresholds, axis=1), layer, 1000).thresholds)
    assert whole.dtype == np.int32
    assert np.all(np.diff(whole, axis=1) >= 0)
    sums = np.arange(-20, 21)[:, None, None]
    z = (sums - statistics.mean[:, None]) / np.sqrt(statistics.variance + LEAST_VARIANCE)[:, None]
    np.testing.assert_array_equal(sums >= whole, z >= np.sort(thresholds, axis=1))


@pytest.mark.parametrize("options", [{}, {"pool": (4, 5)}, {"pool": (4, 3), "shape": (9, 4)}])
def test_the_program_reaches_the_levels_of_the_float_network(options: dict[str, Any]) -> None:
    data = pixels(**options)
    made = parameters((8, 7), data.inputs_width)
    network = folded_network(made, LAYERS, data)
    compiled = jax.jit(forward, static_argnums=1)
    _, statistics = compiled(made, LAYERS, data.training.whole.astype(np.float32))
    h, ties = data.training.whole, 0.0
    for matrix, steps, layer, part, used in zip(
        network.weights, network.steps, LAYERS, made["layers"], statistics, strict=True
    ):
        values = np.asarray(matrix.values)
        sums = np.concatenate(list(whole_sums(values, h)))
        # statistics that the compiled network computes in float32
        exact = ExactStatistics.of(values, h)
        assert isinstance(used, SumStatistics)
        np.testing.assert_allclose(used.mean, exact.mean, rtol=1e-5, atol=1e-3)
        z = (sums - exact.mean) / np.sqrt(exact.variance + LEAST_VARIANCE)
        thresholds = np.sort(np.asarray(part["thresholds"], float), axis=1)
        expected = np.asarray(layer.levels)[(z[:, :, None] >= thresholds).sum(axis=2)]
        tie = np.abs(z[:, :, None] - thresholds).min(axis=2) < 1e-12
        h = reached_levels(values, steps.thresholds, steps.levels, h)
        np.testing.assert_array_equal(np.where(tie, 0, h), np.where(tie, 0, expected))
        ties += tie.mean()
    assert ties < 0.01
    raw = jnp.asarray(data.training.raw)
    np.testing.assert_array_equal(np.concatenate(list(network.feature_batches(raw))), h)


def test_the_readout_is_the_trained_one_rounded_once() -> None:
    rng = np.random.default_rng(2)
    readout, offset = rng.normal(size=(3, 7)), rng.normal(size=3)
    whole = whole_readout(readout, offset, 0.25, 5)
    assert whole.weights.dtype == np.int8
    assert np.abs(whole.weights).max() == 127
    np.testing.assert_allclose(whole.weights * whole.unit / 0.25, readout, atol=np.abs(readout).max() / 254 * 1.001)
    np.testing.assert_allclose(whole.offset * whole.unit, offset, atol=whole.unit * 0.501)
    # nothing but zeros has a unit too
    assert whole_readout(np.zeros((2, 3)), np.zeros(2), 1.0, 1).unit > 0
    with pytest.raises(ValueError, match="32 bits"):
        whole_readout(readout * 1e-12, offset, 1.0, 5)


def test_the_program_gives_the_scores_of_the_trained_network() -> None:
    """Scores differ by the rounding of offsets, except where float32 decides a tie the other way."""
    data = pixels(pool=(4, 4))
    made = parameters((9, 8), data.inputs_width)
    program = folded(made, LAYERS, data, TrainingRecord("uniform", 3, 2, None, 300))
    scores, _ = jax.jit(forward, static_argnums=1)(made, LAYERS, data.training.whole.astype(np.float32))
    error = np.abs(np.asarray(program.scores(IMAGES)) * program.unit - scores).max(axis=1)
    assert np.mean(error < 0.6 * program.unit + 1e-5) > 0.98
    assert np.ptp(scores) > 1


@pytest.mark.parametrize("sizes", [(3.0,), (2.0, 200.0)])
def test_a_regressor_predicts_what_the_trained_network_does(sizes: tuple[float, ...]) -> None:
    """Targets of different sizes share one unit, but no accuracy: their weights have 16 bits."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=(300, len(sizes))) * sizes + 7.0
    data = training_data(IMAGES, y, validation=None)
    made = parameters((9, 8), 36, classes=len(sizes))
    program = folded(made, LAYERS, data, TrainingRecord("uniform", 3, 2, None, 300))
    assert program.readout.dtype == (np.int8 if len(sizes) == 1 else np.int16)
    scores, _ = jax.jit(forward, static_argnums=1)(made, LAYERS, data.training.whole.astype(np.float32))
    wanted = np.asarray(scores) * y.std(axis=0) + y.mean(axis=0)
    error = np.abs(program.predict(IMAGES).reshape(wanted.shape) - wanted) / y.std(axis=0)
    assert np.mean(error < 0.02 * np.std(scores), axis=0).min() > 0.98
    assert program.training.validation is None
