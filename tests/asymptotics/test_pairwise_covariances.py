"""Covariances with slopes by pairs of classes: against the matrices of pr dimensions that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.asymptotics.covariances import CommutingCovariances, GeneralCovariances, covariance_algebra
from hntk.asymptotics.pairwise_covariances import PairwiseCovariances

P, CLASSES, RANK = 7, 3, 2


@pytest.fixture(scope="module")
def algebras() -> tuple[PairwiseCovariances, GeneralCovariances]:
    rng = np.random.default_rng(0)
    means, diagonals = rng.normal(size=(CLASSES, P)), rng.uniform(0.5, 2, (CLASSES, P))
    factors = 1 + 0.3 * rng.normal(size=(CLASSES, RANK))
    base = covariance_algebra(means, list(diagonals))
    assert isinstance(base, CommutingCovariances)
    matrices = [np.kron(np.diag(c), np.outer(q, q)) for c, q in zip(diagonals, factors, strict=True)]
    large = [np.kron(m, q) for m, q in zip(means, factors, strict=True)]
    return PairwiseCovariances(base, factors), GeneralCovariances(np.stack(matrices), np.stack(large))


def test_it_is_the_algebra_of_larger_matrices(algebras: tuple[PairwiseCovariances, GeneralCovariances]) -> None:
    scales, z = np.array([[0.3, 0.2, 0.5], [1.0, 0.4, 0.1]]), np.array([-1.0, -0.5])
    seen = []
    for algebra in algebras:
        one = algebra.inverse(scales, z)
        changed = algebra.sandwich(one, algebra.combination(scales), one)
        # tr/(pr) of the larger matrices is tr/p here
        factor = 1 if algebra is algebras[0] else RANK
        traces = algebra.traces(one), algebra.pair_traces(one, changed), algebra.all_pair_traces(one)
        forms = algebra.forms(changed), algebra.covariance_forms(one), algebra.all_pair_forms(one)
        units = algebra.forms(algebra.identity), algebra.covariance_forms(algebra.identity)
        seen.append([*(factor * part for part in traces), *forms, *units, np.array(algebra.norm)])
    for first, second in zip(*seen, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)


def test_scales_and_spectra(algebras: tuple[PairwiseCovariances, GeneralCovariances]) -> None:
    pairwise, general = algebras
    np.testing.assert_allclose(pairwise.scaled(2.5).forms(pairwise.identity), 2.5 * pairwise.forms(pairwise.identity))
    values, shares = pairwise.spectra
    for a in range(CLASSES):
        # all other eigenvalues of the larger matrices are 0
        expected = np.sort(np.linalg.eigvalsh(general.covariances[a]))[-P:]
        np.testing.assert_allclose(np.sort(np.repeat(values[a], np.round(P * shares).astype(int))), expected)
    assert pairwise.rank_share == pytest.approx(1)
