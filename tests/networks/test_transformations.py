"""Features and scores under JAX's transformations, and networks as their arguments."""

from __future__ import annotations

import copy
import pickle
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.architectures import INPUTS, classifier, raw_samples, whole_classifier

WIDTHS = (20, 9)
SMOOTH = [["erf", "tanh"], ["cos", "gelu"], [hntk.activation("polynomial", coefficients=[0.1, 1.0, 0.5]), "sin"]]


@lru_cache
def samples(n: int = 6) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(n, INPUTS)) / INPUTS**0.5).astype(np.float32)


def network(activations: list | None = None, law: str = "gaussian", **shape: float) -> hntk.Network:
    drawn = hntk.weight_law(law, **shape)
    return hntk.draw_network(activations or ["erf", "relu"], WIDTHS, INPUTS, tau0=1.0, law=drawn, key=jax.random.key(2))


@pytest.mark.parametrize(
    "kind",
    [{}, {"law": "ternary", "sparsity": 0.99}, {"activations": ["sign", "step"], "law": "ternary"}],
    ids=["dense", "sparse", "steps"],
)
def test_features_are_the_same_under_jit_and_vmap(kind: dict) -> None:
    made = network(**kind)
    expected = np.asarray(made.features(samples()))
    np.testing.assert_allclose(jax.jit(made.features)(samples()), expected, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(made.features)(samples()[:, None])[:, 0], expected, atol=1e-6)
    # the batches of a compiled call are those of any other
    np.testing.assert_allclose(jax.jit(lambda x: made.features(x, batch=4))(samples()), expected, atol=1e-6)


def test_what_is_prepared_in_a_transformation_serves_outside_of_it() -> None:
    deep = hntk.draw_network(["relu"] * 6, [16] * 6, INPUTS, tau0=1.0, key=jax.random.key(2))
    traced = jax.jit(deep.features)(samples())
    np.testing.assert_allclose(deep.features(samples()), traced, atol=1e-6)
    np.testing.assert_allclose(jax.jit(deep.features)(samples()), traced, atol=1e-6)


@pytest.mark.parametrize("activations", SMOOTH, ids=str)
def test_gradients_are_finite_differences(activations: list) -> None:
    made = network(activations)
    direction = np.random.default_rng(1).normal(size=samples().shape).astype(np.float32)

    def energy(x: jax.Array) -> jax.Array:
        return jnp.sum(made.features(x) ** 2)

    def exact(t: float) -> float:
        """Return the energy at a distance along the direction, in float64."""
        h = samples().astype(np.float64) + t * direction
        for w, factor, sigma, m, *_ in made.layers():
            z = h @ np.asarray(w.dense(), np.float64).T * factor
            h = np.asarray(sigma(jnp.asarray(z)), np.float64) - m
        return float(np.sum(h**2)) / WIDTHS[-1]

    slope = float(jnp.vdot(jax.grad(energy)(samples()), direction))
    step = 1e-5
    assert slope == pytest.approx((exact(step) - exact(-step)) / (2 * step), rel=1e-4)
    assert abs(slope) > 1e-3


def test_steps_have_no_slope() -> None:
    made = network(["sign", "step"], law="ternary")
    assert not np.any(jax.grad(lambda x: jnp.sum(made.features(x)))(samples()))


def test_shapes_are_checked_and_values_are_not() -> None:
    made = network()
    with pytest.raises(ValueError, match="columns"):
        jax.jit(made.features)(samples()[:, 1:])
    with pytest.raises(ValueError, match="one sample per row"):
        jax.vmap(made.features)(samples())
    assert np.all(np.isnan(jax.jit(made.features)(np.full((1, INPUTS), np.nan))))
    with pytest.raises(ValueError, match="NaN"):
        made.features(np.full((1, INPUTS), np.nan))


def with_normalization() -> hntk.Classifier:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(INPUTS, INPUTS)))[0].astype(np.float32)
    known = hntk.Normalization(np.linspace(-1, 1, INPUTS).astype(np.float32), 2.0, turn, unit_norm=True)
    rng = np.random.default_rng(3)
    return hntk.Classifier(
        network(), np.array(["a", "b"]), rng.normal(size=(9, 2)), rng.normal(size=2), normalization=known
    )


