"""What JAX compiles for: options that a version of XLA may not have."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from hntk._utils import devices


def test_options_that_xla_does_not_have_are_left_out() -> None:
    options = (*devices.QUICK.items(), ("xla_gpu_no_such_option", 1))
    assert devices.known_options(options) == devices.QUICK


def test_functions_are_compiled_with_them_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(devices.jax, "jit", lambda function, **options: given.append(options) or function)
    monkeypatch.setattr(devices, "known_options", dict)
    for backend in ("cpu", "tpu"):
        monkeypatch.setattr(devices.jax, "default_backend", lambda backend=backend: backend)
        assert devices.compiled(abs, static_argnums=0)(-2) == 2
    plain = {"static_argnums": 0}
    assert given == [plain, plain]
    monkeypatch.setattr(devices.jax, "default_backend", lambda: "gpu")
    assert devices.compiled(abs, static_argnums=0)(-2) == 2
    assert plain | {"compiler_options": devices.QUICK} in given


def test_a_compiled_function_is_a_part_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # an option that JAX has on every device
    monkeypatch.setattr(devices, "known_options", lambda _: {"xla_embed_ir_in_executable": False})
    monkeypatch.setattr(devices.jax, "default_backend", lambda: "gpu")
    twice = devices.compiled(lambda x: 2 * x)
    x = jnp.arange(3.0)
    # JAX refuses options within another function, whether that passes on what is traced or a constant
    assert jax.jit(lambda y: twice(y) + 1)(x).tolist() == [1, 3, 5]
    assert jax.jit(lambda y: y + twice(jnp.ones(3)))(x).tolist() == [2, 3, 4]
    assert jax.grad(lambda y: twice(y).sum())(x).tolist() == [2, 2, 2]
    assert jax.vmap(twice)(x).tolist() == [0, 2, 4]
    assert jax.eval_shape(twice, x).shape == (3,)
    assert twice(jnp.arange(3.0)).tolist() == [0, 2, 4]
    # errors of the function itself are its own
    with pytest.raises(ValueError, match="no JSON|Expecting"):
        devices.compiled(lambda x: json.loads("no JSON"))(x)


def test_a_processor_has_no_memory_of_its_own() -> None:
    assert jax.default_backend() != "cpu" or (devices.device_memory() is None and not devices.accelerated())
