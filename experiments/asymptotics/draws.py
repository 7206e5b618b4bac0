"""Means over draws, and how far a prediction is from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and its standard error; NaN for the error of one draw."""
    array = np.asarray(values, dtype=float)
    error = np.std(array, ddof=1) / np.sqrt(array.size) if array.size > 1 else np.nan
    return float(np.mean(array)), float(error)


def standard_errors(prediction: float, mean: float, error: float) -> float:
    """(prediction − simulation)/standard error; NaN without one."""
    return (prediction - mean) / error if error > 0 else float("nan")


def plus_minus(mean: float, error: float, digits: int = 4) -> str:
    """Such as 0.0123 ± 0.0004."""
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def signed(number: float) -> str:
    """With its sign and one digit, or a dash where there is none."""
    return f"{number:+.1f}" if np.isfinite(number) else "–"
