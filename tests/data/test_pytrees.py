"""Data as JAX's transformations, comparisons and printing take it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk

N, P = 30, 6


@pytest.fixture
def everything(toy: Path) -> dict[str, Any]:
    mixture = hntk.reference_mixture(n=N, p=P, key=jax.random.key(0))
    return {
        "Dataset": hntk.load_dataset("toy", folder=toy, normalize="whiten"),
        "Mixture": mixture,
        "Population": mixture.population,
        "Normalization": hntk.Normalization(np.ones(P, np.float32), 2.0, np.eye(P, dtype=np.float32), True),
    }


@pytest.mark.parametrize("name", ["Dataset", "Mixture", "Population", "Normalization"])
def test_data_goes_through_transformations(everything: dict[str, Any], name: str) -> None:
    made = everything[name]
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(made)
    assert type(doubled) is type(made)
    for leaf, twice in zip(jax.tree.leaves(made), jax.tree.leaves(doubled), strict=True):
        np.testing.assert_allclose(twice, 2 * np.asarray(leaf))
    assert len(jax.tree.leaves(made)) >= 3
    assert made == made
    assert made != pickle.loads(pickle.dumps(made))
    assert len({made, doubled}) == 2


@pytest.mark.parametrize("name", ["Dataset", "Mixture", "Population", "Normalization"])
def test_data_prints_a_few_lines(everything: dict[str, Any], name: str) -> None:
    text = repr(everything[name])
    assert text.startswith(f"{name}(")
    assert len(text.splitlines()) <= 14
    assert len(text) < 600


def test_what_is_no_number_stays_as_it_is(everything: dict[str, Any]) -> None:
    data = jax.tree.map(jnp.asarray, everything["Dataset"])
    assert (data.name, data.image_shape, data.pixels, data.unit_norm) == ("toy", None, False, False)
    assert jax.tree.map(jnp.asarray, everything["Normalization"]).unit_norm is True


def test_gradients_go_through_a_population(everything: dict[str, Any]) -> None:
    def square(population: hntk.Population) -> jax.Array:
        return jnp.sum(population.overlaps**2) + jnp.sum(population.traces)

    population = everything["Population"]
    gradient = jax.grad(square)(population)
    np.testing.assert_allclose(gradient.overlaps, 2 * population.overlaps)
    np.testing.assert_allclose(gradient.traces, 1.0)
    np.testing.assert_allclose(gradient.means, 0.0)
