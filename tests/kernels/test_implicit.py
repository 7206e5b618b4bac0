"""Exact kernels of implicit networks: against deep networks that take in the data in each layer, and drawn ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.kernels.recursion import Recursion
from hntk.theory.architecture import Architecture
from hntk.theory.expansion import centres_of
from tests.support import implicit_networks
from tests.support.architecture_kernels import exact_kernels
from tests.support.precision import precision

NETS = {
    "relu": Architecture(["relu"], 1.2, 0.3, centred=False, implicit=True),
    "relu, centred": Architecture(["relu"], 1.2, implicit=True, input_std=0.7),
    "erf": Architecture(["erf"], 0.9, 0.2, centred=False, implicit=True, input_std=1.5),
    "cos": Architecture(["cos"], 0.9, 0.3, implicit=True),
    "tanh": Architecture(["tanh"], 1.1, 0.2, implicit=True),
    "gelu": Architecture(["gelu"], 1.1, 0.2, centred=False, implicit=True),
}
INTEGRATED = ("tanh", "gelu")
MARKS = {"tanh": pytest.mark.nightly, "gelu": pytest.mark.nightly, "cos": pytest.mark.slow, "erf": pytest.mark.slow}
CASES = [pytest.param(name, marks=MARKS.get(name, ())) for name in NETS]


def samples(n: int = 14, p: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, p)) / p**0.5 * rng.uniform(0.5, 1.5, (n, 1))


X = samples()


@cache
def native(name: str) -> hntk.Kernels:
    return hntk.exact_kernels(X, NETS[name], tau0=1.0, tile=5)


# pairs of gelu, integrated in 160 layers, would take minutes
@pytest.mark.often("relu, centred")
@pytest.mark.parametrize("name", [case for case in CASES if case.values != ("gelu",)])
def test_deep_networks_that_take_in_the_data_in_each_layer_have_these_kernels(name: str) -> None:
    found = native(name)
    traced = jax.jit(lambda x: hntk.exact_kernels(x, NETS[name], tau0=1.0))(X)
    for mine, again, theirs in zip(found, traced, exact_kernels(NETS[name], X @ X.T, 1.0), strict=True):
        rounding = (1e-8 if name in INTEGRATED else 1e-13) * np.max(np.abs(theirs))
        np.testing.assert_allclose(mine, theirs, atol=rounding, rtol=0)
        np.testing.assert_allclose(again, theirs, atol=rounding, rtol=0)
        assert np.array_equal(mine, mine.T)


@pytest.mark.parametrize("name", CASES)
def test_the_fixed_point_has_its_equations(name: str) -> None:
    """K is the map at Σ, and Θ = K + (σ_w² Θ + σ_x² G + σ_b²) ∘ K̇."""
    net, off = NETS[name], ~np.eye(len(X), dtype=bool)
    (layer,), (scale,) = net.layers, net.scales
    ck, ntk = map(np.asarray, native(name))
    injected = net.input_std**2 * X @ X.T + scale.bias_std**2
    sigma = scale.weight_std**2 * ck + injected
    ends = np.diag(sigma)[:, None], np.diag(sigma)[None, :]
    inside = np.where(off, sigma, 0.0)
    mapped = np.asarray(layer.kernel_map(inside, *ends, centres_of(net, 1.0)[0]))
    slope = np.asarray(layer.derivative_map(inside, *ends))
    allowed = 1e-8 if name in INTEGRATED else 1e-12
    np.testing.assert_allclose(ck[off], mapped[off], atol=allowed)
    trained = scale.weight_std**2 * ntk + injected
    np.testing.assert_allclose(ntk[off], (ck + trained * slope)[off], atol=10 * allowed)
    # without the weights on the state that are trained it is another kernel
    assert np.max(np.abs(ntk - ck - injected * slope)[off]) > 0.1


@pytest.mark.slow
def test_linear_networks_are_known() -> None:
    gram, rest = X @ X.T, 1 - 0.81
    ck, ntk = hntk.exact_kernels(X, Architecture(["linear"], 0.9, 0.3, implicit=True, input_std=0.8))
    np.testing.assert_allclose(ck, (0.64 * gram + 0.09) / rest, atol=1e-12)
    np.testing.assert_allclose(ntk, (0.64 * gram + 0.09) * (1 / rest + 1 / rest**2), atol=1e-11)


def test_equal_opposite_and_empty_samples() -> None:
    x = np.concatenate([X[:2], X[:1], -X[1:2], 2 * X[:1], np.zeros((1, 6)), 0.01 * X[:1]])
    for name in ("relu", "erf"):
        found = hntk.exact_kernels(x, NETS[name], tau0=1.0, tile=5)
        for kernel in map(np.asarray, found):
            assert np.all(np.isfinite(kernel))
            assert kernel[0, 2] == pytest.approx(kernel[0, 0], rel=1e-14)
            size = np.sqrt(np.outer(np.diag(kernel), np.diag(kernel)))
            assert np.all(np.abs(kernel) <= size * (1 + 1e-12))


@pytest.mark.slow
def test_derivatives_at_equal_opposite_and_empty_samples_are_finite() -> None:
    x = jnp.concatenate([X[:2], X[:1], -X[1:2], 2 * X[:1], np.zeros((1, 6)), 0.01 * X[:1]])
    slope = jax.grad(lambda x: jnp.sum(hntk.exact_kernels(x, NETS["relu"], tau0=1.0).ntk))(x)
    assert np.all(np.isfinite(slope))


@pytest.mark.slow
def test_kernels_between_two_sets_are_a_block_and_networks_share_programs() -> None:
    net = NETS["relu"]
    whole, across = native("relu"), hntk.exact_kernels(X[:9], net, x2=X[9:], tau0=1.0)
    for block, kernel in zip(across, whole, strict=True):
        np.testing.assert_allclose(block, kernel[:9, 9:], atol=1e-13)
    forms = [Recursion(Architecture(["relu"], w, 0.3, implicit=True), (0.0,)).form for w in (0.5, 1.2)]
    assert forms[0] == forms[1] != Recursion(Architecture(["relu"], 0.5), (0.0,)).form


@pytest.mark.slow
@pytest.mark.parametrize(("name", "second"), [
    pytest.param("relu, centred", False, marks=pytest.mark.nightly),
    pytest.param("relu, centred", True, marks=pytest.mark.nightly),
    pytest.param("erf", True, marks=pytest.mark.nightly),
])  # fmt: skip
def test_derivatives_are_those_of_finite_differences(name: str, second: bool) -> None:
    """First and second ones; with the data's own scale the centring constant moves too."""
    x, weights = X[:4, :3], np.random.default_rng(2).standard_normal((2, 4, 4))

    @jax.jit
    def both(x: object) -> jax.Array:
        return jnp.sum(weights * jnp.stack(hntk.exact_kernels(x, NETS[name])))

    def differences(function: Callable, step: float) -> np.ndarray:
        shifts = step * np.eye(x.size).reshape(-1, *x.shape)
        return np.array([(np.asarray(function(x + s)) - np.asarray(function(x - s))) / (2 * step) for s in shifts])

    slope = jax.jit(jax.grad(both))
    np.testing.assert_allclose(slope(x).reshape(-1), differences(both, 1e-6), atol=1e-7)
    assert np.max(np.abs(slope(x))) > 0.1
    if not second:
        return
    curved = differences(slope, 1e-5)
    found = jax.jit(lambda x, along: jax.jvp(slope, (x,), (along,))[1])
    for i, along in enumerate(np.eye(x.size).reshape(-1, *x.shape)):
        np.testing.assert_allclose(found(x, along), curved[i], atol=1e-6)


