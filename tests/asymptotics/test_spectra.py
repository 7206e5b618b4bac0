"""Limits of spectra: closed forms, identities, and simulations that come nearer as p grows."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.covariances import Matrices, Spectral
from hntk.asymptotics.density import LimitingDensity, limiting_density
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.limiting_kernel import limiting_kernel
from hntk.asymptotics.limiting_spikes import Spike, spikes
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Bulk

LINEAR = KernelCoefficients(1.0, 0.0, 0.0, shift=0.25)
NET = ["relu", "erf"]


def graded(p: int) -> np.ndarray:
    """A diagonal covariance of trace p, from .43 to 3.1."""
    values = np.exp(np.linspace(-1, 1, p))
    return values / values.mean()


def mixtures(p: int) -> dict[str, tuple[np.ndarray, list]]:
    """Means and covariances by what makes them hard."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))[0]
    turned = (rotation * graded(p)) @ rotation.T
    two = np.repeat([0.2, 1.8], [p // 2, p - p // 2])
    return {
        "one class": (2.0 * np.eye(1, p), [1.0]),
        "scaled": (3.0 * np.eye(2, p), [1.0, 1 + 3 / np.sqrt(p)]),
        "three classes": (
            np.diag([3.0, 2.5, 2.0]) @ np.eye(3, p),
            [graded(p), graded(p)[::-1], (1 + 2 / p**0.5) * graded(p)],
        ),
        "two bulks": (2.0 * np.eye(2, p), [two, two]),
        "no common basis": (2.5 * np.eye(2, p), [graded(p), turned]),
    }


def law_of(name: str, p: int) -> MixtureLaw:
    return MixtureLaw.of(*mixtures(p)[name])


def as_matrices(law: MixtureLaw, means: np.ndarray, covariances: list) -> MixtureLaw:
    """The same law without the shortcut for covariances that commute."""
    full = np.stack([np.diag(np.broadcast_to(c, law.dimension)) for c in covariances])
    return dataclasses.replace(law, algebra=Matrices(full, means))


@pytest.mark.parametrize("name", ["scaled", "three classes", "no common basis"])
def test_law_is_that_of_the_mixture(name: str) -> None:
    means, covariances = mixtures(30)[name]
    population = hntk.gaussian_mixture(means, covariances, n=60, key=jax.random.key(0)).population
    law = MixtureLaw.of(means, covariances)
    np.testing.assert_allclose(law.traces, population.traces)
    np.testing.assert_allclose(law.overlaps, population.overlaps)
    np.testing.assert_allclose(law.t, population.t, atol=1e-12)
    np.testing.assert_allclose(law.gram, means @ means.T, atol=1e-12)
    np.testing.assert_allclose(law.tau0, population.tau0)


def test_covariances_cost_what_they_must() -> None:
    assert MixtureLaw.of(np.eye(2, 500), [1.0, 2.0]).algebra.one.shape == (1,)
    assert law_of("three classes", 50).algebra.one.shape == (50,)
    means, covariances = mixtures(40)["no common basis"]
    assert isinstance(MixtureLaw.of(means, covariances).algebra, Matrices)
    turned = covariances[1]
    same_basis = MixtureLaw.of(means, [turned, turned @ turned])
    assert isinstance(same_basis.algebra, Spectral)
    np.testing.assert_allclose(same_basis.overlaps[0, 1], np.trace(turned @ turned @ turned) / 40)
    np.testing.assert_allclose(same_basis.gram, means @ means.T, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), [1.0]), "one row per class"),
        ((np.ones((2, 3)), [1.0]), "one covariance per class"),
        ((np.ones((1, 3)), [np.ones(4)]), r"\(p,\) diagonal"),
        ((np.ones((1, 3)), [-1.0]), "positive semidefinite"),
        ((np.ones((2, 3)), [1.0, 1.0], [1.0, 0.0]), "positive finite"),
    ],
)
def test_law_says_what_is_wrong(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureLaw.of(*arguments)


def test_spectral_law_is_the_law_of_its_spectra() -> None:
    law = law_of("three classes", 40)
    assert isinstance(law.algebra, Spectral)
    again = MixtureLaw.spectral(law.algebra.covariances, law.algebra.weights, law.algebra.measures, 40)
    np.testing.assert_allclose(again.overlaps, law.overlaps)
    np.testing.assert_allclose(again.t, law.t)
    measured = MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 2, 1)), 40, overlaps=np.full((2, 2), 1.5))
    np.testing.assert_allclose(measured.scaled(2.0).v, 12.0)
    with pytest.raises(ValueError, match="one grid"):
        MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 1)), 40)
    with pytest.raises(ValueError, match="not negative"):
        MixtureLaw.spectral([-1.0], [1.0], np.zeros((1, 1, 1)), 40)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0])
