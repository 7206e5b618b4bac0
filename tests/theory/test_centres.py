"""Coefficients about other centres: diagonals of the exact kernels, and the recursion written out."""

from __future__ import annotations

import numpy as np
import pytest

import hntk


def test_other_centres_are_those_of_another_scale() -> None:
    """A sample of norm² 1.44 in a network whose activations are centred for norm 1."""
    layers, norm = ["relu", "softplus"], 1.2
    net = hntk.coefficients(layers, norm, centres=hntk.coefficients(layers, 1.0).centres)
    exact = hntk.exact_kernels(norm * np.eye(1, 2), layers, tau0=1.0)
    assert net.tau[-1] ** 2 == pytest.approx(float(exact.ck[0, 0]), rel=1e-11)
    assert net.kappa_sq[-1] == pytest.approx(float(exact.ntk[0, 0]), rel=1e-11)
    slopes = [hntk.activation(name).moments(tau).e1 ** 2 for name, tau in zip(layers, net.tau, strict=False)]
    assert net.alpha[-1, 0] == pytest.approx(slopes[0] * slopes[1], rel=1e-12)
    assert net.beta[-1, 0] == pytest.approx(3 * slopes[0] * slopes[1], rel=1e-12)
    own = hntk.coefficients(layers, norm)
    again = hntk.coefficients(layers, norm, centres=own.centres)
    np.testing.assert_array_equal(again.alpha, own.alpha)
    assert net.tau[-1] != pytest.approx(own.tau[-1], rel=1e-3)


def test_centres_are_as_many_as_layers() -> None:
    with pytest.raises(ValueError, match="2 layers need as many centres, got 1"):
        hntk.coefficients(["relu"] * 2, 1.0, centres=[0.0])
