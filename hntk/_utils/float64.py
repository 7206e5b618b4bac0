"""Compute in float64 where the theory needs it, without touching the caller's setting."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp


def float64() -> AbstractContextManager:
    """Return a context manager that computes in float64; the global switch is left as it is."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # JAX before 0.8  # pyright: ignore[reportAttributeAccessIssue]

    return enable_x64()


def warn_if_float32(what: str) -> None:
    """Warn that theory in float32 loses half the digits, with the remedy."""
    if jnp.result_type(float) != jnp.float64:
        warnings.warn(
            f"{what} is computed in float32, where kernels are off by about 1e-4; call "
            "jax.config.update('jax_enable_x64', True) at the start of your program for float64.",
            stacklevel=3,
        )
