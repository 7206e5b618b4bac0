"""Training on varied samples: what no variation leaves as it is, and what variation is good for."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk import Augmentation

SCHEDULE = hntk.Schedule(epochs=8, batch=32, learning_rate=2e-2, patience=8, warmup=0.5)


def patterns(n: int, moved: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of four patterns with noise, each moved by up to so many pixels along each axis."""
    rng = np.random.default_rng(seed)
    shapes = np.zeros((4, 12, 12))
    shapes[:, 3:9, 3:9] = np.random.default_rng(7).integers(0, 2, (4, 3, 3)).repeat(2, axis=1).repeat(2, axis=2)
    y = rng.integers(0, 4, n)
    steps = rng.integers(-moved, moved + 1, (n, 2))
    images = [np.roll(shapes[label], step, axis=(0, 1)) for label, step in zip(y, steps, strict=True)]
    x = np.clip(150 * np.stack(images) + rng.integers(0, 100, (n, 12, 12)), 0, 255)
    return x.reshape(n, -1).astype(np.uint8), y


def train(x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
    return hntk.train(x, y, (32,), key=jax.random.key(2), start="uniform", schedule=SCHEDULE, **options)


@pytest.mark.nightly
def test_an_augmentation_without_settings_changes_no_training() -> None:
    x, y = patterns(200, 0, 0)
    plain, idle = (train(x, y, pool=(6, 4), augment=augment) for augment in (None, Augmentation()))
    leaves = [jax.tree.leaves((made.network, made.readout, made.offset)) for made in (plain, idle)]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def test_shifts_in_training_help_with_shifted_images() -> None:
    x, y = patterns(300, 0, 0)
    shifted = patterns(1000, 2, 1)
    plain, augmented = (
        train(x, y, augment=augment, validation=patterns(200, 2, 3)).accuracy(*shifted)
        for augment in (None, Augmentation(shift=2.5))
    )
    assert augmented > plain + 0.1, (plain, augmented)


def test_rows_take_noise_and_refuse_what_is_for_images() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 150)
    x = rng.normal(size=(150, 12)).astype(np.float32) + 2 * y[:, None]
    assert train(x, y, augment=Augmentation(noise=10, dropout=0.1)).accuracy(x, y) > 0.9
    with pytest.raises(ValueError, match="only noise and dropout for samples that are no images"):
        train(x, y, augment=Augmentation(rotation=10))
