"""Activations by their values: every family, parameters included, and what is near to one but not it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import hntk
from hntk.networks.models.recognition import recognise
from hntk.networks.models.records import POINTS, Elementwise

FUNCTIONS: dict[str, Callable] = {
    "linear": lambda t: t,
    "relu": jax.nn.relu,
    "abs": jnp.abs,
    "leaky_relu(0.07)": lambda t: jax.nn.leaky_relu(t, 0.07),
    "rectifier(2, 0.5)": lambda t: jnp.where(t > 0, 2 * t, t / 2),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda t: jax.nn.gelu(t, approximate=False),
    "gelu_tanh": lambda t: jax.nn.gelu(t, approximate=True),
    "quick_gelu": lambda t: t * jax.nn.sigmoid(1.702 * t),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softplus(3)": lambda t: jax.nn.softplus(3 * t) / 3,
    "elu": jax.nn.elu,
    "elu(0.3)": lambda t: jax.nn.elu(t, 0.3),
    "selu": jax.nn.selu,
    "celu(0.4)": lambda t: jax.nn.celu(t, 0.4),
    "hard_tanh": jax.nn.hard_tanh,
    "relu6": jax.nn.relu6,
    "ramp(0.2, 0.5, 0, 1)": lambda t: jnp.clip(0.2 * t + 0.5, 0, 1),
    "softshrink(0.5)": lambda t: jnp.sign(t) * jnp.maximum(jnp.abs(t) - 0.5, 0),
    "hard_swish": jax.nn.hard_swish,
    "mish": jax.nn.mish,
    "softsign": jax.nn.soft_sign,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanhshrink": lambda t: t - jnp.tanh(t),
    "erf": jax.lax.erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "gaussian": lambda t: jnp.exp(-t * t / 2),
    "quadratic": jnp.square,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_recognised_in_both_precisions(name: str) -> None:
    for dtype in (np.float32, np.float64):
        record = Elementwise("act", lambda t, dtype=dtype: FUNCTIONS[name](jnp.asarray(t, dtype)))
        sigma = recognise(record, {})
        assert sigma.name == name
        near = np.abs(POINTS) < 13  # beyond, exp leaves float32
        np.testing.assert_allclose(sigma(jnp.asarray(POINTS[near])), record.values()[near], rtol=4e-6, atol=4e-6)


@pytest.mark.parametrize(
    "near",
    [
        lambda t: np.tanh(1.001 * t),
        lambda t: t * special.expit(1.01 * t),
        lambda t: np.maximum(t, 0) + 1e-4,
        lambda t: np.where(t > 30, 2 * t, np.maximum(t, 0)),
    ],
)
def test_near_is_not_equal(near: Callable) -> None:
    with pytest.raises(ValueError, match="'act'.*none that hntk knows.*activations="):
        recognise(Elementwise("act", near), {})


def test_given_activations_must_have_the_values() -> None:
    record = Elementwise("act", lambda t: np.sin(t) + t)
    own = hntk.activation(lambda t: jnp.sin(t) + t)
    assert recognise(record, {"act": own}) is own
    with pytest.raises(ValueError, match="'act'.*has other values"):
        recognise(record, {"act": "tanh"})


def test_unknown_functions_of_jax_are_taken_as_they_are_if_smooth() -> None:
    smooth = recognise(Elementwise("wave", lambda t: jnp.sin(t) * t, of_jax=True), {})
    assert smooth.moments(1.0).mean == pytest.approx(np.exp(-0.5))  # Stein: E[ξ sin ξ] = E[cos ξ]
    with pytest.raises(ValueError, match="'kink'.*not smooth"):
        recognise(Elementwise("kink", lambda t: jnp.abs(t - 1), of_jax=True), {})


def test_what_is_no_function_of_single_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="'mean'.*single numbers"):
        recognise(Elementwise("mean", lambda t: np.mean(t)), {})
