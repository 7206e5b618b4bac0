r"""What a kernel between n samples costs a cluster: blocks, bytes moved, memory and time, before anything is computed.

The upper triangle has $c(c+1)/2$ blocks, $c = \lceil n/s\rceil$, which W workers share. A product with a block of k
vectors sends to every worker the rows that its blocks reach over, and gets a sum of the same size back from each. These
are at most $2 \cdot 8\,Wnk$ bytes. Shares of many workers are about squares that lie together, of $n/\sqrt{2W}$ samples
on a side, so that it is about $2 \cdot 8\,nk\sqrt{2W}$ bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate

import numpy as np

from hntk._utils.arguments import as_choice, as_count
from hntk._utils.memory import gigabytes
from hntk.kernels.kernel_plan import SIDE, KernelPlan, Place
from hntk.kernels.tiling import TILE

Corner = tuple[int, int]
# blocks of a worker at least, where there are samples enough, for shares to be alike
BLOCKS = 8
# blocks of samples that a worker has in memory at a time
BANDS = 3
# pieces that a vector is sent in at most
PIECES = 256
# bytes of compiled programs and of the tiles that threads are at, fitted to measurements at three sizes
WORKSPACE = 2 * 2**24


@dataclass(frozen=True)
class ClusterCost:
    """What the products of a regression with an exact kernel cost on several workers.

    Attributes
    ----------
    n, p : int
        Number of samples and their dimension.
    outputs : int
        Number of columns of a product.
    workers : int
        Number of workers, one on each machine.
    side : int
        Samples on the side of a block.
    dtype : {"float32", "float64"}
        Type that blocks are kept in.
    place : {"memory", "nowhere"}
        Whether workers keep blocks or compute them anew for every product.
    stored : int
        Bytes of samples that every machine holds in Ray's object store; 0 where workers map files.
    entry_rate : float
        Entries that a worker computes in a second; NaN where it was not measured.
    byte_rate : float
        Bytes of blocks in memory that a worker multiplies by in a second; NaN where it was not measured.
    link_rate : float
        Bytes that go to all workers and back in a second, all together; NaN where it was not measured.

    Examples
    --------
    >>> from hntk.kernels.cluster_cost import ClusterCost
    >>> cost = ClusterCost(60_000, 784, 10, workers=4, side=2048, dtype="float32", place="memory")
    >>> cost.blocks, f"{cost.moved / 1e6:.1f} MB a product", f"{cost.memory / 1e9:.1f} GB a worker"
    (465, '28.8 MB a product', '1.9 GB a worker')
    """

    n: int
    p: int
    outputs: int
    workers: int
    side: int = SIDE
    dtype: str = "float32"
    place: Place = "memory"
    stored: int = 0
    entry_rate: float = float("nan")
    byte_rate: float = float("nan")
    link_rate: float = float("nan")

    def __post_init__(self) -> None:
        for name in ("n", "p", "outputs", "workers", "side"):
            as_count(getattr(self, name), name)
        as_choice(self.dtype, "dtype", ("float32", "float64"))
        as_choice(self.place, "place", ("memory", "nowhere"))

    @property
    def count(self) -> int:
        """Number of blocks on a side of the kernel."""
        return -(-self.n // self.side)

    @property
    def blocks(self) -> int:
        """Number of blocks of the upper triangle."""
        return self.count * (self.count + 1) // 2

    @property
    def tiles(self) -> int:
        """Number of tiles that are computed for them, once."""
        each = -(-min(self.side, self.n) // TILE)
        return self.count * (self.count - 1) // 2 * each**2 + self.count * each * (each + 1) // 2

    @property
    def entries(self) -> int:
        """Number of entries that are computed, once."""
        return self.n * (self.n + 1) // 2

    @property
    def kept(self) -> int:
        """Bytes of all blocks."""
        return np.dtype(self.dtype).itemsize * sum(n * self._width(k) for k, n in enumerate(self._reach()))

    @property
    def moved(self) -> int:
        """Bytes that one product moves between the driver and all workers, there and back."""
        return 2 * 8 * self.outputs * _reach(self.n, self.side, self.workers)

    @property
    def memory(self) -> int:
        """Bytes that a worker takes beside its libraries: blocks, samples, the vectors of a product, and programs."""
        block = np.dtype(self.dtype).itemsize * min(self.side, self.n) ** 2
        blocks = -(-self.kept // self.workers) if self.place == "memory" else block
        return WORKSPACE + blocks + 8 * (BANDS * self.side * self.p + 2 * self.n * self.outputs)

    @property
    def node_memory(self) -> int:
        """Bytes that a machine with one worker takes, samples in the object store and vectors in transit included."""
        return self.memory + self.stored + 2 * 8 * self.n * self.outputs

    def driver_memory(self, pivots: int, features: int | None = None) -> int:
        """Return the bytes that the driver takes.

        Parameters
        ----------
        pivots : int
            Number of columns of the kernel that the preconditioner has.
        features : int, optional
            Number of features of the equivalent kernel that it has; by default p.

        Returns
        -------
        int
            Bytes of samples and of the preconditioner, of which there is a copy while it is made, and of nine blocks
            of vectors.
        """
        rank = self.p if features is None else features
        return 8 * self.n * (self.p + 2 * (pivots + rank) + 9 * self.outputs)

    @property
    def compute_seconds(self) -> float:
        """Seconds that all workers take for all entries, once; NaN where rates were not measured."""
        return self.entries / self.workers / self.entry_rate

    @property
    def product_seconds(self) -> float:
        """Seconds of one product; NaN where rates were not measured."""
        moving = self.moved / self.link_rate
        if self.place == "nowhere":
            return self.compute_seconds + moving
        return self.kept / self.workers / self.byte_rate + moving

    def measured(self, entry_rate: float, byte_rate: float, link_rate: float) -> ClusterCost:
        """Return the cost with measured rates."""
        return replace(self, entry_rate=entry_rate, byte_rate=byte_rate, link_rate=link_rate)

    def __str__(self) -> str:
        blocks = f"{self.blocks:,} block{'s' if self.blocks > 1 else ''} of up to {min(self.side, self.n):,} samples"
        workers = f"{self.workers:,} worker{'s' if self.workers > 1 else ''}"
        kept = {"memory": "held in memory", "nowhere": "computed anew for every product"}[self.place]
        lines = [
            f"kernel of {self.n:,} samples on {workers}: {blocks} ({self.tiles:,} tiles) in {self.dtype}, {kept}",
            f"  memory: {gigabytes(self.memory)} a worker, {gigabytes(self.node_memory)} a machine with its samples",
            f"  a product of {self.outputs} columns moves {gigabytes(self.moved)}",
        ]
        if np.isfinite(self.entry_rate):
            once = "" if self.place == "nowhere" else f"{_seconds(self.compute_seconds)} for all blocks, "
            lines[-1] += f"; measured speed: {once}{_seconds(self.product_seconds)} a product"
        return "\n".join(lines)

    def _reach(self) -> list[int]:
        """Return for every block row how many samples its blocks reach over."""
        return [self.n - k * self.side for k in range(self.count)]

    def _width(self, k: int) -> int:
        return min(self.side, self.n - k * self.side)


def block_side(n: int, workers: int) -> int:
    """Return the samples on a block's side, such that every worker gets several blocks; a multiple of a tile's."""
    count = int(np.ceil(np.sqrt(2 * BLOCKS * workers)))
    return min(n, SIDE, TILE * max(1, round(n / count / TILE)))


def shares(plan: KernelPlan, workers: int) -> list[list[Corner]]:
    """Share blocks out, such that all shares have about as many entries; none is empty.

    Blocks are taken along Morton's curve, so that those of a share lie together and reach over few samples.
    """
    sides = [min(plan.side, plan.n - k * plan.side) for k in range(plan.count)]
    corners = sorted(plan.corners, key=_along_curve)
    sizes = [sides[i] * sides[j] for i, j in corners]
    whole = 2 * sum(sizes)
    found: list[list[Corner]] = [[] for _ in range(workers)]
    for corner, size, end in zip(corners, sizes, accumulate(sizes), strict=True):
        # by the middle of the block
        found[(2 * end - size) * workers // whole].append(corner)
    return [share for share in found if share]


def pieces(plan: KernelPlan) -> list[slice]:
    """Return the pieces that vectors are sent in: block rows, several together where there are many."""
    step = plan.side * -(-plan.count // PIECES)
    return [slice(start, min(start + step, plan.n)) for start in range(0, plan.n, step)]


def reached(plan: KernelPlan, share: Sequence[Corner]) -> list[int]:
    """Return the pieces of a vector that the blocks of a share and their mirror images reach over."""
    each = -(-plan.count // PIECES)
    return sorted({band // each for corner in share for band in corner})


def _along_curve(corner: Corner) -> int:
    """Return a block's place on Morton's curve: the bits of its row and its column in turns."""
    i, j = corner
    return sum((i >> bit & 1) << 2 * bit + 1 | (j >> bit & 1) << 2 * bit for bit in range(32))


@cache
def _reach(n: int, side: int, workers: int) -> int:
    """Return over how many samples the shares of all workers reach together."""
    # of many blocks larger ones tell as much
    coarse = KernelPlan(n, "memory", "float32", side * -(-n // (side * PIECES)))
    parts = pieces(coarse)
    return sum(parts[k].stop - parts[k].start for share in shares(coarse, workers) for k in reached(coarse, share))


def _seconds(value: float) -> str:
    if value < 10:
        return f"{value:.2g} s"
    if value < 600:
        return f"{value:.0f} s"
    return f"{value / 3600:,.1f} h"
