"""Networks with orthogonal blocks: passes by transform, costs by formula, and compression's choice of weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import log2

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.networks.formula_bytes import storage_of
from hntk.networks.forward import Forward
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.networks.layers import TRANSFORMED, Step
from hntk.weights.encodings import pack
from hntk.weights.orthogonal import OrthogonalMatrix
from tests.support.orthogonal import explicit_values, random_blocks

INPUTS = 12
KEY = jax.random.key(0)


@pytest.fixture
def _all_transformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run blocks of any size by transform."""
    monkeypatch.setattr("hntk.networks.layers.TRANSFORMED", 1)


def samples(n: int = 5) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(n, INPUTS)) / INPUTS**0.5).astype(np.float32)


def drawn(activations: list | None = None, widths: tuple[int, ...] = (20, 9), sparsity: float = 0.5) -> hntk.Network:
    law = hntk.weight_law("orthogonal", sparsity=sparsity)
    return hntk.draw_network(activations or ["tanh", "relu"], widths, INPUTS, tau0=1.0, law=law, key=KEY)


def explicit(network: hntk.Network) -> hntk.Network:
    """The same network with weights from the product of the factors."""
    weights = tuple(
        hntk.WeightMatrix(jnp.asarray(explicit_values(w), jnp.int8), w.scale, "ternary")  # type: ignore[arg-type]
        for w in network.weights
    )
    return replace(network, weights=weights)


def whole(widths: tuple[int, ...], sizes: int = 40) -> IntegerNetwork:
    """Whole numbers in orthogonal blocks, on pixels with a bias."""
    rng = np.random.default_rng(len(widths))
    orders = ("random", *["none"] * len(widths))
    shapes = [(d, p) for p, d in pairwise((sizes, *widths))]
    weights = tuple(random_blocks(i, s, 2, o) for i, (s, o) in enumerate(zip(shapes, orders, strict=False)))
    first = Steps((-900, 0, 900), (-3, -1, 1, 4))
    steps = (first, *[Steps((-9, 0, 9), (-3, -1, 1, 4))] * (len(widths) - 1))
    bias = rng.integers(-99, 100, widths[0]).astype(np.int32)
    return IntegerNetwork(Pixels(2), weights, steps, bias, 1.0, (0.0,) * len(widths))


def by_hand(network: IntegerNetwork, raw: np.ndarray) -> np.ndarray:
    values = raw.astype(np.int64) * network.inputs.fine  # type: ignore[union-attr]
    for number, (w, s) in enumerate(zip(network.weights, network.steps, strict=True)):
        sums = values @ explicit_values(w).T + (network.bias if number == 0 else 0)  # type: ignore[arg-type]
        values = np.asarray(s.levels)[np.searchsorted(s.thresholds, sums, side="right")]
    return values


# --- passes ---


@pytest.mark.usefixtures("_all_transformed")
@pytest.mark.parametrize("sparsity", [0.0, 0.875])
def test_transforms_give_the_features_of_the_explicit_network(sparsity: float) -> None:
    net = drawn(sparsity=sparsity)
    assert all(step.transforms for step in net._forward.steps)
    features = np.asarray(net.features(samples()))
    np.testing.assert_allclose(features, explicit(net).features(samples()), atol=1e-6)
    assert np.std(features) > 0.01


def test_small_blocks_run_as_explicit_values_do() -> None:
    net = drawn()
    assert not any(step.transforms for step in net._forward.steps)
    np.testing.assert_array_equal(net.features(samples()), explicit(net).features(samples()))
    wide = random_blocks(0, (3, TRANSFORMED), 2)
    assert Step(wide, 1.0, jnp.tanh).transforms
    assert not Step(hntk.WeightMatrix(wide.values, 1.0, "ternary"), 1.0, jnp.tanh).transforms


@pytest.mark.usefixtures("_all_transformed")
@pytest.mark.parametrize("way", ["dense", "planes", "sparse"])
def test_whole_networks_are_exact_in_every_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = whole((50, 33, 9))
    raw = np.random.default_rng(0).integers(0, 256, (6, 40)).astype(np.uint8)
    expected = by_hand(network, raw)
    assert len(np.unique(expected, axis=0)) == 6
    monkeypatch.setattr(Forward, "way", lambda self, rows: way)
    np.testing.assert_array_equal(np.concatenate(list(network.feature_batches(raw))), expected)