@pytest.mark.parametrize("raw", [False, True])
def test_scores_are_the_same_under_transformations(raw: bool) -> None:
    made = with_normalization()

    def scores(x: jax.Array) -> jax.Array:
        return made.scores(x, raw=raw)

    expected = made.scores(samples(), raw=raw)
    np.testing.assert_allclose(jax.jit(scores)(samples()), expected, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(scores)(samples()[:, None])[:, 0], expected, atol=1e-5)
    # scores are linear in the features
    features = lambda x: made.network.features(made.normalization(x) if raw else x)  # noqa: E731
    by_features = jax.jacobian(features)(samples()[:1])[0, :, 0]
    expected = made.weights.astype(np.float32).T @ np.asarray(by_features)
    np.testing.assert_allclose(jax.jacobian(scores)(samples()[:1])[0, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize("pixels", [False, True])
def test_whole_scores_are_exact_under_transformations(pixels: bool) -> None:
    made = whole_classifier(widths=WIDTHS, pixels=pixels)
    raw = raw_samples(made)[:9]
    expected = made.scores(raw)
    np.testing.assert_array_equal(jax.jit(made.scores)(raw), expected)
    np.testing.assert_array_equal(jax.vmap(made.scores)(raw[:, None])[:, 0], expected)


# --- networks as arguments ---


def test_networks_are_arguments_of_transformations() -> None:
    made = network()
    assert len(jax.tree.leaves(made)) >= 3
    features = jax.jit(lambda net, x: net.features(x))(made, samples())
    np.testing.assert_allclose(features, made.features(samples()), atol=1e-6)
    by_weights = jax.grad(lambda net: jnp.sum(net.features(samples()) ** 2))(made)
    assert isinstance(by_weights, hntk.Network)
    step = 1e-2
    moved = [
        hntk.Network(
            (hntk.WeightMatrix(made.weights[0].values.at[0, 0].add(t)), made.weights[1]),
            made.activations, made.centres, None, None,
        ).features(samples())
        for t in (-step, step)
    ]  # fmt: skip
    slope = float(jnp.sum(moved[1] ** 2) - jnp.sum(moved[0] ** 2)) / (2 * step)
    assert float(by_weights.weights[0].values[0, 0]) == pytest.approx(slope, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("law", ["ternary", "gaussian"])
def test_classifiers_are_arguments_of_transformations(law: str) -> None:
    made = classifier(widths=WIDTHS, law=law)
    scores = jax.jit(lambda c, x: c.scores(x))(made, samples())
    np.testing.assert_allclose(scores, made.scores(samples()), atol=1e-5)
    again = jax.tree.map(lambda leaf: leaf, made)
    assert type(again) is type(made)
    assert again.classes.tolist() == made.classes.tolist()
    assert again.predict(samples()).tolist() == made.predict(samples()).tolist()


def test_classifiers_with_a_normalisation_are_arguments_too() -> None:
    made = with_normalization()
    scores = jax.jit(lambda c, x: c.scores(x, raw=True))(made, samples())
    np.testing.assert_allclose(scores, made.scores(samples(), raw=True), atol=1e-5)


def test_networks_of_one_law_run_as_one_batch() -> None:
    law = hntk.weight_law("gaussian")
    several = [
        hntk.draw_network(["erf", "relu"], WIDTHS, INPUTS, tau0=1.0, law=law, key=jax.random.key(i)) for i in range(3)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    features = jax.vmap(lambda net: net.features(samples()))(stacked)
    np.testing.assert_allclose(features, np.stack([net.features(samples()) for net in several]), atol=1e-6)


@pytest.mark.parametrize("pixels", [False, True])
def test_whole_classifiers_are_arguments_of_transformations(pixels: bool) -> None:
    made = whole_classifier(widths=WIDTHS, pixels=pixels)
    raw = raw_samples(made)[:9]
    np.testing.assert_array_equal(jax.jit(lambda c, x: c.scores(x))(made, raw), made.scores(raw))


def test_compressed_networks_are_arguments_of_transformations() -> None:
    made = hntk.compress(["relu"], [9], samples(60), levels=3, key=jax.random.key(0))
    features = jax.jit(lambda net, x: net.features(x))(made, samples())
    np.testing.assert_allclose(features, made.features(samples()), atol=1e-6)


def test_instances_compare_by_identity() -> None:
    made = classifier(widths=WIDTHS)
    whole = whole_classifier(widths=WIDTHS)
    for one in (made, made.network, whole, whole.network, network()):
        other = pickle.loads(pickle.dumps(one))
        assert one == one
        assert one != other
        assert one != copy.copy(one)
        assert len({one, other}) == 2


# --- how they are shown ---


def test_representations_are_short() -> None:
    made = classifier(widths=WIDTHS)
    assert repr(network(["erf", "relu"])) == "Network(45 -> 20 -> 9, float32 weights, activations erf, relu)"
    assert repr(made) == (
        "RidgeClassifier(Network(45 -> 20 -> 9, ternary weights, activations staircase4), 2 classes: 'left', 'right')"
    )
    deep = hntk.draw_network(["relu"] * 9, [9] * 9, 9, tau0=1.0, key=jax.random.key(0))
    assert "9 -> 9 -> 9 -> … -> 9 -> 9," in repr(deep)
    whole = whole_classifier(widths=WIDTHS)
    assert repr(whole.network) == (
        "IntegerNetwork(45 inputs as rounded to whole numbers of at most 127; layers of 20, 9)"
    )
    assert repr(whole).startswith("IntegerClassifier(IntegerNetwork(")
    many = hntk.Classifier(network(), np.arange(1000), np.ones((9, 1000)), np.ones(1000))
    assert repr(many).endswith("1,000 classes: 0, 1, 2, 3, …)")
    assert len(repr(many)) < 200
