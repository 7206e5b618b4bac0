"""Random orthogonal ternary matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix
from hntk.weights.orthogonal_layout import BlockLayout


def draw_orthogonal(key: Array, shape: tuple[int, int], groups: int, order: str, scale: float) -> OrthogonalMatrix:
    """Draw signs, swaps and an order: ``"random"``, ``"generated"`` or ``"none"``."""
    (outputs, inputs), layout = shape, BlockLayout(shape, groups)
    blocks, size = layout.blocks, layout.size
    sign_key, swap_key, order_key = jax.random.split(key, 3)
    signs = jax.random.rademacher(sign_key, (blocks, inputs), dtype=jnp.int8)
    swaps = jax.random.randint(swap_key, (blocks, layout.length), 0, groups, jnp.int32)
    places, generator = None, None
    if order == "random":
        places = jax.random.permutation(order_key, size)[:inputs].astype(jnp.int32)
    if order == "generated":
        numbers = np.asarray(jax.random.randint(order_key, (4,), 0, size, jnp.int32)).tolist()
        generator = GeneratedOrder((numbers[0] | 1, numbers[1] | 1), (numbers[2], numbers[3]))
        places = jnp.asarray(generator.places(inputs, size), jnp.int32)
    return OrthogonalMatrix(signs, swaps.astype(jnp.uint8), places, (outputs, inputs), groups, scale, generator)
