"""Drawn networks of any architecture: their kernels against those of infinite width, and every way of running them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk import Architecture, LayerScales
from hntk.networks.forward import Forward
from hntk.networks.layer_parts import UNIT
from tests.support import written_out

HE = 2**0.5
WIDTHS, DRAWS = (64, 512), 8


def like(**changes: Any) -> Architecture:
    """An un-centred network of He weights with biases, but for some changes."""
    settings = {"activations": ["relu", "erf"], "weight_std": HE, "bias_std": 0.7, "centred": False}
    return Architecture(**settings | changes)


BASE, THREE = like(), {"activations": ["relu", "erf", "relu"], "residual": [0.0, 0.7, 1.1]}
repeats = pytest.mark.nightly
# architectures, and others with which theirs may not agree
CASES = [
    pytest.param(BASE, like(bias_std=0.0), id="He with biases", marks=repeats),
    pytest.param(like(centred=True), like(centred=True, weight_std=1.0), id="centred", marks=repeats),
    pytest.param(like(weight_std=[0.7, 2.0]), like(weight_std=[2.0, 0.7]), id="scales", marks=repeats),
    pytest.param(like(**THREE), like(**THREE | {"residual": [0.0, 1.1, 0.7]}), id="residual", marks=repeats),
    pytest.param(like(residual=[0.9, 0.0]), like(residual=[0.5, 0.0]), id="residual from the data", marks=repeats),
    pytest.param(
        like(residual=[0.9, 0.6], normalize="layer"), like(residual=0.9, normalize="layer"), id="residual everywhere",
        marks=repeats,
    ),
    pytest.param(like(normalize="rms"), like(normalize="layer"), id="rms", marks=repeats),
    pytest.param(like(normalize="layer"), like(normalize="rms"), id="layer", marks=repeats),
    pytest.param(like(**THREE, normalize="layer"), like(**THREE, normalize="rms"), id="residual and layer"),
]  # fmt: skip


def samples(p: int, n: int = 12) -> np.ndarray:
    """Samples whose coordinates have a common mean, which tells what a normalisation subtracts."""
    return ((np.random.default_rng(p).normal(size=(n, p)) + 0.5) / p**0.5).astype(np.float32)


@pytest.mark.nightly
@pytest.mark.parametrize(("net", "other"), CASES)
def test_kernels_of_wide_networks_approach_the_exact_ones(net: Architecture, other: Architecture) -> None:
    """Root mean squares of the relative errors of eight draws, at two widths: a factor of 8^½ at the exponent −1/2."""
    errors: list[float] = []
    for width in WIDTHS:
        # a branch of the first layer needs the data's dimension
        x = samples(width if net.scales[0].residual else 30)
        features = [np.asarray(hntk.dense(net, width, x, key=jax.random.key(s)).features(x)) for s in range(DRAWS)]
        found = [f.astype(np.float64) @ f.astype(np.float64).T for f in features]
        exact = np.asarray(hntk.exact_kernels(x, net).ck)
        errors.append(relative_error(found, exact))
    assert -0.7 < np.log(errors[1] / errors[0]) / np.log(WIDTHS[1] / WIDTHS[0]) < -0.3
    assert errors[1] < 0.25
    # the mean of all draws is as close to the exact kernel as it should be, and far from the other's
    mean = [np.mean(found, axis=0)]
    left = relative_error(mean, exact)
    assert left < 0.6 * errors[1]
    assert relative_error(mean, np.asarray(hntk.exact_kernels(x, other).ck)) > 2.5 * left


def relative_error(found: list[np.ndarray], exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean([np.sum((each - exact) ** 2) for each in found]) / np.sum(exact**2)))


# --- every way of running them ---

DEEP: dict[str, Any] = {
    "law": "gaussian", "residual": [0.0, 0.7, 0.7, 0.7, 0.7, 0.0], "normalize": "layer", "widths": [40] * 5 + [30],
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "scanned": DEEP,
    "rms": {**DEEP, "normalize": "rms", "centred": True},
    "sparse": {**DEEP, "law": hntk.weight_law("ternary", sparsity=0.98)},
    "blocks": {**DEEP, "law": "orthogonal", "normalize": None},
    "transforms": {"law": "orthogonal", "residual": [0.0, 0.5], "widths": [512, 512], "normalize": "rms"},
    "from the data": {"law": "ternary", "residual": [0.8, 0.6], "widths": [20, 20], "normalize": "layer"},
    "scales alone": {"law": "int8_gaussian", "widths": [20, 9], "bias_std": 0.0},
}


def drawn(
    law: Any = "gaussian", widths: Any = (20, 20), bias_std: Any = 0.4, residual: Any = 0.0, **settings: Any
) -> hntk.Network:
    depth = len(widths)
    net = Architecture(
        (["tanh"] * 5 + ["relu"])[-depth:], weight_std=[1.3] * (depth - 1) + [0.8], bias_std=bias_std,
        residual=residual, **{"centred": False, **settings},
    )  # fmt: skip
    return hntk.draw_network(net, widths, 20, tau0=1.0, law=law, key=jax.random.key(3))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(v, id=k, marks=() if k in ("scanned", "sparse", "from the data") else repeats)
        for k, v in KINDS.items()
    ],
)
def test_every_way_computes_the_layers_as_they_are_written(settings: dict) -> None:
    net, x = drawn(**settings), samples(20)
    expected = written_out.features(net, x)
    found = np.asarray(net.features(x, batch=5, layers="all"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.std(expected) > 1e-2


def test_sparse_networks_run_on_their_nonzero_weights() -> None:
    net = drawn(**KINDS["sparse"])
    assert net._forward.way(100) == "sparse"
    # a branch of other weights is not multiplied with as a sparse one
    outer = hntk.WeightMatrix(jnp.ones((40, 40), jnp.float32))
    branches = tuple(branch and outer for branch in net.branches or ())
    assert replace(net, branches=branches)._forward.way(100) == "dense"


def test_what_is_compiled_does_not_grow_with_equal_layers() -> None:
    def lines(depth: int) -> int:
        net = hntk.draw_network(
            like(activations=["relu"] * depth, residual=0.3, normalize="layer"), 20, 20, tau0=1.0, key=jax.random.key(0)
        )
        # the first state still carries the data, with a factor of its own
        return len(str(jax.make_jaxpr(lambda x: net._forward._dense(x))(jnp.ones((2, 20), jnp.float32))).splitlines())

    assert lines(14) <= lines(6)


@pytest.mark.parametrize("kind", [pytest.param("scanned", marks=repeats), "from the data"])
def test_transformations_take_them(kind: str) -> None:
    net, x = drawn(**KINDS[kind]), jnp.asarray(samples(20))
    expected = np.asarray(net.features(x))
    np.testing.assert_allclose(expected, written_out.features(net, samples(20))[:, -net.widths[-1] :], atol=2e-5)
    np.testing.assert_allclose(jax.jit(net.features)(x), expected, atol=2e-5)
    np.testing.assert_allclose(jax.jit(lambda made, x: made.features(x))(net, x), expected, atol=2e-5)
    np.testing.assert_allclose(jax.vmap(net.features)(x[:, None])[:, 0], expected, atol=2e-5)
    # what was prepared inside serves outside
    np.testing.assert_allclose(net.features(x), expected, atol=2e-5)


def test_gradients_by_samples_biases_and_branches_are_finite_differences() -> None:
    net, x = drawn(**KINDS["from the data"]), samples(20)
    rng = np.random.default_rng(0)
    assert net.biases is not None
    assert net.branches is not None

    def moved(made: hntk.Network, x: Any, bias: Any, outer: Any) -> tuple[hntk.Network, Any]:
        changed = replace(
            made,
            biases=(made.biases[0], bias),
            branches=(hntk.WeightMatrix(outer), made.branches[1]),  # type: ignore[index]
        )
        return changed, x

    def energy(*parts: Any) -> jax.Array:
        changed, at = moved(net, *parts)
        return jnp.sum(changed.features(at) ** 2)

    at = (x, np.asarray(net.biases[1]), np.asarray(net.branches[0].dense(), np.float32))  # type: ignore[union-attr]
    slopes = jax.grad(energy, argnums=(0, 1, 2))(*map(jnp.asarray, at))
    for i, slope in enumerate(slopes):
        direction = rng.normal(size=at[i].shape)
        both = []
        for t in (1e-4, -1e-4):
            parts = [part.astype(np.float64) for part in at]
            parts[i] = parts[i] + t * direction
            changed, where = moved(net, parts[0], parts[1], parts[2])
            # biases are kept in float32, so that their step is written out
            object.__setattr__(changed, "biases", (changed.biases[0], parts[1]))  # type: ignore[index]
            both.append(np.sum(written_out.states(changed, where)[-1] ** 2) / net.widths[-1])
        expected = (both[0] - both[1]) / 2e-4
        assert float(np.vdot(slope, direction)) == pytest.approx(expected, rel=1e-3)
        assert abs(expected) > 1e-2


def test_samples_of_any_size_are_normalised() -> None:
    net = drawn(normalize="rms")
    x = samples(20)
    expected = np.asarray(net.features(x))
    for factor in (1e-30, 1e15):
        np.testing.assert_allclose(net.features(x * np.float32(factor)), expected, atol=2e-5)
    # a sample of norm 0 has no direction, and only biases pass
    none = np.zeros((1, 20), np.float32)
    assert np.all(np.isfinite(net.features(none)))
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(net.features(x)))(none)))


# --- drawing ---


@pytest.mark.parametrize("laws", [("gaussian",), pytest.param(("ternary", "orthogonal"), marks=repeats)])
def test_a_key_gives_the_weights_of_the_plain_network(laws: tuple[str, ...]) -> None:
    for law in laws:
        plain = hntk.draw_network(["relu", "erf"], 20, 20, tau0=1.0, law=law, key=jax.random.key(1))
        more = hntk.draw_network(like(residual=0.5), 20, 20, tau0=1.0, law=law, key=jax.random.key(1))
        for w, same in zip(plain.weights, more.weights, strict=True):
            np.testing.assert_array_equal(w.values, same.values)
        np.testing.assert_array_equal(plain.readout, more.readout)
        assert more.branches is not None
        assert [w.kind for w in more.matrices] == [plain.weights[0].kind] * 4
        # independent of everything else that the key gives
        flat = [np.asarray(w.dense(), float).ravel() for w in more.matrices]
        assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.25
        assert [float(np.mean(v**2)) for v in flat] == pytest.approx([1.0] * 4, abs=0.25)
    assert plain.biases is plain.branches is plain.scales is plain.normalize is None
    same = hntk.draw_network(Architecture(["relu", "erf"]), 20, 20, tau0=1.0, key=jax.random.key(1))
    assert same.scales is None
    assert same.centres == plain.centres


def test_biases_are_standard_gaussians_of_their_own() -> None:
    net = hntk.draw_network(like(bias_std=[3.0, 0.0]), [4000, 3], 3, tau0=1.0, law="ternary", key=jax.random.key(0))
    assert net.biases is not None
    first, second = net.biases
    assert second is None
    values = np.asarray(first, float)
    assert values.dtype == np.float64
    assert first.dtype == jnp.float32
    # mean, variance and kurtosis within four standard deviations of 4000 numbers
    assert abs(values.mean()) < 4 / 4000**0.5
    assert abs(values.var() - 1) < 4 * (2 / 4000) ** 0.5
    assert abs(np.mean(values**4) - 3) < 4 * (96 / 4000) ** 0.5
    layers = list(net.layers())
    np.testing.assert_allclose(layers[0].bias, 3.0 * values, rtol=1e-6)
    assert (layers[1].bias, layers[1].bias_std, layers[0].factor, layers[1].factor) == (None, 0.0, HE, HE / 4000**0.5)


@pytest.mark.parametrize(
    ("net", "widths", "why"),
    [
        (like(residual=0.5), [20, 30], "layer 2 has a residual branch.*width 20 .the width of layer 1.*30: make both"),
        (like(residual=[0.5, 0]), 30, "width 20 .the data's dimension.*its own width is 30.*residual to 0"),
        (BASE, [3], "widths must be 2"),
        (7, 3, "activations must be a list"),
    ],
    ids=str,
)
def test_networks_that_cannot_be_drawn_are_refused(net: Any, widths: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        hntk.draw_network(net, widths, 20, tau0=1.0, key=jax.random.key(0))


def test_branches_count_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hntk._utils.memory.SMALL", 0)
    # two square matrices of 400 numbers each fit, and four do not
    monkeypatch.setattr("hntk._utils.memory.available_memory", lambda: 4 * 900 + 16 * 400)
    monkeypatch.setattr("hntk._utils.memory.SMALL", 0)
    hntk.draw_network(BASE, 20, 20, tau0=1.0, key=jax.random.key(0))
    with pytest.raises(MemoryError, match="drawing weights"):
        hntk.draw_network(like(residual=0.5), 20, 20, tau0=1.0, key=jax.random.key(0))


# --- networks of given weights ---


def test_a_trained_network_is_built_of_its_weights_and_biases() -> None:
    """A multilayer perceptron with a linear layer, and a layer without biases."""
    rng = np.random.default_rng(0)
    sizes, x = [20, 7, 11, 5], samples(20)
    w = [rng.normal(size=(d, p)).astype(np.float32) for p, d in zip(sizes[:-1], sizes[1:], strict=True)]
    b = [rng.normal(size=7), None, rng.normal(size=5).astype(np.float32)]
    h = x.astype(np.float64)
    for matrix, bias, f in zip(w, b, (np.tanh, lambda t: t, lambda t: np.maximum(t, 0)), strict=True):
        h = f(h @ matrix.T + (0 if bias is None else bias))
    scales = [LayerScales(d**0.5, float(bias is not None), 0) for d, bias in zip([1, 7, 11], b, strict=True)]
    net = hntk.Network(
        tuple(hntk.WeightMatrix(jnp.asarray(matrix)) for matrix in w),
        tuple(map(hntk.activation, ("tanh", "linear", "relu"))),
        (0.0,) * 3, None, None, biases=b, scales=scales,  # type: ignore[arg-type]
    )  # fmt: skip
    assert isinstance(net.biases, tuple)
    np.testing.assert_allclose(np.asarray(net.features(x)) * 5**0.5, h, rtol=1e-5, atol=1e-5)
    # without scales they are 1
    alone = replace(net, scales=None)
    assert alone.scales == (LayerScales(1.0, 1.0, 0.0), UNIT, LayerScales(1.0, 1.0, 0.0))
    np.testing.assert_allclose(alone.features(x, layers="all"), written_out.features(alone, x), atol=1e-5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "few biases": ({"biases": (None,)}, "biases must be a tuple of 2, one entry a layer"),
    "a matrix of biases": ({"biases": (np.ones((20, 1)), None)}, "biases of layer 1 must be an array of 20 real"),
    "biases of another width": ({"biases": (None, np.ones(7))}, "biases of layer 2 must be an array of 9 real"),
    "a number for biases": ({"biases": (0.1, None)}, "biases of layer 1"),
    "complex biases": ({"biases": (np.ones(20) * 1j, None)}, "real numbers"),
    "biases as an array": ({"biases": np.ones((2, 20))}, "a tuple of 2"),
    "between widths": ({"branches": (None, hntk.WeightMatrix(jnp.ones((9, 9))))}, "added to a state of width 20"),
    "a branch of another shape": ({"branches": (hntk.WeightMatrix(jnp.ones((20, 9))), None)}, r"shape \(20, 20\)"),
    "an array for a branch": ({"branches": (np.ones((20, 20)), None)}, "must be an hntk.WeightMatrix"),
    "few scales": ({"scales": (UNIT,)}, "scales must be a tuple of 2"),
    "two scales": ({"scales": ((1.0, 0.0), UNIT)}, "scales of layer 1 must be"),
    "no scales": ({"scales": (None, UNIT)}, "scales of layer 1 must be"),
    "negative": ({"scales": (UNIT, (-1.0, 0.0, 0.0))}, "weight_std of layer 2 must be a positive finite number"),
    "infinite": ({"scales": (UNIT, (1.0, np.inf, 0.0))}, "bias_std of layer 2 must be a non-negative finite"),
    "a scale alone": ({"scales": (UNIT, (1.0, 0.1, 0.0))}, "layer 2 has bias_std = 0.1 but no biases"),
    "a factor alone": ({"scales": (UNIT, (1.0, 0.0, 0.1))}, "layer 2 has residual = 0.1 but no branches"),
    "biases alone": (
        {"biases": (np.ones(20), None), "scales": (UNIT, UNIT)}, "layer 1 has biases but bias_std = 0: give a positive",
    ),
    "unknown": ({"normalize": "batch"}, "normalize must be 'rms' or 'layer'"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "why"), WRONG.values(), ids=WRONG)
def test_parts_that_do_not_fit_are_refused(parts: dict, why: str) -> None:
    plain = drawn(widths=(20, 9), bias_std=0.0)
    plain = hntk.Network(plain.weights, plain.activations, plain.centres, None, None)
    with pytest.raises(ValueError, match=why):
        replace(plain, **parts)


def test_no_parts_are_none() -> None:
    plain = hntk.draw_network(["relu"] * 2, [20, 9], 20, tau0=1.0, key=jax.random.key(0))
    same = replace(plain, biases=(None, None), branches=[None, None])  # type: ignore[arg-type]
    assert (same.biases, same.branches, same.scales) == (None, None, None)
    assert len(jax.tree.leaves(same)) == len(jax.tree.leaves(plain)) == 3


def test_representations_say_what_is_not_plain() -> None:
    assert repr(drawn(**KINDS["from the data"])) == (
        "Network(20 -> 20 -> 20, ternary weights, activations tanh, relu, weight_std=[1.3, 0.8], bias_std=0.4, "
        "residual=[0.8, 0.6], normalize='layer')"
    )
    net = hntk.draw_network(like(weight_std=1.0, bias_std=0.0), 3, 3, tau0=1.0, key=jax.random.key(0))
    assert repr(net) == "Network(3 -> 3 -> 3, float32 weights, activations relu, erf)"


def test_batches_run_with_what_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = drawn(**KINDS["from the data"]), samples(20, 7)
    made = []
    prepared = Forward._prepared
    monkeypatch.setattr(Forward, "_prepared", lambda self, codes: made.append(1) or prepared(self, codes))
    parts = [*net.feature_batches(x, batch=3), *net.feature_batches(x, batch=3)]
    assert [len(part) for part in parts] == [3, 3, 1] * 2
    assert len(made) == 1