@pytest.mark.slow
@pytest.mark.nightly
def test_memory_disk_and_devices_give_the_same(tmp_path: Path) -> None:
    x, net = samples(41), NETS["relu"]
    expected = hntk.exact_kernels(x, net, tile=16)
    stored = hntk.store_kernels(tmp_path, x, net, tile=16)
    shared = hntk.sharded_kernels(x, net, jax.devices()[:1], tile=16)
    for mine, theirs, whole in zip(stored, shared, expected, strict=True):
        assert np.array_equal(mine, whole)
        np.testing.assert_allclose(theirs, whole, atol=1e-12)


def test_a_store_is_that_of_one_network(tmp_path: Path) -> None:
    def stored(**changes: object) -> hntk.Kernels:
        net = Architecture(**{"activations": ["relu"], "weight_std": 1.2, "implicit": True, **changes})  # type: ignore[arg-type]
        return hntk.store_kernels(tmp_path, X, net)

    stored()
    # odd functions apart, other settings have other centres too
    for changes, said in [({"implicit": False}, "implicit"), ({"input_std": 2.0}, "input_std")]:
        with pytest.raises(ValueError, match=f"other .*{said}"):
            stored(**changes)


def gradient_gap(net: Architecture, x: np.ndarray) -> float:
    """Return how far implicit functions and automatic differentiation through 300 iterations are apart."""
    (centre,), parameters = centres_of(net, 1.0), implicit_networks.drawn(x.shape[1], 60, 3)
    own = implicit_networks.kernels(net, centre, parameters, x, 300)[1]
    through = implicit_networks.differentiated(net, centre, parameters, x, 300)
    return float(jnp.max(jnp.abs(own - through)) / jnp.max(jnp.abs(own)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("relu", marks=pytest.mark.nightly), "erf"])
