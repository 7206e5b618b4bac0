"""Densities that follow the bytes of the program: what they fill, with which weights, and across interruptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.deploy import to_c
from hntk.training import few_level_training
from hntk.training.budget import folded_within
from hntk.training.byte_distances import COARSE_MULTIPLIER, spread_thresholds
from hntk.training.byte_limit import filling_scale
from hntk.training.few_level_layers import FewLevelLayer
from hntk.training.folding import ExactStatistics, whole_staircase
from hntk.training.sparse_weights import (
    DENSEST,
    DENSITY_SCALE,
    cut_of,
    density,
    exact_cut,
    own_layers,
    ternary_values,
    with_cuts,
    with_followed_cuts,
)
from hntk.training.table_size import table_bytes

KEYS = jax.random.split(jax.random.key(4), 2)
SCHEDULE = hntk.Schedule(epochs=6, batch=32, learning_rate=3e-2, patience=6, warmup=1.0)
LIMIT, SPARSITY = 1080, (0.9, 0.8)


def samples(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of three classes that differ in four pixels a class, a little less than noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 120, (n, 12, 12))
    x[np.arange(n), 2 * y, :4] += 60
    return x.reshape(n, -1).astype(np.uint8), y


def train(kilobytes: float | None = LIMIT / 1000, **options: Any) -> Any:
    given = {"levels": 4, "thresholds": "spaced", "sparsity": SPARSITY, "pool": (12, 12), "key": KEYS} | options
    return hntk.train(*samples(), (48, 24), kilobytes=kilobytes, schedule=SCHEDULE, **given)


class Followed(NamedTuple):
    """A training of two members."""

    programs: tuple[Any, ...]
    # bytes before anything was left out at the end
    sizes: list[int]
    # lines of each epoch, and members after it
    epochs: list[Any]
    snapshots: list[Any]


@pytest.fixture(scope="module")
def followed() -> Followed:
    sizes, epochs, snapshots = [], [], []

    def watched(*arguments: Any) -> Any:
        made = folded_within(*arguments)
        sizes.append(made[1])
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_level_training, "folded_within", watched)
        programs = train(progress=epochs.append, snapshot=lambda snapshot: snapshots.append(snapshot.members))
    return Followed(programs, sizes, epochs, snapshots)


# Trainings


def test_a_training_fills_its_limit_without_anything_left_out_at_the_end(followed: Followed) -> None:
    """The same sparsity, kept, does not fill it; each member has its own, in the ratio that was given."""
    assert [to_c(program).table_bytes for program in followed.programs] == followed.sizes
    assert all(0.985 * LIMIT < size <= LIMIT for size in followed.sizes)
    assert all(table_bytes(program) < 0.95 * LIMIT for program in train(None))
    first, second = (1 - np.array(program.training.sparsity) for program in followed.programs)
    assert first[0] != second[0]
    for dense in (first, second):
        assert dense[1] / dense[0] == pytest.approx((1 - SPARSITY[1]) / (1 - SPARSITY[0]), rel=0.01)


def test_an_epoch_is_validated_with_the_weights_of_its_program(followed: Followed) -> None:
    """Both standardise over the same samples, so that only sums at a threshold to rounding differ."""
    for member, program in enumerate(followed.programs):
        line = followed.epochs[program.training.best_epoch - 1][member]
        assert abs(line.validation - program.training.validation) <= 1.5 / 40


def test_an_epoch_ends_with_the_weights_that_are_wanted(followed: Followed) -> None:
    layers = tuple(FewLevelLayer((0, 1, 2, 3), (2 / 3,) * 3, zeros) for zeros in SPARSITY)
    parameters = [member.parameters for members in followed.snapshots for member in members]
    assert parameters[-1][DENSITY_SCALE] > 1.05
    for own in parameters:
        for layer, wanted, part in zip(layers, own_layers(own, layers), own["layers"], strict=True):
            assert layer.sparsity is not None
            assert wanted.sparsity is not None
            assert 1 - wanted.sparsity == pytest.approx((1 - layer.sparsity) * float(own[DENSITY_SCALE]))
            kept = float(jnp.mean(jnp.abs(part["weights"]) > part["cut"]))
            assert kept == pytest.approx(1 - wanted.sparsity, abs=0.6 / part["weights"].size)


@pytest.mark.parametrize("scale", [0.7, 1.4])
def test_cuts_follow_a_wanted_share_that_changes(scale: float) -> None:
    layer = FewLevelLayer((0, 1), (1.0,), 0.9)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(100, 200)), jnp.float32)
    parameters = with_cuts({"layers": [{"weights": weights}]}, [layer]) | {DENSITY_SCALE: jnp.float32(scale)}
    follow = jax.jit(lambda p: jax.lax.fori_loop(0, 600, lambda _, q: with_followed_cuts(q, [layer], 1e-3), p))
    kept = float(jnp.mean(jnp.abs(weights) > cut_of(follow(parameters)["layers"][0], layer)))
    assert kept == pytest.approx(0.1 * scale, rel=0.02)
    # and are there at once after an epoch
    assert float(jnp.mean(jnp.abs(weights) > with_cuts(parameters, [layer])["layers"][0]["cut"])) == pytest.approx(
        0.1 * scale, abs=1e-4
    )
    # without a scale they stay where they were
    del parameters[DENSITY_SCALE]
    assert float(jnp.mean(jnp.abs(weights) > cut_of(follow(parameters)["layers"][0], layer))) == pytest.approx(
        0.1, rel=0.01
    )


def test_an_interrupted_training_ends_as_an_uninterrupted_one(followed: Followed, tmp_path: Path) -> None:
    path = tmp_path / "training.npz"

    def stop(epochs: Any) -> None:
        if epochs[0].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path, progress=stop)
    resumed = train(checkpoint=path)
    leaves = zip(jax.tree.leaves(resumed), jax.tree.leaves(followed.programs), strict=True)
    assert all(np.array_equal(a, b) for a, b in leaves)
    with pytest.raises(ValueError, match=r"another training \(other .*kilobytes"):
        train(1.2 * LIMIT / 1000, checkpoint=path)


# Scales


@pytest.mark.parametrize(
    ("size", "start", "most", "bounds"),
    [
        (lambda s: 1000 * s, 1.0, 9.0, (0.99, 1.0)),
        (lambda s: 200 + 900 * s**0.7, 1.0, 9.0, (0.99, 1.0)),
        (lambda s: 200 + 900 * s**0.7, 0.1, 9.0, (0.99, 1.0)),
        # in the range already, or not within reach
        (lambda s: 992 * s, 1.0, 9.0, (0.992, 0.992)),
        (lambda s: 500 * s, 1.0, 1.5, (0.75, 0.75)),
        (lambda s: 940 * s + 100 * (s > 1), 1.02, 9.0, (0.9, 0.95)),
        (lambda s: 1200 + s, 1.0, 9.0, (1.2, 1.21)),
    ],
)
def test_a_scale_fills_a_limit_as_far_as_it_can(
    size: Callable[[float], float], start: float, most: float, bounds: tuple[float, float]
) -> None:
    tried = []

    def measured(scale: np.float32) -> int:
        tried.append(scale)
        return round(size(float(scale)))

    found = filling_scale(measured, np.float32(start), 1000.0, most)
    assert found.dtype == np.float32
    assert bounds[0] - 1e-9 <= measured(found) / 1000 <= bounds[1] + 1e-9
    assert len(tried) <= 11
    assert max(tried) <= most


def test_densities_have_bounds() -> None:
    layer = FewLevelLayer((0, 1), (1.0,), 0.9)
    assert density(layer, 1000) == pytest.approx(0.1)
    assert density(layer, 1000, np.float32(2)) == pytest.approx(0.2)
    assert density(layer, 1000, np.float32(50)) == pytest.approx(DENSEST)
    assert density(layer, 1000, np.float32(0)) == pytest.approx(1 / 1000)
    assert density(FewLevelLayer((0, 1), (1.0,), 0.2), 1000, np.float32(2)) == pytest.approx(0.8)


@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.95, 1.0])
def test_an_exact_cut_keeps_the_weights_of_the_program(sparsity: float) -> None:
    w = np.random.default_rng(2).normal(size=(30, 41)).astype(np.float32)
    np.testing.assert_array_equal(np.abs(w) > exact_cut(w, sparsity), ternary_values(w, sparsity) != 0)
    # of equal magnitudes the first become 0
    tied = np.array([[1, -2, 1, -1, 2, 1]], np.float32)
    assert ternary_values(tied, 0.5).tolist() == [[0, -1, 0, 0, 1, 1]]


# Multipliers


def test_a_few_neurons_that_hardly_change_do_not_cost_every_neuron_a_byte() -> None:
    """They keep the level that they nearly always have; where many differ, all keep their thresholds."""
    rng = np.random.default_rng(3)
    levels, bound = 8, 20_000
    mean, variance = rng.normal(size=64) * 200, np.exp(rng.normal(size=64) / 2) * 300**2
    variance[[5, 40]] = 0.0, 20.0
    thresholds = rng.uniform(-1, 0.5, (64, 1)) + 0.3 * np.arange(levels - 1)
    layer = FewLevelLayer(tuple(range(levels)), (0.3,) * (levels - 1), 0.9, spaced=True)
    statistics = ExactStatistics(mean, variance)
    coarse_layer = FewLevelLayer(layer.levels, layer.windows, 0.9, spaced=True, coarse=True)
    made: list[Any] = [whole_staircase(statistics, thresholds, each, bound) for each in (layer, coarse_layer)]
    exact, coarse = made
    assert exact.multipliers.dtype == np.uint16
    assert coarse.multipliers.dtype == np.uint8
    # Rounded multipliers move thresholds; those of 16 bits too, as the two neurons leave the others few of them.
    true = mean[:, None] + np.sqrt(variance)[:, None] * thresholds
    others = np.delete(np.arange(64), [5, 40])
    moved = [
        np.max(np.abs(np.asarray(steps.thresholds) - true)[others] / (0.3 * np.sqrt(variance[others, None])))
        for steps in (coarse, exact)
    ]
    assert moved[0] < (levels - 1) / 2 / COARSE_MULTIPLIER / 2 + 0.05
    assert moved[0] < 0.5 * moved[1]
    reached = [np.sum(np.asarray(steps.thresholds) <= mean[:, None], axis=1)[[5, 40]] for steps in (exact, coarse)]
    np.testing.assert_array_equal(*reached)
    half = np.where(np.arange(64) % 2, 1.0, 1000.0)
    first, same = spread_thresholds(mean, half, mean, levels, bound)
    assert first is mean
    assert same is half
