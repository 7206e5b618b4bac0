"""Coefficients of a network against finite differences of its exact kernels."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.recursion import kernel_function


@pytest.mark.parametrize("names", [["relu"] * 3, ["erf", "cos"], ["gaussian", "quadratic"]])
def test_coefficients_against_finite_differences_of_kernels(names: list) -> None:
    tau0, h = 0.8, 2e-3
    f = kernel_function(names, tau0)
    x = tau0**2
    net = hntk.coefficients(names, tau0)
    at = {s: [np.asarray(v) for v in f(jnp.asarray(s * h), jnp.asarray(x), jnp.asarray(x))] for s in (-2, -1, 0, 1, 2)}
    for which, c in ((0, net.alpha[-1]), (1, net.beta[-1])):
        y = {s: float(v[which]) for s, v in at.items()}
        first = (8 * (y[1] - y[-1]) - (y[2] - y[-2])) / (12 * h)
        second = (16 * (y[1] + y[-1]) - (y[2] + y[-2]) - 30 * y[0]) / (12 * h**2)
        np.testing.assert_allclose([first, second / 2], [c[0], c[2]], rtol=1e-5, atol=1e-7)

        def mixed(a: int, b: int, which: int = which) -> float:
            return float(f(jnp.asarray(0.0), jnp.asarray(x + a * h), jnp.asarray(x + b * h))[which])

        cross = (mixed(1, 1) - mixed(1, -1) - mixed(-1, 1) + mixed(-1, -1)) / (4 * h**2)
        np.testing.assert_allclose(cross, c[1], rtol=1e-3, atol=1e-6)


def test_architectures_that_are_not_plain_have_expansions_instead() -> None:
    plain = hntk.coefficients(hntk.Architecture(["relu"] * 2), 0.9)
    np.testing.assert_array_equal(plain.alpha, hntk.coefficients(["relu"] * 2, 0.9).alpha)
    for net in (
        hntk.Architecture(["relu"] * 2, centred=False),
        hntk.Architecture(["relu"] * 2, bias_std=0.1),
        hntk.Architecture(["relu"] * 2, residual=1.0),
        hntk.Architecture(["relu"] * 2, normalize="rms"),
    ):
        with pytest.raises(ValueError, match=r"is not plain.*hntk\.expansions\(network, tau0\) gives"):
            hntk.coefficients(net, 0.9)
        assert len(hntk.expansions(net, 0.9).ck) == 3
