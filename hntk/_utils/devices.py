"""What JAX computes on: this machine's processor, or a device with memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import jax
import jax.numpy as jnp

from hntk._utils.pytree import is_traced

# XLA times several kernels for every product of matrices before it compiles one: seconds for each new shape. Without
# that, products are left to the vendor's library, as a kernel of XLA's own would be an arbitrary one
QUICK = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
# GPUs round the factors of a product to 10 bits unless told otherwise
exact_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def accelerated() -> bool:
    """Return whether JAX computes on another device than this machine's processor."""
    return jax.default_backend() != "cpu"


def device_memory() -> int | None:
    """Return the bytes that are free on JAX's device, where that is no processor of this machine; None otherwise."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    told = device.memory_stats() or {}
    return max(0, told.get("bytes_limit", 0) - told.get("bytes_in_use", 0))


def compiled(function: Callable, **options: Any) -> Any:
    """Return a function that JAX compiles, on GPUs without trying several kernels for each product.

    Parameters
    ----------
    function : callable
        The function. It is to be called where the backend is known, not when a module is imported.
    **options : Any
        Further arguments of ``jax.jit``.

    Returns
    -------
    callable
        The compiled function.
    """
    plain = jax.jit(function, **options)
    settings = known_options(tuple(QUICK.items())) if jax.default_backend() == "gpu" else {}
    if not settings:
        return plain
    outermost = jax.jit(function, compiler_options=settings, **options)

    @wraps(function)
    def chosen(*arguments: Any) -> Any:
        try:
            return outermost(*arguments)
        except ValueError:
            # JAX refuses options of a program that is a part of another one, which has its own
            if not is_traced(arguments, jnp.zeros(())):
                raise
            return plain(*arguments)

    return chosen


@cache
def known_options(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Return those of some names and values of compiler options that this version of XLA has."""
    known = {}
    for name, value in options:
        try:
            jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known