@pytest.mark.parametrize("way", ["dense", "planes"])
def test_large_blocks_between_small_ones_are_exact(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hntk.networks.layers.TRANSFORMED", 64)
    monkeypatch.setattr(Forward, "way", lambda self, rows: way)
    network = whole((70, 33, 20), 24)
    assert [step.transforms for step in network._forward.steps] == [False, True, True]
    raw = np.random.default_rng(0).integers(0, 256, (6, 24)).astype(np.uint8)
    np.testing.assert_array_equal(np.concatenate(list(network.feature_batches(raw))), by_hand(network, raw))
    # Planes are counted for the layers that run on them.
    assert network._forward._planes_per_weight == len(Pixels(2).code.jumps)


@pytest.mark.usefixtures("_all_transformed")
def test_equal_layers_run_as_one_scan() -> None:
    network = whole((16,) * 6, 16)
    raw = np.random.default_rng(0).integers(0, 256, (4, 16)).astype(np.uint8)
    counts = network._forward._dense.counts
    # The first layer has places and a bias.
    assert counts == (1, 5)
    np.testing.assert_array_equal(np.concatenate(list(network.feature_batches(raw))), by_hand(network, raw))


@pytest.mark.usefixtures("_all_transformed")
def test_features_are_the_same_under_transformations() -> None:
    net = drawn()
    expected = np.asarray(explicit(net).features(samples()))
    np.testing.assert_allclose(jax.jit(net.features)(samples()), expected, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(net.features)(samples()[:, None])[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda n, x: n.features(x))(net, samples()), expected, atol=1e-6)
    slopes = [jax.grad(lambda x, n=n: jnp.sum(n.features(x) ** 2))(samples()) for n in (net, explicit(net))]
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-5)
    assert np.abs(slopes[0]).max() > 0.01


