"""Differences between theory and the mean over draws, as text and in standard errors."""

from __future__ import annotations

import numpy as np


def standard_errors(prediction: float, mean: float, error: float) -> float:
    """Return (prediction − mean)/error; NaN where the error is 0 or unknown."""
    return (prediction - mean) / error if error > 0 else float("nan")


def plus_minus(mean: float, error: float, digits: int = 4) -> str:
    """Return a text such as 0.0123 ± 0.0004."""
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def signed(number: float) -> str:
    """Return the number with its sign and one digit, or a dash if it is not finite."""
    return f"{number:+.1f}" if np.isfinite(number) else "–"
