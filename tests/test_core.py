"""The chain from moments to a compressed network, each link against an independent oracle."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy, multivariate_normal, norm

import hntk
from hntk.networks.formula_bytes import storage_of
from hntk.networks.forward import is_sparse
from hntk.spectra.comparison import off_diagonal

NAMES = [n for n in hntk.activation_names() if n not in ("polynomial", "staircase")]


def every_activation() -> list[hntk.Activation]:
    extra = [
        hntk.activation("leaky_relu", slope=0.1),
        hntk.activation("polynomial", coefficients=[0.3, -1.0, 0.5, 0.2]),
        hntk.staircase([-0.5, 0.3, 1.2], [-1.0, 0.0, 0.5, 2.0]),
        hntk.activation(lambda t: jnp.clip(t, -1, 1), breakpoints=[-1, 1], name="clip"),
        hntk.activation(lambda t: jnp.where(t > 0.5, t, 0.0), breakpoints=[0.5], name="hard shrink"),
    ]
    return [hntk.activation(n) for n in NAMES] + extra


ACTIVATIONS = every_activation()
IDS = [a.name for a in ACTIVATIONS]


def split_rule(breakpoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and Gaussian weights between all breakpoints, by 40-point Gauss-Legendre on short panels."""
    edges = np.unique(np.concatenate([np.linspace(-12, 12, 97), breakpoints[np.abs(breakpoints) < 12]]))
    x, w = np.polynomial.legendre.leggauss(40)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    xi = (middle[:, None] + half[:, None] * x).ravel()
    return xi, (half[:, None] * w).ravel() * norm.pdf(xi)


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("act", ACTIVATIONS, ids=IDS)
def test_moments_against_split_quadrature_and_stein(act: hntk.Activation, tau: float) -> None:
    xi, w = split_rule(np.array(act.breakpoints) / tau)
    sigma = np.asarray(act(jnp.asarray(tau * xi)))
    mean = w @ sigma
    c = sigma - mean
    second = w * (xi**2 - 1)
    expected = [mean, (w * xi) @ c / tau, second @ c / tau**2, second @ c**2 / tau**2, w @ c**2]
    m = act.moments(tau)
    np.testing.assert_allclose([m.mean, m.e1, m.e2, m.s2, m.variance], expected, rtol=1e-10, atol=2e-10)
    slope = np.asarray(jax.vmap(jax.grad(lambda t: jnp.sum(act(t))))(jnp.asarray(tau * xi)))
    assert m.d == np.inf if act.has_jumps else np.isclose(m.d, w @ slope**2, rtol=1e-10)


@pytest.mark.parametrize("tau", [1e-6, 1e6])
def test_moments_at_extreme_scales_follow_the_scaling_of_relu(tau: float) -> None:
    relu, far = hntk.activation("relu").moments(1.0), hntk.activation("relu").moments(tau)
    np.testing.assert_allclose(far.unit_targets[:2], [relu.e1 * tau, relu.e2 * tau], rtol=1e-13)
    assert np.isclose(far.variance, relu.variance * tau**2, rtol=1e-13)


def test_small_scales_lose_no_digits() -> None:
    """Leading terms of the Taylor series at τ = 1e-4."""
    tau = 1e-4
    assert np.isclose(hntk.activation("gaussian").moments(tau).variance, tau**4 / 2, rtol=1e-7)
    assert np.isclose(hntk.activation("cos").moments(tau).s2, 2 * tau**2, rtol=1e-7)
    assert np.isclose(hntk.activation("sigmoid").moments(tau).e1, 0.25, rtol=1e-7)
    assert abs(hntk.activation("sigmoid").moments(tau).e2) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTIVATIONS, ids=IDS)
