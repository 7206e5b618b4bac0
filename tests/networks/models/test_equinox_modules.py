"""Modules of Equinox against themselves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores

equinox: Any = pytest.importorskip("equinox")
nn: Any = equinox.nn
pytestmark = pytest.mark.filterwarnings("ignore")
NIGHTLY = pytest.mark.nightly
KEY = jax.random.key(3)


def linear(inputs: int, outputs: int) -> Any:
    return nn.Linear(inputs, outputs, key=KEY)


@pytest.mark.parametrize(
    "act", [jax.nn.relu, *(pytest.param(f, marks=NIGHTLY) for f in (jax.nn.gelu, jnp.tanh, jax.nn.silu))]
)
def test_perceptrons(act: Any) -> None:
    model = nn.MLP(5, 3, 8, 2, activation=act, key=KEY)
    assert_scores(hntk.from_model(model, x=X), jax.vmap(model)(X))


@NIGHTLY
def test_ends_in_sigmoid_and_softmax() -> None:
    model = nn.MLP(5, "scalar", 8, 2, final_activation=jax.nn.sigmoid, key=KEY)
    shares = np.asarray(jax.vmap(model)(X))
    found = hntk.from_model(model, x=X)
    assert found.classes.tolist() == [0, 1]
    assert_scores(found, np.log(shares / (1 - shares)))
    scores = nn.MLP(5, 3, 8, 1, key=KEY)
    assert_scores(hntk.from_model(nn.Sequential([scores, nn.Lambda(jax.nn.softmax)]), x=X), jax.vmap(scores)(X))


@NIGHTLY
def test_sequences_in_inference() -> None:
    model = nn.Sequential([linear(5, 8), nn.Lambda(jnp.tanh), nn.Dropout(0.3), linear(8, 3)])
    assert_refused(model, r"'layers\.2'", "Dropout", "inference_mode")
    model = nn.inference_mode(model)
    assert_scores(hntk.from_model(model, x=X), jax.vmap(model)(X))


@NIGHTLY
def test_batch_normalisation_with_its_state() -> None:
    parts = [linear(5, 8), nn.BatchNorm(8, "batch", mode="batch"), nn.Lambda(jax.nn.relu), linear(8, 3)]
    model, state = nn.make_with_state(nn.Sequential)(parts)
    _, state = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(jnp.asarray(3 * X + 1), state)
    assert_refused(model, r"'layers\.1'", "BatchNorm", variables=state)
    model = nn.inference_mode(model)
    expected = jax.vmap(lambda row: model(row, state)[0])(X)
    assert_scores(hntk.from_model(model, state, x=X), expected)


class Residual(equinox.Module):  # type: ignore[misc]
    first: Any
    second: Any
    last: Any

    def __call__(self, x: Any) -> Any:
        h = jax.nn.relu(self.first(x))
        return self.last(h + jax.nn.relu(self.second(h)))


@NIGHTLY
def test_what_cannot_be_read_is_refused_by_name() -> None:
    assert_refused(Residual(linear(5, 8), linear(8, 8), linear(8, 3)), "second", "residual")
    normed = nn.Sequential([linear(5, 8), nn.LayerNorm(8), linear(8, 3)])
    assert_refused(normed, r"'layers\.1'", "combines")
    convolved = nn.Sequential([nn.Conv1d(1, 2, 3, key=KEY), nn.Lambda(jnp.ravel), linear(16, 3)])
    assert_refused(convolved, r"'layers\.0'", "convolution", x=np.zeros((2, 1, 10)))
    wrong = nn.Sequential([linear(5, 8), nn.Lambda(jnp.tanh), linear(9, 3)])
    assert_refused(wrong, "fails on samples", "x=")
    infinite = equinox.tree_at(lambda m: m.layers[1].weight, nn.MLP(5, 3, 8, 2, key=KEY), jnp.full((8, 8), jnp.nan))
    assert_refused(infinite, r"'layers\.1'", "finite")
