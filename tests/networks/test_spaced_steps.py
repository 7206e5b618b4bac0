"""Staircases with equally spaced thresholds: their definition, those nearest to real thresholds, the traced form."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from hntk.networks.spaced_steps import SpacedSteps

LEVELS = tuple(range(8))
SUMS = np.arange(-700, 701)


def random_steps(rng: np.random.Generator, neurons: int = 6) -> SpacedSteps:
    """Return steps of random multipliers, offsets and shifts."""
    multipliers = rng.integers(1, 256, neurons).astype(np.uint8)
    return SpacedSteps(
        multipliers, rng.integers(-2000, 2000, neurons).astype(np.int16), 3, int(rng.integers(8, 14)), LEVELS
    )


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_are_where_the_index_rises(seed: int) -> None:
    steps = random_steps(np.random.default_rng(seed))
    products = SUMS[:, None] * steps.multipliers.astype(int) + (steps.offsets.astype(int) << steps.offset_shift)
    index = np.clip(products >> steps.shift, 0, len(LEVELS) - 1)
    np.testing.assert_array_equal((SUMS[:, None, None] >= steps.thresholds).sum(axis=2), index)
    sums = np.broadcast_to(SUMS[:, None], index.shape).astype(np.float32)
    np.testing.assert_array_equal(steps(sums), index)
    np.testing.assert_array_equal(jax.jit(lambda s, x: s(x))(steps, sums), index)


def test_the_nearest_steps_are_near() -> None:
    """Thresholds move by the rounding of 8 bits, a 64th of the distance at most for each level from the middle one."""
    rng = np.random.default_rng(0)
    first, distance = rng.uniform(-300, 300, 50), rng.uniform(20, 120, 50)
    steps = SpacedSteps.of(first, distance, LEVELS, 700)
    assert steps.multipliers.dtype == np.uint8
    assert steps.largest_product(700) < 2**31
    exact = first[:, None] + distance[:, None] * np.arange(7)
    error = np.abs(steps.thresholds - np.ceil(exact))
    from_middle = np.abs(np.arange(7) - 3)
    assert np.all(error <= 1.5 + distance[:, None] * from_middle / 64)
    assert error[:, 3].max() <= 1.5


def test_very_different_neurons_get_multipliers_of_16_bits() -> None:
    distance = np.array([1.5, 400.0])
    steps = SpacedSteps.of(np.array([-2.0, 30.0]), distance, LEVELS, 5000)
    assert steps.multipliers.dtype == np.uint16
    exact = np.array([-2.0, 30.0])[:, None] + distance[:, None] * np.arange(7)
    assert np.abs(steps.thresholds - np.ceil(exact)).max() <= 2


@pytest.mark.parametrize("least", [1e-3, 1e-7])
@pytest.mark.parametrize("bound", [1000, 2_066_321, 2**24])
def test_thresholds_close_together_stay_in_32_bits(bound: int, least: float) -> None:
    """Thresholds of a distance far below 1 are where they were, up to a millionth of all sums."""
    distance, first = np.array([least, 1e12, 5.0]), np.array([17.4, 0.0, -3.0])
    steps = SpacedSteps.of(first, distance, LEVELS, bound)
    assert steps.defect(3) is None
    assert steps.largest_product(bound) < 2**31
    assert np.abs(steps.thresholds[0] - 17.4).max() <= 1 + bound / 2**20


def test_extreme_thresholds_stay_in_32_bits() -> None:
    """A neuron without any spread, and one whose thresholds no sum reaches."""
    first, distance = np.array([0.0, 1e9, -1e12, 3.0]), np.array([1e-3, 1.0, 1e9, 1e30])
    steps = SpacedSteps.of(first, distance, LEVELS, 2**20)
    assert steps.largest_product(2**20) < 2**31
    reached = (np.array([-(2**20), 2**20])[:, None, None] >= steps.thresholds).sum(axis=2)
    np.testing.assert_array_equal(reached[:, 0], [0, 7])
    np.testing.assert_array_equal(reached[:, 1], [0, 0])
