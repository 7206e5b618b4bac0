"""Filters of labels as sums of resolvents."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.asymptotics.filters import flow_filter
from hntk.asymptotics.predictions import gradient_flow
from tests.asymptotics.laws import NET, three_class_law


def test_flow_filter_is_the_exponential() -> None:
    values = np.array([0.0, 1e-3, 0.3, 7.0, 1e4])
    for time in (1e-3, 1.0, 200.0):
        flow = flow_filter(time)
        resolvents = 1 / (values - flow.nodes[:, None])
        np.testing.assert_allclose((flow.residual @ resolvents).real, np.exp(-time * values), atol=1e-11)
        exact = np.where(values > 0, -np.expm1(-time * values) / np.maximum(values, 1e-300), time)
        np.testing.assert_allclose((flow.dual @ resolvents).real, exact, rtol=1e-10)
    with pytest.raises(ValueError, match="time must be a positive"):
        gradient_flow(three_class_law(40), 50, NET, 0.0)
    with pytest.raises(ValueError, match="time must be at least"):
        flow_filter(1e-300)
