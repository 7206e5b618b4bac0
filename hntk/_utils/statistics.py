"""Summaries of repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error, which is NaN for a single value."""
    array = np.asarray(values, dtype=float)
    error = np.std(array, ddof=1) / np.sqrt(array.size) if array.size > 1 else np.nan
    return float(np.mean(array)), float(error)


def growth_exponent(sizes: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray) -> float | None:
    """Return the exponent b of the power law a·sizeᵇ that fits best; None for fewer than two sizes."""
    if len(sizes) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
