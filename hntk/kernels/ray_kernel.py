"""A kernel between training samples whose blocks the workers of a Ray cluster hold.

Every worker holds a share of the blocks of the upper triangle, and multiplies a block of vectors by them and by their
mirror images. The driver, which keeps the vectors, adds the sums in the order of the shares. A worker that dies is
replaced, and the one in its place computes its blocks again: the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hntk._utils.memory import gigabytes
from hntk.data.row_files import RowFiles
from hntk.kernels.block_holder import BlockHolder
from hntk.kernels.cluster_cost import ClusterCost, block_side, pieces, reached, shares
from hntk.kernels.held_kernel import HeldKernel, KernelName, finite_entries
from hntk.kernels.kernel_plan import DOUBLE, SHARE, Keep, KernelPlan, triangle_bytes
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_workers import REMEDY, RayWorkers, Tell, import_ray, machines
from hntk.kernels.tiling import TILE

# calls of a worker that its blocks are computed in, between which progress is told
CALLS = 32
# bytes by which the speed of the way to all workers is measured
LINK = 2**25


@dataclass(eq=False)
class RayKernel:
    """The CK or the NTK between training samples, on the workers of a Ray cluster.

    Attributes
    ----------
    here : HeldKernel
        The kernel on the driver, none of whose blocks is kept.
    plan : KernelPlan
        How workers keep blocks.
    cost : ClusterCost
        What was predicted of memory, bytes and time.
    workers : RayWorkers
        The workers.
    moved : int
        Bytes of vectors and sums that products have moved so far, counted where they are sent and received.
    multiplied : int
        Number of columns that products have had so far.
    """

    here: HeldKernel
    plan: KernelPlan
    cost: ClusterCost
    workers: RayWorkers
    moved: int = 0
    multiplied: int = 0
    _base: list[int] = field(default_factory=list)

    @staticmethod
    def open(
        here: HeldKernel,
        outputs: int,
        *,
        samples: RowFiles | None = None,
        order: Int[np.ndarray, " n"] | None = None,
        keep: Keep = "auto",
        precision: str = "auto",
        memory: int | None = None,
        tell: Tell = print,
        kind: type = BlockHolder,
    ) -> RayKernel:
        """Start workers, plan their shares by the memory they have, and tell what it will cost.

        Parameters
        ----------
        here : HeldKernel
            The kernel on the driver, with samples in the order of its rows.
        outputs : int
            Number of targets of the regression.
        samples : RowFiles, optional
            Files in which workers find the samples. None sends them, once to each machine.
        order : ndarray of shape (n,), optional
            Which row of ``samples`` every row of the kernel is.
        keep : {"auto", "memory", "nowhere"}
            Whether workers keep blocks.
        precision : {"auto", "float32", "float64"}
            Type that blocks are kept in.
        memory : int, optional
            Bytes that a worker may take. By default four fifths of what its machine has free.
        tell : callable
            Called with lines of text.
        kind : type
            Class of the workers.

        Returns
        -------
        RayKernel
            The kernel, none of whose blocks is computed yet.

        Raises
        ------
        ImportError
            If Ray is not installed.
        MemoryError
            If blocks are to be in the workers' memory, and do not fit.
        ValueError
            If blocks are to be on disk.
        """
        if keep == "disk":
            raise ValueError("engine='ray' holds blocks in the memory of its workers: give keep='memory' or 'nowhere'.")
        nodes, (n, p) = machines(tell), here.problem.x.shape
        plan = _plan(n, len(nodes), precision)
        made = _Maker(here.problem, here.kernel, plan, samples, order)
        parts = shares(plan, len(nodes))
        workers = RayWorkers(made, kind, parts, nodes, tell)
        cost = ClusterCost(n, p, outputs, len(parts), plan.side, plan.dtype, "memory", made.stored)
        try:
            if not _fits(cost, workers, keep, memory):
                reason = plan.reason if keep == "nowhere" else "more than the workers' memory has"
                made.plan = plan = replace(plan, place="nowhere", reason=reason)
                workers.call("keep_nothing")
                cost = replace(cost, place="nowhere")
            cost, base = _measured(cost, workers)
        except BaseException:
            workers.close()
            raise
        tell(str(cost))
        return RayKernel(here, plan, cost, workers, _base=base)

    @property
    def problem(self) -> KernelProblem:
        """Samples and network."""
        return self.here.problem

    @property
    def kernel(self) -> KernelName:
        """Which kernel."""
        return self.here.kernel

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.plan.n

    def diagonal(self) -> Float[np.ndarray, " n"]:
        """Return the kernel's diagonal."""
        return self.here.diagonal()

    def compute(self, progress: Callable[[int], None] | None = None) -> None:
        """Compute and keep all blocks; ``progress`` gets the number of entries of some of them at a time."""
        if self.plan.place == "nowhere":
            return
        ray, running = self.workers.ray, {}
        for k, share in enumerate(self.workers.shares):
            step = -(-len(share) // CALLS)
            for start in range(0, len(share), step):
                corners = share[start : start + step]
                call = self.workers.start(k, "compute", (corners,))
                running[call.reference] = call
        while running:
            (reference,), _ = ray.wait(list(running), num_returns=1)
            call = running.pop(reference)
            self.workers.result(call)
            if progress is not None:
                progress(sum(self._entries(corner) for corner in call.arguments[0]))

    def product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v."""
        v, total = np.asarray(v, np.float64), np.zeros(v.shape)
        sent = [self.workers.ray.put(v[rows]) for rows in self._pieces]
        given = [([self._pieces[k] for k in own], *(sent[k] for k in own)) for own in self._reached]
        for own, parts in zip(self._reached, self.workers.each("product", given), strict=True):
            for k, part in zip(own, parts, strict=True):
                total[self._pieces[k]] += part
                self.moved += v[self._pieces[k]].nbytes + part.nbytes
        self.multiplied += v.shape[1]
        return total

    def columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of the kernel, computed in float64."""
        ends = np.linspace(0, self.n, len(self.workers.shares) + 1).astype(int).tolist()
        parts = self.workers.each("columns", [(a, b, index) for a, b in zip(ends[:-1], ends[1:], strict=True)])
        found = np.concatenate(parts)
        found[index, np.arange(len(index))] = self.here.diagonal()[index]
        return finite_entries(found)

    def computed_columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of the kernel, computed in float64."""
        return self.columns(index)

    def memory(self) -> list[int]:
        """Return the bytes that every worker has taken since it began."""
        return [now - before for now, before in zip(self.workers.call("memory"), self._base, strict=True)]

    def close(self) -> None:
        """End the workers."""
        self.workers.close()

    @cached_property
    def _pieces(self) -> list[slice]:
        return pieces(self.plan)

    @cached_property
    def _reached(self) -> list[list[int]]:
        return [reached(self.plan, share) for share in self.workers.shares]

    def _entries(self, corner: tuple[int, int]) -> int:
        a, b = (min(self.plan.side, self.n - k * self.plan.side) for k in corner)
        return a * b * (1 if corner[0] == corner[1] else 2)


class _Maker:
    """What every worker is made of; samples and their order are put into the object store once."""

    def __init__(
        self,
        problem: KernelProblem,
        kernel: KernelName,
        plan: KernelPlan,
        samples: RowFiles | None,
        order: np.ndarray | None,
    ) -> None:
        ray = import_ray()
        self.kernel, self.plan, self.stored = kernel, plan, 0
        # the network alone
        self.problem = ray.put(replace(problem, x=np.zeros((1, problem.x.shape[1]))))
        self.samples: Any = samples
        self.order = None if order is None else ray.put(order)
        if samples is None:
            x = np.asarray(problem.x)
            self.samples, self.order, self.stored = ray.put(x), None, x.nbytes

    def __call__(self, share: list[tuple[int, int]], smaller: bool) -> tuple:
        tile = TILE // 2 if smaller else TILE
        return self.problem, self.kernel, self.plan, share, self.samples, self.order, tile


def _plan(n: int, workers: int, precision: str) -> KernelPlan:
    side = block_side(n, workers)
    dtype = precision
    if precision == "auto":
        dtype = "float64" if triangle_bytes(n, side, 8) <= DOUBLE * workers else "float32"
    return KernelPlan(n, "memory", dtype, side, f"shared by {workers} Ray worker{'s' if workers > 1 else ''}")


def _fits(cost: ClusterCost, workers: RayWorkers, keep: Keep, memory: int | None) -> bool:
    """Return whether workers keep blocks: as was asked, or where all machines have room for theirs."""
    if keep == "nowhere":
        return False
    rooms = [room for room in workers.call("room") if room is not None]
    # machines of a cluster that share one host's memory are counted by the host
    hosts = [host for host, _ in workers.call("where")]
    most = max(hosts.count(host) for host in hosts)
    least = int(SHARE * min(rooms, default=2**62)) // most if memory is None else memory
    if cost.memory <= least:
        return True
    if keep == "memory":
        raise MemoryError(
            f"a worker's blocks take {gigabytes(cost.memory)}, and {gigabytes(least)} of memory are for each: {REMEDY}."
        )
    return False


def _measured(cost: ClusterCost, workers: RayWorkers) -> tuple[ClusterCost, list[int]]:
    """Return the cost with measured rates, and the memory that workers have before they hold anything."""
    rates = workers.call("probe", cost.outputs)
    v = np.ones((max(1, min(cost.n, LINK // (8 * cost.outputs * cost.workers))), cost.outputs))
    workers.call("echo", workers.ray.put(v))
    begin = perf_counter()
    workers.call("echo", workers.ray.put(v))
    seconds = perf_counter() - begin
    slowest = min(rate.entries for rate in rates), min(rate.bytes for rate in rates)
    return cost.measured(*slowest, 2 * cost.workers * v.nbytes / seconds), workers.call("memory")
