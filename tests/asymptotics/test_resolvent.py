"""The resolvent of the bulk: closed forms, derivatives, and simulations that come nearer as p grows."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.kernel_parameters import kernel_coefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.spiked_kernel import SpikedKernel
from tests.asymptotics.laws import NET, law_of, mixtures


@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0])
def test_resolvent_of_white_noise(ratio: float) -> None:
    bulk = Bulk(MixtureLaw.of(np.zeros((1, 50)), [1.0]), np.array([ratio]))
    z = np.array([-2.0, -1e-3, 12.0, 1.0, 0.7 + 1e-3j, 0.7 - 1e-3j, 3j])
    delta = -Resolvent.at(bulk, z).self_energy[:, 0, 0] / z
    np.testing.assert_allclose(z * delta**2 + (z + 1 - ratio) * delta + 1, 0, atol=1e-9)
    np.testing.assert_allclose(delta[4], np.conj(delta[5]))
    assert np.all(delta[:2].imag == 0)
    assert np.all(delta[:2].real > 0)
    assert delta[3].imag > 0
    with pytest.raises(ArithmeticError, match="move z off"):
        Resolvent.at(bulk, 0.0)


@pytest.mark.parametrize("name", ["three classes", "no common basis"])
def test_resolvent_comes_nearer_to_simulation(name: str) -> None:
    z, gaps = np.array([-1.0, 0.5 + 0.5j]), []
    for p in (40, 160):
        means, covariances = mixtures(p)[name]
        n = 3 * p
        data = hntk.gaussian_mixture(0 * means, covariances, n, key=jax.random.key(p))
        law, x = MixtureLaw.of(means, covariances), np.asarray(data.x)
        at = Resolvent.at(Bulk(law, n / p * law.proportions), z)
        diagonals = np.array([np.diag(np.linalg.inv(x @ x.T - point * np.eye(n))) for point in z])
        by_class = np.array([diagonals[:, data.labels == a].mean(axis=1) for a in range(law.classes)]).T
        gaps.append(np.max(np.abs(by_class / at.class_means - 1)))
        q = np.linalg.inv(x.T @ x - z[1] * np.eye(p))
        gaps.append(np.linalg.norm(means @ q @ means.T - law.algebra.forms(at.element[1]) / -z[1]))
    assert gaps[2] < 0.6 * gaps[0]
    assert gaps[2] < 0.01
    assert gaps[3] < gaps[1]


def test_slopes_are_derivatives() -> None:
    for name in ("three classes", "no common basis"):
        law = law_of(name, 30)
        kernel = SpikedKernel(law, 60, kernel_coefficients(NET, law.tau0))
        for z in (-0.3, 0.2 + 0.4j):
            at, step = kernel.resolvent(z), 1e-5
            low, high = kernel.resolvent(z - step), kernel.resolvent(z + step)
            self_energy_slope = (high.self_energy - low.self_energy) / (2 * step)
            np.testing.assert_allclose(at.self_energy_slope, self_energy_slope, rtol=1e-6)
            slope = (kernel.overlap(high) - kernel.overlap(low)) / (2 * step)
            np.testing.assert_allclose(kernel.overlap_slope(at), slope, rtol=1e-6, atol=1e-7)
