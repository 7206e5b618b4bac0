"""Tasks that measure the machine's limits."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Times that every number is taken through the same operations, and the multiply-adds of a polynomial.
PASSES, TERMS = 32, 8


def write(size: int) -> Callable[[], Sequence[Any]]:
    """Write ``size`` bytes of float32 as results are: by all cores into memory that the system has just handed out.

    JAX holds the memory of an accelerator from the start; there, bytes are read and written.
    """
    if jax.default_backend() != "cpu":
        return _copy(size)
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores)

    def once() -> Sequence[np.ndarray]:
        fresh = np.empty(size // 4, np.float32)
        for _ in pool.map(lambda part: part.fill(1.0), np.array_split(fresh, cores)):
            pass
        return (fresh,)

    return once


def _copy(size: int) -> Callable[[], Sequence[jax.Array]]:
    memory = [jnp.zeros(size // 4, jnp.float32)]
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


def bend(size: int) -> Callable[[], Sequence[jax.Array]]:
    """Take float32 numbers through what one layer of ReLU takes at least, ``PASSES`` times.

    That is an arcsine and a root: two square roots, and a polynomial that gives the arcsine to float32's precision.
    """
    coefficients = [0.5 ** (k + 2) for k in range(TERMS)]

    def layer(_: int, x: jax.Array) -> jax.Array:
        terms, power = [jnp.float32(c) for c in coefficients], x * x
        while len(terms) > 1:  # Estrin's scheme, which has several products under way at once
            terms = [low + high * power for low, high in zip(terms[::2], terms[1::2], strict=True)]
            power = power * power
        return jnp.sqrt(1 - x) * terms[0] + jnp.sqrt(1 + x) / 4

    x = jnp.linspace(0, 0.9, size, dtype=jnp.float32)
    program = jax.jit(lambda x: jax.lax.fori_loop(0, PASSES, layer, x))
    return lambda: (program(x),)
