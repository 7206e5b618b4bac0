"""Programs of JAX read by what they compute: plain functions of parameters and samples, without any framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hntk.networks.models.folding import fold
from hntk.networks.models.jax_tracing import read_program
from tests.support.models import P, X

RNG = np.random.default_rng(5)


def layer(inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {"kernel": RNG.normal(size=(inputs, outputs)), "bias": RNG.normal(size=outputs)}


PARAMS: dict[str, Any] = {
    "first": layer(P, 8),
    "second": layer(8, 8),
    "last": layer(8, 3),
    "norm": {"scale": RNG.normal(size=8), "mean": RNG.normal(size=8), "var": RNG.uniform(1, 2, 8)},
}


def dense(part: dict, h: Any) -> Any:
    return h @ part["kernel"] + part["bias"]


def chain(params: dict, x: Any, function: Callable = jax.nn.relu) -> Any:
    """Return the scores of two hidden layers with normalisation, written as people write it."""
    h = function(dense(params["first"], x.reshape(x.shape[0], -1)))
    norm = params["norm"]
    h = (h - norm["mean"]) * jax.lax.rsqrt(norm["var"] + 1e-5) * norm["scale"]
    return dense(params["last"], function(dense(params["second"], h)))


def outputs(model: Callable, shape: tuple[int, ...] = (P,), *, batched: bool = True) -> np.ndarray:
    """Return what the folded chain of a model computes for X."""
    folded = fold(read_program(model, PARAMS, [shape], batched=batched).records)
    h = X
    for part, function in folded.layers:
        h = function.values(h @ part.weights.T + part.bias)
    return h @ folded.weights + folded.offset


@pytest.mark.parametrize(
    "function",
    [jax.nn.relu, jax.nn.gelu, jax.nn.elu, jax.nn.softplus, lambda t: t * jax.nn.sigmoid(2 * t) - 1, jax.nn.hard_tanh],
)
def test_chains_are_read_whatever_their_function_is_made_of(function: Callable) -> None:
    found = outputs(lambda params, x: chain(params, x, function))
    np.testing.assert_allclose(found, chain(PARAMS, jnp.asarray(X), function), rtol=1e-9, atol=1e-9)


def test_samples_of_any_shape_and_one_at_a_time() -> None:
    expected = chain(PARAMS, jnp.asarray(X))
    np.testing.assert_allclose(outputs(chain, (P, 1)), expected, rtol=1e-9)
    one = outputs(lambda params, x: chain(params, x[None])[0], batched=False)
    np.testing.assert_allclose(one, expected, rtol=1e-9)
    left = outputs(
        lambda params, x: params["last"]["kernel"].T @ jnp.tanh(params["first"]["kernel"].T @ x) - 1, batched=False
    )
    first, last = PARAMS["first"]["kernel"], PARAMS["last"]["kernel"]
    np.testing.assert_allclose(left, np.tanh(X @ first) @ last - 1, rtol=1e-9)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_at_the_end_is_known_by_its_values(name: str) -> None:
    function = getattr(jax.nn, name)
    found = read_program(lambda params, x: function(chain(params, x)), PARAMS, [(P,)], batched=True)
    assert found.link == name
    assert len(fold(found.records).offset) == 3
    one = read_program(lambda params, x: function(chain(params, x[None])[0]), PARAMS, [(P,)], batched=False)
    assert one.link == name


def normalised(h: Any, axis: int) -> Any:
    return (h - h.mean(axis=axis, keepdims=True)) / jnp.sqrt(h.var(axis=axis, keepdims=True) + 1e-5)


def hidden(params: dict, x: Any) -> Any:
    return jax.nn.relu(dense(params["first"], x))


def attended(h: Any) -> Any:
    return jnp.einsum("id,jd->ij", h, h) @ h


REFUSED: dict[str, tuple[Callable, str]] = {
    "a residual connection": (
        lambda p, x: dense(p["last"], hidden(p, x) + jax.nn.relu(dense(p["second"], hidden(p, x)))),
        "'first'.*residual|residual",
    ),
    "layer normalisation": (
        lambda p, x: dense(p["last"], normalised(hidden(p, x), 1) * p["norm"]["scale"]),
        "'norm'.*combines",
    ),
    "batch normalisation in training": (
        lambda p, x: dense(p["last"], normalised(hidden(p, x), 0) * p["norm"]["scale"]),
        "'norm'.*combines.*inference",
    ),
    "softmax inside": (lambda p, x: dense(p["last"], jax.nn.softmax(hidden(p, x))), "'last'.*combines"),
    "dropout": (
        lambda p, x: dense(
            p["last"], jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, (x.shape[0], 8)), hidden(p, x), 0)
        ),
        "behind first'.*random.*inference",
    ),
    "attention": (lambda p, x: attended(hidden(p, x)), "two functions of the input"),
    "a convolution": (
        lambda p, x: jax.lax.conv(x[:, None, :, None], p["first"]["kernel"][:1, None, :2, None], (1, 1), "SAME"),
        "'first'.*convolution",
    ),
    "a loop": (lambda p, x: jax.lax.fori_loop(0, 3, lambda i, h: dense(p["second"], h), hidden(p, x)), "computes"),
    "a slope for each neuron": (
        lambda p, x: dense(p["last"], jnp.maximum(dense(p["first"], x), p["norm"]["scale"])),
        "'norm'.*other numbers for each neuron",
    ),
    "half precision": (lambda p, x: chain(p, x.astype(jnp.bfloat16)), "float32"),
    "samples that mix": (lambda p, x: dense(p["last"], hidden(p, x).T.reshape(-1, 8)), "computes|array of shape"),
    "an output without input": (lambda p, x: p["last"]["bias"], "does not depend"),
    "a division": (lambda p, x: dense(p["last"], p["norm"]["scale"] / dense(p["first"], x)), "divides"),
    "a wrong shape": (lambda p, x: dense(p["last"], x), "fails on samples of shape.*x="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused(name: str) -> None:
    model, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        read_program(model, PARAMS, [(P,)], batched=True)
