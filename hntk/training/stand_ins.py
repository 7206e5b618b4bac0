"""Stand-ins of whole-number types until those of hntk.networks are merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TrainingRecord:
    """Record."""

    start: str
    epochs: int
    best_epoch: int
    validation: float | None
    samples: int
    sparsity: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class IntegerRegressor:
    """Regressor."""

    network: Any
    readout: np.ndarray
    offset: np.ndarray
    unit: float

    def predict(self, raw: Any) -> np.ndarray:
        """Predict."""
        levels = np.concatenate([np.asarray(b, np.float64) for b in self.network.feature_batches(raw)])
        return self.unit * (levels @ self.readout.T.astype(np.float64) + self.offset)
