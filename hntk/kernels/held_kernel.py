"""A kernel between training samples as an operator: blocks of its upper triangle, kept or computed when needed.

Entries are computed in float64 and kept as the plan says; products add up in float64 whatever they are kept in, so that
the matrix of an iteration is exactly the one that is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import ThreadpoolController

from hntk._utils.devices import accelerated, compiled, exact_product
from hntk._utils.float64 import float64
from hntk._utils.rows import narrow_blocks
from hntk.kernels.device_kernels import Part, device_kernels
from hntk.kernels.kernel_plan import KernelPlan
from hntk.kernels.problem import KernelProblem
from hntk.kernels.recursion import SampleSet, rows_of
from hntk.kernels.tiling import Target, in_threads, tile_kernels, write_mirrored

KernelName = Literal["ck", "ntk"]
Corner = tuple[int, int]
# columns that a device computes at a time are a multiple
COLUMNS = 64
Entries = TypeVar("Entries", np.ndarray, jax.Array)


class Blocks(Protocol):
    """What keeps the blocks of a plan."""

    def get(self, corner: Corner) -> np.ndarray | jax.Array | None:
        """Return a block, or None where it is not kept."""
        ...

    def put(self, corner: Corner, block: np.ndarray | jax.Array) -> None:
        """Keep a block."""
        ...


@dataclass(eq=False)
class MemoryBlocks:
    """Blocks in memory, or on JAX's device where they were computed there."""

    kept: dict[Corner, np.ndarray | jax.Array] = field(default_factory=dict)

    def get(self, corner: Corner) -> np.ndarray | jax.Array | None:
        """Return a block, or None where it is not kept."""
        return self.kept.get(corner)

    def put(self, corner: Corner, block: np.ndarray | jax.Array) -> None:
        """Keep a block."""
        self.kept[corner] = block


@dataclass(eq=False)
class NoBlocks:
    """Blocks that are not kept."""

    def get(self, corner: Corner) -> np.ndarray | None:
        """Return None."""

    def put(self, corner: Corner, block: np.ndarray | jax.Array) -> None:
        """Do nothing."""


