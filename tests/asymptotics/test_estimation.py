"""Laws estimated from samples: they come nearer to the truth, without the bias of sample moments."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import ridge_regression, spikes
from tests.asymptotics.laws import NET, SHARES, three_class_law, three_classes


@pytest.mark.slow
def test_estimated_law_comes_nearer() -> None:
    gaps = []
    for p in (100, 400):
        n, law = 2 * p, three_class_law(p)
        ratios = []
        for seed in range(4):
            data = hntk.gaussian_mixture(*three_classes(p), n, key=jax.random.key(seed), proportions=SHARES)
            estimate = estimate_law(data.x, data.labels)
            ratios.append(
                [
                    ridge_regression(estimate, n, NET, r).test.squared_error
                    / ridge_regression(law, n, NET, r).test.squared_error
                    for r in (0.01, 0.3, 3.0)
                ]
                + [spikes(estimate, n, NET)[0].value / spikes(law, n, NET)[0].value]
            )
        gaps.append(np.sqrt(np.mean((np.array(ratios) - 1) ** 2)))
    assert gaps[1] < 0.7 * gaps[0]
    assert gaps[1] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_estimated_spectrum_is_not_the_sample_spectrum(ratio: float) -> None:
    p = 300
    two = np.repeat([0.2, 1.8], p // 2)
    data = hntk.gaussian_mixture(2 * np.eye(2, p), [two, two], round(ratio * p), key=jax.random.key(0))
    law = estimate_law(data.x, data.labels)
    exact = MixtureLaw.of(2 * np.eye(2, p), [two, two])
    values, weights = law.algebra.covariances.mean(axis=0), law.algebra.weights  # type: ignore[union-attr]
    for power in (1, 2, 3):
        assert weights @ values**power == pytest.approx(np.mean(two**power), rel=0.1)
    centred = np.asarray(data.x) - np.array([data.x[data.labels == a].mean(axis=0) for a in (0, 1)])[data.labels]
    plug_in = np.linalg.eigvalsh(centred.T @ centred * p / len(centred))
    assert np.mean(plug_in**2) > 1.15 * np.mean(two**2)
    learned = [ridge_regression(one, 600, NET, 0.1).test.squared_error for one in (law, exact)]
    assert learned[0] == pytest.approx(learned[1], rel=0.1)


def test_estimated_means_are_unbiased() -> None:
    p, grams = 60, []
    for seed in range(60):
        data = hntk.gaussian_mixture(2 * np.eye(2, p), [1.0, 1.0], 60, key=jax.random.key(seed))
        grams.append(estimate_law(data.x, data.labels).gram)
    noise = np.std(grams, axis=0) / np.sqrt(len(grams))
    assert np.all(np.abs(np.mean(grams, axis=0) - 4 * np.eye(2)) < 3.5 * noise)
    with pytest.raises(ValueError, match="do not vary"):
        estimate_law(np.repeat(np.eye(2), 5, axis=0), np.repeat([0, 1], 5))
