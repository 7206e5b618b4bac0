"""Linear and noisy targets: closed forms of linear regression, identities, and simulations with exact kernels."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics import LimitingKernel, MixtureLaw, estimate_law
from hntk.asymptotics.covariances import GeneralCovariances
from tests.asymptotics.laws import NET, three_class_law

P = 60


@pytest.fixture(autouse=True)
def precise() -> None:
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("n", [30, 90])
@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.0), (0.0, 0.5), (1.3, 0.2)])
def test_a_linear_network_is_ridge_regression_of_isotropic_samples(n: int, signal: float, noise: float) -> None:
    """The limit of Hastie, Montanari, Rosset and Tibshirani (2022), by Marchenko and Pastur's Stieltjes transform."""
    gamma, ridge = P / n, 0.3

    def stieltjes(z: float) -> float:
        return (1 - gamma - z - np.sqrt((1 - gamma - z) ** 2 - 4 * gamma * z)) / (2 * gamma * z)

    at = -gamma * ridge
    m, slope = stieltjes(at), (stieltjes(at + 1e-5) - stieltjes(at - 1e-5)) / 2e-5
    expected = noise + signal**2 * at**2 * slope + noise * gamma * (m + at * slope)
    w = np.random.default_rng(0).normal(size=P)
    w *= signal * np.sqrt(P) / np.linalg.norm(w)
    kernel = LimitingKernel.of(MixtureLaw.of(np.zeros((1, P)), [1.0]), n, ["linear"])
    found = kernel.ridge_regression(ridge, linear=w, noise=noise)
    assert found.test.squared_error == pytest.approx(expected, rel=1e-6)
    assert found.test.means == pytest.approx(0.0)
    # nothing is learnt from a kernel that is small beside the ridge, and nothing is left of training errors without one
    strong, weak = (kernel.ridge_regression(r, linear=w, noise=noise) for r in (1e7, 1e-7))
    assert strong.test.squared_error == pytest.approx(signal**2 + noise, rel=1e-5)
    assert strong.training.squared_error == pytest.approx(signal**2 + noise, rel=1e-5)
    left = max(0.0, 1 - gamma) * noise
    assert weak.training.squared_error == pytest.approx(left, abs=1e-5)


def test_a_direction_without_variance_tells_the_classes_alone() -> None:
    means, along = np.zeros((2, P)), np.full(P, 1.0)
    means[:, 0], along[0] = (2.0, -2.0), 0.0
    law = MixtureLaw.of(means, [along, 1.3 * along], [1, 2])
    w = 3.0 * np.eye(P)[0]
    for rule, strength in (("ridge_regression", 0.1), ("gradient_flow", 2.0)):
        run = getattr(LimitingKernel.of(law, 80, NET), rule)
        linear = run(strength, linear=w, noise=0.2)
        classes = run(strength, targets=means[:, 0] * 3 / np.sqrt(P), noise=0.2)
        for side in ("training", "test"):
            one, other = getattr(linear, side), getattr(classes, side)
            np.testing.assert_allclose(one.means, other.means, rtol=1e-9)
            np.testing.assert_allclose(one.covariances, other.covariances, rtol=1e-9)
            assert one.squared_error == pytest.approx(other.squared_error, rel=1e-9)
        # and a direction in which they do not differ tells nothing of them
        assert np.abs(run(strength, linear=np.eye(P)[1]).test.means).max() < 1e-12


def test_errors_grow_with_the_variance_of_the_noise_and_outputs_are_apart() -> None:
    law = three_class_law(P)
    kernel = LimitingKernel.of(law, 80, NET, kernel="ntk")
    rng = np.random.default_rng(0)
    w, y = rng.normal(size=(P, 2)), rng.normal(size=(3, 2))
    none, one, two = (kernel.ridge_regression(0.1, targets=y, linear=w, noise=[s, 0.3]) for s in (0.0, 1.0, 2.0))
    for side in ("training", "test"):
        errors = [getattr(found, side).squared_error for found in (none, one, two)]
        assert errors[2] - errors[1] == pytest.approx(errors[1] - errors[0], rel=1e-9)
        assert errors[1] > errors[0]
        alone = [kernel.ridge_regression(0.1, targets=y[:, j], linear=w[:, j], noise=s) for j, s in enumerate((1, 0.3))]
        assert errors[1] == pytest.approx(sum(getattr(each, side).squared_error for each in alone), rel=1e-9)
        covariances = [getattr(each, side).covariances[:, 0, 0] for each in alone]
        np.testing.assert_allclose(np.diagonal(getattr(one, side).covariances, axis1=1, axis2=2).T, covariances)
    assert np.isnan(one.test.classification_error)
    # noise at finite size, and the best ridge, which is larger for noisy labels
    small = LimitingKernel.of(MixtureLaw.of(2 * np.eye(2, P), [1.0, 1.1]), 80, NET)
    quiet, noisy = (small.ridge_regression(0.1, finite_size=True, noise=s).test.squared_error for s in (None, 0.5))
    assert noisy > quiet + 1.0
    assert kernel.optimal_ridge(noise=1.0, rounds=0).ridge > kernel.optimal_ridge(rounds=0).ridge