def test_kernel_maps_against_monte_carlo(act: hntk.Activation) -> None:
    """2e6 antithetic pairs, five standard errors, unequal variances; the wrong correlation must be told apart."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2, 1_000_000))
    v1, v2, rho = 1.3, 0.6, 0.7
    products = []
    for sign in (1, -1):
        u, v = np.sqrt(v1) * sign * z[0], np.sqrt(v2) * sign * (rho * z[0] + np.sqrt(1 - rho**2) * z[1])
        products.append(np.asarray(act(jnp.asarray(u))) * np.asarray(act(jnp.asarray(v))))
    sample = (products[0] + products[1]) / 2
    error = 5 * sample.std() / np.sqrt(sample.size)
    cov = rho * np.sqrt(v1 * v2)
    assert abs(float(act.kernel_map(jnp.asarray(cov), v1, v2)) - sample.mean()) < error
    assert abs(float(act.kernel_map(jnp.asarray(0.9 * cov), v1, v2)) - sample.mean()) > error


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTIVATIONS, ids=IDS)
def test_derivative_map_is_the_derivative_of_the_covariance_map(act: hntk.Activation) -> None:
    """d/dcov E[σσ] = E[σ'σ'] (Price's theorem), also for jumps; both sides of the pair may be swapped."""
    v1, v2, h = 1.3, 0.6, 1e-5
    cov = jnp.array([-0.8, -0.3, 0.0, 0.4, 0.8]) * np.sqrt(v1 * v2)
    difference = (act.covariance_map(cov + h, v1, v2) - act.covariance_map(cov - h, v1, v2)) / (2 * h)
    found = act.derivative_map(cov, v1, v2)
    np.testing.assert_allclose(found, difference, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(act.derivative_map(cov, v2, v1), found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("act", ACTIVATIONS, ids=IDS)
def test_the_diagonal_is_the_variance(act: hntk.Activation) -> None:
    m = act.moments(0.9)
    one = jnp.asarray(0.81)
    assert np.isclose(float(act.covariance_map(one, one, one)), m.variance, rtol=1e-10)
    assert np.isclose(float(act.derivative_map(one, one, one)), m.d, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [-0.9999, -0.6, 0.0, 0.3, 0.97, 0.99999])
def test_steps_against_scipys_bivariate_normal(rho: float) -> None:
    s, t, v1, v2 = 0.4, -0.2, 1.7, 0.8
    step = hntk.staircase([s], [0.0, 1.0])
    both = hntk.staircase([t], [0.0, 1.0])
    # σ = 1{x ≥ s} + 1{x ≥ t}: expand the product of sums into four orthant probabilities
    total = hntk.staircase([t, s], [0.0, 1.0, 2.0])

    def orthant(a: float, b: float) -> float:
        bounds = [-a / np.sqrt(v1), -b / np.sqrt(v2)]
        return float(multivariate_normal.cdf(bounds, cov=[[1, rho], [rho, 1]], abseps=1e-13, releps=1e-13))

    cov = jnp.asarray(rho * np.sqrt(v1 * v2))
    assert np.isclose(float(step.kernel_map(cov, v1, v2)), orthant(s, s), atol=1e-7)
    assert np.isclose(float(both.kernel_map(cov, v1, v2)), orthant(t, t), atol=1e-7)
    expected = sum(orthant(a, b) for a in (s, t) for b in (s, t))
    assert np.isclose(float(total.kernel_map(cov, v1, v2)), expected, atol=4e-7)


def test_sign_has_the_arcsine_kernel() -> None:
    rho = jnp.array([-1.0, -0.99, -0.5, 0.0, 0.2, 0.9, 0.999, 0.9999999, 1.0])
    found = hntk.activation("sign").kernel_map(rho, 1.0, 1.0)
    np.testing.assert_allclose(found, 2 / np.pi * np.arcsin(rho), atol=1e-12)


@pytest.mark.slow
def test_a_users_function_equals_the_closed_form() -> None:
    own = hntk.activation(lambda t: jnp.where(t > 0, t, 0.1 * t), breakpoints=[0.0], name="own")
    closed = hntk.activation("leaky_relu", slope=0.1)
    cov = jnp.array([-0.97, -0.4, 0.0, 0.5, 0.97]) * np.sqrt(1.3 * 0.6)
    for name in ("covariance_map", "derivative_map"):
        np.testing.assert_allclose(getattr(own, name)(cov, 1.3, 0.6), getattr(closed, name)(cov, 1.3, 0.6), atol=1e-9)


def test_an_undeclared_kink_is_refused() -> None:
    with pytest.raises(ValueError, match="breakpoints"):
        hntk.activation(lambda t: jnp.maximum(t, 0.0))


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match="relu.*Did you mean 'relu'"):
        hntk.activation("rellu")
    with pytest.raises(ValueError, match="exists already"):
        hntk.register_activation("relu", jnp.tanh)


@pytest.mark.parametrize("tau", [0.0, -1.0, np.nan, np.inf])
def test_scales_must_be_positive(tau: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        hntk.activation("relu").moments(tau)
    with pytest.raises(ValueError, match="tau0"):
        hntk.coefficients(["relu"], tau)


def kernel_function(names: list, tau0: float):
    """K_L and Θ_L of one pair as a function of (inner product, norm²s), by the recursion written out."""
    layers = [hntk.activation(n) for n in names]
    centres = hntk.coefficients(layers, tau0).centres

    def function(c, v1, v2):
        k, theta, d1, d2 = c, c, v1, v2
        for layer, m in zip(layers, centres, strict=True):
            slope = layer.derivative_map(k, d1, d2)
            k = layer.kernel_map(k, d1, d2, m)
            theta = k + theta * slope
            d1, d2 = layer.kernel_map(d1, d1, d1, m), layer.kernel_map(d2, d2, d2, m)
        return k, theta

    return function


@pytest.mark.parametrize("names", [["relu"] * 3, ["erf", "cos"], ["gaussian", "quadratic"]])
def test_coefficients_against_finite_differences_of_kernels(names: list) -> None:
    tau0, h = 0.8, 2e-3
    f = kernel_function(names, tau0)
    x = tau0**2
    net = hntk.coefficients(names, tau0)
    at = {s: [np.asarray(v) for v in f(jnp.asarray(s * h), jnp.asarray(x), jnp.asarray(x))] for s in (-2, -1, 0, 1, 2)}
    for which, c in ((0, net.alpha[-1]), (1, net.beta[-1])):
        y = {s: float(v[which]) for s, v in at.items()}
        first = (8 * (y[1] - y[-1]) - (y[2] - y[-2])) / (12 * h)
        second = (16 * (y[1] + y[-1]) - (y[2] + y[-2]) - 30 * y[0]) / (12 * h**2)
        np.testing.assert_allclose([first, second / 2], [c[0], c[2]], rtol=1e-5, atol=1e-7)

        def mixed(a: int, b: int, which: int = which) -> float:
            return float(f(jnp.asarray(0.0), jnp.asarray(x + a * h), jnp.asarray(x + b * h))[which])

        cross = (mixed(1, 1) - mixed(1, -1) - mixed(-1, 1) + mixed(-1, -1)) / (4 * h**2)
        np.testing.assert_allclose(cross, c[1], rtol=1e-3, atol=1e-6)


@pytest.mark.nightly
def test_exact_kernels_against_the_recursion_and_between_two_sets() -> None:
    data = hntk.reference_mixture(n=16, p=40, key=jax.random.key(1))
    layers = ["relu", hntk.staircase([0.1, 0.9], [0.0, 0.5, 1.5]), "tanh"]
    tau0 = 1.0
    gram = data.x @ data.x.T
    v = jnp.diag(gram)
    ck, ntk = kernel_function(layers, tau0)(gram, v[:, None], v[None, :])
    found = hntk.exact_kernels(data.x, layers, tau0=tau0)
    np.testing.assert_allclose(found.ck, ck, atol=1e-10)
    np.testing.assert_allclose(off_diagonal(found.ntk), off_diagonal(ntk), atol=1e-10)
    assert np.all(np.isinf(np.diag(found.ntk)))
    declared = hntk.exact_kernels(data.x, layers, tau0=tau0, kappa_sq=2.5)
    assert np.all(np.diag(declared.ntk) == 2.5)
    block = hntk.exact_kernels(data.x[:10], layers, x2=data.x[10:], tau0=tau0)
    np.testing.assert_allclose(block.ck, found.ck[:10, 10:], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "law",
    ["gaussian", "ternary", *(pytest.param(law, marks=pytest.mark.nightly) for law in ("student_t", "bernoulli"))],
)
def test_wide_networks_reach_the_exact_kernels_whatever_the_weights(law: str) -> None:
    data = hntk.reference_mixture(n=30, p=200, key=jax.random.key(2))
    exact = hntk.exact_kernels(data.x, ["relu", "erf"])
    errors = []
    for width in (256, 4096):
        gaps = []
        for seed in range(4):
            net = hntk.dense(["relu", "erf"], [width, width], data.x, key=jax.random.key(seed), law=law)
            drawn = hntk.empirical_kernels(net, data.x)
            features = net.features(data.x)
            np.testing.assert_allclose(features @ features.T, drawn.ck, atol=1e-4)
            gaps.append([np.abs(drawn.ck - exact.ck).mean(), np.abs(drawn.ntk - exact.ntk).mean()])
        errors.append(np.mean(gaps, axis=0))
    ratio = errors[0] / errors[1]
    assert np.all(ratio > 2.5), ratio  # √16 = 4 expected
    assert np.all(errors[1] < 0.02)


@pytest.mark.slow
def test_empirical_ntk_against_jacobians() -> None:
    x = jax.random.normal(jax.random.key(3), (5, 7)) / np.sqrt(7)
    net = hntk.dense(["tanh", "relu"], [11, 9], x, key=jax.random.key(4))

    def output(parameters: list, x: jax.Array) -> jax.Array:
        h, fan_in = x, 1
        for w, act, m in zip(parameters[:-1], net.activations, net.centres, strict=True):
            h = act(w @ h / np.sqrt(fan_in)) - m
            fan_in = w.shape[0]
        return parameters[-1] @ h / np.sqrt(fan_in)

    parameters = [w.dense(jnp.float64) for w in net.weights] + [net.readout.astype(jnp.float64)]
    rows = [jnp.concatenate([g.ravel() for g in jax.grad(output)(parameters, row)]) for row in x]
    jacobian = jnp.stack(rows)
    np.testing.assert_allclose(hntk.empirical_kernels(net, x).ntk, jacobian @ jacobian.T, rtol=1e-5)


def equivalent_error(names: list, n: int, wrong: float = 1.0, identity: str = "default") -> float:
    """Relative operator-norm error of the equivalent CK, mean of two draws; ``wrong`` multiplies α_3 and α_2."""
    errors = []
    for seed in range(2):
        data = hntk.reference_mixture(n=n, p=n // 2, key=jax.random.key(seed))
        tau0 = data.population.tau0
        exact = np.asarray(hntk.exact_kernels(data.x, names, tau0=tau0).ck)
        kernel = hntk.equivalent_kernels(
            data.x, data.labels, names, tau0=tau0, population=data.population, identity=identity, kappa_sq=1.0
        ).ck
        dense = replace(kernel, core=kernel.core * wrong).to_dense()
        errors.append(hntk.operator_norm(exact - dense) / hntk.operator_norm(exact))
    return float(np.mean(errors))


@pytest.mark.slow
@pytest.mark.parametrize(
    "act",
    [
        "relu",
        "erf",
        pytest.param("cos", marks=pytest.mark.nightly),
        hntk.staircase([0.2, 1.0, 1.8], [0.0, 0.6, 1.3, 2.5]),
    ],
)
def test_equivalents_converge(act: object) -> None:
    errors = [equivalent_error([act] * 2, n) for n in (200, 400, 800)]
    rate = np.polyfit(np.log([200, 400, 800]), np.log(errors), 1)[0]
    assert rate < -0.35, (rate, errors)


@pytest.mark.slow
def test_a_wrong_second_order_does_not_converge_and_the_authors_identity_has_its_floor() -> None:
    names = ["relu"] * 3
    right = [equivalent_error(names, n) for n in (200, 800)]
    wrong = [equivalent_error(names, n, wrong=2.25) for n in (200, 800)]
    assert right[1] < 0.6 * right[0]
    assert wrong[1] > 0.8 * wrong[0]
    data = hntk.reference_mixture(n=800, p=400, key=jax.random.key(0))
    tau0 = data.population.tau0
    size = hntk.operator_norm(hntk.exact_kernels(data.x, names, tau0=tau0).ck)
    floor = hntk.coefficients(names, tau0).alpha[-1, 2] * tau0**4 / size
    assert np.isclose(equivalent_error(names, 800, identity="paper") - right[1], floor, rtol=0.1)


@pytest.mark.parametrize(("n", "p"), [(20, 60), (50, 49), (120, 10)])
def test_structured_operator_against_dense_algebra(n: int, p: int) -> None:
    data = hntk.reference_mixture(n=n, p=p, key=jax.random.key(5))
    for kernel in hntk.equivalent_kernels(data.x, data.labels, ["relu"] * 2):
        dense = np.asarray(kernel.to_dense())
        y = np.random.default_rng(0).standard_normal((n, 2))
        np.testing.assert_allclose(kernel.matvec(y), dense @ y, atol=1e-10)
        np.testing.assert_allclose(kernel.matvec(y[:, 0]), dense @ y[:, 0], atol=1e-10)
        np.testing.assert_allclose(kernel.eigvalsh(), np.linalg.eigvalsh(dense)[::-1], atol=1e-10)
        values, vectors = kernel.eigh(3)
        np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-9)
        np.testing.assert_allclose(kernel.solve(y, 0.3), np.linalg.solve(dense + 0.3 * np.eye(n), y), atol=1e-8)
        with pytest.raises(ValueError, match="k must lie"):
            kernel.eigh(n + 1)
        with pytest.raises(ValueError, match="shape"):
            kernel.matvec(np.ones(n + 1))


def test_an_undeclared_ntk_diagonal_is_refused() -> None:
    data = hntk.reference_mixture(n=20, p=10, key=jax.random.key(0))
    kernels = hntk.equivalent_kernels(data.x, data.labels, ["sign"])
    assert kernels.ck.to_dense().shape == (20, 20)
    with pytest.raises(ValueError, match="kappa_sq"):
        kernels.ntk.to_dense()


def test_mixtures_have_the_moments_asked_for() -> None:
    p, n = 6, 40_000
    root = np.random.default_rng(0).standard_normal((p, p))
    covariances = [2.0, np.linspace(0.5, 3, p), root @ root.T]
    means = np.arange(3 * p).reshape(3, p) / p
    drawn = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(0), proportions=[1, 2, 1])
    assert np.bincount(drawn.labels).tolist() == [10_000, 20_000, 10_000]
    for a, c in enumerate([2 * np.eye(p), np.diag(np.linspace(0.5, 3, p)), root @ root.T]):
        x = np.sqrt(p) * np.asarray(drawn.x)[drawn.labels == a]
        assert np.all(np.abs(x.mean(axis=0) - means[a]) < 5 * np.sqrt(np.diag(c) / len(x)))
        spread = np.sqrt((np.outer(np.diag(c), np.diag(c)) + c**2) / len(x))
        assert np.all(np.abs(np.cov(x.T) - c) < 5 * spread)
        assert np.isclose(drawn.population.overlaps[a, a], np.trace(c @ c) / p)


def test_overlaps_are_estimated_without_the_plug_ins_bias() -> None:
    p, found, plug_in = 200, [], []
    for seed in range(10):
        drawn = hntk.reference_mixture(n=200, p=p, key=jax.random.key(seed))
        x = np.asarray(drawn.x)
        found.append(hntk.estimate_population(x, drawn.labels).overlaps)
        first = x[drawn.labels == 0] - x[drawn.labels == 0].mean(axis=0)
        plug_in.append(p * np.sum((first.T @ first / 99) ** 2))
    truth = drawn.population.overlaps
    assert np.allclose(np.mean(found, axis=0), truth, rtol=0.05)
    assert np.mean(plug_in) > 2 * truth[0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(means=np.zeros((2, 5)), covariances=[1.0], n=10), "one covariance per class"),
        (dict(means=np.full((2, 5), np.nan), covariances=[1.0, 1.0], n=10), "finite"),
        (dict(means=np.zeros((2, 5)), covariances=[1.0, -1.0], n=10), "positive semidefinite"),
        (dict(means=np.zeros((2, 5)), covariances=[1.0, np.ones(4)], n=10), "diagonal"),
        (dict(means=np.zeros((2, 5)), covariances=[1.0, 1.0], n=1), "empty"),
        (dict(means=np.zeros((2, 5)), covariances=[1.0, 1.0], n=9, proportions=[1, -1]), "proportions"),
    ],
)
def test_bad_mixtures(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.gaussian_mixture(**arguments, key=jax.random.key(0))


GOOD = np.asarray(hntk.reference_mixture(n=20, p=10, key=jax.random.key(0)).x)
LABELS = np.repeat([0, 1], 10)


@pytest.mark.parametrize("bad", [np.ones(5), np.ones((0, 3)), np.where(np.eye(20, 10) > 0, np.nan, GOOD), [["a"]]])
def test_bad_samples_are_refused_everywhere(bad: object) -> None:
    for use in (
        lambda: hntk.exact_kernels(bad, ["relu"]),
        lambda: hntk.equivalent_kernels(bad, LABELS, ["relu"]),
        lambda: hntk.compress(["relu"], [8], bad, key=jax.random.key(0)),
        lambda: hntk.dense(["relu"], [8], bad, key=jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match=r"shape|NaN|numbers"):
            use()


def test_bad_labels_are_refused() -> None:
    net = hntk.dense(["relu"], [8], GOOD, key=jax.random.key(0))
    for labels, message in ((LABELS[:-1], "one per row"), (np.zeros(20), "only one class"), (LABELS * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            hntk.equivalent_kernels(GOOD, labels, ["relu"])
        with pytest.raises(ValueError, match=message):
            hntk.fit_ridge(net, GOOD, labels)


def test_bad_networks_are_refused() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="widths"):
        hntk.dense(["relu"] * 2, [8], GOOD, key=key)
    with pytest.raises(ValueError, match="columns"):
        hntk.dense(["relu"], [8], GOOD, key=key).features(GOOD[:, :4])
    with pytest.raises(ValueError, match="sparsity"):
        hntk.compress(["relu"], [8], GOOD, sparsity=1.0, key=key)
    with pytest.raises(ValueError, match="known are"):
        hntk.dense(["relu"], [8], GOOD, key=key, law="cauchy")
    with pytest.raises(ValueError, match="4 degrees"):
        hntk.weight_law("student_t", degrees=4.0)


@pytest.mark.slow
def test_ridge_is_kernel_regression_on_centred_features() -> None:
    data = hntk.reference_mixture(n=60, p=30, key=jax.random.key(1))
    net = hntk.dense(["relu"], [200], data.x, key=jax.random.key(2))
    labels = np.where(data.labels == 0, "left", "right")
    found = hntk.fit_ridge(net, data.x, labels, ridge=0.05)
    f = np.asarray(net.features(data.x), np.float64)
    f = f - f.mean(axis=0)
    y = np.eye(2)[data.labels]
    kernel = f @ f.T
    dual = kernel @ np.linalg.solve(kernel + 0.05 * np.eye(60), y - y.mean(axis=0)) + y.mean(axis=0)
    np.testing.assert_allclose(found.scores(data.x), dual, atol=1e-4)
    assert set(found.predict(data.x)) == {"left", "right"}
    # below the rounding errors of FᵀF, of rank 59 at most, no Cholesky factor exists: the samples are interpolated
    assert hntk.fit_ridge(net, data.x, labels, ridge=1e-14).accuracy(data.x, labels) == 1.0
    chosen = hntk.fit_ridge(net, data.x, labels)
    assert dict(chosen.validation)[chosen.ridge] == max(score for _, score in chosen.validation)
    for ridge in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="ridge"):
            hntk.fit_ridge(net, data.x, labels, ridge=ridge)


@pytest.mark.slow
def test_accuracy_is_learnt_and_shuffled_labels_are_not() -> None:
    train, test = (hntk.reference_mixture(n=600, p=60, key=jax.random.key(s), separation=4.0) for s in (0, 1))
    shuffled = np.random.default_rng(0).permutation(train.labels)
    for net in (
        hntk.dense(["relu"] * 2, [1024, 512], train.x, key=jax.random.key(2)),
        hntk.compress(["relu"] * 2, [1024, 512], train.x, levels=4, key=jax.random.key(2)),
    ):
        assert hntk.fit_ridge(net, train.x, train.labels).accuracy(test.x, test.labels) > 0.95
        # 600 fair coins: 5 standard deviations
        assert abs(hntk.fit_ridge(net, train.x, shuffled, ridge=1.0).accuracy(test.x, test.labels) - 0.5) < 0.35


def test_comparison_against_dense_algebra() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((90, 90))
    b = a + 0.1 * rng.standard_normal((90, 90))
    a, b = a @ a.T, b @ b.T
    found = hntk.compare_kernels(a, b, spikes=3)
    assert np.isclose(found.operator, np.linalg.norm(a - b, 2) / np.linalg.norm(a, 2), rtol=1e-8)
    assert np.isclose(found.frobenius, np.linalg.norm(a - b) / np.linalg.norm(a))
    assert found.eigenvalue_mismatch <= found.operator
    assert hntk.compare_kernels(a, a).alignment > 1 - 1e-12
    with pytest.raises(ValueError, match="kappa_sq"):
        hntk.compare_kernels(a, np.where(np.eye(90) > 0, np.inf, b))


def test_storage_by_hand() -> None:
    net = hntk.draw_network(
        [hntk.staircase([0.0, 1.0], [0.0, 1.0, 2.0])] * 2, [40, 25], 64, tau0=1.0,
        law=hntk.weight_law("ternary", sparsity=0.5), key=jax.random.key(0),
    )  # fmt: skip
    found = hntk.storage(net, classes=10)
    weights = 64 * 40 + 40 * 25
    assert (found.hidden, found.hidden_base3) == (weights // 4, weights // 5)
    shares = [(w.values.size, float(np.mean(w.values == 0))) for w in net.weights]
    assert found.hidden_entropy == np.ceil(
        sum(n * entropy([z, (1 - z) / 2, (1 - z) / 2], base=2) for n, z in shares) / 8
    )
    law = hntk.weight_law("ternary", sparsity=0.5)
    assert storage_of(net.activations, net.widths, 64, law, 10).hidden_entropy == round(weights * 1.5 / 8)
    assert found.readout == 26 * 10 * 4
    assert found.activations == 2 * (2 + 3 + 1) * 4
    assert found.total == found.hidden + found.readout + found.activations


@pytest.mark.slow
@pytest.mark.parametrize("law", ["ternary", "sparse_gaussian", "pruned_gaussian"])
def test_sparse_networks_have_the_features_of_their_dense_matrices(law: str) -> None:
    data = hntk.reference_mixture(n=300, p=70, key=jax.random.key(0))
    four = hntk.match(["relu"] * 2, 1.0, 4).activations
    for layers in (["relu", "erf"], list(four)):
        net = hntk.draw_network(
            layers, [400, 90], 70, tau0=1.0, law=hntk.weight_law(law, sparsity=0.97), key=jax.random.key(1)
        )
        assert is_sparse(net.weights)
        h, fan_in = np.asarray(data.x, np.float32), 1
        for w, _, sigma, m in net.layers():
            h = np.asarray(sigma(h @ np.asarray(w.dense()).T / np.float32(np.sqrt(fan_in)))) - np.float32(m)
            fan_in = w.shape[0]
        expected = h / np.sqrt(fan_in)
        found = np.asarray(net.features(data.x, batch=130))
        assert found.dtype == np.float32
        # a sum in another order may step over a threshold
        assert np.mean(np.abs(found - expected) > 1e-4 * np.abs(expected).max()) < 1e-3
        np.testing.assert_array_equal(found[-1], np.asarray(net.features(data.x[-1:]))[0])
    assert not is_sparse(hntk.draw_network(["relu"], [40], 70, tau0=1.0, law="ternary", key=jax.random.key(1)).weights)
