"""Snapshots of a training: programs of its present parameters, after every epoch and across interruptions."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk

EPOCHS = 3


class Stop(Exception):
    """An interruption."""


def samples(n: int = 160) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, n)
    return rng.integers(0, 120, (n, 9)).astype(np.uint8) + (100 * y[:, None] * (np.arange(9) < 4)).astype(np.uint8), y


def train(snapshot, checkpoint: Path | None = None, validation: float | None = 0.2):
    x, y = samples()
    schedule = hntk.Schedule(epochs=EPOCHS, batch=32, learning_rate=5e-3, patience=EPOCHS)
    keys = jnp.stack([jax.random.key(1), jax.random.key(2)])
    return hntk.train(
        x, y, (8,), levels=3, start="uniform", schedule=schedule, validation=validation, key=keys,
        checkpoint=checkpoint, snapshot=snapshot,
    )  # fmt: skip


def test_the_last_snapshot_is_the_result_and_those_before_are_not() -> None:
    taken = []
    results = train(lambda snapshot: taken.append((snapshot.epoch, snapshot.programs())), validation=None)
    assert [epoch for epoch, _ in taken] == [1, 2, 3]
    for member, result in enumerate(results):
        # without validation samples the last epoch is kept
        last = taken[-1][1][member]
        assert np.array_equal(last.readout, result.readout)
        assert np.array_equal(last.network.steps[0].thresholds, result.network.steps[0].thresholds)
        assert not np.array_equal(taken[0][1][member].readout, result.readout)


def test_a_training_that_goes_on_repeats_the_snapshot_whose_checkpoint_is_missing(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    def note(snapshot) -> None:
        seen.append((snapshot.epoch, snapshot.members[1].validation))
        if len(seen) == 2:
            raise Stop

    with pytest.raises(Stop):
        train(note, tmp_path / "training.npz")
    train(note, tmp_path / "training.npz")
    assert [epoch for epoch, _ in seen] == [1, 2, 2, 3]
    assert seen[1] == seen[2]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ValueError, match="snapshot must be a function"):
        train(3)
