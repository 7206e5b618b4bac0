"""Fixed points of implicit networks: their equations, limits that are known, and where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import hntk
from hntk.theory.architecture import Architecture
from hntk.theory.expansion import centres_of, expansions
from tests.support.architecture_kernels import errors
from tests.support.precision import precision

RELU = Architecture(["relu"], 1.0, 0.3, centred=False, implicit=True)


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


@pytest.mark.parametrize(("name", "weight_std"), [("relu", 1.2), ("erf", 0.9), ("cos", 0.8), ("quadratic", 0.2)])
def test_centred_networks_have_the_fixed_point_of_the_theorems(name: str, weight_std: float) -> None:
    """Theorem 1's recursion of α with the data in every layer, from Gaussian moments at the pre-activations' scale."""
    net = Architecture([name], weight_std, implicit=True, input_std=0.8)
    own = expansions(net, 0.9)
    state, weights, data = own.ck[1], weight_std**2, 0.8**2
    m = hntk.activation(name).moments(np.sqrt(weights * state.q + data * 0.81))
    rest = 1 - weights * m.e1**2
    linear = data * m.e1**2 / rest
    norms = data / (1 - weights * m.s2 / 2)
    assert state.q == pytest.approx(m.variance, rel=1e-13)
    assert own.centres == (pytest.approx(m.mean, rel=1e-13),)
    expected = [linear, m.e2**2 * norms**2 / (4 * rest), m.e2**2 * (weights * linear + data) ** 2 / (2 * rest)]
    np.testing.assert_allclose([state.a, state.e, state.d], expected, rtol=1e-12, atol=1e-14)
    assert weights * state.r + data == pytest.approx(norms, rel=1e-12)
    np.testing.assert_allclose([state.c, state.b, state.f], 0, atol=1e-15)


def test_the_fixed_point_of_relu_is_known() -> None:
    """Q/2 is the variance of its output, so that q = (σ_x² τ_0² + σ_b²)/(2 − σ_w²), and Θ_ii follows with K̇_ii = ½."""
    for weight_std in (0.5, 1.0, 1.4):
        net = Architecture(["relu"], weight_std, 0.3, centred=False, implicit=True, input_std=1.5)
        own = expansions(net, 0.7)
        q = (1.5**2 * 0.49 + 0.09) / (2 - weight_std**2)
        assert own.ck[1].q == pytest.approx(q, rel=1e-12)
        assert own.ntk[1].q == pytest.approx(q + q / (1 - weight_std**2 / 2), rel=1e-12)


def test_without_weights_on_the_state_there_is_one_layer() -> None:
    for centred in (True, False):
        deep = expansions(Architecture(["relu"], 1e-9, 0.3, centred, implicit=True, input_std=1.3), 0.9)
        flat = expansions(Architecture(["relu"], 1.3, 0.3, centred), 0.9)
        np.testing.assert_allclose([deep.ck[1], deep.ntk[1]], [flat.ck[1], flat.ntk[1]], rtol=1e-12, atol=1e-15)
        assert deep.centres == pytest.approx(flat.centres, rel=1e-12)


def test_linear_networks_are_known() -> None:
    """(1 − σ_w²) K = σ_x² G + σ_b², and Θ is K and the same over 1 − σ_w²."""
    own = expansions(Architecture(["linear"], 0.9, 0.3, implicit=True, input_std=0.8), 1.1)
    rest = 1 - 0.81
    for state, factor in ((own.ck[1], 1 / rest), (own.ntk[1], 1 / rest + 1 / rest**2)):
        expected = factor * np.array([0.09, 0.64, 0, 0, 0, 0, 0.64 * 1.21 + 0.09])
        np.testing.assert_allclose(state[:7], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("relu", 2**0.5, 2**0.5), ("linear", 1, 1), ("erf", 1, 2), ("cos", 1, 2), ("quadratic", 0, 1)],
)
@pytest.mark.parametrize("centred", [True, False])
def test_the_largest_scale_of_the_weights_is_told(name: str, least: float, most: float, centred: bool) -> None:
    def network(weight_std: float) -> Architecture:
        return Architecture([name], weight_std, 0.2, centred, implicit=True)

    with pytest.raises(ValueError, match=r"does not settle at tau0 = 0\.9: .*Give a smaller weight_std") as error:
        expansions(network(3.0), 0.9)
    told = re.search(r"weight_std below ([\d.]+) alone", str(error.value))
    assert told
    largest = float(told[1])
    assert least * (1 - 1e-5) <= largest <= most * (1 + 1e-5)
    expansions(network(0.999 * largest), 0.9)
    for call in (expansions, centres_of):
        with pytest.raises(ValueError, match="does not settle"):
            call(network(1.001 * largest), 0.9)


def test_other_centres_have_other_fixed_points() -> None:
    net = Architecture(["relu"], 1.1, 0.3, implicit=True)
    own = expansions(net, 0.9)
    assert expansions(net, 0.9, centres=own.centres).ck[1] == pytest.approx(own.ck[1], rel=1e-12, abs=1e-15)
    plain = Architecture(["relu"], 1.1, 0.3, centred=False, implicit=True)
    assert expansions(net, 0.9, centres=[0.0]).ck == expansions(plain, 0.9).ck


def test_errors_of_the_equivalents_fall_and_need_every_term() -> None:
    small, large = np.array(errors(RELU, 50)), np.array(errors(RELU, 150))
    assert np.all(np.log(large / small) / np.log(3) < -0.4)
    kept = np.log(np.array(errors(RELU, 150, "de")) / errors(RELU, 50, "de")) / np.log(3)
    assert np.all(kept > -0.2)


def test_coefficients_and_weights_are_those_of_layers_that_follow_each_other() -> None:
    with pytest.raises(ValueError, match=r"not implicit\. hntk\.expansions"):
        hntk.coefficients(RELU, 1.0)
    with pytest.raises(ValueError, match=r"weights are drawn for no implicit networks.*hntk\.match finds"):
        hntk.dense(RELU, 8, np.eye(3), key=0)  # type: ignore[arg-type]
