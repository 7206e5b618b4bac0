"""Theory of exact kernels at their size: its parts against oracles, and simulations that the limit does not predict."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import jax
import numpy as np
import pytest
from scipy import stats

import hntk
from experiments.asymptotics.spectrum_theory import kolmogorov_distance
from hntk.asymptotics.bulk import Bulk, DiagonalLaw, Noise
from hntk.asymptotics.finite_density import density_at_finite_size
from hntk.asymptotics.inner_products import ProductExpansion, monomials
from hntk.asymptotics.kernel_parameters import kernel_coefficients
from hntk.asymptotics.learning import ClassTargets, learned_by_ridge
from hntk.asymptotics.limiting_kernel import LimitingKernel
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import finite_size_density, limiting_density, ridge_regression, spikes
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.sample_norms import Quadrature, dense_points, gauss_points
from hntk.asymptotics.spiked_kernel import SpikedKernel

STEPS = hntk.staircase([-0.5, 0.3, 1.1], [0.0, 0.3, 1.1, 2.4])
NETS = {"relu": ["relu"] * 3, "erf and tanh": ["erf", "tanh"], "steps": [STEPS, "relu"]}


def sized(law: MixtureLaw, n: int, net: list, quadrature: Quadrature = gauss_points) -> SpikedKernel:
    """The exact conjugate kernel at its size."""
    return SpikedKernel(law, n, kernel_coefficients(net, law.tau0), quadrature)


def mixture(p: int) -> tuple[np.ndarray, list]:
    return 3 * np.eye(2, p), [1.0, 1 + 3 / np.sqrt(p)]


@pytest.mark.parametrize("shape", [0.7, 12.0, 400.0])
@pytest.mark.parametrize(("quadrature", "accuracy"), [(gauss_points, 1e-9), (dense_points, 1e-3)])
def test_quadratures_have_the_moments_of_the_law(quadrature: Quadrature, accuracy: float, shape: float) -> None:
    points, shares = quadrature(shape)
    assert np.all(points > 0)
    for k in range(1, 6):
        assert shares @ points**k == pytest.approx(stats.gamma(shape, scale=1 / shape).moment(k), rel=accuracy)
    assert quadrature(np.inf)[0] == pytest.approx(np.ones(len(points)))
    with pytest.raises(ValueError, match="positive"):
        quadrature(0.0)


@pytest.mark.often("relu-ck", "erf and tanh-ntk")
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["ck", "ntk"])
@pytest.mark.parametrize("name", ["relu", "erf and tanh"])
def test_dependence_on_norms_is_the_exact_kernels(name: str, kernel: str) -> None:
    scale = 1.3
    coefficients = kernel_coefficients(NETS[name], np.sqrt(scale), kernel=kernel)
    assert coefficients.norm_dependence is not None
    for square in (0.9, 1.3, 1.8):
        first = np.sqrt(square) * np.eye(2)
        exact = np.asarray(getattr(hntk.exact_kernels(first, NETS[name], tau0=np.sqrt(scale)), kernel))
        level, gram = coefficients.norm_dependence.at(square)
        assert level == pytest.approx(exact[0, 0], rel=1e-6)
        orthogonal = coefficients.norm_dependence.orthogonal(square, scale)
        assert orthogonal * abs(orthogonal) == pytest.approx(np.sign(square - scale) * exact[0, 1], rel=1e-6, abs=1e-12)
        # with a sample of norm² τ_0², at which nothing but the slope is left
        second = np.sqrt(scale) * np.array([[1e-4, np.sqrt(1 - 1e-8)], [-1e-4, np.sqrt(1 - 1e-8)]])
        across = np.asarray(getattr(hntk.exact_kernels(first, NETS[name], x2=second, tau0=np.sqrt(scale)), kernel))
        slope = (across[0, 0] - across[0, 1]) / (2e-4 * np.sqrt(square * scale))
        assert np.sqrt(gram * coefficients.gram) == pytest.approx(slope, rel=1e-6 if kernel == "ck" else 2e-3)
    assert coefficients.norm_dependence.across(scale, np.zeros(1), scale) == pytest.approx(0, abs=1e-12)


def test_the_slope_of_the_diagonal_is_the_fourth_coefficient() -> None:
    coefficients, step = hntk.coefficients(["relu", "erf"], 1.2), 1e-4
    seen = kernel_coefficients(["relu", "erf"], 1.2).norm_dependence
    assert seen is not None
    slope = (seen.at(1.44 + step)[0] - seen.at(1.44 - step)[0]) / (2 * step)
    assert slope == pytest.approx(coefficients.alpha[-1, 3], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "steps"])
def test_products_by_class_tend_to_their_limits(name: str) -> None:
    gaps = []
    for p in (400, 40_000):
        law = MixtureLaw.of(*mixture(p))
        kernel = kernel_coefficients(NETS[name], law.tau0)
        limit, finite = ProductExpansion.limit(law, kernel), ProductExpansion.finite(law, kernel)
        quadratic = np.sqrt(2) * kernel.quadratic * law.overlaps / p
        parts = (finite.means / limit.means - 1, finite.factors - 1, finite.parts[1] / quadratic - 1)
        gaps.append([np.max(np.abs(part)) for part in parts])
    # all fall like 1/p
    np.testing.assert_array_less(gaps[1], 0.02 * np.array(gaps[0]) + 1e-6)


def test_slopes_by_pairs_of_classes_are_those_of_the_expansion() -> None:
    """Samples of one class have the larger slope, by 2 c3 |μ|²/p; without pairs it is a product of two factors."""
    means, covariances = mixture(400)
    law = MixtureLaw.of(means, covariances)
    kernel = kernel_coefficients(NETS["relu"], law.tau0)
    pairs, product = (ProductExpansion.finite(law, kernel, pairwise=p) for p in (True, False))
    assert product.pairwise is None
    assert pairs.pairwise is not None
    slopes = pairs.pairwise @ pairs.pairwise.T
    excess = slopes - np.outer(product.factors, product.factors)
    np.testing.assert_allclose(slopes[0, 0] - slopes[0, 1], 2 * kernel.quadratic * 9 / 400 / kernel.gram, rtol=0.2)
    assert np.max(np.abs(excess)) > 0.2 * (slopes[0, 0] - slopes[0, 1])
    np.testing.assert_array_equal(pairs.factors, 1)
    np.testing.assert_allclose(pairs.own_slopes, np.diag(slopes))


@pytest.mark.slow
def test_products_by_class_are_those_of_samples() -> None:
    """Means over pairs of different classes and alike, 4 draws of n = 1500: errors of a mean are below 2 %."""
    p, seen = 150, []
    means, covariances = mixture(p)
    means[1] += means[0] / 2
    law = MixtureLaw.of(means, covariances)
    for draw in range(4):
        data = hntk.gaussian_mixture(means, covariances, 1500, key=jax.random.key(draw))
        matrix = np.array(hntk.exact_kernels(data.x, NETS["relu"], tau0=law.tau0).ck)
        np.fill_diagonal(matrix, 0)
        indicators = np.eye(2)[np.asarray(data.labels)]
        counts = indicators.sum(axis=0)
        seen.append(p * indicators.T @ matrix @ indicators / (np.outer(counts, counts) - np.diag(counts)))
    limit = sized(law, 1500, NETS["relu"])
    norms = np.sum(limit.norms.deviations * limit.norms.diagonal.shares, axis=1)
    predicted = limit.products.means + np.outer(norms, norms)
    error = np.std(seen, axis=0, ddof=1) / 2
    np.testing.assert_array_less(np.abs(predicted - np.mean(seen, axis=0)), 4 * error + 0.02 * predicted.max())


@pytest.mark.slow
def test_resolvent_with_a_diagonal_and_noise() -> None:
    """Gram matrices, weights and diagonal drawn as the fixed point has them; gaps fall with p."""
    shares = np.array([[0.3, 0.7], [0.5, 0.5]])
    diagonal = DiagonalLaw(shares, np.array([[0.5, 1.2], [1.0, 1.5]]), np.array([[0.0, 0.4], [0.2, 0.3]]))
    noise = Noise(np.array([0.5, 3.0]), np.array([[1.0, 0.5], [0.1, 0.2]]), 0.5 + np.arange(8).reshape(2, 2, 2) / 8)
    z, gaps = 0.5 + 0.3j, []
    for p in (60, 480):
        rng, n = np.random.default_rng(p), 2 * p
        classes = np.repeat([0, 1], p)
        points = np.array([rng.permutation(np.repeat([0, 1], np.round(p * s).astype(int))) for s in shares]).ravel()
        scales = np.where(classes == 0, 1.0, 1.5)
        columns = [rng.standard_normal((p, n)) * np.sqrt(scales * diagonal.weights[classes, points])]
        for count, variances, weights in zip(noise.counts, noise.variances, noise.weights, strict=True):
            deviations = np.sqrt(variances[classes] * weights[classes, points])
            columns.append(rng.standard_normal((round(p * count), n)) * deviations)
        rows = np.concatenate(columns)
        q = np.diag(np.linalg.inv(rows.T @ rows / p + np.diag(diagonal.shifts[classes, points]) - z * np.eye(n)))
        at = Resolvent.at(Bulk(MixtureLaw.of(np.zeros((2, p)), [1.0, 1.5]), np.ones(2), diagonal, noise), z)
        entries = np.array([[q[(classes == a) & (points == s)].mean() for s in (0, 1)] for a in (0, 1)])
        gaps.append(np.max(np.abs(entries / at.responses - 1)))
    assert gaps[1] < min(0.01, 0.5 * gaps[0])


@pytest.mark.slow
def test_derivatives_with_a_diagonal_and_noise() -> None:
    kernel = sized(MixtureLaw.of(*mixture(50)), 80, ["relu", "erf"])
    for z in (-0.2, 0.1 + 0.2j):
        step = 1e-5
        low, high = kernel.resolvent(z - step), kernel.resolvent(z + step)
        at = kernel.resolvent(z)
        slope = (high.self_energy - low.self_energy) / (2 * step)
        np.testing.assert_allclose(at.self_energy_slope, slope, rtol=1e-5, atol=1e-9)
        slope = (kernel.overlap(high) - kernel.overlap(low)) / (2 * step)
        np.testing.assert_allclose(kernel.overlap_slope(at), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_large_sizes_are_the_limit(kernel: str) -> None:
    gaps = []
    for p in (1000, 100_000):
        law = MixtureLaw.of(*mixture(p))
        both = [ridge_regression(law, p, NETS["relu"], 0.02, kernel=kernel, finite_size=f) for f in (False, True)]
        gaps.append([abs(getattr(both[0], part).squared_error - getattr(both[1], part).squared_error)
                     for part in ("training", "test")])  # fmt: skip
    # O(1/p), but for the mean norms t_a/√p
    np.testing.assert_array_less(gaps[1], 0.1 * np.array(gaps[0]))


def test_coefficients_alone_know_no_size() -> None:
    law = MixtureLaw.of(*mixture(100))
    with pytest.raises(ValueError, match="give the activations"):
        ridge_regression(law, 100, hntk.coefficients(["relu"], law.tau0), 0.1, finite_size=True)
    gamma = kernel_coefficients(["relu"], law.tau0).shift
    with pytest.raises(ValueError, match="larger"):
        ridge_regression(law, 200, ["relu"], -0.99 * gamma, kernel="ck", finite_size=True)
    with pytest.raises(ValueError, match="declare"):
        finite_size_density(law, 100, [STEPS], kernel="ntk")


@pytest.mark.often("relu-ck-0.5", "relu-ntk-2.0")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kernel", "ratio"),
    [
        ("relu", "ck", 0.5),
        ("relu", "ntk", 0.5),
        ("relu", "ntk", 2.0),
        pytest.param("erf and tanh", "ck", 2.0, marks=pytest.mark.nightly),
    ],
)
def test_spectra_of_exact_kernels(name: str, kernel: str, ratio: float) -> None:
    p, distances = 200, []
    means, covariances = mixture(p)
    law, n = MixtureLaw.of(means, covariances), round(ratio * p)
    densities = [find(law, n, NETS[name], kernel=kernel) for find in (finite_size_density, limiting_density)]
    for draw in range(3):
        data = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(draw))
        matrix = getattr(hntk.exact_kernels(data.x, NETS[name], tau0=law.tau0), kernel)
        distances.append([kolmogorov_distance(d, np.linalg.eigvalsh(np.asarray(matrix))) for d in densities])
    finite, limit = np.mean(distances, axis=0)
    assert finite < (0.04 if n < p else 0.025)
    assert finite < 0.5 * limit
    shares = np.array([0.01, 0.5, 0.99])
    np.testing.assert_allclose(densities[0].cdf(densities[0].quantiles(shares)), shares, atol=1e-3)


def two_valued(p: int) -> tuple[np.ndarray, list]:
    """Long means, one along a small eigenvalue of the covariance and one along a large one."""
    spectrum = np.repeat([0.5, 1.5], p // 2)
    return 4 * np.eye(p)[[0, -1]], [spectrum, spectrum * (1 + 2 / np.sqrt(p))]


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["ck", pytest.param("ntk", marks=pytest.mark.nightly)])
def test_spikes_of_exact_kernels(kernel: str) -> None:
    """16 draws at p = 200, n = 400: the limit's leading spike is a tenth too low."""
    p, net, seen, aligned = 200, ["relu", "relu"], [], []
    law = MixtureLaw.of(*two_valued(p))
    for draw in range(16):
        data = hntk.gaussian_mixture(*two_valued(p), 2 * p, key=jax.random.key(draw))
        matrix = getattr(hntk.exact_kernels(data.x, net, tau0=law.tau0), kernel)
        leading = hntk.leading_eigenpairs(np.asarray(matrix), 2, tolerance=1e-6)
        seen.append(leading.values)
        sums = np.eye(2)[data.labels].T @ leading.vectors
        aligned.append(np.sum(sums**2, axis=0) / p)
    limit, finite = (spikes(law, 2 * p, net, kernel=kernel, finite_size=size)[:2] for size in (False, True))
    value, error = np.mean(seen, axis=0), np.std(seen, axis=0, ddof=1) / 4
    assert limit[0].value < 0.93 * value[0]
    np.testing.assert_allclose([s.value for s in finite], value, atol=3.5 * error.max())
    np.testing.assert_allclose([s.total for s in finite], np.mean(aligned, axis=0), atol=0.015)
    assert all(s.above and s.strength > 1 for s in finite)


