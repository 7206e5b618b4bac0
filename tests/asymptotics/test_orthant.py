"""Probabilities of orthants: closed forms in two and three dimensions, and products in many."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hntk.asymptotics.orthant import positive_probability


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_closed_forms(correlation: float) -> None:
    """Sheppard's formulas: 1/4 + arcsin(r)/2π in two dimensions, 1/8 + Σ arcsin(r)/4π in three."""
    two = np.array([[1.0, correlation], [correlation, 1.0]])
    expected = 0.25 + np.arcsin(correlation) / (2 * np.pi)
    assert positive_probability(np.zeros(2), two) == pytest.approx(expected, abs=1e-4)
    scale = np.diag([0.1, 7.0])
    assert positive_probability(np.zeros(2), scale @ two @ scale) == pytest.approx(expected, abs=1e-4)
    if correlation > -0.5:
        three = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
        expected = 0.125 + 3 * np.arcsin(correlation) / (4 * np.pi)
        assert positive_probability(np.zeros(3), three) == pytest.approx(expected, abs=2e-4)


def test_one_dimension_and_no_spread() -> None:
    assert positive_probability(np.array([0.7]), np.array([[4.0]])) == pytest.approx(norm.cdf(0.35))
    assert positive_probability(np.array([1.0]), np.zeros((1, 1))) == 1.0
    assert positive_probability(np.array([1.0, -1.0]), np.zeros((2, 2))) == 0.0


@pytest.mark.parametrize("dimension", [20, 150])
def test_many_independent_coordinates(dimension: int) -> None:
    mean = np.linspace(1.5, 4.0, dimension)
    expected = np.prod(norm.cdf(mean))
    assert positive_probability(mean, np.eye(dimension), points=64) == pytest.approx(expected, rel=1e-9)
