"""Staircases with thresholds of each neuron's own, against comparisons in int64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations.lookup import COMPARED, lookup
from hntk.networks.forward import Forward
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.weights.laws import weight_law

WAYS = ("dense", "planes", "sparse")
INT32 = np.iinfo(np.int32)


def direct(steps: NeuronSteps, sums: np.ndarray) -> np.ndarray:
    """Return the levels of (n, d) sums by counting."""
    reached = np.asarray(sums, np.int64)[..., None] >= np.asarray(steps.thresholds, np.int64)
    return np.asarray(steps.levels)[reached.sum(axis=-1)]


def drawn(rng: np.random.Generator, width: int, count: int, most: int) -> NeuronSteps:
    """Draw thresholds of each neuron, some of them equal, and levels that do not ascend."""
    thresholds = np.sort(rng.integers(-most, most, (width, count)), axis=1).astype(np.int32)
    thresholds[::3, 1:2] = thresholds[::3, :1]
    return NeuronSteps(np.sort(thresholds, axis=1), tuple(rng.integers(-9, 10, count + 1).tolist()))


def network(seed: int, kinds: str, counts: tuple[int, ...] = (3, 1, 8)) -> IntegerNetwork:
    """Return layers whose staircases are the neurons' own ("n"), or one for all ("s")."""
    rng, widths = np.random.default_rng(seed), [33, 40, 17, 21]
    weights = tuple(
        weight_law("ternary").draw(jax.random.key(i), (d, p))
        for i, (p, d) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    )
    own = [drawn(rng, w.shape[0], t, most) for w, t, most in zip(weights, counts, (2000, 30, 30), strict=True)]
    shared = [Steps(tuple(s.thresholds[0].tolist()), s.levels) for s in own]
    steps = tuple(s if kind == "n" else t for s, t, kind in zip(own, shared, kinds, strict=True))
    return IntegerNetwork(Pixels(), weights, steps, None, 1.0, (0.0,) * 3)


def levels_of(made: IntegerNetwork, raw: np.ndarray) -> np.ndarray:
    """Compute all layers' levels in int64, side by side."""
    values, found = np.asarray(made.inputs(raw), np.int64), []
    for w, steps in zip(made.weights, made.steps, strict=True):
        sums = values @ np.asarray(w.values, np.int64).T
        own = np.broadcast_to(np.asarray(steps.thresholds), (w.shape[0], len(steps.levels) - 1))
        values = direct(NeuronSteps(own, steps.levels), sums)
        found.append(values)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("kinds", ["nnn", "sns"])
