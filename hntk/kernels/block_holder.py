"""A worker's share of the blocks of a kernel, in a process of its own on any machine.

It reads the samples that its blocks are between, and no others. A block that is not there, because the worker replaces
one that died or because blocks are not kept, is computed when a product needs it.
"""

from __future__ import annotations

import os
import socket
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from hntk._utils.float64 import float64
from hntk._utils.memory import available_memory, give_back_memory
from hntk.kernels.held_kernel import Corner, KernelName, block_products, finite_entries, rectangle
from hntk.kernels.kernel_plan import KernelPlan
from hntk.kernels.problem import KernelProblem
from hntk.kernels.recursion import SampleSet
from hntk.kernels.tiling import TILE, Target, fill, in_threads

# sets of samples that stay in memory between blocks
BANDS = 3
# samples on the side of the block by which a worker's speed is measured
PROBE = 512


class Rates(NamedTuple):
    """How fast a worker is.

    Attributes
    ----------
    entries : float
        Entries of a kernel that it computes in a second.
    bytes : float
        Bytes of a block in memory that it multiplies by in a second.
    """

    entries: float
    bytes: float


@dataclass(eq=False)
class BlockHolder:
    """Blocks of a kernel between training samples that one worker holds.

    Attributes
    ----------
    problem : KernelProblem
        The network; its samples are not read.
    kernel : {"ck", "ntk"}
        Which kernel.
    plan : KernelPlan
        How blocks are kept.
    corners : sequence of tuple of int
        Block row and block column of the worker's blocks.
    x : ndarray of shape (n, p), or an object that reads rows
        All samples, where the worker finds them.
    order : ndarray of shape (n,), optional
        Which sample every row of the kernel is; None for samples in their order.
    tile : int
        Samples on the side of a tile.
    """

    problem: KernelProblem
    kernel: KernelName
    plan: KernelPlan
    corners: Sequence[Corner]
    x: Any
    order: Int[np.ndarray, " n"] | None = None
    tile: int = TILE
    _kept: dict[Corner, np.ndarray] = field(default_factory=dict)
    _bands: OrderedDict[tuple[int, int], SampleSet] = field(default_factory=OrderedDict)

    def room(self) -> int | None:
        """Return the bytes that this worker's machine has free."""
        give_back_memory()
        return available_memory()

    def __repr__(self) -> str:
        # Ray puts this before what a worker prints
        return f"BlockHolder({len(self.corners)} blocks)"

    def where(self) -> tuple[str, int]:
        """Return the name of this worker's machine, and the number of its process."""
        return socket.gethostname(), os.getpid()

    def keep_nothing(self) -> None:
        """Compute blocks anew for every product from now on."""
        self.plan = replace(self.plan, place="nowhere")
        self._kept.clear()

    def memory(self) -> int:
        """Return the bytes of memory that this process has taken for itself; 0 where the system does not tell."""
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return 0
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    def probe(self, columns: int) -> Rates:
        """Measure how fast this worker is, on the kernel's first samples; what is compiled for it serves later."""
        side = min(PROBE, self.plan.n)
        samples = self._samples(0, side)
        block, seconds = np.empty((side, side), self.plan.dtype), np.inf
        for _ in range(2):  # the first time compiles
            begin = time.perf_counter()
            self._fill(block, samples, samples, same=False)
            seconds = time.perf_counter() - begin
        v = np.ones((side, columns))
        with threadpool_limits(1, "blas"):
            begin = time.perf_counter()
            for _ in in_threads(lambda _: block_products(block, v, v), [(0, k) for k in range(8)]):
                pass
        return Rates(side**2 / seconds, 8 * block.nbytes / (time.perf_counter() - begin))

    def echo(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return an array of the same size, to measure how long it is on its way."""
        return v + 1.0

    def compute(self, corners: Sequence[Corner]) -> int:
        """Compute and keep some blocks; return how many bytes they take."""
        return sum(self._block(corner).nbytes for corner in corners)

    def product(self, where: Sequence[slice], *parts: Float[np.ndarray, "rows k"]) -> list[Float[np.ndarray, "rows k"]]:
        """Return the part of K v that this worker's blocks and their mirror images have, on some pieces of its rows.

        Parameters
        ----------
        where : sequence of slice
            The pieces, which are all that the blocks reach over.
        *parts : ndarray of shape (rows, k)
            The pieces of v.

        Returns
        -------
        list of ndarray of shape (rows, k)
            The pieces of the product.
        """
        v = np.zeros((self.plan.n, parts[0].shape[1]))
        for rows, part in zip(where, parts, strict=True):
            v[rows] = part
        total = self._product(v)
        return [total[rows] for rows in where]

    def _product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        total = np.zeros(v.shape)

        def work(corner: Corner) -> tuple[np.ndarray, np.ndarray | None]:
            rows, columns = self._slices(corner)
            return block_products(self._block(corner), v[columns], v[rows] if corner[0] != corner[1] else None)

        # blocks that are still to be computed take all cores one after the other
        there = all(corner in self._kept for corner in self.corners)
        # one thread of BLAS for each of ours
        with threadpool_limits(1, "blas"):
            parts = in_threads(work, list(self.corners)) if there else map(work, self.corners)
            for corner, (here, mirrored) in zip(self.corners, parts, strict=True):
                rows, columns = self._slices(corner)
                total[rows] += here
                if mirrored is not None:
                    total[columns] += mirrored
        return total

    def columns(self, start: int, stop: int, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "rows m"]:
        """Return some rows of some columns of the kernel; entries of a sample with itself are not its own."""
        chosen = self._set(self._read(index))
        return np.concatenate(
            [
                rectangle(self.problem, self.kernel, self._samples(k, min(k + self.plan.side, stop)), chosen)
                for k in range(start, stop, self.plan.side)
            ]
        )

    def _slices(self, corner: Corner) -> tuple[slice, slice]:
        side, n = self.plan.side, self.plan.n
        rows, columns = (slice(k * side, min((k + 1) * side, n)) for k in corner)
        return rows, columns

    def _block(self, corner: Corner) -> np.ndarray:
        """Return a block in the type that blocks are kept in, and keep it where the plan says so."""
        block = self._kept.get(corner)
        if block is None:
            # a last band of few samples begins earlier, so that all tiles have one shape and one program
            begins = [max(0, min(part.start, self.plan.n - self.tile)) for part in self._slices(corner)]
            (first, rows), (second, columns) = (
                (self._samples(begin, part.stop), part.start - begin)
                for begin, part in zip(begins, self._slices(corner), strict=True)
            )
            whole = np.empty((len(first.ck), len(second.ck)), self.plan.dtype)
            self._fill(whole, first, second, same=corner[0] == corner[1])
            block = finite_entries(whole[rows:, columns:])
            if self.plan.place == "memory":
                self._kept[corner] = block = np.ascontiguousarray(block)
        return block

    def _fill(self, block: np.ndarray, first: SampleSet, second: SampleSet, *, same: bool) -> None:
        ck, ntk = (block, None) if self.kernel == "ck" else (None, block)
        target = Target(ck, ntk, symmetric=same, tile=self.tile, same=same)
        with float64():
            fill(self.problem.recursion, first, second, target, target.bands)

    def _samples(self, start: int, stop: int) -> SampleSet:
        """Return what the recursion needs to know of some samples in a row."""
        if (start, stop) not in self._bands:
            self._bands[start, stop] = self._set(self._read(slice(start, stop)))
            while len(self._bands) > BANDS:
                self._bands.popitem(last=False)
        self._bands.move_to_end((start, stop))
        return self._bands[start, stop]

    def _read(self, index: Any) -> Float[np.ndarray, "m p"]:
        return np.asarray(self.x[index if self.order is None else self.order[index]], np.float64)

    def _set(self, x: np.ndarray) -> SampleSet:
        with float64():
            return self.problem.samples(jnp.asarray(x))
