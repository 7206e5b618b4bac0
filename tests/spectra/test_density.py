"""Spectral densities: against dense algebra, known distributions, and their own error bars."""

from __future__ import annotations

import numpy as np
import pytest

import hntk
from tests.support.spiked_matrix import MATRIX, VALUES, N


def test_a_probe_is_a_gauss_rule_of_its_own_measure() -> None:
    """Moments up to 2·degree − 1 are vᵀA^k v, and not beyond."""
    density = hntk.spectral_density(MATRIX, probes=1, degree=4, seed=3)
    v = np.random.default_rng(3).choice([-1.0, 1.0], N) / np.sqrt(N)
    for order in range(8):
        expected = v @ np.linalg.matrix_power(MATRIX, order) @ v
        assert density.moment(order)[0] == pytest.approx(expected, rel=1e-11)
    assert density.moment(8)[0] != pytest.approx(v @ np.linalg.matrix_power(MATRIX, 8) @ v, rel=1e-6)


def test_traces_lie_within_their_error_bars() -> None:
    density = hntk.spectral_density(MATRIX, probes=40, degree=60)
    for function, exact in (
        (lambda t: t, VALUES.mean()),
        (lambda t: t**2, np.mean(VALUES**2)),
        (lambda t: 1 / (t + 0.1), np.mean(1 / (VALUES + 0.1))),
    ):
        value, error = density.mean(function)
        assert abs(value - exact) < 4 * error + 1e-12 * abs(exact)
        assert error < 0.05 * abs(exact)
    value, error = density.log_determinant(ridge=0.1)
    assert abs(value - np.sum(np.log(VALUES + 0.1))) < 4 * error
    with pytest.raises(ValueError, match="needs a ridge above"):
        density.log_determinant(ridge=-1.0)


def kolmogorov(density: hntk.SpectralDensity, values: np.ndarray) -> float:
    grid = np.linspace(values.min() - 0.1, values.max() + 0.1, 4000)
    exact = np.searchsorted(np.sort(values), grid, side="right") / values.size
    return float(np.max(np.abs(density.cdf(grid) - exact)))


@pytest.mark.slow
@pytest.mark.nightly
def test_the_distance_falls_with_degree_and_probes() -> None:
    sizes = ((10, 5), (10, 20), (10, 80), (300, 80), (300, 200))
    distances = [kolmogorov(hntk.spectral_density(MATRIX, probes=n, degree=d), VALUES) for n, d in sizes]
    assert distances[0] > 2 * distances[1] > 3 * distances[2] > 4.5 * distances[3]
    assert distances[3] < 0.012
    # a step between nodes, and three sigma of 300 probes (Var vᵀPv/n ≤ 2·¼/n each)
    assert distances[4] < 1 / 200 + 3 * np.sqrt(0.5 / (N * 300))


def test_marchenko_pastur_and_the_spike() -> None:
    """cᵢ = n/p = 2/3: the bulk ends at (1 ± √c)², 9 beside it is a spike of weight 1/n."""
    density = hntk.spectral_density(MATRIX, probes=20, degree=60)
    edges = (1 - np.sqrt(2 / 3)) ** 2, (1 + np.sqrt(2 / 3)) ** 2
    assert density.cdf(edges[1] + 0.1)[0] - density.cdf(edges[0] - 0.02)[0] == pytest.approx(1 - 1 / N, abs=2e-3)
    assert density.nodes.max() == pytest.approx(VALUES[0], rel=1e-6)
    grid = np.linspace(0.5, 2.5, 9)
    exact = np.sqrt((edges[1] - grid) * (grid - edges[0])) / (2 * np.pi * (2 / 3) * grid)
    np.testing.assert_allclose(density.density(grid, width=0.15), exact, rtol=0.12)
    counts = density.counts(np.array([-1.0, edges[1] + 0.2, 100.0]))
    np.testing.assert_allclose(counts, [N - 1, 1], atol=0.6)
    np.testing.assert_allclose(density.counts(np.array([-1.0, 3.9, 100.0]), width=0.01), counts, atol=0.1)


def test_few_different_eigenvalues_end_early() -> None:
    density = hntk.spectral_density(np.diag(np.repeat([1.0, 3.0], 50)), probes=3, degree=20)
    assert density.moment(3)[0] == pytest.approx(14.0, rel=1e-12)
    assert np.count_nonzero(density.weights > 1e-10) == 6
    told: list[int] = []
    hntk.spectral_density(np.eye(5), probes=4, progress=told.append)
    assert told == [1] * 4


def test_bad_operators_are_said() -> None:
    with pytest.raises(ArithmeticError, match="not finite"):
        hntk.spectral_density(np.full((5, 5), np.nan))
    with pytest.raises(ValueError, match="square"):
        hntk.spectral_density(np.ones((5, 4)))
    with pytest.raises(ValueError, match="positive"):
        hntk.spectral_density(np.eye(5), probes=0)