def test_spikes_of_large_sizes_are_the_limits() -> None:
    gaps = []
    for p in (1000, 100_000):
        law = MixtureLaw.of(*mixture(p))
        limit, finite = (spikes(law, 2 * p, ["relu"], finite_size=size) for size in (False, True))
        for part in ("value", "total"):
            gaps.append(abs(getattr(finite[0], part) / getattr(limit[0], part) - 1))
        limit, finite = ([s for s in part if s.above and s.strength > 1] for part in (limit, finite))
        assert len(limit) == len(finite)
    np.testing.assert_array_less(gaps[2:], 0.1 * np.array(gaps[:2]) + 1e-6)


@pytest.mark.slow
def test_spikes_are_in_the_distribution() -> None:
    """As many eigenvalues beyond the bulk as the limit has spikes, where it has them, and none without."""
    p, n = 400, 400
    for separation, count in ((0.0, 0), (4.0, 2)):
        law = MixtureLaw.of(separation * np.diag([1.0, 2.0]) @ np.eye(2, p), [1.0, 1.0])
        density = finite_size_density(law, n, NETS["relu"])
        edge = limiting_density(law, n, NETS["relu"]).edges.max()
        places = np.array([s.value for s in spikes(law, n, NETS["relu"]) if s.value > 1.2 * edge])
        assert len(places) == count
        between = [*(1.3 * places[:1]), *np.sqrt(places[1:] * places[:-1]), 1.1 * edge]
        np.testing.assert_allclose(n * (1 - density.cdf(between)), np.arange(len(between)), atol=0.2)


