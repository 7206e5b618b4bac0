"""Explicit networks of few levels that have the equivalents of deep equilibrium models."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from tests.support.architecture_kernels import centred_error

RELU = hntk.Architecture(["relu"], weight_std=1.2, implicit=True)
OTHER = hntk.Architecture(["relu"], weight_std=0.5, implicit=True)


def distance(original: hntk.Architecture, p: int, *, unit_norms: bool, **options: object) -> float:
    """Return how far a match's exact kernel and RELU's are apart behind an intercept, after the shift."""
    data = hntk.reference_mixture(n=2 * p, p=p, key=jax.random.key(1))
    x, tau0 = np.asarray(data.x), data.population.tau0
    if unit_norms:
        x, tau0 = x / np.linalg.norm(x, axis=1)[:, None], 1.0
    found = hntk.match(original, tau0, 4, **options)  # type: ignore[arg-type]
    deep, flat = (np.asarray(hntk.exact_kernels(x, net, tau0=tau0).ck) for net in (RELU, found.activations))
    shifted = deep + found.identity_shift * np.eye(len(x))
    return centred_error(shifted, flat) / centred_error(deep, 0 * deep)


def rate(original: hntk.Architecture, **options: object) -> tuple[float, float]:
    """Return the exponent of the distance in p, and the distance at the larger p."""
    small, large = (distance(original, p, **options) for p in (50, 150))  # type: ignore[arg-type]
    return float(np.log(large / small) / np.log(3)), large


@pytest.mark.slow
@pytest.mark.nightly
def test_one_layer_has_the_kernel_of_an_implicit_network_where_norms_are_equal() -> None:
    options = {"unit_norms": True, "depth": 1, "alpha2": False}
    exponent, reached = rate(RELU, **options)  # type: ignore[arg-type]
    assert exponent < -0.7
    assert reached < 0.01
    exponent, missed = rate(OTHER, **options)  # type: ignore[arg-type]
    assert exponent > -0.2
    assert missed > 0.2


@pytest.mark.nightly
def test_two_layers_have_it_on_mixtures_whose_norms_differ() -> None:
    exponent, reached = rate(RELU, unit_norms=False, depth=2)
    assert exponent < -0.4
    assert reached < 0.06
    assert rate(RELU, unit_norms=False, depth=1, alpha2=False)[0] > -0.2


def test_coefficients_are_reached_and_what_one_layer_cannot_have_is_told() -> None:
    known = hntk.expansions(RELU, 0.9)
    for options in ({"depth": 2}, {"depth": 1, "alpha2": False}):
        found = hntk.match(RELU, 0.9, 4, **options)  # type: ignore[arg-type]
        reached = hntk.coefficients(found.activations, 0.9)
        assert reached.alpha[-1, 0] == pytest.approx(known.ck[1].a, rel=1e-9)
        assert reached.alpha[-1, 2] == pytest.approx(known.ck[1].d, rel=1e-9)
        assert found.identity_shift == pytest.approx(reached.tau[-1] ** 2 - known.ck[1].q + known.ck[1].c, abs=1e-12)
        assert found.ntk_factor * reached.beta[-1, 0] == pytest.approx(known.ntk[1].a, rel=1e-9)
        assert "implicit=True" in found.report()
    with pytest.raises(hntk.MatchError, match=r"no centred network of 1 layers.*alpha2=False.*depth=2"):
        hntk.match(RELU, 0.9, 4)
    with pytest.raises(ValueError, match="does not settle"):
        hntk.match(hntk.Architecture(["relu"], 1.5, implicit=True), 0.9, 4, depth=2)
