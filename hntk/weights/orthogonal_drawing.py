"""Random orthogonal ternary matrices."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix
from hntk.weights.orthogonal_layout import BlockLayout


def draw_orthogonal(key: Array, shape: tuple[int, int], groups: int, order: str, scale: float) -> OrthogonalMatrix:
    """Draw signs, swaps and an order: ``"random"``, ``"generated"`` or ``"none"``."""
    (_, inputs), layout = shape, BlockLayout(shape, groups)
    signs, swaps, drawn = _parts(key, layout, order)
    places, generator = drawn, None
    if order == "generated":
        numbers = np.asarray(drawn).tolist()
        generator = GeneratedOrder((numbers[0] | 1, numbers[1] | 1), (numbers[2], numbers[3]))
        places = jnp.asarray(generator.places(inputs, layout.size), jnp.int32)
    return OrthogonalMatrix(signs, swaps, places, shape, groups, scale, generator)


@partial(jax.jit, static_argnums=(1, 2))
def _parts(key: Array, layout: BlockLayout, order: str) -> tuple[Array, Array, Array | None]:
    """Return signs, swaps, and an order or the numbers that generate one."""
    inputs, size = layout.shape[1], layout.size
    sign_key, swap_key, order_key = jax.random.split(key, 3)
    signs = jax.random.rademacher(sign_key, (layout.blocks, inputs), dtype=jnp.int8)
    swaps = jax.random.randint(swap_key, (layout.blocks, layout.length), 0, layout.groups, jnp.int32).astype(jnp.uint8)
    if order == "random":
        return signs, swaps, jax.random.permutation(order_key, size)[:inputs].astype(jnp.int32)
    if order == "generated":
        return signs, swaps, jax.random.randint(order_key, (4,), 0, size, jnp.int32)
    return signs, swaps, None
