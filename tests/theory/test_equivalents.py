"""Equivalents against exact kernels: they converge, and wrong ones do not."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

import hntk


def equivalent_error(names: list, n: int, wrong: float = 1.0, identity: str = "default") -> float:
    """Relative operator-norm error of the equivalent CK, mean of two draws; ``wrong`` multiplies α_3 and α_2."""
    errors = []
    for seed in range(2):
        data = hntk.reference_mixture(n=n, p=n // 2, key=jax.random.key(seed))
        tau0 = data.population.tau0
        exact = np.asarray(hntk.exact_kernels(data.x, names, tau0=tau0).ck)
        kernel = hntk.equivalent_kernels(
            data.x, data.labels, names, tau0=tau0, population=data.population, identity=identity, kappa_sq=1.0
        ).ck
        dense = replace(kernel, core=kernel.core * wrong).to_dense()
        errors.append(hntk.operator_norm(exact - dense) / hntk.operator_norm(exact))
    return float(np.mean(errors))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("act", ["relu", "erf", "cos", hntk.staircase([0.2, 1.0, 1.8], [0.0, 0.6, 1.3, 2.5])])
def test_equivalents_converge(act: object) -> None:
    errors = [equivalent_error([act] * 2, n) for n in (200, 400, 800)]
    rate = np.polyfit(np.log([200, 400, 800]), np.log(errors), 1)[0]
    assert rate < -0.35, (rate, errors)


@pytest.mark.slow
def test_a_wrong_second_order_does_not_converge_and_the_authors_identity_has_its_floor() -> None:
    names = ["relu"] * 3
    right = [equivalent_error(names, n) for n in (200, 800)]
    wrong = [equivalent_error(names, n, wrong=2.25) for n in (200, 800)]
    assert right[1] < 0.6 * right[0]
    assert wrong[1] > 0.8 * wrong[0]
    data = hntk.reference_mixture(n=800, p=400, key=jax.random.key(0))
    tau0 = data.population.tau0
    size = hntk.operator_norm(hntk.exact_kernels(data.x, names, tau0=tau0).ck)
    floor = hntk.coefficients(names, tau0).alpha[-1, 2] * tau0**4 / size
    assert np.isclose(equivalent_error(names, 800, identity="paper") - right[1], floor, rtol=0.1)


def test_an_undeclared_ntk_diagonal_is_refused() -> None:
    data = hntk.reference_mixture(n=20, p=10, key=jax.random.key(0))
    kernels = hntk.equivalent_kernels(data.x, data.labels, ["sign"])
    assert kernels.ck.to_dense().shape == (20, 20)
    with pytest.raises(ValueError, match="kappa_sq"):
        kernels.ntk.to_dense()