def test_monomials_have_the_sums_of_products() -> None:
    """Of all different pairs and triples, against sums over them; a group keeps sums and sums of squares."""
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(size=(1, 30)) * 1.5)
    for degree in (2, 3):
        products = np.array([np.prod(c) for c in combinations(values[0], degree)])
        for many in (0.0, np.inf):
            counts, groups = monomials(values, np.full(30, 1 / 30), 30, degree, many)
            assert counts @ groups[:, 0] == pytest.approx(products.sum(), rel=0.05)
            assert counts @ groups[:, 0] ** 2 == pytest.approx(np.sum(products**2), rel=0.15)
            assert (len(counts) == 1) == (many == 0)
    two = np.array([[2.0, 1.0], [1.0, 3.0]])
    counts, groups = monomials(two, np.array([0.5, 0.5]), 100, 2, 0.0)
    # of 50 and 50: Σ_{i<j} by class
    np.testing.assert_allclose(counts @ groups, [1225 * 4 + 2500 * 2 + 1225, 1225 + 2500 * 3 + 1225 * 9], rtol=5e-3)


@pytest.mark.slow
@pytest.mark.nightly
def test_data_of_small_effective_dimension() -> None:
    """Few directions of weight, n ≫ their monomials. As independent noise these would make the kernel indefinite."""
    p, n, net = 200, 1600, NETS["relu"]
    spectrum = p * np.append(np.full(20, 0.04), np.full(p - 20, 0.2 / (p - 20)))
    law = MixtureLaw.of(3 * np.eye(2, p), [spectrum, spectrum])
    eigenvalues = []
    for draw in range(3):
        data = hntk.gaussian_mixture(3 * np.eye(2, p), [spectrum, spectrum], n, key=jax.random.key(draw))
        eigenvalues.append(np.linalg.eigvalsh(np.asarray(hntk.exact_kernels(data.x, net, tau0=law.tau0).ck)))
    low = np.array([0.02, 0.1, 0.3])
    simulated = np.quantile(eigenvalues, low, axis=1).mean(axis=1)
    kernel = sized(law, n, net, dense_points).with_slope_products()
    np.testing.assert_allclose(density_at_finite_size(kernel).quantiles(low), simulated, rtol=0.15)
    norms, noise = kernel.norms, kernel.norms.noise
    assert noise is not None
    more = Noise(1e4 * noise.counts, noise.variances / 1e2, noise.weights)
    shifts = norms.diagonal.shifts - 99 * noise.diagonal
    independent = sized(law, n, net, dense_points).with_slope_products()
    changed = replace(norms, diagonal=replace(norms.diagonal, shifts=shifts), noise=more)
    independent.__dict__["norms"] = changed
    assert density_at_finite_size(independent).quantiles(0.02) < 0


