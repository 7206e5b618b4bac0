"""Samples drawn by NumPy, for tests that need some before anything of hntk runs."""

from __future__ import annotations

import numpy as np


def two_classes(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two equal classes with the law of ``hntk.reference_mixture``; returns samples and labels."""
    labels = np.arange(n) * 2 // n
    noise = np.random.default_rng(0).standard_normal((n, p)) * np.sqrt(1 + 3 * labels[:, None] / np.sqrt(p))
    return (noise + 3 * np.eye(2, p)[labels]) / np.sqrt(p), labels
