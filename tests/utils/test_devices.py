"""What JAX compiles for: options that a version of XLA may not have."""

from __future__ import annotations

from typing import Any

import jax
import pytest

from hntk._utils import devices


def test_options_that_xla_does_not_have_are_left_out() -> None:
    options = (*devices.QUICK.items(), ("xla_gpu_no_such_option", 1))
    assert devices.known_options(options) == devices.QUICK


def test_functions_are_compiled_with_them_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(devices.jax, "jit", lambda function, **options: given.append(options) or function)
    monkeypatch.setattr(devices, "known_options", dict)
    for backend in ("cpu", "tpu", "gpu"):
        monkeypatch.setattr(devices.jax, "default_backend", lambda backend=backend: backend)
        assert devices.compiled(abs, static_argnums=0)(-2) == 2
    plain = {"static_argnums": 0}
    assert given == [plain, plain, plain | {"compiler_options": devices.QUICK}]


def test_a_processor_has_no_memory_of_its_own() -> None:
    assert jax.default_backend() != "cpu" or (devices.device_memory() is None and not devices.accelerated())