@pytest.mark.slow
def test_scores_of_the_own_class_vary_more() -> None:
    """10 draws at p = 120, n = 180, 3000 new samples each: slopes that are one product miss the variances."""
    p, n, net, shares = 120, 180, ["relu", "relu"], np.array([0.5, 0.3, 0.2])
    means, variances = np.diag([4.0, 3.0, 2.5]) @ np.eye(3, p), []
    law = MixtureLaw.of(means, [1.0] * 3, list(shares))
    kernel = LimitingKernel.of(law, n, net)
    ridge = 0.1 * kernel.coefficients.gram
    for draw in range(10):
        train, test = (
            hntk.gaussian_mixture(means, [1.0] * 3, size, key=jax.random.key(key), proportions=shares)
            for size, key in ((n, draw), (3000, 1000 + draw))
        )
        matrix = np.asarray(hntk.exact_kernels(train.x, net, tau0=law.tau0).ck)
        across = np.asarray(hntk.exact_kernels(test.x, net, x2=train.x, tau0=law.tau0).ck)
        scores = across @ np.linalg.solve(matrix + ridge * np.eye(n), np.eye(3)[train.labels] - shares)
        variances.append([np.var(scores[np.asarray(test.labels) == a], axis=0) for a in range(3)])
    seen = np.mean(variances, axis=0)
    predicted = kernel.ridge_regression(ridge, finite_size=True).test.covariances
    np.testing.assert_allclose(np.diagonal(predicted, axis1=1, axis2=2), seen, rtol=0.07)
    alike = learned_by_ridge(sized(law, n, net).with_slope_products(), ridge, ClassTargets.of(law)).test.covariances
    assert np.max(np.abs(np.diagonal(alike, axis1=1, axis2=2) / seen - 1)) > 0.1