@dataclass(eq=False)
class HeldKernel:
    """The CK or the NTK between training samples.

    Attributes
    ----------
    problem : KernelProblem
        Samples and network.
    kernel : {"ck", "ntk"}
        Which kernel.
    plan : KernelPlan
        Where blocks are kept.
    blocks : Blocks
        What keeps them.
    """

    problem: KernelProblem
    kernel: KernelName
    plan: KernelPlan
    blocks: Blocks

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.plan.n

    @cached_property
    def samples(self) -> SampleSet:
        """What the recursion needs to know of every sample."""
        with float64():
            return self.problem.checked_samples(self.problem.x)

    @cached_property
    def _diagonal(self) -> Float[np.ndarray, " n"]:
        return np.asarray(getattr(self.samples, self.kernel))

    def diagonal(self) -> Float[np.ndarray, " n"]:
        """Return the kernel's diagonal."""
        return self._diagonal.copy()

    def compute(self, progress: Callable[[int], None] | None = None) -> None:
        """Compute and keep all blocks that are not kept yet; ``progress`` gets the number of entries of each."""
        if self.plan.place == "nowhere":
            return

        def work(corner: Corner) -> int:
            rows, columns = self._slices(corner)
            entries = (rows.stop - rows.start) * (columns.stop - columns.start) * (1 if corner[0] == corner[1] else 2)
            if self.blocks.get(corner) is None:
                self.blocks.put(corner, self._block(corner))
            return entries

        # a device computes one block after the other
        for entries in map(work, self.plan.corners) if self._on_device else in_threads(work, self.plan.corners):
            if progress is not None:
                progress(entries)

    def product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v."""
        if self._on_device:
            return self._device_product(v)
        total = np.zeros_like(v, dtype=np.float64)

        def work(corner: Corner) -> tuple[Corner, np.ndarray, np.ndarray | None]:
            kept = self.blocks.get(corner)
            block = np.asarray(self._block(corner) if kept is None else kept)
            rows, columns = self._slices(corner)
            right = v[rows] if corner[0] != corner[1] else None
            return corner, *block_products(block, v[columns], right)

        # one thread of BLAS for each of ours
        with _libraries().limit(limits=1, user_api="blas"):
            for corner, here, there in in_threads(work, self.plan.corners):
                rows, columns = self._slices(corner)
                total[rows] += here
                if there is not None:
                    total[columns] += there
        return total

    @property
    def _on_device(self) -> bool:
        """Whether blocks are on JAX's device when they are multiplied by."""
        return self.plan.place == "device" or (self.plan.place == "nowhere" and accelerated())

    def _device_product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v from blocks on the device, which goes on with them while programs are started here."""
        with float64():
            factors = jnp.asarray(v, jnp.float64)
            total, add = jnp.zeros_like(factors), _added()
            for corner in self.plan.corners:
                block, same = self.blocks.get(corner), corner[0] == corner[1]
                starts = [part.start for part in self._slices(corner)]
                total = add(total, self._block(corner) if block is None else block, factors, *starts, same)
            return np.asarray(total)

    def columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of the kernel in float64: those that are kept, or computed ones."""
        # those that were rounded would have rounding errors for their least eigenvalues
        if self.plan.place != "memory" or self.plan.dtype != "float64":
            return self.computed_columns(index)
        found = np.empty((self.n, len(index)))
        for corner in self.plan.corners:
            block = self.blocks.get(corner)
            if block is None:
                return self.computed_columns(index)
            rows, columns = self._slices(corner)
            here = (index >= columns.start) & (index < columns.stop)
            found[rows, here] = block[:, index[here] - columns.start]
            if corner[0] != corner[1]:
                below = (index >= rows.start) & (index < rows.stop)
                found[columns, below] = np.asarray(block[index[below] - rows.start]).T
        return found

    def computed_columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of the kernel, computed in float64, whatever is kept."""
        # repeated to few lengths, for each of which a device compiles a program for longer than it takes
        count = len(index) if not accelerated() else COLUMNS * -(-len(index) // COLUMNS)
        with float64():
            chosen = rows_of(self.samples, np.resize(index, count))
            found = rectangle(self.problem, self.kernel, self.samples, chosen)[:, : len(index)]
        found[index, np.arange(len(index))] = self._diagonal[index]
        return finite_entries(found)

    def _slices(self, corner: Corner) -> tuple[slice, slice]:
        side, n = self.plan.side, self.n
        rows, columns = (slice(k * side, min((k + 1) * side, n)) for k in corner)
        return rows, columns

    def _block(self, corner: Corner) -> np.ndarray | jax.Array:
        """Return a block in the type that blocks are kept in, on the device where it is to stay there."""
        if self._on_device or accelerated():
            block = self._device_block(corner)
            return block if self._on_device else np.asarray(block)
        rows, columns = self._slices(corner)
        same, step = corner[0] == corner[1], self._target.tile
        block = np.empty((rows.stop - rows.start, columns.stop - columns.start), self.plan.dtype)
        with float64():  # a setting of each thread
            for i in range(rows.start, rows.stop, step):
                for j in range(i if same else columns.start, columns.stop, step):
                    tile = self._tile((i, j))[: rows.stop - i, : columns.stop - j]
                    here, there = i - rows.start, j - columns.start
                    block[here : here + tile.shape[0], there : there + tile.shape[1]] = tile
                    if same and i != j:
                        block[there : there + tile.shape[1], here : here + tile.shape[0]] = tile.T
        return finite_entries(block)

    def _device_block(self, corner: Corner) -> jax.Array:
        first, second = (Part(self.samples, part.start, part.stop - part.start) for part in self._slices(corner))
        with float64():
            (found,) = device_kernels(
                self.problem.recursion, first, None if corner[0] == corner[1] else second, self.kernel
            )
            return finite_entries(found).astype(self.plan.dtype)

    def _tile(self, corner: Corner) -> Float[np.ndarray, "a b"]:
        (chosen,) = tile_kernels(self.problem.recursion, self.samples, self.samples, self._target, corner)
        k = corner[0]
        if k != corner[1]:
            return chosen
        square = np.empty(chosen.shape, chosen.dtype)
        write_mirrored(square, chosen, self._diagonal[k : k + len(chosen)])
        return square

    @cached_property
    def _target(self) -> Target:
        return _target(self.kernel, (self.n, self.n), symmetric=True)


def square(
    problem: KernelProblem, kernel: KernelName, progress: Callable[[int], None] | None = None
) -> Float[np.ndarray, "n n"]:
    """Return one kernel between all samples of a problem in float64; ``progress`` gets the number of entries done."""
    if accelerated():
        with float64():
            (whole,) = device_kernels(problem.recursion, Part.of(problem.checked_samples(problem.x)), None, kernel)
            found = np.array(finite_entries(whole))
        if progress is not None:
            progress(found.size)
        return found
    found = np.empty(problem.shape)
    ck, ntk = (found, None) if kernel == "ck" else (None, found)
    target = Target(ck, ntk, symmetric=True, same=True)
    with float64():
        problem.fill(target, target.bands, None if progress is None else lambda band: progress(target.pairs(band)))
    return finite_entries(found)


def rectangle(
    problem: KernelProblem, kernel: KernelName, first: SampleSet, second: SampleSet
) -> Float[np.ndarray, "n m"]:
    """Return one kernel between two sets of samples, on all cores or on JAX's device."""
    if accelerated():
        with float64():
            return np.array(_device_rectangle(problem, kernel, first, second))
    shape = len(first.ck), len(second.ck)
    found = np.empty(shape)
    target = _target(kernel, shape, symmetric=False)

    def work(corner: Corner) -> None:
        with float64():
            (tile,) = tile_kernels(problem.recursion, first, second, target, corner)
        (i, j), (a, b) = corner, tile.shape
        found[i : i + a, j : j + b] = tile

    for _ in in_threads(work, [corner for band in target.bands for corner in target.corners(band)]):
        pass
    return found


