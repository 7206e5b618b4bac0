"""Limiting densities: closed forms, moments, and simulations that come nearer as p grows."""

from __future__ import annotations

import numpy as np
import pytest

import hntk
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import limiting_density
from tests.asymptotics.laws import LINEAR, NET, law_of, simulated


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.999, 1.0, 1.001, 4.0, 100.0])
def test_marchenko_pastur(ratio: float) -> None:
    p = 10_000
    density = limiting_density(MixtureLaw.of(np.zeros((1, p)), [1.0]), round(ratio * p), LINEAR)
    left, right = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    np.testing.assert_allclose(density.edges - 0.25, [[left, right]], rtol=1e-9, atol=1e-12)
    assert sum(mass for _, mass in density.atoms) == pytest.approx(max(0, 1 - 1 / ratio))
    x = np.linspace(left, right, 50)[1:-1]
    np.testing.assert_allclose(
        density.density(x + 0.25), np.sqrt((x - left) * (right - x)) / (2 * np.pi * ratio * x), rtol=1e-6
    )
    np.testing.assert_allclose(density.moments(2), 1 + ratio + 2 * 0.25 + 0.25**2, rtol=1e-9)
    assert density.cdf(right + 0.25) == pytest.approx(1, abs=1e-9)
    shares = np.array([0.05, 0.5, 0.999]) * (1 - sum(m for _, m in density.atoms)) + sum(m for _, m in density.atoms)
    np.testing.assert_allclose(density.cdf(density.quantiles(shares)), shares, atol=1e-9)


@pytest.mark.often("0.25-scaled", "1.0-three classes", "8.0-two bulks", "1.0-no common basis")
@pytest.mark.parametrize("name", ["scaled", "three classes", "two bulks", "no common basis"])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 8.0])
def test_moments_of_the_density_are_traces(name: str, ratio: float) -> None:
    p = 24
    law, n = law_of(name, p), round(ratio * p)
    density = limiting_density(law, n, LINEAR)
    ratios = n / p * law.proportions
    first = law.tau0**2
    second = law.proportions @ (law.overlaps @ ratios + law.traces**2)
    assert density.moments(0) == pytest.approx(1, abs=1e-6)
    assert density.moments(1) == pytest.approx(first + 0.25, rel=1e-6)
    assert density.moments(2) == pytest.approx(second + 2 * 0.25 * first + 0.25**2, rel=1e-6)


def test_one_scan_finds_several_bulks() -> None:
    far = MixtureLaw.of(np.zeros((1, 300)), [np.repeat([0.01, 0.5, 10.0], [100, 100, 100])])
    density = limiting_density(far, 30_000, LINEAR)
    assert len(density.pieces) == 3
    np.testing.assert_allclose([piece.mass for piece in density.pieces], 1 / 300, rtol=1e-6)


def test_a_gap_that_the_first_scan_misses_is_found() -> None:
    p, n = 400, 650
    law = MixtureLaw.of(np.zeros((1, p)), [np.repeat([1.0, 6.0], p // 2)])
    density = limiting_density(law, n, LINEAR)
    (_, below), (above, _) = density.edges
    assert 0 < above - below < 0.01
    np.testing.assert_allclose([piece.mass for piece in density.pieces], p / 2 / n, rtol=1e-6)
    assert density.density((below + above) / 2) == 0


def test_bulks_that_all_but_touch_are_refused() -> None:
    law = MixtureLaw.of(np.zeros((1, 20_000)), [np.repeat([1.0, 6.0], 10_000)])
    with pytest.raises(ArithmeticError, match="mass .* not 1: it has parts too narrow to find"):
        limiting_density(law, 31_906, LINEAR)


def test_kernel_of_a_diagonal_alone_is_an_atom() -> None:
    law = law_of("scaled", 50)
    density = limiting_density(law, 100, KernelCoefficients(0.0, 0.0, 0.0, shift=0.3))
    assert density.atoms == ((0.3, 1.0),)
    assert density.edges.shape == (0, 2)
    np.testing.assert_array_equal(density.cdf([0.29, 0.3]), [0, 1])
    np.testing.assert_allclose(density.quantiles([0.1, 0.9]), 0.3)
    assert density.moments(2) == pytest.approx(0.09)


def test_kernel_without_a_gram_part_is_an_atom() -> None:
    law = law_of("scaled", 50)
    net = kernel_coefficients(["abs"], law.tau0)
    density = limiting_density(law, 100, net)
    assert net.gram == pytest.approx(0, abs=1e-12)
    assert density.atoms == ((net.shift, 1.0),) or density.moments(1) == pytest.approx(net.shift)


def test_jumps_need_a_diagonal() -> None:
    law, steps = law_of("scaled", 50), [hntk.staircase([0.5], [0.0, 1.0])]
    with pytest.raises(ValueError, match="kappa_sq"):
        limiting_density(law, 100, steps, kernel="ntk")
    assert limiting_density(law, 100, steps, kernel="ntk", kappa_sq=2.0).moments(0) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="n must be"):
        limiting_density(law, 0, NET)
    with pytest.raises(ValueError, match="'ck' or 'ntk'"):
        limiting_density(law, 10, NET, kernel="nngp")  # type: ignore[arg-type]


def distance(values: np.ndarray, limit: LimitingDensity) -> float:
    """Kolmogorov's, of an empirical distribution; eigenvalues at an atom are moved onto it."""
    for place, _ in limit.atoms:
        values = np.where(np.abs(values - place) < 1e-6, place, values)
    steps = np.unique(values)
    at, before = limit.cdf(steps), limit.cdf(steps - 1e-7)
    up = np.searchsorted(np.sort(values), steps, side="right") / values.size
    down = np.searchsorted(np.sort(values), steps, side="left") / values.size
    return float(max(np.max(np.abs(at - up)), np.max(np.abs(before - down))))


@pytest.mark.often("0.5-no common basis", "2.0-three classes")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaled", "three classes", "no common basis"])
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_density_comes_nearer_to_simulation(name: str, ratio: float) -> None:
    gaps, wrong_gaps = [], []
    for p in (20, 60) if name == "no common basis" else (50, 200):
        n = round(ratio * p)
        values = simulated(name, n, p, seed=0, kernel="ntk")[1].eigvalsh()
        gaps.append(distance(values, limiting_density(law_of(name, p), n, NET, kernel="ntk")))
        wrong = MixtureLaw.of(np.zeros((1, p)), [2.0])
        wrong_gaps.append(distance(values, limiting_density(wrong, n, NET, kernel="ntk")))
    assert gaps[1] < 0.5 * gaps[0]
    assert gaps[1] < (0.15 if name == "no common basis" else 0.06)
    assert wrong_gaps[1] > 2 * gaps[1]