def test_laws_without_the_shortcut_agree_with_it() -> None:
    p, w = 20, np.random.default_rng(0).normal(size=20)
    means, covariances = 2 * np.eye(2, p), [np.linspace(0.5, 1.5, p), np.full(p, 1.2)]
    law = MixtureLaw.of(means, covariances)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(p, p)))
    turned = MixtureLaw.of(means @ rotation.T, [rotation @ np.diag(c) @ rotation.T for c in covariances])
    slow = MixtureLaw.of(means, [np.diag(covariances[0]), np.diag(covariances[1]) + 1e-3 * np.ones((p, p))])
    assert isinstance(slow.algebra, GeneralCovariances)
    errors = [
        LimitingKernel.of(each, 30, NET).ridge_regression(0.1, linear=v, noise=0.1).test.squared_error
        for each, v in ((law, w), (turned, rotation @ w), (slow, w))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=1e-8)
    assert 0 < abs(errors[2] / errors[0] - 1) < 0.02


HE = hntk.Architecture(["relu"], bias_std=0.3, centred=False)


def simulated(p: int, seed: int, net: Any, kernel: str, ridge: float, centre: bool) -> np.ndarray:
    """Training and test error of one training set over those of the theory, averaged over the noise exactly."""
    n, noise, y = 3 * p // 2, 0.3, np.array([0.7, -0.4])
    means, covariances = 2 * np.eye(2, p), [np.linspace(0.6, 1.4, p), np.full(p, 1.1)]
    w = np.random.default_rng(5).normal(size=p)
    w[:2] = np.sqrt(p) * np.array([0.5, -0.3])
    law = MixtureLaw.of(means, covariances)
    theory = LimitingKernel.of(law, n, net, kernel=kernel).ridge_regression(  # type: ignore[arg-type]
        ridge, targets=y, linear=w, noise=noise
    )
    data = hntk.gaussian_mixture(means, covariances, 2 * n, key=jax.random.key(seed))
    order = np.random.default_rng(seed).permutation(2 * n)
    x, truth = np.asarray(data.x)[order], y[data.labels[order]] + np.asarray(data.x)[order] @ w
    k = np.asarray(getattr(hntk.exact_kernels(x, net, tau0=law.tau0), kernel))
    inverse = np.linalg.inv(k[:n, :n] + ridge * np.eye(n))
    smoother, one = inverse, np.ones(n)
    if centre:
        weights = inverse @ one / (one @ inverse @ one)
        smoother = inverse - np.outer(inverse @ one, weights)
    across, left = k[n:, :n] @ smoother, ridge * smoother
    if centre:
        across = across + weights
    errors = (left @ truth[:n], truth[n:] - across @ truth[:n])
    training = np.mean(errors[0] ** 2) + noise * np.sum(left**2) / n
    test = np.mean(errors[1] ** 2) + noise * (1 + np.sum(across**2) / n)
    return np.array([training, test]) / [theory.training.squared_error, theory.test.squared_error]


@pytest.mark.parametrize(("net", "kernel"), [(["relu"], "ck"), (["relu"] * 2, "ntk"), (HE, "ck")])
def test_simulations_with_exact_kernels(net: Any, kernel: str) -> None:
    centre = isinstance(net, hntk.Architecture)
    ratios = np.array([simulated(100, seed, net, kernel, 0.3, centre) for seed in range(8)])
    error = ratios.std(axis=0, ddof=1) / np.sqrt(len(ratios))
    # 2 % of bias at p = 100 beside the noise of 8 draws, which is about 1 % and 3 %
    assert np.all(np.abs(ratios.mean(axis=0) - 1) < 3 * error + 0.02)
    assert np.all(error < 0.06)


def test_what_does_not_fit_is_refused() -> None:
    law = MixtureLaw.of(2 * np.eye(2, P), [1.0, 1.1])
    kernel = LimitingKernel.of(law, 80, NET)
    data = hntk.reference_mixture(n=80, p=P, key=jax.random.key(0))
    measured = LimitingKernel.of(estimate_law(data.x, data.labels), 80, NET)
    w = np.ones(P)
    for run, message in (
        (lambda: kernel.ridge_regression(0.1, linear=w[:-1]), r"linear must be \(60,\) or \(60, m\)"),
        (lambda: kernel.ridge_regression(0.1, targets=np.eye(2), linear=w), "a column for each of 2 targets"),
        (lambda: kernel.ridge_regression(0.1, linear=w, noise=-1.0), "noise must be a variance"),
        (lambda: kernel.ridge_regression(0.1, linear=w, noise=[1.0, 2.0]), "noise must be a variance"),
        (lambda: kernel.ridge_regression(0.1, linear=w * np.nan), "linear must be finite"),
        (lambda: kernel.ridge_regression(0.1, linear=w, finite_size=True), "finite_size=False"),
        (lambda: measured.gradient_flow(1.0, linear=w), r"MixtureLaw.of\(means, covariances\)"),
        (lambda: LimitingKernel.of(law, 80, ["abs"]).ridge_regression(0.1, linear=w), "no linear part"),
    ):
        with pytest.raises(ValueError, match=message):
            run()
