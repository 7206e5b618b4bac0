"""Fitted classifiers as JAX's transformations, comparisons and printing take them."""

from __future__ import annotations

import copy
import pickle
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk

N, P = 60, 8


@lru_cache
def fitted(name: str) -> Any:
    data = hntk.reference_mixture(n=N, p=P, key=jax.random.key(0))
    x, y = np.asarray(data.x), data.labels
    if name in ("EquivalentClassifier", "QuadraticForms"):
        regression = hntk.fit_equivalent(x, y, ["relu"])
        return regression if name == "EquivalentClassifier" else regression.forms
    net = hntk.dense(["relu"], [20], x, key=jax.random.key(1))
    if name == "RidgeClassifier":
        return hntk.fit_ridge(net, x, y)
    return hntk.fit_softmax(net, x, y, schedule=hntk.Schedule(epochs=2, batch=20))


NAMES = ["RidgeClassifier", "SoftmaxClassifier", "EquivalentClassifier", "QuadraticForms"]


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_object_is_a_pytree_that_compares_by_identity(name: str) -> None:
    made = fitted(name)
    leaves, structure = jax.tree.flatten(made)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(made) is getattr(hntk, name)
    assert any(isinstance(leaf, np.ndarray) and leaf.ndim == 2 for leaf in leaves)
    assert made == made
    assert made != again
    for other in (again, copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert len({made, other}) == 2
        for mine, theirs in zip(leaves, jax.tree.leaves(other), strict=True):
            if isinstance(mine, np.ndarray | float):
                np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_object_prints_a_few_lines(name: str) -> None:
    text = repr(fitted(name))
    assert text.startswith(f"{name}(")
    assert len(text.splitlines()) <= 15
    assert len(text) < 1500


def test_forms_go_through_jit_and_gradients() -> None:
    forms = fitted("QuadraticForms")
    x = jax.random.normal(jax.random.key(2), (P,)) / np.sqrt(P)

    def quadratic(forms: hntk.QuadraticForms, x: jax.Array) -> jax.Array:
        return jnp.einsum("bij,i,j,bk->k", forms.moments, x, x, forms.mixing)

    np.testing.assert_allclose(jax.jit(quadratic)(forms, x), forms(x[None])[0, :-1], rtol=1e-6)
    gradient = jax.grad(lambda x: quadratic(forms, x).sum())(x)
    matrix = np.tensordot(forms.mixing.sum(axis=1), forms.moments, 1)
    np.testing.assert_allclose(gradient, 2 * matrix @ np.asarray(x), rtol=1e-6)


def test_readouts_of_several_weights_are_scored_at_once() -> None:
    classifier = fitted("RidgeClassifier")
    features = jnp.asarray(np.random.default_rng(0).normal(size=(5, 20)))

    def scores(weights: jax.Array, offset: jax.Array) -> jax.Array:
        return features @ weights + offset

    stacked = jnp.stack([jnp.asarray(classifier.weights), 2 * jnp.asarray(classifier.weights)])
    once = jax.vmap(scores, in_axes=(0, None))(stacked, jnp.asarray(classifier.offset))
    np.testing.assert_allclose(once[0], classifier.scores_of(np.asarray(features)), rtol=1e-4, atol=1e-5)
