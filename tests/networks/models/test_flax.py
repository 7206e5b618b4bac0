"""Flax linen and NNX against themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores

linen: Any = pytest.importorskip("flax.linen")
nnx: Any = pytest.importorskip("flax.nnx")
pytestmark = pytest.mark.filterwarnings("ignore")
NIGHTLY = pytest.mark.nightly
SAMPLES = jnp.asarray(X, jnp.float32)


class Perceptron(linen.Module):  # type: ignore[misc]
    """A module as people write it, with a forward function of its own."""

    act: Callable = linen.relu
    end: Callable = lambda scores: scores

    @linen.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = linen.Dense(8)(x.reshape((x.shape[0], -1)))
        x = self.act(linen.BatchNorm(use_running_average=not train)(x))
        x = linen.Dropout(0.4, deterministic=not train)(x)
        x = linen.BatchNorm(use_running_average=not train)(self.act(linen.Dense(6)(x)))
        return self.end(linen.Dense(3)(x))


class Trained(Perceptron):
    """The same without a default of ``train``."""

    @linen.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return linen.Dense(3)(linen.relu(linen.Dense(8)(linen.Dropout(0.4, deterministic=not train)(x))))


def variables(model: Any, x: Any = SAMPLES, **more: Any) -> Any:
    """Return variables away from their initial values, variances positive."""
    first = model.init(jax.random.key(1), x, **more)
    keys = iter(jax.random.split(jax.random.key(2), 99))
    return jax.tree.map(lambda a: a + jnp.abs(jax.random.normal(next(keys), a.shape, a.dtype)), first)


@pytest.mark.parametrize(
    "act",
    [
        linen.relu,
        *(pytest.param(f, marks=NIGHTLY) for f in (linen.gelu, linen.silu, linen.tanh, linen.elu, linen.softplus)),
    ],
)
def test_linen_modules(act: Callable) -> None:
    model = Perceptron(act)
    held = variables(model)
    assert_scores(hntk.from_model(model, held, x=X), model.apply(held, SAMPLES))


@NIGHTLY
@pytest.mark.parametrize("end", [linen.softmax, linen.log_softmax])
def test_linen_modules_that_end_in_softmax(end: Callable) -> None:
    model = Perceptron(end=end)
    held = variables(model)
    assert_scores(hntk.from_model(model, held, x=X), Perceptron().apply(held, SAMPLES))


@NIGHTLY
def test_linen_parameters_alone_images_and_arguments() -> None:
    model = linen.Sequential([linen.Dense(8), linen.relu, linen.Dense(2)])
    held = variables(model)
    found = hntk.from_model(model, held["params"])
    assert_scores(found, model.apply(held, SAMPLES))
    images = np.random.default_rng(0).normal(size=(20, 3, 4))
    pictured = Perceptron()
    held = variables(pictured, jnp.asarray(images))
    assert_scores(hntk.from_model(pictured, held, x=images), pictured.apply(held, images), images)
    told = Trained()
    held = variables(told, train=False)
    assert_refused(told, "train", variables=held)
    assert_scores(hntk.from_model(told, held, arguments={"train": False}), told.apply(held, SAMPLES, train=False))


class Normalised(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.Dense(3)(linen.LayerNorm()(linen.relu(linen.Dense(8)(x))))


class Residual(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        h = linen.relu(linen.Dense(8)(x))
        return linen.Dense(3)(h + linen.relu(linen.Dense(8)(h)))


class Convolved(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.Dense(3)(linen.relu(linen.Conv(4, (3,))(x[..., None])).reshape((x.shape[0], -1)))


@NIGHTLY
@pytest.mark.parametrize(
    ("kind", "words"),
    [(Normalised, ["LayerNorm_0", "combines"]), (Residual, ["Dense_2", "residual"]), (Convolved, ["Conv_0", "conv"])],
)
def test_linen_layers_that_cannot_be_read_are_refused_by_name(kind: Any, words: list[str]) -> None:
    model = kind()
    assert_refused(model, *words, variables=variables(model), x=X)


@NIGHTLY
def test_linen_training_and_parameters() -> None:
    model = Perceptron()
    held = variables(model)
    assert_refused(model, "BatchNorm_0", "use_running_average", variables=held, arguments={"train": True})
    assert_refused(model, "variables=")
    held["params"]["Dense_1"]["kernel"] = jnp.full((8, 6), jnp.inf)
    assert_refused(model, "'Dense_1'", "finite", variables=held)
    held["params"]["Dense_1"]["kernel"] = jnp.ones((9, 6))
    assert_refused(model, "Dense_1", "shape", variables=held)


class Network(nnx.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first, self.last = nnx.Linear(5, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.drop(nnx.gelu(self.norm(self.first(x)), approximate=False)))


def test_nnx_modules() -> None:
    model = Network()
    model(3 * SAMPLES + 1)
    assert_refused(model, r"'norm'|'drop'", "inference")
    model.eval()
    found = hntk.from_model(model, x=X)
    assert found.network.activations[0].name == "gelu"
    assert_scores(found, model(SAMPLES))
    model.drop.deterministic = False
    assert_refused(model, "'drop'", "random")


@NIGHTLY
def test_nnx_layers_that_cannot_be_read_are_refused_by_name() -> None:
    rngs = nnx.Rngs(0)
    first, last = nnx.Linear(5, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
    assert_scores(hntk.from_model(nnx.Sequential(first, nnx.tanh, last)), last(jnp.tanh(first(SAMPLES))))
    assert_refused(nnx.Sequential(first, nnx.LayerNorm(8, rngs=rngs), last), r"'layers\.1'", "combines")
    images = np.zeros((2, 6, 5))
    assert_refused(nnx.Sequential(nnx.Conv(5, 8, (3,), rngs=rngs), last), r"'layers\.0'", "convolution", x=images)
    first.kernel[...] = first.kernel[...].at[0, 0].set(jnp.nan)
    assert_refused(nnx.Sequential(first, nnx.tanh, last), r"'layers\.0'", "finite")
