"""Matches: what they reach, how good they are, what they refuse, and what the data then sees."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import hntk
from hntk.activations.mehler import pair_series
from hntk.activations.staircase import gaussian_cells
from hntk.matching.kernel_mismatch import correlation_map, mismatch_from
from hntk.matching.library import library
from hntk.matching.newton import Point
from hntk.matching.quantiser import gaussian_grid, quantise
from hntk.matching.step_functions import Partition, UnitStaircase
from hntk.matching.variance_shares import NAMES, Shares, final_shares
from hntk.spectra.comparison import off_diagonal

RELU3 = ["relu"] * 3
# levels, with α_2, without: τ̂_L²/τ_L² that can be reached at equal coefficients
TARGETS = [(2, np.inf, 2.64), (3, 1.44, 1.31), (4, 1.10, 1.03), (5, 1.0, 1.0), (8, 1.0, 1.0)]


def coefficients_of(found: hntk.Match) -> tuple[dict[str, float], dict[str, float]]:
    """Final α_1..3, β_1..3 of the original and of the match, computed afresh."""
    tables = []
    for layers in (found.original, found.activations):
        c = hntk.coefficients(layers, found.tau0)
        tables.append(dict(zip(NAMES, [*c.alpha[-1, :3], *c.beta[-1]], strict=True)))
    return tables[0], tables[1]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["alpha", "beta", "both"])
@pytest.mark.parametrize("alpha2", [True, False])
@pytest.mark.parametrize(
    ("names", "levels"),
    [(RELU3, 3), (RELU3, [3, 4, 2]), (RELU3, 8), (["relu", "erf", "cos"], 4), (["tanh"] * 2, 2), (["linear"] * 3, 3),
     (["sign", "relu"], 4), (["gelu"] * 2, 4), (["cos"], 3), (["abs", "relu"], 4),
     (["relu", "tanh", "silu", "sin"], 5)],
    ids=str,
)  # fmt: skip
def test_joint_matches_reach_what_was_asked(names: list, levels: object, kernel: str, alpha2: bool) -> None:
    found = hntk.match(names, 0.9, levels, kernel=kernel, alpha2=alpha2)  # type: ignore[arg-type]
    assert found.converged
    assert found.relative_shift >= -1e-9
    original, reached = coefficients_of(found)
    size = max(original.values())
    for name in found.asked:
        assert np.isclose(reached[name], original[name], rtol=1e-9, atol=1e-10 * size), name
    assert any(name.endswith("2") for name in found.asked) == alpha2
    last = found.activations[-1]
    bent = hntk.staircase(last.thresholds, [1.01 * v if v == max(last.levels) else v for v in last.levels])
    off = hntk.coefficients([*found.activations[:-1], bent], 0.9)
    assert np.max(np.abs(off.alpha[-1, :3] - found.original_coefficients.alpha[-1, :3])) > 1e-4 * size


@pytest.mark.parametrize(
    ("names", "levels"),
    [(RELU3, 3), (RELU3, [3, 4, 2]), (RELU3, "paper"), (["relu", "erf", "cos"], 4), (["abs"] * 2, 4),
     (["gaussian"] * 2, 3)],
    ids=str,
)  # fmt: skip
def test_layerwise_matches_reach_every_coefficient(names: list, levels: object) -> None:
    found = hntk.match(names, 0.9, levels, method="layerwise")  # type: ignore[arg-type]
    original, reached = coefficients_of(found)
    size = max(original.values())
    for name in NAMES:
        assert np.isclose(reached[name], original[name], rtol=1e-9, atol=1e-10 * size), name


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "with_alpha2", "without"), TARGETS)
def test_relu_matches_are_as_good_as_called_for_and_certified(levels: int, with_alpha2: float, without: float) -> None:
    for alpha2, most in ((True, with_alpha2), (False, without)):
        found = hntk.match(RELU3, 1.0, levels, alpha2=alpha2)
        certificate = found.certificate
        assert 1 + found.relative_shift <= most + 1e-9
        assert certificate.bound <= certificate.ratio + 1e-9
        if not alpha2:
            # without α_2 the bound is tight: the match is a global optimum, or lossless where it may be
            assert certificate.gap < 1e-3
    layerwise = hntk.match(RELU3, 1.0, levels, method="layerwise")
    assert max(0.0, layerwise.relative_shift) > found.relative_shift - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "alpha2", "least"),
    [(3, True, 0.39792), (4, True, 0.36805), (5, True, 0.35673), (6, True, 0.35115), (8, True, 0.34331),
     (2, False, 0.49678), (3, False, 0.3968), (4, False, 0.36764), (8, False, 0.34125)],
)  # fmt: skip
def test_layer_variances_are_below_the_best_known(levels: int, alpha2: bool, least: float) -> None:
    # a flat layer after it makes nobody ask for s2; a ReLU does
    names = ["relu", "relu"] if alpha2 else ["relu", "linear"]
    found = hntk.match(names, 1.0, levels, method="layerwise")
    first = hntk.coefficients(found.activations, 1.0).tau[1] ** 2
    assert 0.3296 < first <= least
    bound = found.certificate.layers[0]
    assert bound.gap >= -1e-9
    if not alpha2:
        assert bound.gap < 2e-4


def test_the_bounds_are_lloyd_and_maxs() -> None:
    # Max (1960): distortions of the optimal quantisers of a Gaussian
    for levels, distortion in (
        (2, 0.3634),
        (3, 0.1902),
        (4, 0.1175),
        (5, 0.07994),
        (6, 0.05798),
        (8, 0.03454),
        (16, 0.009497),
    ):
        assert np.isclose(1 - hntk.share_bound(levels), distortion, atol=2e-4)


def test_no_function_beats_the_share_bound() -> None:
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(2000):
        levels = int(rng.integers(2, 5))
        cells = int(rng.integers(levels, 2 * levels))
        function = UnitStaircase(
            np.sort(rng.normal(size=cells - 1)), rng.normal(size=levels)[rng.integers(0, levels, cells)]
        )
        if function.variance < 1e-3:
            continue
        p, q, _ = function.shares
        direction = float(rng.choice([0.0, 0.4, 0.8, 1.2, np.pi / 2]))
        reached = (np.cos(direction) * np.sqrt(p) + np.sin(direction) * np.sqrt(q)) ** 2
        best = max(best, reached / hntk.share_bound(levels, direction))
    assert 0.9 < best <= 1.0


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("mu", [0.0, -0.6, 0.04])
def test_the_dynamic_programme_finds_the_best_partition(levels: int, mu: float) -> None:
    grid = gaussian_grid(60, 3.0)
    e1, e2 = 0.9, 0.3
    found = quantise(grid, levels, e1, e2, mu)
    assert found is not None
    score = e1 * grid.cells.first + e2 * grid.cells.second
    weight = grid.cells.probability - mu * grid.cells.second
    order = np.argsort(score / weight)
    s, w = np.concatenate([[0], np.cumsum(score[order])]), np.concatenate([[0], np.cumsum(weight[order])])
    if levels <= 3:
        cuts = itertools.combinations(range(1, 60), levels - 1)
        best = max(sum((s[b] - s[a]) ** 2 / (w[b] - w[a]) for a, b in itertools.pairwise((0, *c, 60))) for c in cuts)
        assert np.isclose(found.gain, best, rtol=1e-12)
    labels = np.random.default_rng(1).integers(0, levels, (500, 60))
    gains = [
        sum(score[row == k].sum() ** 2 / weight[row == k].sum() for k in range(levels) if np.any(row == k))
        for row in labels
    ]
    assert max(gains) < found.gain


def test_shares_follow_the_coefficients_and_their_derivatives_are_right() -> None:
    net = hntk.coefficients(["relu", "tanh", "softplus"], 0.7)
    final = Shares.of(net.moments).final()
    unit = net.tau[-1] ** 2 / 0.7 ** np.array([2, 4, 4])
    np.testing.assert_allclose([final[f"alpha{i}"] for i in (1, 2, 3)] * unit, net.alpha[-1, :3], rtol=1e-13)
    np.testing.assert_allclose([final[f"beta{i}"] for i in (1, 2, 3)] * unit, net.beta[-1], rtol=1e-13)
    assert np.isclose(final["beta1"], 4 * final["alpha1"])
    layers = np.random.default_rng(0).uniform(0.1, 1, (4, 3))
    _, by = final_shares(layers)
    for index in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[index] = 1e-6
        slope = (final_shares(layers + step)[0] - final_shares(layers - step)[0]) / 2e-6
        np.testing.assert_allclose(by[:, index[0], index[1]], slope, atol=1e-8)


def test_layer_moments_are_the_activations_and_derivatives_are_right() -> None:
    form = Partition((2, 0, 1, 2, 1))
    z = np.array([-1.2, -0.3, 0.4, 1.9, -0.5, 0.7, 2.0])
    values, jacobian = form.moments(z)
    staircase = hntk.staircase(z[:4], z[4:][list(form.labels)])
    m = staircase.moments(1.0)
    np.testing.assert_allclose(values, [*m.unit_targets, m.variance], rtol=1e-13)
    order = 6
    c, c_by = form.hermite(z, order)
    assert np.isclose(c[0], m.e1)
    assert np.isclose(c[1], m.e2 / np.sqrt(2))
    for i in range(z.size):
        step = 1e-6 * np.eye(z.size)[i]
        slope = (form.moments(z + step)[0] - form.moments(z - step)[0]) / 2e-6
        np.testing.assert_allclose(jacobian[:, i], slope, atol=1e-8)
        slope = (form.hermite(z + step, order)[0] - form.hermite(z - step, order)[0]) / 2e-6
        np.testing.assert_allclose(c_by[:, i], slope, atol=1e-8)


def test_the_mismatch_is_that_of_the_exact_maps() -> None:
    layers = tuple(hntk.activation(name) for name in ("relu", "relu"))
    net = hntk.coefficients(layers, 1.0)
    target = correlation_map(layers, net.tau[:-1].tolist())
    point = Point.of([library(4).functions[100], library(5).functions[80]])
    staircases = [f.at(1.0, 1.0, "f") for f in point.functions()]
    own = correlation_map(staircases, [1.0, 1.0])
    residuals, jacobian = mismatch_from(target, point)(point.z)
    # the series is cut at order 40, which only correlations near ±1 notice
    assert np.isclose(np.sum(residuals**2), np.mean((own - target) ** 2 * hntk_weights()), rtol=0.02)
    for i in range(0, point.z.size, 3):
        step = 1e-6 * np.eye(point.z.size)[i]
        slope = (
            mismatch_from(target, point)(point.z + step)[0] - mismatch_from(target, point)(point.z - step)[0]
        ) / 2e-6
        np.testing.assert_allclose(jacobian[:, i], slope, atol=1e-7)


def hntk_weights() -> np.ndarray:
    """Gauss-Legendre weights on [−1, 1], times their number over two."""
    weights = np.polynomial.legendre.leggauss(24)[1]
    return weights * weights.size / 2


@pytest.mark.slow
def test_lossless_matches_use_their_freedom_for_the_higher_orders() -> None:
    layers = [hntk.activation("relu")] * 3
    net = hntk.coefficients(layers, 1.0)
    target = correlation_map(layers, net.tau[:-1].tolist())
    gaps = []
    for levels in (5, 8, 12):
        found = hntk.match(layers, 1.0, levels)
        assert abs(found.relative_shift) < 1e-9
        own = correlation_map(found.activations, found.coefficients.tau[:-1].tolist())
        gaps.append(np.sqrt(np.mean((own - target) ** 2)))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02


def test_a_budget_of_bits_is_spread_as_well_as_any_division() -> None:
    found = hntk.match(RELU3, 1.0, bits=5, alpha2=False)
    divisions = [d for d in itertools.product((1, 2, 3), repeat=3) if sum(d) == 5]
    best = min(hntk.match(RELU3, 1.0, [2**b for b in d], alpha2=False).relative_shift for d in divisions)
    assert sum(int(np.ceil(np.log2(n))) for n in found.level_counts) <= 5
    assert found.relative_shift <= best + 0.01
    assert len(hntk.match(["tanh"] * 12, 1.0, bits=20).activations) == 12


@pytest.mark.parametrize("tau0", [1e-6, 1e6])
@pytest.mark.parametrize("levels", [4, "paper"])
def test_matching_is_free_of_scale(levels: object, tau0: float) -> None:
    one = hntk.match(RELU3, 1.0, levels)  # type: ignore[arg-type]
    other = hntk.match(RELU3, tau0, levels)  # type: ignore[arg-type]
    assert np.isclose(other.relative_shift, one.relative_shift, rtol=1e-6)
    # at an optimum thresholds are only as certain as the root of what is minimised
    certain = 1e-9 if levels == "paper" else 3e-3
    np.testing.assert_allclose(
        other.activations[0].thresholds, tau0 * np.array(one.activations[0].thresholds), rtol=certain
    )


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 6, 12, 20])
def test_any_depth(depth: int) -> None:
    found = hntk.match(["relu"] * depth, 1.0, 4)
    assert found.converged
    assert found.relative_shift < 0.2


def test_planted_networks_are_matched_without_loss() -> None:
    rng = np.random.default_rng(3)
    for depth in (1, 2, 4):
        planted = [
            hntk.staircase(np.sort(rng.uniform(-2, 2, 3)), np.sort(rng.uniform(-1, 2, 4)), "planted")
            for _ in range(depth)
        ]
        found = hntk.match(planted, 1.0, 4)
        assert found.converged
        assert found.relative_shift < 1e-9


def test_sigma_t_is_the_papers() -> None:
    first = hntk.match(["relu"], 1.0, "paper").activations[0]
    np.testing.assert_allclose(first.thresholds, [0.99953, 2.21253], atol=1e-5)
    assert np.isclose(max(first.levels), 2.40874, atol=1e-5)


@pytest.mark.slow
def test_what_cannot_be_is_known_beforehand_and_says_what_would_do() -> None:
    with pytest.raises(hntk.MatchError, match=r"bound it from below by 0\.24.*levels=4"):
        hntk.match(RELU3, 1.0, 3, max_shift=0.0)
    with pytest.raises(hntk.MatchError, match="does not exclude it"):
        hntk.match(RELU3, 1.0, 4, max_shift=0.0)
    assert hntk.match(RELU3, 1.0, 5, max_shift=0.0).converged
    with pytest.raises(hntk.MatchError, match="layer 1"):
        hntk.match(["erf", "relu"], 1.0, "paper")
    with pytest.raises(hntk.MatchError, match="rescale the data"):
        hntk.match(["sin"], 1e3, 4)
    with pytest.raises(hntk.MatchError, match="alpha2, beta2, which were not asked for"):
        hntk.match(["cos", "cos"], 1.0, 4, alpha2=False)


@pytest.mark.parametrize(
    ("levels", "options", "message"),
    [(1, {}, "levels"), (17, {}, "levels"), (2.5, {}, "levels"), (True, {}, "levels"), ([4, 4], {}, "levels"),
     ("many", {}, "levels"), (4, {"bits": 6}, "not both"), (None, {"bits": 2}, "from 3"), (None, {"bits": 13}, "to 12"),
     (4, {"kernel": "gamma"}, "kernel"), (4, {"method": "magic"}, "method"), (4, {"max_shift": -1}, "max_shift"),
     ("paper", {"method": "joint"}, "layer by layer")],
    ids=str,
)  # fmt: skip
def test_options_must_make_sense(levels: object, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.match(RELU3, 1.0, levels, **options)  # type: ignore[arg-type]


def test_dropping_alpha2_is_reported() -> None:
    assert "norms concentrate" in hntk.match(RELU3, 1.0, 4, alpha2=False).report()
    assert "assumes" not in hntk.match(RELU3, 1.0, 4).report()


@pytest.mark.slow
@pytest.mark.parametrize("levels", [5, pytest.param(8, marks=pytest.mark.nightly)])
def test_lossless_conjugate_kernels_tend_to_the_originals_at_the_equivalents_rate(levels: int) -> None:
    errors = []
    for n in (200, 400, 800):
        row = []
        for seed in range(3):
            data = hntk.reference_mixture(n=n, p=n // 2, key=jax.random.key(seed))
            tau0 = data.population.tau0
            found = hntk.match(RELU3, tau0, levels)
            exact = np.asarray(hntk.exact_kernels(data.x, RELU3, tau0=tau0).ck)
            other = np.asarray(hntk.exact_kernels(data.x, found.activations, tau0=tau0, kappa_sq=0.0).ck)
            theory = hntk.equivalent_kernels(data.x, data.labels, RELU3, population=data.population).ck.to_dense()
            row.append([hntk.operator_norm(k - exact) / hntk.operator_norm(exact) for k in (other, np.asarray(theory))])
        errors.append(np.mean(row, axis=0))
    rates = np.polyfit(np.log([200, 400, 800]), np.log(errors), 1)[0]
    assert rates[0] < -0.4
    assert rates[0] < rates[1] + 0.15


@pytest.mark.slow
def test_matched_ntks_tend_to_the_originals_off_the_diagonal() -> None:
    errors = {"matched": [], "bent": []}
    for n in (200, 800):
        data = hntk.reference_mixture(n=n, p=n // 2, key=jax.random.key(0))
        tau0 = data.population.tau0
        exact = np.asarray(hntk.exact_kernels(data.x, RELU3, tau0=tau0).ntk)
        matched = hntk.match(RELU3, tau0, 5, kernel="beta").activations
        bent = (hntk.staircase(matched[0].thresholds, np.square(matched[0].levels)), *matched[1:])
        for name, net in (("matched", matched), ("bent", bent)):
            other = np.asarray(hntk.exact_kernels(data.x, net, tau0=tau0, kappa_sq=0.0).ntk)
            errors[name].append(hntk.operator_norm(off_diagonal(exact - other)) / hntk.operator_norm(exact))
    assert errors["matched"][1] < 0.5 * errors["matched"][0]
    assert errors["bent"][1] > 0.7 * errors["bent"][0]


@pytest.mark.slow
def test_compensated_ridges_make_the_predictors_agree() -> None:
    data = hntk.reference_mixture(n=600, p=300, key=jax.random.key(0))
    tau0 = data.population.tau0
    found = hntk.match(RELU3, tau0, 3, kernel="both")
    original = np.asarray(hntk.exact_kernels(data.x, RELU3, tau0=tau0).ck)
    compressed = np.asarray(hntk.exact_kernels(data.x, found.activations, tau0=tau0, kappa_sq=0.0).ck)
    train, test = np.arange(600) % 3 > 0, np.arange(600) % 3 == 0
    y = np.where(np.asarray(data.labels) == 0, -1.0, 1.0)[train]

    def predict(kernel: np.ndarray, ridge: float) -> np.ndarray:
        return kernel[np.ix_(test, train)] @ np.linalg.solve(
            kernel[np.ix_(train, train)] + ridge * np.eye(train.sum()), y
        )

    ridge = 1.5 * found.identity_shift
    wanted = predict(original, ridge)
    with_compensation = predict(compressed, found.ridge_for(ridge))
    without = predict(compressed, ridge)
    size = np.linalg.norm(wanted)
    assert np.linalg.norm(with_compensation - wanted) < 0.1 * size
    assert np.linalg.norm(without - wanted) > 3 * np.linalg.norm(with_compensation - wanted)
    with pytest.raises(ValueError, match="δ = .*more than the ridge"):
        found.ridge_for(0.5 * found.identity_shift)
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="non-negative"):
            found.ridge_for(wrong)
    assert hntk.match(RELU3, tau0, 5).ridge_for(0.0) == 0.0


def test_an_independent_solver_finds_nothing_better() -> None:
    # one layer, three levels, no s2: scipy from 60 random starts over two-sided partitions
    target = hntk.activation("relu").moments(1.0)
    rng = np.random.default_rng(0)

    def variance_of(z: np.ndarray) -> tuple[float, np.ndarray]:
        u, g = np.sort(z[:4]), z[4:][[2, 1, 0, 1, 2]]
        cells = gaussian_cells(u)
        g = g - cells.probability @ g
        return float(g**2 @ cells.probability), np.array([g @ cells.first - target.e1, g @ cells.second - target.e2])

    best = np.inf
    for _ in range(60):
        start = np.concatenate([np.sort(rng.uniform(-3, 3, 4)), np.sort(rng.uniform(0, 2, 3))])
        solved = minimize(
            lambda z: variance_of(z)[0],
            start,
            method="SLSQP",
            constraints=[{"type": "eq", "fun": lambda z: variance_of(z)[1]}],
        )
        if np.max(np.abs(variance_of(solved.x)[1])) < 1e-7:
            best = min(best, solved.fun)
    found = hntk.match(["relu"], 1.0, 3).coefficients.tau[-1] ** 2
    assert found <= best + 1e-7


@pytest.mark.slow
def test_a_match_tells_how_far_it_has_come() -> None:
    x = hntk.reference_mixture(n=80, p=20, key=jax.random.key(0)).x
    lines: list[str] = []
    hntk.compress(["relu"], [8], x, 3, key=jax.random.key(1), objective="data", progress=lines.append)
    assert lines[0].startswith("matching coefficients: start 1 of")
    assert any("following the data: step 1 of at most 80, distance 0." in line for line in lines)


@pytest.mark.slow
def test_derivatives_of_the_pair_series_are_the_sums() -> None:
    a, b, rho = (
        jnp.asarray(np.random.default_rng(i).uniform(-1, 1, s)) for i, s in enumerate([(5, 3), (5, 4), (3, 4)])
    )
    plain = lambda a, b, rho: jnp.sum(jnp.sin(sum(a[k][:, None] * b[k] * rho**k for k in range(5))))  # noqa: E731
    found = jax.grad(lambda *v: jnp.sum(jnp.sin(pair_series(*v))), (0, 1, 2))(a, b, rho)
    for one, other in zip(found, jax.grad(plain, (0, 1, 2))(a, b, rho), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
