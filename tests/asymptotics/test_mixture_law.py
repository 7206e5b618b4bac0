"""Laws of mixtures: against populations, and covariances in their cheapest form."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.covariances import CommutingCovariances, GeneralCovariances
from hntk.asymptotics.mixture_law import MixtureLaw
from tests.asymptotics.laws import law_of, mixtures


@pytest.mark.parametrize("name", ["scaled", "three classes", "no common basis"])
def test_law_is_that_of_the_mixture(name: str) -> None:
    means, covariances = mixtures(30)[name]
    population = hntk.gaussian_mixture(means, covariances, n=60, key=jax.random.key(0)).population
    law = MixtureLaw.of(means, covariances)
    np.testing.assert_allclose(law.traces, population.traces)
    np.testing.assert_allclose(law.overlaps, population.overlaps)
    np.testing.assert_allclose(law.t, population.t, atol=1e-12)
    np.testing.assert_allclose(law.gram, means @ means.T, atol=1e-12)
    np.testing.assert_allclose(law.tau0, population.tau0)


def test_covariances_cost_what_they_must() -> None:
    assert MixtureLaw.of(np.eye(2, 500), [1.0, 2.0]).algebra.identity.shape == (1,)
    assert law_of("three classes", 50).algebra.identity.shape == (50,)
    means, covariances = mixtures(40)["no common basis"]
    assert isinstance(MixtureLaw.of(means, covariances).algebra, GeneralCovariances)
    turned = covariances[1]
    same_basis = MixtureLaw.of(means, [turned, turned @ turned])
    assert isinstance(same_basis.algebra, CommutingCovariances)
    np.testing.assert_allclose(same_basis.overlaps[0, 1], np.trace(turned @ turned @ turned) / 40)
    np.testing.assert_allclose(same_basis.gram, means @ means.T, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), [1.0]), "one row per class"),
        ((np.ones((2, 3)), [1.0]), "one covariance per class"),
        ((np.ones((1, 3)), [np.ones(4)]), r"\(p,\) diagonal"),
        ((np.ones((1, 3)), [-1.0]), "positive semidefinite"),
        ((np.ones((2, 3)), [1.0, 1.0], [1.0, 0.0]), "positive finite"),
    ],
)
def test_law_says_what_is_wrong(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureLaw.of(*arguments)


def test_spectral_law_is_the_law_of_its_spectra() -> None:
    law = law_of("three classes", 40)
    assert isinstance(law.algebra, CommutingCovariances)
    again = MixtureLaw.spectral(law.algebra.covariances, law.algebra.weights, law.algebra.measures, 40)
    np.testing.assert_allclose(again.overlaps, law.overlaps)
    np.testing.assert_allclose(again.t, law.t)
    measured = MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 2, 1)), 40, overlaps=np.full((2, 2), 1.5))
    np.testing.assert_allclose(measured.scaled(2.0).v, 12.0)
    with pytest.raises(ValueError, match="one grid"):
        MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 1)), 40)
    with pytest.raises(ValueError, match="not negative"):
        MixtureLaw.spectral([-1.0], [1.0], np.zeros((1, 1, 1)), 40)
    with pytest.raises(ValueError, match=r"eigenvalues must be \(1,\) or \(2, 1\)"):
        MixtureLaw.spectral([1.0, 2.0], [1.0], np.zeros((2, 2, 1)), 40)
    with pytest.raises(ValueError, match=r"overlaps must be \(2, 2\)"):
        MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 2, 1)), 40, overlaps=np.ones(2))
    with pytest.raises(ValueError, match="norms must be 2 variances"):
        MixtureLaw.spectral([1.0], [1.0], np.zeros((2, 2, 1)), 40, norms=[1.0, -1.0])
