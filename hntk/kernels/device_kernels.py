"""Exact kernels on a device of JAX's that is no processor: blocks of pairs that never leave it.

One program computes a kernel, which goes through bands or blocks of it in a loop. Pairs that the fast form of a map
does not give accurately are computed again by its exact form.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Num

from hntk._utils.devices import compiled, device_memory
from hntk._utils.memory import gigabytes
from hntk.activations.base import ClosedForm
from hntk.kernels.layer_runs import Form, Numbers
from hntk.kernels.recursion import WANTED, Only, Recursion, SampleSet, tile_of

# entries of a band where not all inner products have room beside the kernels
BAND = 2**28
# samples on the side of a block: in float32 its arrays stay in a GPU's cache, and every core has work
SIDE = 2048
# pairs that are computed at a time by exact forms, and rows in which they are looked for
PAIRS, ROWS = 4096, 4096


def check_device_memory(shape: tuple[int, int], dtype: np.dtype) -> None:
    """Refuse kernels that the device has no room for.

    Raises
    ------
    MemoryError
        If both kernels do not fit; the message says how much they take and how much is free.
    """
    free = device_memory()
    # both, a mask of pairs, and the inner products of a band or some arrays of a block
    needed = (
        shape[0] * shape[1] * (2 * dtype.itemsize + 1)
        + max(min(BAND, shape[0] * shape[1]), 8 * SIDE**2) * dtype.itemsize
    )
    if free is not None and needed > free:
        raise MemoryError(
            f"the kernels take {gigabytes(needed)} and {gigabytes(free)} of the device's memory are free. Write them "
            "to files with hntk.store_kernels, solve with them by hntk.fit_kernel, or set JAX_PLATFORMS=cpu."
        )


class Part(NamedTuple):
    """Consecutive samples of a set.

    Attributes
    ----------
    samples : SampleSet
        The set.
    start, size : int
        The first sample, and their number.
    """

    samples: SampleSet
    start: int
    size: int

    @classmethod
    def of(cls, samples: SampleSet) -> Part:
        """Return all samples of a set."""
        return cls(samples, 0, len(samples.ck))


def device_kernels(
    recursion: Recursion, first: Part, second: Part | None, only: Only = None, *, same: bool = False
) -> list[Float[Array, "n m"]]:
    """Compute kernels on the device where the samples are.

    Parameters
    ----------
    recursion : Recursion
        The network's recursion.
    first : Part
        The n samples of rows.
    second : Part or None
        The m samples of columns. None stands for ``first``, with kernels that are symmetric.
    only : {"ck", "ntk"}, optional
        The kernel that is wanted; None for both.
    same : bool
        Whether ``second`` are the same samples as ``first``, whose diagonal is then each sample's own.

    Returns
    -------
    list of Array
        The kernels, (n, m) each.
    """
    symmetric = second is None
    columns = first if second is None else second
    shape = first.size, columns.size
    band = _band(shape, len(WANTED[only]) * first.samples.x.dtype.itemsize)
    kind = Kind(shape, only, symmetric=symmetric, same=symmetric or same, band=band)
    arrays, doubtful = _program(recursion.form)(
        recursion.numbers, (first.samples, columns.samples), (first.start, columns.start), kind
    )
    if doubtful is not None:
        arrays = _with_exact_pairs(recursion, first, columns, arrays, doubtful, kind)
    return list(arrays)


class Kind(NamedTuple):
    """What a program computes, and how.

    Attributes
    ----------
    shape : tuple of int
        Shape of the kernels.
    only : {"ck", "ntk"} or None
        The kernel that is wanted; None for both.
    symmetric : bool
        Whether they are symmetric.
    same : bool
        Whether the diagonal is each sample's own.
    band : int
        Number of rows that are computed at a time where layers have closed forms.
    """

    shape: tuple[int, int]
    only: Only
    symmetric: bool
    same: bool
    band: int


def _band(shape: tuple[int, int], itemsize: int) -> int:
    """Return how many rows of kernels have room for their inner products; ``itemsize`` is that of all kernels."""
    n, m = shape
    free = device_memory()
    if n * m <= BAND or free is None or 2 * n * m * itemsize <= free:
        return n
    return min(n, max(1, BAND // m))


Arrays = tuple[Float[Array, "n m"], ...]
Found = tuple[Arrays, Bool[Array, "n m"] | None]


@lru_cache(maxsize=32)
def _program(form: Form) -> Any:
    # maps in closed form take less time than writing a mirror image does, and give both halves the same numbers
    closed = not form.implicit and all(isinstance(kind, ClosedForm) for kind in form.kinds)

    def program(numbers: Numbers, sides: tuple[SampleSet, SampleSet], starts: tuple[int, int], kind: Kind) -> Found:
        first, second = (
            # a slice of all samples would be a copy
            side if size == len(side.ck) else side.part(start, size)
            for side, start, size in zip(sides, starts, kind.shape, strict=True)
        )
        arrays, doubtful = (_by_bands if closed else _by_blocks)(form, numbers, first, second, kind)
        if kind.same:
            k, own = jnp.arange(kind.shape[0]), [getattr(first, name) for name in WANTED[kind.only]]
            arrays = tuple(array.at[k, k].set(each) for array, each in zip(arrays, own, strict=True))
            doubtful = None if doubtful is None else doubtful.at[k, k].set(False)
        return arrays, doubtful

    return compiled(program, static_argnums=3)


def _by_bands(form: Form, numbers: Numbers, first: SampleSet, second: SampleSet, kind: Kind) -> Found:
    """Compute all pairs of some rows at a time."""
    n, height = kind.shape[0], kind.band

    def band(start: Array | int) -> Arrays:
        tile = tile_of(form, numbers, first.part(start, height), second)
        return tuple(getattr(tile, name) for name in WANTED[kind.only])

    if height == n:
        return band(0), None

    def write(step: Array, arrays: Arrays) -> Arrays:
        start = jnp.minimum(step * height, n - height)
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(array, part, start, 0)
            for array, part in zip(arrays, band(start), strict=True)
        )

    return jax.lax.fori_loop(0, -(-n // height), write, _empty(kind, first.x.dtype)), None


def _by_blocks(form: Form, numbers: Numbers, first: SampleSet, second: SampleSet, kind: Kind) -> Found:
    """Compute square blocks, of two that mirror each other one."""
    height, width = (min(SIDE, size) for size in kind.shape)
    corners = _corners(kind.shape, (height, width), symmetric=kind.symmetric)

    def block(corner: Array) -> tuple[Num[Array, "a b"], Bool[Array, "a b"] | None]:
        i, j = corner
        part = tile_of(form, numbers, first.part(i, height), second.part(j, width)).part(kind.only)
        # otherwise XLA would go through the layers once for each array that the block is written to
        return jax.lax.optimization_barrier((part.joined, part.certain))

    def write(step: Array, found: Found) -> Found:
        (arrays, doubtful), corner = found, jnp.asarray(corners)[step]
        joined, certain = block(corner)
        if kind.symmetric:
            # the lower half of a block on the diagonal mirrors the upper one
            below = (corner[0] == corner[1]) & jnp.tri(height, k=-1, dtype=bool)
            joined = jnp.where(below, joined.T, joined)
        parts = (joined.real, joined.imag) if kind.only is None else (joined,)
        arrays = tuple(_written(array, part, corner) for array, part in zip(arrays, parts, strict=True))
        if kind.symmetric:
            mirrored = jax.lax.optimization_barrier(parts)
            arrays = tuple(_written(array, part.T, corner[::-1]) for array, part in zip(arrays, mirrored, strict=True))
        if doubtful is not None and certain is not None:
            above = (corner[0] + jnp.arange(height))[:, None] < corner[1] + jnp.arange(width)
            doubtful = _written(doubtful, ~certain & above if kind.symmetric else ~certain, corner)
        return arrays, doubtful

    unsure = jax.eval_shape(block, jnp.asarray(corners[0]))[1] is not None
    empty = _empty(kind, first.x.dtype), jnp.zeros(kind.shape, bool) if unsure else None
    return jax.lax.fori_loop(0, len(corners), write, empty)


def _corners(shape: tuple[int, int], size: tuple[int, int], *, symmetric: bool) -> np.ndarray:
    """Return the first row and column of every block, those on the diagonal last.

    The last block of a row or column begins earlier, so that all have one shape. Of symmetric kernels it reaches over
    the diagonal into what the last block on the diagonal then writes.
    """
    rows, columns = (
        [min(k, count - side) for k in range(0, count, side)] for count, side in zip(shape, size, strict=True)
    )
    pairs = [(i, j) for i in rows for j in columns if not symmetric or i <= j]
    return np.asarray(sorted(pairs, key=lambda pair: symmetric and pair[0] == pair[1]), np.int32)


def _written(whole: Array, part: Array, corner: Array) -> Array:
    return jax.lax.dynamic_update_slice(whole, part, (corner[0], corner[1]))


def _empty(kind: Kind, dtype: np.dtype) -> Arrays:
    """Return arrays that are to be written to; older versions of JAX write zeros first."""
    return tuple(getattr(jax.lax, "empty", jnp.zeros)(kind.shape, dtype) for _ in WANTED[kind.only])


def _with_exact_pairs(
    recursion: Recursion, first: Part, second: Part, arrays: Arrays, doubtful: Bool[Array, "n m"], kind: Kind
) -> Arrays:
    """Return kernels with the pairs that are not accurate replaced by exact forms."""
    rows = np.flatnonzero(np.asarray(jnp.any(doubtful, axis=1)))
    for begin in range(0, len(rows), ROWS):
        some = rows[begin : begin + ROWS]
        i, j = np.nonzero(np.asarray(doubtful[some]))
        for start in range(0, i.size, PAIRS):
            # repeated to one length, so that one compiled program serves
            here, there = (np.resize(v[start : start + PAIRS], PAIRS) for v in (some[i], j))
            pairs = (first.samples, second.samples, first.start + here, second.start + there)
            exact = recursion.pairs(*pairs, kind.only).joined
            values = (exact.real, exact.imag) if kind.only is None else (exact,)
            arrays = _with_entries(arrays, values, here, there, kind.symmetric)
    return arrays


@partial(jax.jit, static_argnums=4, donate_argnums=0)
def _with_entries(
    arrays: Arrays, values: tuple[Float[Array, " k"], ...], i: Array, j: Array, symmetric: bool
) -> Arrays:
    written = tuple(array.at[i, j].set(own) for array, own in zip(arrays, values, strict=True))
    if not symmetric:
        return written
    return tuple(array.at[j, i].set(own) for array, own in zip(written, values, strict=True))
