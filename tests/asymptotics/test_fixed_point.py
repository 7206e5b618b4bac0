"""The fixed point of the self-energies: solved wherever it is asked, and refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.asymptotics import fixed_point
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import GeneralCovariances
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Resolvent
from tests.asymptotics.laws import law_of, mixtures


def bulk_of(name: str, ratio: float, p: int = 30) -> Bulk:
    law = law_of(name, p)
    return Bulk(law, ratio * law.proportions)


@pytest.mark.parametrize("name", ["three classes", "two bulks", "no common basis"])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 20.0])
def test_solutions_satisfy_the_equation_and_are_the_right_ones(name: str, ratio: float) -> None:
    bulk = bulk_of(name, ratio)
    z = bulk.gram_bound * np.array([-3.0, -1e-4, 0.2, 0.2 + 1e-6j, 0.7 + 0.1j, 1j, 1.2, 50.0])
    at = Resolvent.at(bulk, z)
    np.testing.assert_allclose(bulk.self_energy_map(at.self_energy, z), at.self_energy, rtol=1e-9)
    assert np.all(np.imag(at.self_energy) <= 0)
    # Stieltjes transforms: positive imaginary parts above the axis, and −1/z far out
    assert np.all(np.imag(at.stieltjes)[np.imag(z) > 0] > 0)
    assert at.stieltjes[-1] == pytest.approx(-1 / z[-1], rel=0.1)


@pytest.mark.parametrize("name", ["three classes", "no common basis"])
def test_the_jacobian_is_the_derivative_of_the_map(name: str) -> None:
    bulk, z, rng = bulk_of(name, 2.0), 0.4 + 0.3j, np.random.default_rng(0)
    u = Resolvent.at(bulk, z).self_energy * np.exp(0.1 * rng.standard_normal(bulk.shape))
    image, jacobian = bulk.map_and_jacobian(u, z)
    np.testing.assert_allclose(image, bulk.self_energy_map(u, z))
    for k, direction in enumerate(np.eye(bulk.unknowns)):
        step = 1e-6 * direction.reshape(bulk.shape)
        slope = (bulk.self_energy_map(u + step, z) - bulk.self_energy_map(u - step, z)) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], slope.ravel(), rtol=1e-7, atol=1e-9)


def test_batches_and_bad_starts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk, z = bulk_of("three classes", 2.0), np.linspace(0.05, 9.0, 40) + 1e-7j
    expected = fixed_point.solve_self_energies(bulk, z)
    # one point a batch: each starts from its neighbour's solution
    monkeypatch.setattr(fixed_point, "BATCH", 1)
    np.testing.assert_allclose(fixed_point.solve_self_energies(bulk, z), expected, rtol=1e-8)
    # a start in the wrong half plane is no solution's, or another one's
    wrong = np.full((len(z), bulk.unknowns), 3 + 5j)
    np.testing.assert_allclose(fixed_point._solve_batch(bulk, z, wrong), expected, rtol=1e-8)
    above = fixed_point._solve_above(bulk, z + 1j, np.full((len(z), bulk.unknowns), -80.0 + 40j))
    np.testing.assert_allclose(above, fixed_point.solve_self_energies(bulk, z + 1j), rtol=1e-8)


def test_no_points_and_no_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = bulk_of("three classes", 2.0)
    assert Resolvent.at(bulk, np.zeros(0)).stieltjes.shape == (0,)
    monkeypatch.setattr(fixed_point, "NEWTON_STEPS", 1)
    with pytest.raises(ArithmeticError, match=r"not found at z = 0.3.*move z off it"):
        Resolvent.at(bulk, 0.3)


def test_commuting_covariances_and_matrices_agree() -> None:
    means, covariances = mixtures(12)["three classes"]
    law = MixtureLaw.of(means, covariances)
    general = GeneralCovariances(np.stack([np.diag(c) for c in covariances]), means)
    matrices = MixtureLaw(12, law.proportions, general)
    z = np.array([-1.0, 0.5, 0.5 + 0.2j])
    first, second = (Resolvent.at(Bulk(one, 2 * one.proportions), z) for one in (law, matrices))
    np.testing.assert_allclose(first.self_energy, second.self_energy, rtol=1e-9)
    np.testing.assert_allclose(first.self_energy_slope, second.self_energy_slope, rtol=1e-8)
    algebra = law.algebra
    for one, other in (
        (algebra.forms(first.element), general.forms(second.element)),
        (algebra.covariance_forms(first.element), general.covariance_forms(second.element)),
        (algebra.all_pair_traces(first.element), general.all_pair_traces(second.element)),
        (algebra.all_pair_forms(first.element), general.all_pair_forms(second.element)),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    assert law.scaled(2.0).algebra.norm == pytest.approx(general.scaled(2.0).norm)
    assert algebra.rank_share == general.rank_share == 1
    np.testing.assert_allclose(np.sum(algebra.spectra[0] * algebra.spectra[1], axis=1),
                               np.sum(general.spectra[0] * general.spectra[1], axis=1))  # fmt: skip
