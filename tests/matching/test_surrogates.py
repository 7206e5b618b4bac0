"""Matches of the NTK of networks that are trained with a straight-through estimator."""

import jax
import numpy as np
import pytest

import hntk

HE = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False)


@pytest.mark.often("he")
@pytest.mark.parametrize("network", [["relu"] * 2, HE], ids=["plain", "he"])
def test_the_ntk_of_straight_through_training_is_matched_and_has_a_known_diagonal(network):
    found = hntk.match(network, 1.0, levels=4, kernel="beta", alpha2=False, surrogate="calibrated")

    assert found.converged
    x = np.eye(3, 5)  # samples of norm 1 have the diagonal κ²
    exact = hntk.exact_kernels(x, found.activations, tau0=1.0, surrogate=found.surrogates)
    np.testing.assert_allclose(np.diag(exact.ntk), found.coefficients.kappa_sq[-1], rtol=1e-10)
    shift = found.coefficients.kappa_sq[-1] * found.ntk_factor - found.original_coefficients.kappa_sq[-1]
    assert found.ntk_shift == pytest.approx(shift)
    assert "trained with surrogates" in found.report()


def test_without_a_surrogate_the_diagonal_is_infinite():
    found = hntk.match(["relu"], 1.0, levels=3, kernel="beta", alpha2=False)

    assert found.surrogates is None
    assert np.isinf(found.ntk_shift)


@pytest.mark.nightly
def test_the_equivalents_of_a_trained_network_are_the_originals_but_for_the_shift():
    def spread(surrogate):
        data = hntk.reference_mixture(n=160, p=160, key=jax.random.key(0))
        # of equal norms, as α_2 is not matched
        x = np.asarray(data.x) / np.linalg.norm(data.x, axis=1, keepdims=True)
        found = hntk.match(["relu"] * 2, 1.0, levels=5, kernel="beta", alpha2=False)
        surrogates = hntk.calibrated_surrogates(found.activations, 1.0) if surrogate is None else surrogate
        theirs = np.asarray(hntk.exact_kernels(x, found.activations, tau0=1.0, surrogate=surrogates).ntk)
        ours = np.asarray(hntk.exact_kernels(x, ["relu"] * 2, tau0=1.0).ntk)
        difference = theirs - ours
        np.fill_diagonal(difference, 0.0)
        return np.linalg.norm(difference, 2) / np.linalg.norm(ours, 2)

    # the negative control trains by another β
    assert 10 * spread(None) < spread("straight_through")


def test_a_shape_with_another_slope_is_refused_where_the_ntk_is_matched():
    with pytest.raises(hntk.MatchError, match=r"another beta3 .*'calibrated'"):
        hntk.match(["relu"] * 2, 1.0, levels=4, kernel="both", alpha2=False, surrogate="clipped")

    assert hntk.match(["relu"] * 2, 1.0, levels=4, surrogate="clipped").surrogates is not None
    with pytest.raises(ValueError, match="surrogate"):
        hntk.match(["relu"], 1.0, levels=4, surrogate=3)
