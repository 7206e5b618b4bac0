"""Errors of learning: identities between them, and simulation given the training set."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.covariances import GeneralCovariances
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.learning import Learned, ScoreLaw
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import gradient_flow, optimal_ridge, ridge_regression
from hntk.asymptotics.spiked_kernel import SpikedKernel
from tests.asymptotics.laws import NET, SHARES, three_class_law, three_classes


@pytest.mark.parametrize("ridge", [0.01, 1.0])
@pytest.mark.parametrize("n", [40, 300])
def test_training_error_two_ways(n: int, ridge: float) -> None:
    """From each sample's residual, and from λ²‖β‖² by the derivative of the resolvent."""
    law = three_class_law(100)
    kernel = SpikedKernel(law, n, kernel_coefficients(NET, law.tau0))
    at = kernel.resolvent(-ridge - kernel.coefficients.shift)
    targets = np.zeros((len(kernel.core), 3))
    targets[:3] = np.eye(3) - law.proportions
    sources = np.linalg.solve(np.eye(len(kernel.core)) + kernel.core @ kernel.overlap(at), targets)
    expected = ridge**2 * np.trace(sources.T @ kernel.overlap_slope(at) @ sources) * 100 / n
    assert ridge_regression(law, n, NET, ridge, kernel="ck").training.squared_error == pytest.approx(expected)


def same(a: ScoreLaw, b: ScoreLaw, rtol: float) -> None:
    scale = np.max(np.abs(b.means))
    np.testing.assert_allclose(a.means, b.means, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(a.covariances, b.covariances, rtol=rtol, atol=rtol * scale**2)
    assert a.squared_error == pytest.approx(b.squared_error, rel=rtol, abs=rtol)
    assert a.classification_error == pytest.approx(b.classification_error, rel=10 * rtol, abs=10 * rtol)


def test_flow_ends_where_ridgeless_regression_is() -> None:
    law = three_class_law(100)
    same(gradient_flow(law, 80, NET, 1e7).test, ridge_regression(law, 80, NET, 0.0).test, 1e-8)
    assert gradient_flow(law, 80, NET, 1e7).training.squared_error < 1e-12


def test_flow_begins_like_ridge_regression_of_a_large_ridge() -> None:
    law = three_class_law(100)
    early, strong = gradient_flow(law, 80, NET, 1e-6), ridge_regression(law, 80, NET, 1e6)
    same(early.test, strong.test, 1e-4)
    same(early.training, strong.training, 1e-4)


def test_a_shift_is_a_ridge() -> None:
    law = three_class_law(60)
    net = kernel_coefficients(NET, law.tau0, kernel="ntk")
    compressed = KernelCoefficients(net.gram, net.norms, net.quadratic, net.shift + 0.1)
    same(ridge_regression(law, 90, compressed, 0.2).test, ridge_regression(law, 90, net, 0.3).test, 1e-12)
    again = ridge_regression(law, 90, hntk.coefficients(NET, law.tau0), 0.3)
    same(again.test, ridge_regression(law, 90, NET, 0.3).test, 1e-12)
    with pytest.raises(ValueError, match="ridge must exceed"):
        ridge_regression(law, 90, NET, -net.shift)


def test_one_score_of_two_classes_is_enough() -> None:
    law = MixtureLaw.of(2 * np.eye(2, 80), [1.0, 1.2])
    one = ridge_regression(law, 100, NET, 0.1, targets=[-1.0, 1.0])
    two = ridge_regression(law, 100, NET, 0.1)
    assert one.test.means.shape == (2, 1)
    for a, b in ((one.test, two.test), (one.training, two.training)):
        assert a.classification_error == pytest.approx(b.classification_error, abs=1e-9)
        assert a.squared_error == pytest.approx(2 * b.squared_error)
    assert np.isnan(ridge_regression(law, 100, NET, 0.1, targets=np.ones((2, 3))).test.classification_error)
    with pytest.raises(ValueError, match="one row per class"):
        ridge_regression(law, 100, NET, 0.1, targets=[1.0, 2.0, 3.0])


def test_classification_error_is_that_of_the_scores() -> None:
    learned, rng = ridge_regression(three_class_law(100), 80, NET, 0.5), np.random.default_rng(0)
    for scores in (learned.test, learned.training):
        wrong = 0.0
        for b, share in enumerate(SHARES):
            drawn = rng.multivariate_normal(scores.means[b], scores.covariances[b], 200_000, method="eigh")
            wrong += share * np.mean(np.argmax(drawn + SHARES, axis=1) != b)
        assert scores.classification_error == pytest.approx(wrong, abs=0.003)


def test_optimal_ridge_is_better_than_others() -> None:
    law = three_class_law(100)
    for criterion in ("squared", "classification"):
        best = optimal_ridge(law, 60, NET, criterion=criterion)
        errors = [getattr(ridge_regression(law, 60, NET, r).test, f"{criterion}_error") for r in np.logspace(-3, 2, 40)]
        assert getattr(best.test, f"{criterion}_error") <= min(errors) + 1e-7
    with pytest.raises(ValueError, match="criterion"):
        optimal_ridge(law, 60, NET, criterion="accuracy")  # type: ignore[arg-type]


def test_laws_without_the_shortcut_agree_with_it() -> None:
    means, covariances = three_classes(30)
    law = three_class_law(30)
    slow = MixtureLaw(30, law.proportions, GeneralCovariances(np.stack([np.diag(c) for c in covariances]), means))
    same(gradient_flow(slow, 40, NET, 2.0).test, gradient_flow(law, 40, NET, 2.0).test, 1e-9)
    same(ridge_regression(slow, 40, NET, 0.1).training, ridge_regression(law, 40, NET, 0.1).training, 1e-9)


def simulated(p: int, n: int, seed: int, rule: str, strength: float) -> np.ndarray:
    """Errors of one training set: squared ones given it exactly, by the law of a new sample."""
    means, covariances = three_classes(p)
    data = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(seed), proportions=SHARES)
    law = three_class_law(p)
    kernel = hntk.equivalent_kernels(data.x, data.labels, NET, tau0=law.tau0, population=data.population).ck
    values, vectors = np.linalg.eigh(kernel.to_dense())
    shrunk = 1 / (values + strength) if rule == "ridge" else -np.expm1(-strength * values) / values
    y = np.eye(3) - law.proportions
    dual = vectors @ (shrunk[:, None] * (vectors.T @ y[data.labels]))
    residuals = y[data.labels] - kernel.matvec(dual)
    linear, inner = kernel.weight * kernel.x.T @ dual, kernel.core @ kernel.factor.T @ dual
    f = means @ linear / p**0.5 + inner[:3] / p**0.5
    spread = [np.sum(c[:, None] * linear**2) / p for c in covariances] + law.v / p * np.sum(inner[3] ** 2)
    return np.array([np.mean(np.sum(residuals**2, axis=1)), law.proportions @ (np.sum((y - f) ** 2, axis=1) + spread)])


