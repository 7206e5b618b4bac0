"""Layers as they are trained: roundings, standardised sums, and the gradients that stand for derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.training.few_level_layers import (
    LEAST_VARIANCE,
    FewLevelLayer,
    SumStatistics,
    ascending,
    cut_of,
    eight_bits,
    forward,
    spaced_staircase,
    staircase,
    ternary,
    ternary_values,
    threshold_values,
    with_cuts,
    with_followed_cuts,
)
from tests.support.few_level_networks import parameters

# Levels that are neither equidistant nor monotone.
LAYER = FewLevelLayer((0, 3, -1, 4), (0.9, 0.7, 1.3))
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(50, 6)).astype(np.float32)
THRESHOLDS = np.sort(RNG.normal(size=(6, 3)), axis=1).astype(np.float32)


WINDOWS: dict[str | None, Callable[[float], float]] = {
    None: lambda t: float(abs(t) < 0.5),
    "triangle": lambda t: max(0.0, 1 - abs(t)),
}
compiled_forward = jax.jit(forward, static_argnums=1)


def slow_gradients(z: np.ndarray, thresholds: np.ndarray, surrogate: str | None, out: np.ndarray) -> Any:
    """Follow the definition of both gradients of `LAYER`, a sample and a threshold at a time."""
    layer = LAYER
    by_z, by_t = np.zeros(z.shape), np.zeros(thresholds.shape)
    for sample, neuron in np.ndindex(z.shape):
        for k, width in enumerate(layer.windows):
            t = (float(z[sample, neuron]) - float(thresholds[neuron, k])) / width
            slope = (layer.levels[k + 1] - layer.levels[k]) * WINDOWS[surrogate](t) / width
            by_z[sample, neuron] += out[sample, neuron] * slope
            by_t[neuron, k] -= out[sample, neuron] * slope
    return by_z, by_t


@pytest.mark.parametrize("surrogate", [None, "triangle"])
def test_the_gradient_of_the_staircase_is_its_definition(surrogate: str | None) -> None:
    rng = np.random.default_rng(2)
    layer = replace(LAYER, surrogate=None if surrogate is None else hntk.surrogate(surrogate))
    out = rng.normal(size=Z.shape).astype(np.float32)
    levels, back = jax.vjp(jax.jit(lambda z, t: staircase(z, t, layer)), Z, THRESHOLDS)
    reached = (Z[:, :, None] >= THRESHOLDS).sum(axis=2)
    np.testing.assert_array_equal(levels, np.asarray(layer.levels)[reached])
    for gradient, slow in zip(back(jnp.asarray(out)), slow_gradients(Z, THRESHOLDS, surrogate, out), strict=True):
        np.testing.assert_allclose(gradient, slow, rtol=1e-4, atol=1e-5)
        assert np.ptp(slow) > 1


def test_a_uniform_staircase_has_the_clipped_straight_through_gradient() -> None:
    """Windows of equidistant thresholds tile: the slope is constant between the outermost, and 0 outside."""
    layer, spacing = FewLevelLayer((0, 1, 2, 3), (0.5,) * 3), 0.5
    thresholds = jnp.asarray([[0.25, 0.75, 1.25]])
    z = jnp.linspace(-1, 2.5, 113)[:, None]
    slope = jax.vjp(jax.jit(lambda z: staircase(z, thresholds, layer)), z)[1](jnp.ones_like(z))[0]
    inside = (z > 0) & (z < 1.5) & (jnp.abs(z % spacing) > 1e-6)
    outside = (z < 0) | (z > 1.5)
    np.testing.assert_allclose(slope[inside], 1 / spacing, rtol=1e-6)
    assert np.all(slope[outside] == 0)


def test_the_order_of_thresholds_matters_only_where_jumps_differ() -> None:
    assert FewLevelLayer((0, 1, 2), (0.5, 0.5)).is_uniform
    assert not LAYER.is_uniform
    mixed = jnp.asarray(THRESHOLDS[:, ::-1])
    np.testing.assert_array_equal(ascending(mixed, LAYER), THRESHOLDS)
    uniform = FewLevelLayer((0, 1, 2, 3), (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(staircase(Z, mixed, uniform), staircase(Z, THRESHOLDS, uniform))
    assert np.any(staircase(Z, mixed, LAYER) != staircase(Z, THRESHOLDS, LAYER))


def test_roundings_are_exact_and_pass_the_gradient_on() -> None:
    rng = np.random.default_rng(2)
    w = jnp.asarray(rng.normal(size=(8, 9)) / 3, jnp.float32)
    for rounding in (lambda v: ternary(v, 0.3), eight_bits):
        out = jnp.asarray(rng.normal(size=w.shape), jnp.float32)
        value, back = jax.vjp(jax.jit(rounding), w)
        np.testing.assert_array_equal(back(out)[0], out)
        assert np.any(np.asarray(value) != np.asarray(w))
    assert set(np.unique(ternary(w, 0.7))) == {-1.0, 0.0, 1.0}
    steps = np.asarray(eight_bits(w)) / (np.abs(w).max() / 127)
    np.testing.assert_allclose(steps, np.rint(steps), atol=2e-5)
    assert np.abs(np.asarray(eight_bits(w)) - w).max() <= np.abs(w).max() / 127 * 0.501


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.93])
def test_a_sparsity_is_reached(sparsity: float) -> None:
    w = np.random.default_rng(2).standard_t(3, size=(40, 50)).astype(np.float32)
    layer = replace(LAYER, sparsity=sparsity)
    cut = cut_of({"weights": w}, layer)
    assert abs(np.mean(np.asarray(ternary(w, cut)) == 0) - sparsity) <= 1 / w.size
    assert np.sum(ternary_values(w, sparsity) == 0) == round(sparsity * w.size)
    # ties, and weights that are 0 already
    assert np.sum(ternary_values(np.ones((10, 10)), sparsity) == 0) == round(100 * sparsity)


@pytest.mark.parametrize("sparsity", [0.3, 0.9, 0.99])
def test_a_cut_follows_the_weights(sparsity: float) -> None:
    """The weights grow by a half and change their law while the cut follows; a cut that stays is far off."""
    layer = replace(LAYER, sparsity=sparsity)
    rng = np.random.default_rng(1)
    start, end = rng.normal(size=(100, 200)), 1.5 * rng.laplace(size=(100, 200))
    parameters = with_cuts({"layers": [{"weights": jnp.asarray(start, jnp.float32)}]}, [layer])
    first = parameters["layers"][0]["cut"]
    # a hundred steps each, at a learning rate of .001
    follow = jax.jit(lambda p: jax.lax.fori_loop(0, 100, lambda _, q: with_followed_cuts(q, [layer], 0.001), p))
    for share in np.linspace(0, 1, 40).tolist() + [1.0] * 20:
        weights = jnp.asarray((1 - share) * start + share * end, jnp.float32)
        parameters = follow({"layers": [parameters["layers"][0] | {"weights": weights}]})
    kept = float(jnp.mean(jnp.abs(weights) > cut_of(parameters["layers"][0], layer)))
    assert abs(kept / (1 - sparsity) - 1) < 0.03
    assert abs(float(jnp.mean(jnp.abs(weights) > first)) / (1 - sparsity) - 1) > 0.05


def test_a_cut_rests_with_the_weights() -> None:
    """At a learning rate of 0 weights do not move, and none may be turned on or off by a cut that does."""
    layer = replace(LAYER, sparsity=0.9)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(100, 200)), jnp.float32)
    parameters = {"layers": [{"weights": weights, "cut": jnp.float32(1.0)}]}
    rested, moved = (with_followed_cuts(parameters, [layer], rate)["layers"][0]["cut"] for rate in (0.0, 0.01))
    assert rested == 1.0 < moved
    settled = with_cuts(parameters, [layer])["layers"][0]
    assert np.sum(np.asarray(ternary(weights, settled["cut"])) == 0) == round(0.9 * weights.size)


def test_without_a_sparsity_weights_below_a_share_of_the_mean_are_0() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(size=(30, 20)).astype(np.float32)
    expected = np.sign(w) * (np.abs(w) > 0.7 * np.abs(w).mean())
    np.testing.assert_array_equal(ternary(w, cut_of({"weights": w}, LAYER)), expected)
    np.testing.assert_array_equal(ternary_values(w, None), expected)


def test_sums_are_standardised_and_scales_of_samples_and_weights_do_not_count() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (70, 12)).astype(np.float32)
    sums = x @ rng.integers(-1, 2, (12, 5)).astype(np.float32)
    statistics = SumStatistics.of(sums)
    np.testing.assert_allclose(statistics.mean, sums.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.deviation, np.sqrt(sums.var(axis=0) + LEAST_VARIANCE), rtol=1e-5)
    made, layers = parameters((8, 7), 12), (LAYER, LAYER)
    scores, used = compiled_forward(made, layers, x)
    assert scores.shape == (70, 3)
    # the same statistics given give the same scores, and those of other samples do not
    np.testing.assert_array_equal(compiled_forward(made, layers, x, used)[0], scores)
    assert np.any(compiled_forward(made, layers, x[:20], used)[0] != compiled_forward(made, layers, x[:20])[0])
    larger = jax.tree.map(lambda leaf: leaf, made)
    larger["layers"][0]["weights"] *= 3.0
    np.testing.assert_array_equal(compiled_forward(larger, layers, x)[0], scores)


def test_neurons_whose_sum_never_changes_stay_finite() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 9, (40, 6)).astype(np.float32)
    x[:, :3] = 7
    made = parameters((5, 4), 6)
    made["layers"][0]["weights"] = made["layers"][0]["weights"].at[0].set(0).at[1, 3:].set(0)
    loss = jax.jit(jax.value_and_grad(lambda p: jnp.sum(jnp.square(forward(p, (LAYER, LAYER), x)[0]))))
    value, gradient = loss(made)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    statistics = compiled_forward(made, (LAYER, LAYER), x)[1][0]
    np.testing.assert_allclose(statistics.deviation[:2], np.sqrt(LEAST_VARIANCE), rtol=1e-6)


def test_spaced_thresholds_are_those_of_their_two_numbers() -> None:
    """Levels as with the list of thresholds; the gradient is that of the clipped ramp, as of windows that tile."""
    layer = FewLevelLayer((0, 1, 2, 3), (0.8,) * 3, spaced=True)
    spaced = jnp.asarray(np.column_stack([THRESHOLDS[:, 0], np.full(6, np.log(0.8))]), jnp.float32)
    listed = jnp.asarray(threshold_values(np.asarray(spaced), layer), jnp.float32)
    out = jnp.asarray(np.random.default_rng(3).normal(size=Z.shape), jnp.float32)
    values, back = jax.vjp(lambda z, t: spaced_staircase(z, t, 4), Z, spaced)
    expected, back_listed = jax.vjp(lambda z, t: staircase(z, t, layer), Z, listed)
    np.testing.assert_array_equal(values, expected)
    by_z, by_two = back(out)
    by_z_listed, by_each = back_listed(out)
    np.testing.assert_allclose(by_z, by_z_listed, rtol=1e-4)
    np.testing.assert_allclose(by_two[:, 0], by_each.sum(axis=1), rtol=1e-4, atol=1e-5)
