"""The law of Marchenko and Pastur against its density, draws and planted spikes."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad

from hntk.spectra.marchenko_pastur import compare_with_independent, cumulative_share


@pytest.mark.parametrize("ratio", [0.05, 0.4, 0.9, 1.0])
def test_shares_are_integrals_of_the_density(ratio: float) -> None:
    low, high = (1 - sqrt(ratio)) ** 2, (1 + sqrt(ratio)) ** 2
    points = low + (high - low) * np.array([0.1, 0.5, 0.9])

    def density(u: float) -> float:
        # λ = low + u² takes the square root at the lower end away
        place = low + u * u
        return sqrt(max(high - place, 0)) * u * 2 * u / (2 * pi * ratio * place) if u else 0.0

    expected = [quad(density, 0, sqrt(point - low), limit=200)[0] for point in points]
    np.testing.assert_allclose(cumulative_share(points, ratio), expected, atol=2e-6)
    np.testing.assert_allclose(cumulative_share(np.array([low - 0.1, high + 0.1]), ratio), [0, 1], atol=1e-9)


@pytest.mark.parametrize("shape", [(150, 150), (200, 60), (60, 200)])
def test_draws_have_no_spikes_and_the_laws_distribution(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    found = [compare_with_independent(rng.normal(size=shape)) for _ in range(40)]
    # one in a hundred has a spike
    assert sum(spectrum.spikes for spectrum in found) <= 3
    assert all(0.93 < spectrum.edge_ratio < 1.05 for spectrum in found)
    larger = compare_with_independent(rng.normal(size=tuple(4 * side for side in shape)))
    assert larger.distance < np.mean([spectrum.distance for spectrum in found]) / 2


def test_planted_directions_are_counted_above_the_threshold_alone() -> None:
    rng = np.random.default_rng(1)
    d, p = 300, 200
    left, _ = np.linalg.qr(rng.normal(size=(d, 2)))
    right, _ = np.linalg.qr(rng.normal(size=(p, 2)))
    noise = rng.normal(size=(d, p))
    threshold = (d * p) ** 0.25
    above = compare_with_independent(noise + 3 * threshold * left @ right.T)
    below = compare_with_independent(noise + 0.5 * threshold * left @ right.T)
    assert (above.spikes, below.spikes) == (2, 0)
    # Benaych-Georges and Nadakuditi (2012): √((s² + d)(s² + p))/s
    s = 3 * threshold
    assert above.edge_ratio == pytest.approx(sqrt((s**2 + d) * (s**2 + p)) / s / (sqrt(d) + sqrt(p)), rel=0.03)
