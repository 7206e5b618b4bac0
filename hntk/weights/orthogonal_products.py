"""Products with orthogonal ternary blocks, and their explicit values.

Parts are those of :class:`hntk.weights.orthogonal.OrthogonalMatrix`. What is compiled depends on the layout alone.
"""

from __future__ import annotations

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Int8, Num

from hntk.weights.hadamard import hadamard_entries, hadamard_transform, transform_on_host
from hntk.weights.orthogonal_layout import BlockLayout, folded_length


@partial(jax.jit, static_argnums=0)
def explicit_values(
    layout: BlockLayout,
    signs: Int8[Array, "blocks inputs"],
    swaps: Int[Array, "blocks places"],
    places: Int[Array, " inputs"] | None,
) -> Int8[Array, "outputs inputs"]:
    """Return the explicit values {0, ±1}."""
    place = jnp.arange(layout.shape[1], dtype=jnp.int32) if places is None else places
    in_group = place % layout.length
    group = (place // layout.length) ^ swaps[:, in_group].astype(jnp.int32)
    block, row_group, row = (jnp.asarray(part) for part in _rows(layout))
    entries = hadamard_entries(row[:, None], in_group) * signs[block]
    return jnp.where(group[block] == row_group[:, None], entries, 0).astype(jnp.int8)


def _rows(layout: BlockLayout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the block, the group and the row of its transform of every output."""
    full = (layout.length,) * layout.groups
    counts = full * (layout.blocks - 1) + layout.last_rows
    part = np.repeat(np.arange(len(counts)), counts)
    row = np.concatenate([np.arange(count) for count in counts])
    return part // layout.groups, part % layout.groups, row.astype(np.int32)


@partial(jax.jit, static_argnums=0)
def block_product(
    layout: BlockLayout,
    signs: Int8[Array, "blocks inputs"],
    swaps: Int[Array, "blocks places"],
    places: Int[Array, " inputs"] | None,
    h: Num[Array, "n inputs"],
) -> Num[Array, "n outputs"]:
    """Return the sums Σ_j W_ij h_j."""
    size, inputs = layout.size, layout.shape[1]
    pad = ((0, 0), (0, max(size - inputs, 1)))
    placed, signs = jnp.pad(h, pad), jnp.pad(signs, pad).astype(h.dtype)
    if places is None:
        placed, signs = placed[:, :size], signs[:, :size]
    else:
        # Places that no input has take the zero behind the last input.
        taken = jnp.full(size, inputs, jnp.int32).at[places].set(jnp.arange(inputs, dtype=jnp.int32))
        placed, signs = placed[:, taken], signs[:, taken]
    full, last, whole = layout.blocks - 1, layout.last_rows, (layout.length,) * layout.groups
    if last == whole:
        return _sums(layout, placed, signs, swaps, last)
    parts = [_sums(layout, placed, signs[full:], swaps[full:], last)]
    if full:
        parts.insert(0, _sums(layout, placed, signs[:full], swaps[:full], whole))
    return jnp.concatenate(parts, axis=1)


def _sums(layout: BlockLayout, placed: Array, signs: Array, swaps: Array, rows: tuple[int, ...]) -> Array:
    """Return the products with some blocks, of which every group gives so many of its first rows."""
    n, count, groups = placed.shape[0], len(signs), layout.groups
    values = (placed[:, None] * signs).reshape(n, count, groups, layout.length)
    for bit in range(groups.bit_length() - 1):
        pairs = values.reshape(n, count, groups >> (bit + 1), 2, 1 << bit, layout.length)
        moved = ((swaps >> bit) & 1).astype(bool)[None, :, None, None, None]
        values = jnp.where(moved, pairs[:, :, :, ::-1], pairs).reshape(values.shape)
    # The first rows of a Hadamard matrix repeat: adding the repetitions leaves a shorter transform.
    length = folded_length(rows[0])
    sums = hadamard_transform(values.reshape(n, count, groups, -1, length).sum(axis=3, dtype=values.dtype))
    if len(set(rows)) == 1:
        return sums[..., : rows[0]].reshape(n, count * prod((groups, rows[0])))
    return jnp.concatenate([sums[:, :, a, :size] for a, size in enumerate(rows)], axis=2).reshape(n, -1)


def block_product_on_host(
    layout: BlockLayout,
    signs: Int8[np.ndarray, "blocks inputs"],
    swaps: Int[np.ndarray, "blocks places"],
    places: Int[np.ndarray, " inputs"] | None,
    h: Num[np.ndarray, "n inputs"],
) -> Num[np.ndarray, "n outputs"]:
    """Compute the same with NumPy, without compiling anything."""
    put = slice(layout.shape[1]) if places is None else places
    whole, sums, placed = (layout.length,) * layout.groups, [], np.zeros((len(h), layout.size), h.dtype)
    for block in range(layout.blocks):
        placed[:, put] = h * signs[block].astype(h.dtype)
        taken = np.arange(layout.groups)[:, None] ^ swaps[block].astype(np.int64)
        groups = np.take_along_axis(placed.reshape(len(h), layout.groups, -1), taken[None], axis=1)
        z = transform_on_host(groups)
        rows = layout.last_rows if block == layout.blocks - 1 else whole
        sums += [z[:, a, :count] for a, count in enumerate(rows)]
    return np.concatenate(sums, axis=1)
