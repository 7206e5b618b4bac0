"""Expansions of the kernels of any network, against the theorems, the exact kernels and networks of finite width."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.theory.architecture import Architecture
from hntk.theory.expansion import Expansion, centres_of, expansions
from tests.support.architecture_kernels import errors, exact_kernels
from tests.support.precision import precision

NAMES = [name for name in hntk.activation_names() if name not in ("polynomial", "staircase")]
STEPS = hntk.staircase([-0.3, 0.9], [-1.0, 0.0, 1.5])
HE = Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
NETS = {
    "he": HE,
    "no biases": Architecture(["relu"] * 3, centred=False),
    "large biases": Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=1.0, centred=False),
    "centred with biases": Architecture(["relu", "gaussian"], weight_std=[1.5, 0.7], bias_std=0.3),
    "erf": Architecture(["erf"] * 3, weight_std=1.5, bias_std=[0.3, 0, 0.2], centred=False),
    "steps": Architecture(["erf", STEPS], weight_std=2**0.5, bias_std=0.3, centred=False),
    "residual": Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False, residual=[0.5, 0.7, 0.7]),
    "residual, centred": Architecture(["relu"] * 3, residual=[0, 1, 1]),
    "rms": Architecture(["relu", "erf", "relu"], bias_std=0.3, centred=False, normalize="rms"),
    "layer": Architecture(["relu"] * 3, weight_std=2**0.5, centred=False, normalize="layer"),
    "implicit": Architecture(["relu"], 1.2, 0.3, centred=False, implicit=True, input_std=0.8),
    "implicit, centred": Architecture(["gaussian"], 0.9, 0.3, implicit=True),
    "implicit, erf": Architecture(["erf"], 1.1, 0.3, centred=False, implicit=True),
    "layer, residual": Architecture(["relu"] * 3, centred=False, residual=[0, 0.7, 0.7], normalize="layer"),
}


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


@pytest.mark.parametrize("name", [*NAMES, "steps"])
def test_a_plain_network_has_the_coefficients_of_the_theorems(name: str) -> None:
    act = STEPS if name == "steps" else hntk.activation(name)
    expected, own = hntk.coefficients([act] * 3, 0.8), expansions([act] * 3, 0.8)
    ck = np.column_stack([expected.alpha[:, :3], expected.tau**2])
    ntk = np.column_stack([expected.beta, expected.kappa_sq])
    np.testing.assert_allclose([state.centred for state in own.ck], ck, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose([state.centred for state in own.ntk], ntk, rtol=1e-12, atol=1e-14)
    assert own.centres == expected.centres
    np.testing.assert_allclose([state.c for state in own.ck], 0, atol=1e-14)


def taylor(at: np.ndarray, h: float) -> tuple[float, float, float]:
    """Return value, slope and half the second derivative from values at −2h, −h, 0, h and 2h."""
    if not np.all(np.isfinite(at)):
        return float(at[2]), np.nan, np.nan
    first = (8 * (at[3] - at[1]) - (at[4] - at[0])) / (12 * h)
    return float(at[2]), float(first), float((16 * (at[3] + at[1]) - (at[4] + at[0]) - 30 * at[2]) / (24 * h**2))


def differences(net: Architecture, tau0: float, h: float = 4e-3) -> list[Expansion]:
    """Return both expansions by differences: an entry of a kernel depends on that of K_0 and on the two norms alone."""
    steps = h * np.arange(-2, 3)
    # every norm twice, so that there are pairs of equal ones
    norms = np.diag(np.tile(tau0**2 + steps, 2))
    kernels = [exact_kernels(net, norms + g * (1 - np.eye(10)), tau0) for g in steps]
    made = []
    for which in (0, 1):
        at = np.array([kernel[which] for kernel in kernels])
        c, a, d = taylor(at[:, 2, 7], h)
        _, b, f = taylor(at[2, :5, 7], h)
        e = taylor(np.array([taylor(row, h)[1] for row in at[2, :5, 5:]]), h)[1]
        made.append(Expansion(c, a, b, d, e, f, *taylor(np.diag(at[2])[:5], h)))
    return made


@pytest.mark.often("he", "steps", "residual, centred", "rms")
@pytest.mark.often(
    "he", "erf", "steps", "rms", "residual, centred", "centred with biases", "layer, residual", "implicit, centred"
)
@pytest.mark.parametrize("name", NETS)
def test_all_nine_numbers_against_differences_of_the_exact_kernels(name: str) -> None:
    own, (ck, ntk) = expansions(NETS[name], 0.9), differences(NETS[name], 0.9)
    np.testing.assert_allclose(own.ck[-1], ck, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(own.ntk[-1][:6], ntk[:6], rtol=1e-6, atol=1e-8)
    assert own.ntk[-1].q == pytest.approx(ntk.q, rel=1e-12)


def test_the_error_of_the_equivalents_falls_and_needs_every_term() -> None:
    small, large = np.array(errors(HE, 100)), np.array(errors(HE, 400))
    assert np.all(np.log(large / small) / np.log(4) < -0.4)
    for without in "de":
        assert errors(HE, 400, without)[0] > 1.5 * large[0]
    kept = np.log(np.array(errors(HE, 400, "e")) / errors(HE, 100, "e")) / np.log(4)
    assert np.all(kept > -0.2)
    assert errors(NETS["layer"], 400, "d")[1] > 1.3 * errors(NETS["layer"], 400)[1]


@pytest.mark.often("layer, residual")
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["steps", *(pytest.param(n, marks=pytest.mark.nightly) for n in ("residual", "rms")), "layer, residual"]
)
def test_errors_of_other_networks_fall(name: str) -> None:
    sizes = [75, 150, 300]
    measured = np.log([errors(NETS[name], p) for p in sizes])
    slopes = np.polyfit(np.log(sizes), measured, 1)[0]
    assert np.all(slopes < -0.4), slopes


def drawn_weights(net: Architecture, p: int, width: int, seed: int) -> tuple:
    """Return weights, biases and outer weights of each layer, and a readout."""
    rng, layers = np.random.default_rng(seed), []
    for d, s in zip([p] + [width] * (net.depth - 1), net.scales, strict=True):
        shapes = (width, d), (width,), (width, width) if s.residual else ()
        layers.append([rng.standard_normal(shape) for shape in shapes])
    return layers, rng.standard_normal(width)


@partial(jax.jit, static_argnums=(0, 1))
def finite_kernels(net: Architecture, centres: tuple[float, ...], parameters: tuple, x: jax.Array) -> jax.Array:
    """Return both kernels of a drawn network, by its gradients."""
    p, width = x.shape[1], len(parameters[1])

    def state(layers: list, sample: jax.Array) -> jax.Array:
        h = jnp.sqrt(p) * sample
        for act, s, m, (w, b, outer) in zip(net.layers, net.scales, centres, layers, strict=True):
            z = h - jnp.mean(h) if net.normalize == "layer" else h
            z = z / jnp.sqrt(jnp.mean(z**2)) if net.normalize else z
            f = act(s.weight_std * w @ z / jnp.sqrt(len(z)) + s.bias_std * b) - m
            h = h + s.residual * outer @ f / jnp.sqrt(width) if s.residual else f
        return h

    def output(parameters: tuple, sample: jax.Array) -> jax.Array:
        return parameters[1] @ state(parameters[0], sample) / jnp.sqrt(width)

    states = jax.vmap(state, (None, 0))(parameters[0], x)
    gradients = jax.vmap(jax.grad(output), (None, 0))(parameters, x)
    flat = jnp.concatenate([g.reshape(len(x), -1) for g in jax.tree.leaves(gradients)], axis=1)
    return jnp.stack([states @ states.T / width, flat @ flat.T])


@pytest.mark.nightly
@pytest.mark.slow
def test_normalised_residual_networks_of_finite_width_have_these_kernels() -> None:
    net = Architecture(["relu"] * 3, 2**0.5, 0.3, centred=False, residual=[0, 0.7, 0.7], normalize="layer")
    x = np.random.default_rng(0).standard_normal((4, 20))
    x[1] = 0.6 * x[0] + 0.8 * x[1]
    # features of mean 0, as the description assumes of data
    x = (x - x.mean(axis=1)[:, None]) / 20**0.5 * np.array([[0.7], [1.0], [1.2], [1.5]])
    weights = [drawn_weights(net, 20, 512, seed) for seed in range(8)]
    drawn = np.mean([finite_kernels(net, centres_of(net, 1.0), each, x) for each in weights], axis=0)

    def distances(other: Architecture) -> np.ndarray:
        exact = np.array(exact_kernels(other, x @ x.T, 1.0))
        return np.linalg.norm(drawn - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))

    least = distances(net)
    assert np.all(least < 0.06)
    for changes in ({"normalize": "rms"}, {"residual": [0, 0.6, 0.6]}, {"bias_std": 0.0}):
        assert np.max(distances(Architecture(**{**vars(net), **changes})) / least) > 2


def test_centres_are_means_at_the_scale_of_each_layer() -> None:
    net = Architecture(["relu", "relu"], weight_std=[2, 3], bias_std=1, residual=[0, 1])
    first, second = centres_of(net, 1.5)
    assert first == pytest.approx(np.sqrt((4 * 2.25 + 1) / (2 * np.pi)))
    variance = (4 * 2.25 + 1) * (0.5 - 1 / (2 * np.pi))
    assert second == pytest.approx(np.sqrt((9 * variance + 1) / (2 * np.pi)))
    assert expansions(net, 1.5).ck[2].q == pytest.approx(variance + (9 * variance + 1) * (0.5 - 1 / (2 * np.pi)))
    assert centres_of(HE, 1.5) == (0.0, 0.0, 0.0)
    given = expansions(net, 1.5, centres=[0.0, 0.0])
    assert given.centres == (0.0, 0.0)
    assert given.ck == expansions(Architecture(["relu"] * 2, [2, 3], 1, centred=False, residual=[0, 1]), 1.5).ck


@pytest.mark.parametrize(
    ("network", "tau0", "message"),
    [
        (HE, 0.0, "tau0 must be a positive"),
        (HE, 1e-80, "Rescale the data to norms about 1"),
        (Architecture(["relu"] * 2, weight_std=[1, 1e200]), 1.0, r"layer 2 \(relu\).*nearer to 1"),
        (Architecture(["relu"], weight_std=1e80), 1e-60, "layer 1 overflowed.*far from 1"),
        (Architecture(["relu"] * 2, residual=[0, 1e200]), 1.0, "look for a setting that is far from 1"),
        (["relu", hntk.staircase([90.0], [0.0, 1.0])], 1.0, r"layer 2 \(staircase\).*is constant"),
        (Architecture(["sign"] * 2, bias_std=1e9, centred=False), 1.0, r"layer 1 \(sign\).*different samples"),
    ],
)
def test_networks_out_of_scale_are_refused(network: Architecture | list, tau0: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expansions(network, tau0)


def test_centres_of_another_number_are_refused() -> None:
    for wrong, message in [([0.0], "3 layers need as many centres, got 1"), (0.0, "centres must be a list")]:
        with pytest.raises(ValueError, match=message):
            expansions(HE, 1.0, centres=wrong)  # type: ignore[arg-type]
