"""Samples drawn by NumPy, for tests that need some before anything of hntk runs."""

from __future__ import annotations

import numpy as np


def two_classes(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two equal classes with the law of ``hntk.reference_mixture``; returns samples and labels."""
    labels = np.arange(n) * 2 // n
    noise = np.random.default_rng(0).standard_normal((n, p)) * np.sqrt(1 + 3 * labels[:, None] / np.sqrt(p))
    return (noise + 3 * np.eye(2, p)[labels]) / np.sqrt(p), labels


def spread(n: int, p: int, seed: int = 0) -> np.ndarray:
    """Return samples of unequal norms, some nearly parallel or opposite: all correlations occur."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, p)) / np.sqrt(p)
    closeness = 10.0 ** rng.uniform(-4, 0.5, (n, 1))
    x = rng.choice([-1, 1], (n, 1)) * centres[rng.integers(0, 4, n)] + closeness * rng.standard_normal((n, p)) / p**0.5
    return x * rng.uniform(0.5, 1.5, (n, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
