"""The centred network behind an intercept: the recursion of its layers gives the expansions of the original."""

from __future__ import annotations

import numpy as np
import pytest

import hntk
from hntk.activations import Moments
from hntk.theory.architecture import Architecture
from hntk.theory.centred_layers import centred_coefficients
from hntk.theory.expansion import expansions

HE = Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
NETS = {
    "he": HE,
    "erf": Architecture(["erf"] * 3, weight_std=1.5, bias_std=[0.3, 0, 0.2], centred=False),
    "centred": Architecture(["relu", "gelu"], weight_std=[1.5, 0.7], bias_std=0.3),
    "residual": Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.1, centred=False, residual=0.5),
    "jumps": Architecture(["sign", "relu", "sign"], bias_std=0.3, centred=False),
    "even": Architecture(["cos", "relu", "gelu"], centred=False),
}


def rows(layers: tuple[Moments, ...]) -> np.ndarray:
    """Return α₁, α₂, α₃ of every layer by Theorem 1."""
    a1, a2, a3, a4 = 1.0, 0.0, 0.0, 1.0
    found = [(a1, a2, a3)]
    for m in layers:
        a2, a3 = m.e1**2 * a2 + m.e2**2 * a4**2 / 4, m.e1**2 * a3 + m.e2**2 * a1**2 / 2
        a1, a4 = m.e1**2 * a1, m.s2 * a4 / 2
        found.append((a1, a2, a3))
    return np.array(found)


@pytest.mark.parametrize("name", NETS)
def test_the_recursion_of_its_layers_gives_the_expansions(name: str) -> None:
    net, own = NETS[name], centred_coefficients(NETS[name], 0.8)
    both = expansions(net, 0.8)
    for table, kernels, square in ((own.alpha, both.ck, own.tau**2), (own.beta, both.ntk, own.kappa_sq)):
        wanted = np.array([kernel.centred for kernel in kernels])
        np.testing.assert_allclose(np.column_stack([table[:, :3], square]), wanted, rtol=1e-12)
    np.testing.assert_allclose(rows(own.moments), own.alpha[:, :3], rtol=1e-9, atol=1e-14)
    for depth, m in enumerate(own.moments):
        assert (m.tau, m.variance) == pytest.approx((own.tau[depth], own.tau[depth + 1] ** 2))
        if np.isfinite(own.kappa_sq[depth + 1]):
            assert own.kappa_sq[depth + 1] == pytest.approx(m.variance + own.kappa_sq[depth] * m.d)
    assert own.centres == both.centres


def test_a_plain_network_is_itself() -> None:
    layers = ["relu", "erf", "cos"]
    expected = hntk.coefficients(layers, 0.9)
    assert repr(centred_coefficients(layers, 0.9)) == repr(expected)
    # biases too small to count: the same numbers by the other road, but for signs that no kernel has
    other = centred_coefficients(Architecture(layers, bias_std=1e-160), 0.9)
    np.testing.assert_allclose(np.abs(other.alpha), np.abs(expected.alpha), rtol=1e-9)
    for own, known in zip(other.moments, expected.moments, strict=True):
        np.testing.assert_allclose(own.unit_targets, np.abs(known.unit_targets), rtol=1e-6)
        assert own.d == pytest.approx(known.d)


@pytest.mark.parametrize("normalize", ["rms", "layer"])
def test_a_normalised_input_has_no_norms(normalize: str) -> None:
    net = Architecture(["relu"] * 2, bias_std=0.3, centred=False, normalize=normalize)  # type: ignore[arg-type]
    own = centred_coefficients(net, 1.0)
    np.testing.assert_array_equal(own.alpha[:, 1], 0)
    np.testing.assert_allclose(rows(own.moments)[:, [0, 2]], own.alpha[:, [0, 2]], rtol=1e-12)