def test_resolvent_of_white_noise(ratio: float) -> None:
    bulk = Bulk(MixtureLaw.of(np.zeros((1, 50)), [1.0]), np.array([ratio]))
    z = np.array([-2.0, -1e-3, 12.0, 1.0, 0.7 + 1e-3j, 0.7 - 1e-3j, 3j])
    delta = -bulk.at(z).self_energy[:, 0, 0] / z
    np.testing.assert_allclose(z * delta**2 + (z + 1 - ratio) * delta + 1, 0, atol=1e-9)
    np.testing.assert_allclose(delta[4], np.conj(delta[5]))
    assert np.all(delta[:2].imag == 0)
    assert np.all(delta[:2].real > 0)
    assert delta[3].imag > 0
    with pytest.raises(ArithmeticError, match="move z off"):
        bulk.at(0.0)


@pytest.mark.parametrize("name", ["three classes", "no common basis"])
def test_resolvent_comes_nearer_to_simulation(name: str) -> None:
    z, gaps = np.array([-1.0, 0.5 + 0.5j]), []
    for p in (40, 160):
        means, covariances = mixtures(p)[name]
        n = 3 * p
        data = hntk.gaussian_mixture(0 * means, covariances, n, key=jax.random.key(p))
        law, x = MixtureLaw.of(means, covariances), np.asarray(data.x)
        at = Bulk(law, n / p * law.proportions).at(z)
        found = np.array([np.diag(np.linalg.inv(x @ x.T - point * np.eye(n))) for point in z])
        by_class = np.array([found[:, data.labels == a].mean(axis=1) for a in range(law.classes)]).T
        gaps.append(np.max(np.abs(by_class / at.g - 1)))
        q = np.linalg.inv(x.T @ x - z[1] * np.eye(p))
        gaps.append(np.linalg.norm(means @ q @ means.T - law.algebra.forms(at.element[1]) / -z[1]))
    assert gaps[2] < 0.6 * gaps[0]
    assert gaps[2] < 0.01
    assert gaps[3] < gaps[1]


def test_slopes_are_derivatives() -> None:
    for name in ("three classes", "no common basis"):
        kernel = limiting_kernel(law_of(name, 30), 60, NET)
        for z in (-0.3, 0.2 + 0.4j):
            at, step = kernel.bulk.at(z), 1e-5
            low, high = kernel.bulk.at(z - step), kernel.bulk.at(z + step)
            self_energy_slope = (high.self_energy - low.self_energy) / (2 * step)
            np.testing.assert_allclose(at.self_energy_slope, self_energy_slope, rtol=1e-6)
            slope = (kernel.overlap(high) - kernel.overlap(low)) / (2 * step)
            np.testing.assert_allclose(kernel.overlap_slope(at), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.999, 1.0, 1.001, 4.0, 100.0])
def test_marchenko_pastur(ratio: float) -> None:
    p = 10_000
    found = limiting_density(MixtureLaw.of(np.zeros((1, p)), [1.0]), round(ratio * p), LINEAR)
    left, right = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    np.testing.assert_allclose(found.edges - 0.25, [[left, right]], rtol=1e-9, atol=1e-12)
    assert sum(mass for _, mass in found.atoms) == pytest.approx(max(0, 1 - 1 / ratio))
    x = np.linspace(left, right, 50)[1:-1]
    np.testing.assert_allclose(
        found.density(x + 0.25), np.sqrt((x - left) * (right - x)) / (2 * np.pi * ratio * x), rtol=1e-6
    )
    np.testing.assert_allclose(found.moments(2), 1 + ratio + 2 * 0.25 + 0.25**2, rtol=1e-9)
    assert found.cdf(right + 0.25) == pytest.approx(1, abs=1e-9)
    shares = np.array([0.05, 0.5, 0.999]) * (1 - sum(m for _, m in found.atoms)) + sum(m for _, m in found.atoms)
    np.testing.assert_allclose(found.cdf(found.quantiles(shares)), shares, atol=1e-9)


@pytest.mark.parametrize("name", ["scaled", "three classes", "two bulks", "no common basis"])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 8.0])
def test_moments_of_the_density_are_traces(name: str, ratio: float) -> None:
    p = 24
    law, n = law_of(name, p), round(ratio * p)
    found = limiting_density(law, n, LINEAR)
    ratios = n / p * law.proportions
    first = law.tau0**2
    second = law.proportions @ (law.overlaps @ ratios + law.traces**2)
    assert found.moments(0) == pytest.approx(1, abs=1e-6)
    assert found.moments(1) == pytest.approx(first + 0.25, rel=1e-6)
    assert found.moments(2) == pytest.approx(second + 2 * 0.25 * first + 0.25**2, rel=1e-6)


def test_one_look_finds_several_bulks() -> None:
    far = MixtureLaw.of(np.zeros((1, 300)), [np.repeat([0.01, 0.5, 10.0], [100, 100, 100])])
    found = limiting_density(far, 30_000, LINEAR)
    assert len(found.pieces) == 3
    np.testing.assert_allclose([piece.mass for piece in found.pieces], 1 / 300, rtol=1e-6)


def test_kernel_without_a_gram_part_is_an_atom() -> None:
    law = law_of("scaled", 50)
    net = kernel_coefficients(["abs"], law.tau0)
    found = limiting_density(law, 100, net)
    assert net.gram == pytest.approx(0, abs=1e-12)
    assert found.atoms == ((net.shift, 1.0),) or found.moments(1) == pytest.approx(net.shift)


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


