"""Summaries of repeated measurements."""

from __future__ import annotations

import numpy as np
import pytest

from hntk._utils.statistics import growth_exponent, mean_and_error


def test_the_standard_error_is_of_the_mean() -> None:
    assert mean_and_error([0.1, 0.2, 0.3]) == pytest.approx((0.2, 0.1 / np.sqrt(3)))
    mean, error = mean_and_error(np.array([0.1]))
    assert mean == 0.1
    assert np.isnan(error)


def test_a_power_law_has_its_exponent() -> None:
    assert growth_exponent([1, 2, 8], [3.0, 12.0, 192.0]) == pytest.approx(2)
    assert growth_exponent([1], [3.0]) is None