def test_every_way_gives_the_levels_to_the_bit(kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(0, kinds)
    raw = np.random.default_rng(1).integers(0, 256, (30, 33)).astype(np.uint8)
    wanted = levels_of(made, raw)
    assert len(np.unique(wanted, axis=0)) > 20
    for way in WAYS:
        monkeypatch.setattr(Forward, "way", lambda self, rows, way=way: way)
        found = np.concatenate(list(made.feature_batches(raw, layers="all")))
        np.testing.assert_array_equal(found, wanted)


def test_networks_are_arguments_of_compiled_and_mapped_functions() -> None:
    both = [network(seed, "nsn") for seed in (0, 0)]
    steps = both[1].steps
    assert isinstance(steps[0], NeuronSteps)
    moved = NeuronSteps(steps[0].thresholds + 7, steps[0].levels)
    both[1] = IntegerNetwork(both[1].inputs, both[1].weights, (moved, *steps[1:]), None, 1.0, (0.0,) * 3)
    assert [leaf.shape for leaf in jax.tree.leaves(both[0].steps)] == [(40, 3), (21, 8)]
    raw = np.random.default_rng(1).integers(0, 256, (12, 33)).astype(np.uint8)
    wanted = [levels_of(each, raw) for each in both]
    assert np.any(wanted[0] != wanted[1])
    every = lambda made, x: next(made.feature_batches(x, layers="all"))  # noqa: E731
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    found = jax.jit(jax.vmap(every, in_axes=(0, None)))(stacked, jnp.asarray(raw))
    np.testing.assert_array_equal(found, wanted)


def test_a_scan_of_equal_layers_keeps_each_ones_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    weights = tuple(weight_law("ternary").draw(jax.random.key(i), (16, 16)) for i in range(6))
    steps = (drawn(rng, 16, 3, 900), *(drawn(rng, 16, 3, 20) for _ in range(5)))
    made = IntegerNetwork(Pixels(), weights, steps, None, 1.0, (0.0,) * 6)
    raw = rng.integers(0, 256, (20, 16)).astype(np.uint8)
    monkeypatch.setattr(Forward, "way", lambda self, rows: "dense")
    np.testing.assert_array_equal(np.concatenate(list(made.feature_batches(raw, layers="all"))), levels_of(made, raw))
    assert max(made._forward._dense.counts) > 1


@pytest.mark.parametrize("count", [1, 3, COMPARED + 1, 130])
def test_levels_are_counted_for_each_neuron(count: int) -> None:
    rng = np.random.default_rng(count)
    steps, sums = drawn(rng, 5, count, 50), rng.integers(-60, 60, (40, 5))
    wanted = direct(steps, sums)
    for dtype in (jnp.float32, jnp.int32):
        np.testing.assert_array_equal(steps(jnp.asarray(sums, dtype)), wanted)
    # Sums whose rows are neurons, as the sparse way has them.
    thresholds, levels = steps.table(jnp.float32)
    np.testing.assert_array_equal(lookup(thresholds[..., None], levels, jnp.asarray(sums.T, jnp.float32)), wanted.T)


def test_thresholds_beyond_float32_are_reached_where_they_are() -> None:
    big = 2**24
    thresholds = np.array([[-big - 1, big + 1], [INT32.min, INT32.max], [INT32.max, INT32.max]], np.int32)
    steps = NeuronSteps(thresholds, (1, 2, 3))
    wanted = [[1, 2, 1], [2, 2, 1], [2, 2, 1], [3, 2, 1]]
    column = np.array([-big - 2, -big, big, big + 2])
    for dtype in (jnp.float32, jnp.int32):
        sums = jnp.asarray(np.tile(column[:, None], 3), dtype)
        assert steps(sums).tolist() == wanted
        assert jax.jit(lambda steps, s: steps(s))(steps, sums).tolist() == wanted


def test_a_bound_of_sums_leaves_out_what_no_neuron_reaches() -> None:
    thresholds = np.array([[-90, -9, -9, 0, 5, 80], [-95, -12, -9, 3, 5, 90], [-99, -20, -9, 3, 3, 99]], np.int32)
    steps = NeuronSteps(thresholds, (1, 2, 3, 4, 4, 6, 7))
    near = steps.within(12)
    assert near.levels == (2, 3, 4, 6)
    assert near.thresholds.tolist() == [[-9, -9, 5], [-12, -9, 5], [-12, -9, 3]]
    rng = np.random.default_rng(0)
    for bound in (0, 3, 12, 94, 98, 1000):
        own = drawn(rng, 3, 6, 100)
        for made in (steps, own):
            sums = np.tile(np.arange(-bound, bound + 1)[:, None], 3)
            np.testing.assert_array_equal(direct(made.within(bound), sums), direct(made, sums))
            assert len(made.within(bound).levels) <= len(made.levels)
            assert np.abs(made.within(bound).thresholds).max(initial=0) <= bound + 1
    assert steps.within(1000).levels == (1, 2, 3, 4, 6, 7)
    assert NeuronSteps(thresholds, (5,) * 7).within(12).levels == (5,)


def test_levels_as_numbers_and_planes() -> None:
    steps = NeuronSteps(np.zeros((2, 3), np.int32), (5, -7, 7, 6))
    assert steps.most == 7
    assert steps.code == Steps((0, 0, 0), (5, -7, 7, 6)).code


def test_a_summary_counts_levels_and_bytes() -> None:
    shared, own = (hntk.summarize(network(0, kinds)).layers for kinds in ("sss", "nss"))
    assert own[0].levels == shared[0].levels == len(set(network(0, "sss").steps[0].levels))
    # 40 neurons with a first threshold of 16 bits and two gaps of 16; four levels of 16 bits
    assert own[0].bytes - shared[0].bytes == 40 * (2 + 2 * 2) - 3 * 4
    assert own[1] == shared[1]