@pytest.mark.often("0.5-ridge-1.0", "2.0-ridge-0.02", "2.0-flow-5.0")
@pytest.mark.slow
@pytest.mark.parametrize(("rule", "strength"), [("ridge", 0.02), ("ridge", 1.0), ("flow", 5.0)])
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_errors_are_those_of_simulations(ratio: float, rule: str, strength: float) -> None:
    p, seeds = 100, 30
    n = round(ratio * p)
    limit = ridge_regression if rule == "ridge" else gradient_flow

    def errors(learned: Learned) -> np.ndarray:
        return np.array([learned.training.squared_error, learned.test.squared_error])

    drawn = np.array([simulated(p, n, seed, rule, strength) for seed in range(seeds)])
    noise = drawn.std(axis=0, ddof=1) / np.sqrt(seeds)
    gap = np.abs(drawn.mean(axis=0) - errors(limit(three_class_law(p), n, NET, strength, kernel="ck")))
    assert np.all(gap < 3.5 * noise + 0.002 * drawn.mean(axis=0))
    wrong = MixtureLaw.of(1.5 * three_classes(p)[0], three_classes(p)[1], SHARES)
    assert np.any(np.abs(drawn.mean(axis=0) - errors(limit(wrong, n, NET, strength, kernel="ck"))) > 8 * noise)


@pytest.mark.often("ntk")
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_exact_kernels_learn_alike(kernel: str) -> None:
    p, n, new, ridge, seeds = 200, 200, 1000, 0.1, 4
    law, y, errors = three_class_law(p), np.eye(3) - np.array(SHARES), []
    for seed in range(seeds):
        keys = jax.random.split(jax.random.key(seed), 2)
        train, test = (
            hntk.gaussian_mixture(*three_classes(p), size, key=k, proportions=SHARES)
            for size, k in zip((n, new), keys, strict=True)
        )
        whole = getattr(hntk.exact_kernels(train.x, NET, tau0=law.tau0), kernel)
        across = getattr(hntk.exact_kernels(test.x, NET, x2=train.x, tau0=law.tau0), kernel)
        scores = across @ np.linalg.solve(whole + ridge * np.eye(n), y[train.labels])
        wrong = np.mean(np.argmax(scores + np.array(SHARES), axis=1) != test.labels)
        errors.append([np.mean(np.sum((y[test.labels] - scores) ** 2, axis=1)), wrong])
    limit = ridge_regression(law, n, NET, ridge, kernel=kernel).test  # type: ignore[arg-type]
    gap = np.abs(np.mean(errors, axis=0) - [limit.squared_error, limit.classification_error])
    assert np.all(gap < 3 * np.std(errors, axis=0, ddof=1) / np.sqrt(seeds) + [0.005, 0.005])
