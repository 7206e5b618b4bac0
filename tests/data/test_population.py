"""Population quantities estimated from samples."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk

X = np.random.default_rng(0).normal(size=(30, 4))
X[3, 1] = X[20, 2] = 3.0
LABELS = np.arange(30) % 2


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


def test_classes_of_a_population_are_checked() -> None:
    for index, said in (
        (LABELS.astype(float), "whole numbers"), (LABELS - 1, "whole numbers"), (LABELS[:-1], r"shape \(30,\)"),
        (LABELS * 10**12, "whole numbers"), (LABELS * 2, "at least 3 samples"), (None, "index"),
        (np.where(LABELS, "a", "b"), "whole numbers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            hntk.estimate_population(X, index)  # type: ignore[arg-type]
    for x in (np.where(X > 2.9, np.nan, X), X[0], X * 1e200, X + 0j):
        with pytest.raises(ValueError, match="x "):
            hntk.estimate_population(x, LABELS)


def test_a_population_must_fit_together() -> None:
    good = {"means": np.zeros((2, 3)), "traces": np.ones(2), "overlaps": np.ones((2, 2)), "proportions": np.ones(2) / 2}
    assert hntk.Population(**good).tau0 == 1.0
    for bad in ({"means": np.zeros(3)}, {"traces": np.ones(3)}, {"overlaps": np.ones(2)}, {"proportions": [0.0, 1.0]}):
        with pytest.raises(ValueError, match="a population of K classes needs"):
            hntk.Population(**{**good, **bad})