def weighted_rows(
    problem: KernelProblem, kernel: KernelName, first: SampleSet, second: SampleSet, weights: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "n k"]:
    """Return the product of one kernel between new samples and training samples with weights of the latter."""
    if not accelerated():
        return with_declared(rectangle(problem, kernel, first, second), problem) @ weights
    with float64():
        rows = with_declared(_device_rectangle(problem, kernel, first, second), problem)
        return np.asarray(_product()(rows, jnp.asarray(weights)))


def with_declared(entries: Entries, problem: KernelProblem) -> Entries:
    """Return entries between new and training samples; infinite ones, of equal samples, are the declared diagonal."""
    if problem.kappa_sq is None:
        return entries
    library: Any = np if isinstance(entries, np.ndarray) else jnp
    return library.where(library.isposinf(entries), problem.kappa_sq, entries)


def _device_rectangle(
    problem: KernelProblem, kernel: KernelName, first: SampleSet, second: SampleSet
) -> Float[jax.Array, "n m"]:
    (whole,) = device_kernels(problem.recursion, Part.of(first), Part.of(second), kernel)
    return whole


@cache
def _product() -> Any:
    return compiled(exact_product)


def _target(kernel: KernelName, shape: tuple[int, int], *, symmetric: bool) -> Target:
    """Return a division into tiles for one kernel, without memory for it."""
    empty = np.broadcast_to(np.zeros(()), shape)
    ck, ntk = (empty, None) if kernel == "ck" else (None, empty)
    return Target(ck, ntk, symmetric=symmetric, same=symmetric)


def block_products(
    block: np.ndarray, v: Float[np.ndarray, "b k"], right: Float[np.ndarray, "a k"] | None
) -> tuple[Float[np.ndarray, "a k"], Float[np.ndarray, "b k"] | None]:
    """Return the products of a block with v, and of its transpose with ``right``, added up in float64."""
    here, mirrored = np.empty((len(block), v.shape[1])), np.zeros_like(v)
    for rows in narrow_blocks(block.shape, v.shape[1]):
        part = block[rows].astype(np.float64, copy=False)
        here[rows] = part @ v
        if right is not None:
            mirrored += part.T @ right[rows]
    return here, None if right is None else mirrored


@cache
def _libraries() -> ThreadpoolController:
    """Return what sets the number of BLAS's threads; finding its libraries takes milliseconds."""
    return ThreadpoolController()


def finite_entries(entries: Entries) -> Entries:
    """Return entries, or refuse those that are infinite."""
    library = np if isinstance(entries, np.ndarray) else jnp
    if library.all(library.isfinite(entries)):
        return entries
    raise ValueError(
        "the NTK of a network with jumps is infinite between samples that are equal, whatever its diagonal is declared "
        "to be: drop samples that occur twice, or use kernel='ck'."
    )


@cache
def _added() -> Any:
    """Return the program that adds the products of a block and of its mirror image to a sum, in float64."""

    def added(
        total: Float[jax.Array, "n k"], block: jax.Array, v: Float[jax.Array, "n k"], i: int, j: int, same: bool
    ) -> Float[jax.Array, "n k"]:
        exact, (height, width) = block.astype(float), block.shape
        cut, put = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
        total = put(total, cut(total, i, height) + exact_product(exact, cut(v, j, width)), i, axis=0)
        if same:
            return total
        return put(total, cut(total, j, width) + exact_product(exact.T, cut(v, i, height)), j, axis=0)

    return compiled(added, static_argnums=5, donate_argnums=0)
