"""Batches of samples for tasks that predict."""

from __future__ import annotations

import numpy as np


class SampleCycle:
    """Samples in turn, from the first one again after the last one."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples, self.next = samples, 0

    def batch(self, size: int = 1) -> tuple[np.ndarray]:
        """Return the next samples, as the only argument of a prediction."""
        rows = np.arange(self.next, self.next + size) % len(self.samples)
        self.next = (self.next + size) % len(self.samples)
        return (self.samples[rows],)
