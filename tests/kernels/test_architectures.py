"""Exact kernels of architectures: against neural-tangents' own layers, and against the recursion written out."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.kernels import recursion
from hntk.kernels._neural_tangents import load
from hntk.kernels.recursion import Recursion
from hntk.theory.architecture import Architecture
from hntk.theory.expansion import centres_of
from tests.support import architecture_kernels
from tests.support.precision import precision

STEPS = hntk.staircase([-0.3, 0.9], [-1.0, 0.0, 1.5])
HE = {"weight_std": 2**0.5, "bias_std": 0.1, "centred": False}
# all that a network can have
FULL = Architecture(["relu", STEPS, "relu"], 1.3, [0.3, 0.0, 0.5], False, [0.0, 0.7, 0.4], "layer")
# layers that neural-tangents has of its own
SHARED = {
    "he": Architecture(["relu"] * 3, **HE),
    "unit weights": Architecture(["relu"] * 2, centred=False),
    "large biases": Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=1.0, centred=False),
    "scales by layer": Architecture(["relu"] * 3, weight_std=[1.5, 0.7, 2.0], bias_std=[0.3, 0, 0.5], centred=False),
    "erf": Architecture(["erf"] * 3, weight_std=1.5, bias_std=[0.3, 0, 0.2], centred=False),
    "erf, centred": Architecture(["erf"] * 2, weight_std=1.5, bias_std=0.4),
    "leaky relu": Architecture(["leaky_relu"] * 2, **HE),
    "abs": Architecture(["abs"] * 2, bias_std=0.3, centred=False),
    "waves": Architecture(["sin", "cos"], weight_std=1.2, bias_std=0.3, centred=False),
    "polynomial": Architecture(["quadratic", "relu"], weight_std=0.8, bias_std=0.3, centred=False),
    "gelu": Architecture(["gelu"] * 2, **HE),
    "residual": Architecture(["relu"] * 3, residual=[0.5, 0.7, 1.0], **HE),
    "residual, erf": Architecture(["erf"] * 3, weight_std=1.5, bias_std=0.3, residual=[0, 1, 0.3]),
    "eight layers": Architecture(["relu"] * 8, residual=[0, 0.5] * 4, **HE),
}
# what it does not have
OWN = {
    "centred": Architecture(["relu", "gaussian"], weight_std=[1.5, 0.7], bias_std=0.3),
    "residual, centred": Architecture(["relu"] * 3, bias_std=[0.2, 0, 0], residual=[0, 1, 1]),
    "steps": Architecture(["erf", STEPS], weight_std=2**0.5, bias_std=0.3, centred=False),
    "rms": Architecture(["relu", "erf"], bias_std=0.3, centred=False, normalize="rms"),
    "layer": Architecture(["relu"] * 2, weight_std=2**0.5, centred=False, normalize="layer"),
    "layer, centred": Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.1, normalize="layer"),
    "everything": FULL,
}
SLOW = ("gelu", "waves", "polynomial", "eight layers", "leaky relu", "everything", "steps", "rms", "scales by layer")


def marked(nets: dict, nightly: tuple[str, ...] = ()) -> list:
    marks = {name: pytest.mark.nightly if name in nightly else pytest.mark.slow for name in (*SLOW, *nightly)}
    return [pytest.param(name, marks=marks.get(name, ())) for name in nets]


def samples(n: int = 14, p: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, p)) / p**0.5 * rng.uniform(0.5, 1.5, (n, 1))


X = samples()


@cache
def native(net: Architecture) -> hntk.Kernels:
    # tiles that do not divide the samples
    return hntk.exact_kernels(X, net, tau0=1.0, tile=5)


def gap(found: object, expected: object) -> float:
    """Return the largest difference, relative to the largest entry; infinite entries must be the same."""
    a, b = np.asarray(found), np.asarray(expected)
    kept = np.isfinite(b)
    assert np.array_equal(np.isfinite(a), kept)
    return float(np.max(np.abs(a[kept] - b[kept])) / np.max(np.abs(b[kept])))


def own_layer(stax, layer: hntk.Activation):
    makers: dict[str, Callable] = {
        "relu": stax.Relu, "erf": stax.Erf, "abs": stax.Abs, "sin": stax.Sin, "cos": stax.Cos, "gelu": stax.Gelu,
        "leaky_relu(0.01)": lambda: stax.LeakyRelu(0.01), "quadratic": lambda: stax.Polynomial([0.0, 0.0, 1.0]),
    }  # fmt: skip
    return makers[layer.name]()


def own_network(net: Architecture):
    """The network as a user of neural-tangents writes it, as wide as the data."""
    stax, width = load().stax, X.shape[1]
    layers = []
    for layer, scale in zip(net.layers, net.scales, strict=True):
        made = stax.serial(stax.Dense(width, scale.weight_std, scale.bias_std or None), own_layer(stax, layer))
        if scale.residual:
            # FanInSum asks for Gaussian states, though outer weights of mean 0 are enough
            state = (*stax.Identity()[:2], lambda kernel, **_: kernel.replace(is_gaussian=True))
            branch = stax.serial(made, stax.Dense(width, scale.residual, None))
            made = stax.serial(stax.FanOut(2), stax.parallel(state, branch), stax.FanInSum())
        layers.append(made)
    return stax.serial(*layers, stax.Dense(1, 1.0, None))[2]


@pytest.mark.often("he", "large biases", "erf, centred", "leaky relu", "abs", "waves", "polynomial", "residual")
@pytest.mark.filterwarnings("ignore:`FanIn` layers assume:UserWarning")
@pytest.mark.parametrize("name", marked(SHARED, ("gelu",)))
def test_neural_tangents_own_layers_give_the_same(name: str) -> None:
    """Entry by entry; its NTK of a kink is accurate to a root of the roundings at equal samples."""
    net, kernel_fn = SHARED[name], own_network(SHARED[name])
    theirs = jax.jit(lambda x: kernel_fn(x, None, ("nngp", "ntk")))(6**0.5 * X)
    found = native(net)
    np.testing.assert_allclose(found.ck, theirs.nngp, rtol=1e-9)
    off = ~np.eye(len(X), dtype=bool)
    np.testing.assert_allclose(np.asarray(found.ntk)[off], np.asarray(theirs.ntk)[off], rtol=1e-9)
    kinks = any(layer.breakpoints for layer in net.layers)
    np.testing.assert_allclose(np.diag(found.ntk), np.diag(theirs.ntk), rtol=1e-7 if kinks else 1e-9)


@pytest.mark.parametrize(
    "name", marked({**SHARED, **OWN}, ("gelu", "waves", "polynomial", "eight layers", "abs", "erf", "steps"))
)
def test_the_recursion_written_out_gives_the_same(name: str) -> None:
    net = {**SHARED, **OWN}[name]
    # operation by operation, which networks share; loops over thresholds would be slow
    with nullcontext() if STEPS in net.layers else jax.disable_jit():
        expected = architecture_kernels.exact_kernels(net, X @ X.T, 1.0)
    for mine, theirs in zip(native(net), expected, strict=True):
        # the rule for pairs of a function that is integrated has this accuracy
        assert gap(mine, theirs) < (1e-10 if name == "gelu" else 1e-12)
        assert np.array_equal(mine, mine.T)


@pytest.mark.often("residual")
@pytest.mark.parametrize(
    "net", [SHARED["residual, erf"], pytest.param(FULL, marks=pytest.mark.slow)], ids=["residual", "full"]
)
def test_kernels_between_two_sets_are_a_block(net: Architecture) -> None:
    across = hntk.exact_kernels(X[:9], net, x2=X[9:], tau0=1.0)
    for block, whole in zip(across, native(net), strict=True):
        assert gap(block, whole[:9, 9:]) < 1e-12


def test_row_zero_of_two_plain_layers() -> None:
    """By the arc-cosine formulas of Cho and Saul (2009), with weights of variance 1 and no biases."""
    data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    k = np.asarray(data @ data.T)[0]
    own, other = k[0], np.sum(np.asarray(data) ** 2, axis=1)
    theta = k
    for _ in range(2):
        size = np.sqrt(own * other)
        angle = np.arccos(np.clip(k / size, -1, 1))
        theta = theta * (np.pi - angle) / (2 * np.pi)
        k = size * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        theta, own, other = theta + k, own / 2, other / 2
    net = Architecture(["relu"] * 2, centred=False)
    np.testing.assert_allclose(hntk.exact_kernels(data, net).ntk[0], theta, rtol=1e-8)
    theirs = jax.jit(lambda x: hntk.stax_kernel_fn(net, tau0=1.0)(x, None, "ntk"))(50**0.5 * data)
    np.testing.assert_allclose(theirs[0], theta, rtol=1e-8)
    assert np.max(np.abs(hntk.exact_kernels(data, ["relu"] * 2).ntk[0] - theta)) > 0.1


@pytest.mark.parametrize("change", [
    {"weight_std": 1.4}, {"bias_std": 0.2}, {"bias_std": [0.1, 0.1, 0]}, {"centred": True}, {"residual": 0.1},
    {"normalize": "rms"}, {"normalize": "layer"},
], ids=str)  # fmt: skip
def test_every_setting_changes_the_kernels(change: dict) -> None:
    other = Architecture(["relu"] * 3, **{**HE, **change})
    for mine, theirs in zip(native(SHARED["he"]), native(other), strict=True):
        assert gap(theirs, mine) > 1e-4


def test_a_list_is_the_plain_network() -> None:
    net = ["relu", "erf"]
    for mine, theirs in zip(hntk.exact_kernels(X, Architecture(net)), hntk.exact_kernels(X, net), strict=True):
        assert np.array_equal(mine, theirs)
    plain, he = (Recursion(one, centres_of(one, 1.0)) for one in (Architecture(net), Architecture(net, 2.0)))
    # no number of a plain network's scales enters a compiled program
    assert not jax.tree.leaves(plain.numbers.squares)
    assert len(jax.tree.leaves(he.numbers.squares)) == 2


def test_networks_that_differ_in_numbers_share_compiled_programs() -> None:
    first = SHARED["he"]
    programs = recursion._programs(Recursion(first, (0.0,) * 3).form)
    hntk.exact_kernels(X, first)
    compiled = programs.tile._cache_size()
    hntk.exact_kernels(X, Architecture(["relu"] * 3, weight_std=[1.0001, 1.2, 0.5], bias_std=[1, 2, 3.0]))
    assert programs.tile._cache_size() == compiled
    hntk.exact_kernels(X, Architecture(["relu"] * 3, weight_std=1.2, bias_std=[1, 2, 0.0]))
    assert programs.tile._cache_size() == compiled + 1


@pytest.mark.nightly
@pytest.mark.slow
def test_memory_disk_and_devices_give_the_same(tmp_path: Path) -> None:
    x, net = samples(41), Architecture(["relu", STEPS], 1.3, 0.3, False, [0.0, 0.7], "layer")
    expected = hntk.exact_kernels(x, net, kappa_sq=2.5, tile=16)
    stored = hntk.store_kernels(tmp_path, x, net, kappa_sq=2.5, tile=16)
    shared = hntk.sharded_kernels(x, net, jax.devices()[:1], kappa_sq=2.5, tile=16)
    for mine, theirs, whole in zip(stored, shared, expected, strict=True):
        assert np.array_equal(mine, whole)
        assert gap(theirs, whole) < 1e-13


def test_a_store_is_that_of_one_architecture(tmp_path: Path) -> None:
    net = Architecture(["relu"] * 3, residual=0.5, **HE)
    kept = hntk.store_kernels(tmp_path / "own", X, net)
    again = hntk.store_kernels(tmp_path / "own", X, Architecture(("relu",) * 3, residual=[0.5] * 3, **HE))
    assert np.array_equal(kept.ntk, again.ntk)
    changes = [
        ({"weight_std": 1.4}, "other scales"), ({"bias_std": 0.2}, "other scales"), ({"residual": 0.4}, "other scales"),
        ({"centred": True}, "other centred, centres"), ({"normalize": "rms"}, "other normalize"),
        ({"activations": ["relu"] * 4}, "other scales, activations"),
    ]  # fmt: skip
    for change, said in changes:
        other = Architecture(**{"activations": ["relu"] * 3, "residual": 0.5, **HE, **change})
        with pytest.raises(ValueError, match=said):
            hntk.store_kernels(tmp_path / "own", X, other)
    with pytest.raises(ValueError, match="other .*scales, centred"):
        hntk.store_kernels(tmp_path / "own", X, ["relu"] * 3)


def test_stores_of_plain_networks_are_known_as_before(tmp_path: Path) -> None:
    hntk.store_kernels(tmp_path, X, ["relu", "erf"])
    known = json.loads((tmp_path / "progress.json").read_text())["kernels"]
    assert list(known) == ["x", "x2", "activations", "centres", "kappa_sq", "precision", "code", "tile", "kept"]
    assert known["centres"] == list(hntk.coefficients(["relu", "erf"], np.sqrt(np.mean(np.sum(X**2, axis=1)))).centres)
    hntk.store_kernels(tmp_path, X, Architecture(["relu", "erf"]))
    # odd functions are centred as they are, so that scales alone tell these apart
    with pytest.raises(ValueError, match="other .*scales"):
        hntk.store_kernels(tmp_path, X, Architecture(["relu", "erf"], bias_std=[0.0, 0.1]))


def central_differences(function: Callable, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    shifts = step * np.eye(x.size).reshape(-1, *x.shape)
    columns = [(np.asarray(function(x + s)) - np.asarray(function(x - s))) / (2 * step) for s in shifts]
    return np.stack(columns, axis=-1)


@pytest.mark.often("jump")
@pytest.mark.parametrize("net", [
    pytest.param(Architecture(["relu", "erf"], 1.3, [0.3, 0], True, [0, 0.7]), id="centred, residual"),
    pytest.param(Architecture(["erf", "relu"], 1.3, 0.3, False, [0.7, 0], "layer"), id="layer",
                 marks=pytest.mark.nightly),
    pytest.param(Architecture([STEPS, "relu"], 1.3, 0.3, False, [0, 0.7], "layer"), id="jump",
                 marks=pytest.mark.slow),
])  # fmt: skip
def test_derivatives_are_those_of_finite_differences(net: Architecture) -> None:
    """Infinite entries have the derivative 0, also behind a normalisation."""
    x = X[:4, :3]

    def both(x: object) -> jax.Array:
        return jnp.stack(hntk.exact_kernels(x, net))

    finite = np.isfinite(np.asarray(both(x)))[..., None]
    with np.errstate(invalid="ignore"):
        expected = np.where(finite, central_differences(both, x), 0)
    found = np.asarray(jax.jit(jax.jacrev(both))(x))
    np.testing.assert_allclose(found.reshape(*found.shape[:-2], -1), expected, atol=5e-8)
    assert np.max(np.abs(expected)) > 0.1


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name == "unit weights" else pytest.mark.nightly)
    for name in ("unit weights", "residual", "layer", "steps")
])  # fmt: skip
def test_equal_opposite_and_empty_samples(name: str) -> None:
    net = {**SHARED, **OWN}[name]
    x = np.concatenate([X[:2], X[:1], -X[1:2], 2 * X[:1], np.zeros((1, 6))])
    found = hntk.exact_kernels(x, net, tau0=1.0)
    expected = architecture_kernels.exact_kernels(net, x[:5] @ x[:5].T, 1.0)
    for mine, theirs in zip(found, expected, strict=True):
        assert gap(np.where(np.isfinite(theirs), np.asarray(mine)[:5, :5], np.inf), theirs) < 1e-9
        assert not np.any(np.isnan(mine))
    slope = jax.grad(lambda x: jnp.sum(hntk.exact_kernels(x, net, tau0=1.0).ck))(jnp.asarray(x))
    assert np.all(np.isfinite(slope))


@pytest.mark.nightly
@pytest.mark.parametrize("names", [["gelu", "gelu"], ["softplus", "silu"]])
def test_derivatives_at_an_empty_sample(names: list[str]) -> None:
    """Activations that are integrated: with a state of 0 behind the first layer, and with a mean that is not 0."""
    net = Architecture(names, centred=False)
    x = np.concatenate([X[:2, :3], np.zeros((1, 3))])

    def both(x: object) -> jax.Array:
        return jnp.stack(hntk.exact_kernels(x, net, tau0=1.0))

    found = np.asarray(jax.jit(jax.jacrev(both))(x))
    expected = central_differences(both, x)
    np.testing.assert_allclose(found.reshape(*found.shape[:-2], -1), expected, atol=1e-7)
    assert np.max(np.abs(expected[..., 6:])) > 0.01


@pytest.mark.often("he", "steps")
@pytest.mark.parametrize("name", ["he", "residual, centred", pytest.param("steps", marks=pytest.mark.slow)])
def test_neural_tangents_as_an_engine(name: str) -> None:
    net, told = {**SHARED, **OWN}[name], []
    found = hntk.exact_kernels(X, net, tau0=1.0, engine="neural_tangents", progress=told.append)
    for mine, theirs in zip(found, native(net), strict=True):
        assert gap(mine, theirs) < 1e-9
    assert told == [len(X) ** 2]


def test_the_engine_of_plain_networks_two_sets_and_declared_diagonals() -> None:
    for options in ({"kappa_sq": 3.0}, {"x2": X[:5] + 0.1, "kappa_sq": 3.0}):
        found = hntk.exact_kernels(X, ["relu"], engine="neural_tangents", **options)  # type: ignore[arg-type]
        for mine, theirs in zip(found, hntk.exact_kernels(X, ["relu"], **options), strict=True):  # type: ignore[arg-type]
            assert mine.dtype == theirs.dtype
            assert gap(mine, theirs) < 1e-12


def test_what_neural_tangents_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for normalize in ("rms", "layer"):
        net = Architecture(["relu"], normalize=normalize)  # type: ignore[arg-type]
        for call in (
            lambda net=net: hntk.stax_kernel_fn(net, tau0=1.0),
            lambda net=net: hntk.exact_kernels(X, net, engine="neural_tangents"),
        ):
            with pytest.raises(ValueError, match=f"neural-tangents has no normalize='{normalize}'.*own engine"):
                call()
    with pytest.raises(ValueError, match="takes samples that are known"):
        jax.jit(lambda x: hntk.exact_kernels(x, ["relu"], engine="neural_tangents").ck)(X)
    with pytest.raises(ValueError, match="engine must be 'native' or 'neural_tangents', got 'torch'"):
        hntk.exact_kernels(X, ["relu"], engine="torch")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "neural_tangents", None)
    load.cache_clear()
    with pytest.raises(ImportError, match=r"engine='neural_tangents', needs .*pip install 'hntk\[neural-tangents\]'"):
        hntk.exact_kernels(X, ["relu"], engine="neural_tangents")
    load.cache_clear()


@pytest.mark.parametrize(("setting", "message"), [
    ({"weight_std": 1e-170}, "bring tau0 and the scales of weights"), ({"weight_std": 1e200}, "variance inf"),
    ({"bias_std": 1e200}, "variance inf"), ({"residual": 1e200}, "overflowed|variance inf"),
    ({"weight_std": 1e170, "normalize": "rms"}, "variance inf"),
])  # fmt: skip
def test_scales_beyond_the_precision_are_refused(setting: dict, message: str) -> None:
    for net in (Architecture(["relu"], **setting), Architecture(["relu"] * 2, centred=False, **setting)):
        with pytest.raises(ValueError, match=message):
            hntk.exact_kernels(X, net)


def test_scales_that_vanish_in_float32_are_refused() -> None:
    x, early, late = X.astype(np.float32), Architecture(["relu"], 1e-30), Architecture(["relu"] * 2, [1.0, 1e-20])
    with precision(False), warnings.catch_warnings(action="ignore"):
        for net, layer in ((early, 1), (late, 2)):
            for call in (hntk.exact_kernels, hntk.sharded_kernels):
                with pytest.raises(ValueError, match=f"the input of layer {layer} vanishes in float32: bring weight"):
                    call(x, net)
        rough = hntk.exact_kernels(x, SHARED["he"], tau0=1.0)
    assert gap(rough.ck, native(SHARED["he"]).ck) < 1e-5
