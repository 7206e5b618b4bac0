"""Repeated measurements in words."""

from __future__ import annotations


def plus_minus(mean: float, error: float, digits: int = 4) -> str:
    """Return a text such as 0.0123 ± 0.0004."""
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def means_in_words(count: int, of: str) -> str:
    """Return what a figure shows of repetitions: "means of 5 seeds with standard errors", or "one seed"."""
    return f"one {of}" if count == 1 else f"means of {count} {of}s with standard errors"
