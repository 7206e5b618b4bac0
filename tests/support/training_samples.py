"""Small data sets to train on."""

from __future__ import annotations

import numpy as np


def rings(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that no linear function of the samples tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    radius = 1 + y + 0.2 * rng.normal(size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) @ rng.normal(size=(2, 10))
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32), y


def images(n: int = 240, side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of three classes: a bright bar in another place, and noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 120, (n, side, side))
    x[np.arange(n), 2 * y] += 100
    return x.reshape(n, -1).astype(np.uint8), np.array(["a", "b", "c"])[y]