@pytest.mark.usefixtures("_all_transformed")
def test_networks_of_one_law_run_as_one_batch() -> None:
    law = hntk.weight_law("orthogonal")
    several = [
        hntk.draw_network(["tanh", "relu"], (20, 9), INPUTS, tau0=1.0, law=law, key=jax.random.key(i)) for i in range(2)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    features = jax.vmap(lambda net: net.features(samples()))(stacked)
    np.testing.assert_allclose(features, [explicit(net).features(samples()) for net in several], atol=1e-6)


def test_kernels_are_those_of_the_explicit_network() -> None:
    net = drawn()
    found, known = (hntk.empirical_kernels(n, samples()) for n in (net, explicit(net)))
    np.testing.assert_allclose(found.ck, known.ck, atol=1e-6)
    np.testing.assert_allclose(found.ntk, known.ntk, atol=1e-5)


def test_only_the_first_layer_has_places() -> None:
    net = drawn(widths=(20, 9))
    assert [w.order for w in net.weights] == ["random", "none"]  # type: ignore[union-attr]
    generated = hntk.weight_law("orthogonal", order="generated")
    first = hntk.draw_network(["tanh"] * 2, (20, 9), INPUTS, tau0=1.0, law=generated, key=KEY).weights
    assert [w.order for w in first] == ["generated", "none"]  # type: ignore[union-attr]


# --- costs ---


def test_bytes_by_formula_are_those_of_packed_blocks() -> None:
    for sparsity in (0.0, 0.5, 0.875):
        for order in ("none", "random", "generated"):
            law = hntk.weight_law("orthogonal", sparsity=sparsity, order=order)
            net = hntk.draw_network(["sign"] * 2, (70, 33), 45, tau0=1.0, law=law, key=KEY)
            found = hntk.storage(net, 10)
            assert found.hidden == found.hidden_smallest
            # A byte at the head of each, and the last of each filled up.
            assert found.hidden <= sum(pack(w).nbytes for w in net.weights) <= found.hidden + 4
            assert (found.hidden_base3, found.hidden_entropy) == (None, None)
            assert storage_of(net.activations, net.widths, 45, law, 10) == found
    # By hand: 70 rows of 45 inputs are two blocks of 64 in two groups.
    net = hntk.draw_network(
        ["sign"], (70,), 45, tau0=1.0, law=hntk.weight_law("orthogonal", order="random"), key=KEY
    )  # fmt: skip
    assert hntk.storage(net, 10).hidden == -(-(2 * (45 + 32) + 45 * 6) // 8)


def test_operations_are_those_of_transforms() -> None:
    law = hntk.weight_law("orthogonal", order="none")
    sigma = hntk.staircase([-1.0, 0.0, 1.0], [-2.0, -1.0, 1.0, 2.0])
    net = hntk.draw_network([sigma] * 2, (64, 64), 64, tau0=1.0, law=law, key=KEY)
    found = hntk.arithmetic(net, 10, input_bits=8)
    steps = int(log2(64 // 2))
    assert found.multiply_accumulates == 2 * 64 * steps + 64 * 10
    bits = [64 * sum(b + step for step in range(steps)) for b in (8, 2)]
    assert found.bit_operations == found.plane_operations == sum(bits) + 64 * 10 * 32 * 2
    assert found.activation_bytes == 64 * (8 + 2) // 8
    # A fraction of the additions of explicit weights.
    assert found.multiply_accumulates < hntk.arithmetic(explicit(net), 10).multiply_accumulates / 3


def test_summaries_count_blocks_as_they_are_packed() -> None:
    net = drawn(widths=(70, 33))
    found = hntk.summarize(net)
    for layer, w in zip(found.layers, net.weights, strict=True):
        assert isinstance(w, OrthogonalMatrix)
        values = explicit_values(w)
        assert (layer.encoding, layer.weights, layer.bytes) == ("hadamard", "ternary", pack(w).nbytes)
        assert (layer.additions, layer.multiply_accumulates) == (sum(w.additions), 0)
        assert layer.zeros == pytest.approx(np.mean(values == 0))
        assert layer.float_bytes == 4 * values.size
    as_values = hntk.summarize(net, ["bits2", "mask+signs"]).layers
    assert [layer.encoding for layer in as_values] == ["bits2", "mask+signs"]
    assert as_values[0].additions == np.count_nonzero(explicit_values(net.weights[0]))  # type: ignore[arg-type]


# --- compression ---


def test_compressed_networks_are_orthogonal_where_the_sparsity_allows() -> None:
    x = samples(30)
    found = hntk.match(["relu"], 1.0, 3)

    def compressed(sparsity: float, weights: str | None) -> hntk.CompressedNetwork:
        return hntk.compress(["relu"], (9,), x, found, sparsity, key=KEY, weights=weights)  # type: ignore[arg-type]

    for sparsity, weights, kind in (
        (0.5, None, OrthogonalMatrix),
        (0.0, None, OrthogonalMatrix),
        (0.875, "orthogonal", OrthogonalMatrix),
        (0.5, "iid", hntk.WeightMatrix),
        (0.6, None, hntk.WeightMatrix),
        (0.6, "iid", hntk.WeightMatrix),
    ):
        net = compressed(sparsity, weights)
        assert isinstance(net.weights[0], kind), (sparsity, weights)
        assert net.law == hntk.weight_law("orthogonal" if kind is OrthogonalMatrix else "ternary", sparsity=sparsity)
        np.testing.assert_allclose(net.features(x), explicit_features(net, x), atol=1e-6)
    with pytest.raises(ValueError, match="neighbours are 0.5 and 0.75"):
        compressed(0.6, "orthogonal")
    for weights in ("dense", 2, True):
        with pytest.raises(ValueError, match="'orthogonal' or 'iid'"):
            compressed(0.5, weights)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="narrower"):
        hntk.compress(["relu"], (10**14,), x, found, 0.5, key=KEY)


def explicit_features(net: hntk.Network, x: np.ndarray) -> np.ndarray:
    w = net.weights[0]
    values = explicit_values(w) if isinstance(w, OrthogonalMatrix) else np.asarray(w.values, int)
    h = np.asarray(net.activations[0](jnp.asarray(x @ values.T * w.scale, jnp.float32)))
    return (h - net.centres[0]) / len(values) ** 0.5


def test_rows_of_one_block_scatter_less_than_independent_ones() -> None:
    """The kernel of a linear layer has no width noise, and that of independent rows has."""
    x = np.random.default_rng(0).normal(size=(10, 64)) / 8
    errors = {}
    for law in ("orthogonal", "ternary", "orthogonal_gaussian"):
        net = hntk.draw_network(["linear"], (64,), 64, tau0=1.0, law=law, key=KEY)
        features = np.asarray(net.features(x), np.float64)
        errors[law] = np.abs(features @ features.T - x @ x.T).max()
    assert errors["orthogonal"] < 1e-5
    assert errors["orthogonal_gaussian"] < 1e-5
    assert errors["ternary"] > 0.1
