"""Gaussian mixtures: their moments, draws into memory maps, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows

# first rows drawn with key 3: of a new array, into one of float64 and into one of float32
MIXTURE = [0.9157079202659149, -0.1902443666880492, -0.0003526355728052602, -0.2766686991598366, 0.31414793479766906]
INTO_FLOAT64 = [1.4041932199176819, 0.22812489569885333, 0.06940468857039511, 0.12765468511823613, 0.10104048986616153]
INTO_FLOAT32 = [1.688104271888733, 0.016045495867729187, 1.0915502309799194, 0.3106500208377838, -0.346100389957428]


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


def test_a_mixture_is_the_one_recorded(double: bool) -> None:
    key = jax.random.key(3)
    data = hntk.reference_mixture(n=6, p=5, key=key)
    assert data.x.dtype == (np.float64 if double else np.float32)
    np.testing.assert_allclose(data.x[0], MIXTURE, rtol=1e-12 if double else 1e-6)
    for dtype, expected in ((np.float64, INTO_FLOAT64), (np.float32, INTO_FLOAT32)):
        out = np.zeros((6, 5), dtype)
        hntk.reference_mixture(n=6, p=5, key=key, out=out)
        np.testing.assert_allclose(out[0], expected, rtol=1e-12 if dtype is np.float64 else 1e-6)


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


def test_a_mixture_is_drawn_into_a_memory_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK", 8 * 40 * 1000)
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (40_000, 40))
    drawn = hntk.reference_mixture(40_000, 40, key=jax.random.key(0), out=out)
    assert drawn.x is out
    # no two blocks alike
    assert len(np.unique(out[:, 5])) > 0.99 * 40_000
    found = hntk.estimate_population(out, drawn.labels)
    sigma = np.sqrt(40 * 1.5 / 20_000)
    assert np.all(np.linalg.norm(found.means - drawn.population.means, axis=1) < 1.5 * sigma)
    np.testing.assert_allclose(found.traces, drawn.population.traces, atol=5 * np.sqrt(2 * 1.5**2 / (40 * 20_000)))
    with pytest.raises(ValueError, match="out must be"):
        hntk.reference_mixture(50, 40, key=jax.random.key(0), out=out)