def simulated(name: str, n: int, p: int, seed: int, kernel: str = "ck") -> tuple[hntk.Mixture, hntk.StructuredKernel]:
    means, covariances = mixtures(p)[name]
    data = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(seed))
    kernels = hntk.equivalent_kernels(data.x, data.labels, NET, tau0=law_of(name, p).tau0, population=data.population)
    return data, getattr(kernels, kernel)


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


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_baik_ben_arous_peche(ratio: float) -> None:
    p, edge = 400, (1 + np.sqrt(ratio)) ** 2
    for strength in (0.5, 0.9, 1.1, 2.0, 5.0):
        theta_sq = strength * np.sqrt(ratio)
        law = MixtureLaw.of(np.sqrt(theta_sq / ratio) * np.eye(1, p), [1.0])
        (found,) = spikes(law, round(ratio * p), LINEAR)
        assert found.above == (strength > 1)
        assert (found.strength > 1) == found.above
        if not found.above:
            assert (found.total, found.value) == (0.0, pytest.approx(edge + 0.25))
            assert "no spike" in str(found)
            continue
        assert found.value - 0.25 == pytest.approx((1 + theta_sq) * (ratio + theta_sq) / theta_sq)
        assert found.total == pytest.approx(1 - ratio * (1 + theta_sq) / (theta_sq * (theta_sq + ratio)))


def leading(found: tuple[Spike, ...]) -> list[Spike]:
    return [spike for spike in found if spike.above and not np.isnan(spike.strength)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ratio"), [("one class", 0.5), ("scaled", 0.5), ("scaled", 2.0), ("three classes", 2.0)]
)
def test_spikes_come_nearer_to_simulation(name: str, ratio: float) -> None:
    gaps, wrong_gaps = [], []
    for p, seeds in ((60, 24), (240, 8)):
        n, law = round(ratio * p), law_of(name, p)
        predicted = leading(spikes(law, n, LINEAR))
        wrong = leading(spikes(MixtureLaw.of(2 * mixtures(p)[name][0], mixtures(p)[name][1]), n, LINEAR))
        values, alignments = [], []
        for seed in range(seeds):
            data = hntk.gaussian_mixture(*mixtures(p)[name], n, key=jax.random.key(seed))
            found = hntk.spectrum(data.x @ data.x.T, len(predicted))
            indicators = np.eye(law.classes)[data.labels] / np.sqrt(np.bincount(data.labels))
            values.append(found.values[: len(predicted)] + 0.25)
            alignments.append(np.sum((indicators.T @ found.leading) ** 2))
        gap = np.mean(values, axis=0) / [spike.value for spike in predicted] - 1
        total = np.mean(alignments)
        gaps.append((np.max(np.abs(gap)), abs(total - sum(spike.total for spike in predicted)) / len(predicted)))
        wrong_gaps.append(abs(total - sum(spike.total for spike in wrong[: len(predicted)])) / len(predicted))
    assert gaps[1][0] < 0.03
    assert gaps[1][1] < 0.03
    assert sum(gaps[1]) < sum(gaps[0])
    assert wrong_gaps[1] > 3 * gaps[1][1]


def test_spikes_below_the_bulk_come_out_where_the_kernel_has_them() -> None:
    p, n = 200, 800
    law = law_of("scaled", p)
    _, kernel = simulated("scaled", n, p, seed=0)
    values = kernel.eigvalsh()
    limit = limiting_density(law, n, NET)
    (place, _), left = limit.atoms[0], limit.edges[0, 0]
    between = values[(values > place + 1e-9) & (values < 0.97 * left)]
    predicted = [s.value for s in spikes(law, n, NET) if np.isnan(s.strength)]
    assert len(predicted) >= 1
    assert len(between) == len(predicted)
    np.testing.assert_allclose(between, predicted, rtol=0.03)


def test_classes_alike_give_spikes_of_multiplicity() -> None:
    found = leading(spikes(MixtureLaw.of(4 * np.eye(3, 200), [1.0] * 3), 400, LINEAR))
    assert len(found) == 3
    np.testing.assert_allclose([s.value for s in found], found[0].value)
    one = leading(spikes(MixtureLaw.of(4 * np.eye(1, 200), [1.0]), 133, LINEAR))
    np.testing.assert_allclose(sum(s.alignment for s in found), np.full(3, found[0].total), rtol=1e-6)
    assert found[0].total < one[0].total


def test_laws_without_the_shortcut_agree_with_it() -> None:
    means, covariances = mixtures(20)["three classes"]
    law = MixtureLaw.of(means, covariances)
    slow = as_matrices(law, means, covariances)
    np.testing.assert_allclose(limiting_density(slow, 40, NET).edges, limiting_density(law, 40, NET).edges, rtol=1e-9)
    for a, b in zip(spikes(slow, 40, NET), spikes(law, 40, NET), strict=True):
        np.testing.assert_allclose([a.value, *a.alignment], [b.value, *b.alignment], rtol=1e-6, atol=1e-9)
