"""The chain from moments to a compressed network, each link against an independent oracle."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.spectra.comparison import off_diagonal


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
