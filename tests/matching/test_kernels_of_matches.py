"""Kernels of matched networks against the original's, and ridges that make their predictors agree."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.matching.kernel_mismatch import correlation_map
from hntk.spectra.comparison import off_diagonal

RELU3 = ["relu"] * 3


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


@pytest.mark.slow
@pytest.mark.parametrize("levels", [pytest.param(each, marks=pytest.mark.nightly) for each in (5, 8)])
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


@pytest.mark.nightly
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