def test_drawn_networks_have_these_kernels(name: str) -> None:
    """16 networks of width 512: their mean is within three standard errors, that of other networks is not."""
    net = {
        "relu": Architecture(["relu"], 1.0, 0.3, implicit=True),
        "erf": Architecture(["erf"], 0.9, 0.3, centred=False, implicit=True, input_std=0.8),
    }[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 20))
    x[1] = 0.6 * x[0] + 0.8 * x[1]
    x = x / 20**0.5 * np.array([[0.7], [1.0], [1.2], [1.5]])
    assert gradient_gap(net, x) < 1e-12
    (centre,) = centres_of(net, 1.0)
    drawn = np.array([
        implicit_networks.kernels(net, centre, implicit_networks.drawn(20, 512, seed), x, 100) for seed in range(16)
    ])  # fmt: skip
    mean, variance = drawn.mean(axis=0), drawn.var(axis=0, ddof=1) / len(drawn)

    def squared_sigmas(kernels: hntk.Kernels) -> np.ndarray:
        gap = np.sum((mean - np.array(kernels)) ** 2, axis=(1, 2))
        return gap / np.sum(variance, axis=(1, 2))

    assert np.all(squared_sigmas(hntk.exact_kernels(x, net, tau0=1.0)) < 9)
    weight_std, input_std = 0.7 * net.scales[0].weight_std, 0.7 * net.input_std
    changes = {"weight_std": weight_std}, {"input_std": input_std}, {"implicit": False, "input_std": 1.0}
    for change in changes:
        other = Architecture(**{**vars(net), **change})
        assert np.max(squared_sigmas(hntk.exact_kernels(x, other, tau0=1.0))) > 25


def test_samples_at_which_the_iteration_does_not_contract_are_refused(tmp_path: Path) -> None:
    # the origin is no stable state of erf with such weights, and samples near it have no stable one either
    net = Architecture(["erf"], 1.3, implicit=True)
    hntk.exact_kernels(X, net, tau0=1.0)
    x = np.concatenate([X, 0.03 * X[:1]])
    for call in (hntk.exact_kernels, hntk.sharded_kernels, lambda x, net, tau0: hntk.store_kernels(tmp_path, x, net)):
        with pytest.raises(ValueError, match=r"norm 0\.0\d+ of sample 14.*does not contract.*smaller weight_std"):
            call(x, net, tau0=1.0)  # type: ignore[operator]
    with pytest.raises(ValueError, match="does not settle at tau0 = 1: .*weight_std below 1.41421"):
        hntk.exact_kernels(X, Architecture(["relu"], 1.5, implicit=True), tau0=1.0)


@pytest.mark.nightly
def test_float32_and_neural_tangents() -> None:
    with precision(False), warnings.catch_warnings(action="ignore"):
        rough = hntk.exact_kernels(X.astype(np.float32), NETS["relu"], tau0=1.0)
    for mine, theirs in zip(rough, hntk.exact_kernels(X, NETS["relu"], tau0=1.0), strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, theirs, rtol=2e-5)
    for call in (
        lambda: hntk.stax_kernel_fn(NETS["relu"], tau0=1.0),
        lambda: hntk.exact_kernels(X, NETS["relu"], engine="neural_tangents"),
    ):
        with pytest.raises(ValueError, match="neural-tangents has no implicit networks.*own engine"):
            call()