@pytest.mark.nightly
def test_errors_of_exact_kernels_are_nearer_than_in_the_limit() -> None:
    """4-level staircases at p = 200, n = 400 and a large ridge, 12 draws: the limit is 7 standard errors off."""
    p, n = 200, 400
    means, covariances = mixture(p)
    law = MixtureLaw.of(means, covariances)
    layers = list(hntk.match(["relu"] * 3, law.tau0, levels=4).activations)
    ridge = 10 * float(hntk.coefficients(layers, law.tau0).tau[-1] ** 2)
    errors = []
    for draw in range(12):
        first, second = jax.random.split(jax.random.key(draw))
        own, new = (hntk.gaussian_mixture(means, covariances, m, key=k) for m, k in ((n, first), (4000, second)))
        matrix = np.asarray(hntk.exact_kernels(own.x, layers, tau0=law.tau0).ck)
        across = np.asarray(hntk.exact_kernels(new.x, layers, x2=own.x, tau0=law.tau0).ck)
        target, wanted = (np.eye(2)[np.asarray(d.labels)] - 0.5 for d in (own, new))
        scores = across @ np.linalg.solve(matrix + ridge * np.eye(n), target)
        errors.append(np.mean(np.sum((wanted - scores) ** 2, axis=1)))
    error = np.std(errors, ddof=1) / np.sqrt(len(errors))
    gaps = [
        abs(ridge_regression(law, n, layers, ridge, kernel="ck", finite_size=f).test.squared_error - np.mean(errors))
        for f in (True, False)
    ]
    assert gaps[0] < 0.6 * gaps[1]
    assert gaps[0] < 4 * error
