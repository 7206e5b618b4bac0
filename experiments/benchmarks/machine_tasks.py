"""Tasks that measure the machine's limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp


def copy(size: int) -> Callable[[], Sequence[jax.Array]]:
    """Read and write ``size`` bytes of float32."""
    memory = [jnp.zeros(size // 4, jnp.float32)]
    # Donating the argument writes into memory that is allocated already: allocation would take longer.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def once() -> Sequence[jax.Array]:
        memory[0] = add(memory[0])
        return memory

    return once


def multiply(size: int) -> Callable[[], Sequence[jax.Array]]:
    """Multiply two square float32 matrices, which takes 2 size³ operations."""
    x = jnp.ones((size, size), jnp.float32)
    with jax.default_matmul_precision("highest"):
        product = jax.jit(lambda x: x @ x).lower(x).compile()
    return lambda: (product(x),)
