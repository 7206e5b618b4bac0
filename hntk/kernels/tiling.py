"""Filling in kernels tile by tile, of symmetric ones the upper triangle and its mirror image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk.kernels.recursion import WANTED, Only, Recursion, SampleSet

# samples on the side of a tile: its arrays stay in a processor's caches, and starting a program for it takes little
# beside its pairs. The entries of a column would share few places of a cache if the side were a power of two, and the
# tile's mirror image would take twice the time
TILE = 520
# pairs that are computed at a time by exact forms: the smallest size that holds all of them, or the largest
PAIR_BATCHES = (32, 256)
Corner = tuple[int, int]


@dataclass(frozen=True)
class Target:
    """The arrays that kernels are written to, and their division into tiles.

    A band is a row of tiles. It is named by its first row.

    Attributes
    ----------
    ck, ntk : ndarray or None
        (n, m) writable arrays, on disk or in memory; None in the place of one kernel that is not wanted.
    symmetric : bool
        Whether the kernels are symmetric: of two tiles that mirror each other one is computed.
    tile : int
        Number of samples on the side of a tile.
    same : bool
        Whether both sides are the same samples, also where the kernels are not symmetric. The diagonal is then each
        sample's own.
    """

    ck: Float[np.ndarray, "n m"] | None
    ntk: Float[np.ndarray, "n m"] | None
    symmetric: bool
    tile: int = TILE
    same: bool = False

    def __post_init__(self) -> None:
        if self.ck is None and self.ntk is None:
            raise ValueError("a target needs the array of at least one kernel: give ck, ntk or both.")

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays of the kernels that are wanted."""
        return [array for array in (self.ck, self.ntk) if array is not None]

    @property
    def only(self) -> Only:
        """The kernel that is wanted; None for both."""
        if self.ntk is None:
            return "ck"
        return "ntk" if self.ck is None else None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the kernels."""
        n, m = self.arrays[0].shape
        return n, m

    @property
    def size(self) -> tuple[int, int]:
        """Number of rows and columns of a tile."""
        n, m = self.shape
        return min(n, self.tile), min(m, self.tile)

    @property
    def bands(self) -> list[int]:
        """First row of every band."""
        return list(range(0, self.shape[0], self.size[0]))

    def corners(self, band: int) -> list[tuple[int, int]]:
        """Return the first row and column of every tile of a band that is computed."""
        return [(band, j) for j in range(band if self.symmetric else 0, self.shape[1], self.size[1])]

    def pairs(self, band: int) -> int:
        """Return the number of entries that a band fills in."""
        n, m = self.shape
        height = min(self.size[0], n - band)
        return height * (2 * (n - band) - height) if self.symmetric else height * m


def fill(
    recursion: Recursion,
    first: SampleSet,
    second: SampleSet,
    target: Target,
    bands: Sequence[int],
    done: Callable[[int], None] | None = None,
) -> None:
    """Fill in some bands on all cores; ``done`` is called with each band that is complete.

    Threads take one tile after the other by themselves. The calling thread wakes up for complete bands and for errors.
    """
    tiles = _Tiles(target, bands)
    workers = os.cpu_count() or 1
    precision = float64 if first.x.dtype == jnp.float64 else nullcontext
    diagonals = [np.asarray(getattr(first, name)) for name in WANTED[target.only]]
    events: SimpleQueue[int | Future[None]] = SimpleQueue()  # bands that are complete, and threads that are through

    def work() -> None:
        with precision():  # a setting of each thread
            while (corner := tiles.take()) is not None:
                write_tile(target, corner, tile_kernels(recursion, first, second, target, corner), diagonals)
                if tiles.completes(corner):
                    events.put(corner[0])

    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(work) for _ in range(workers)}
        for future in running:
            future.add_done_callback(events.put)
        try:
            while running:
                event = events.get()
                if isinstance(event, Future):
                    event.result()
                    running.remove(event)
                elif done is not None:
                    done(event)
        finally:
            tiles.stop()


def in_threads(work: Callable[[Corner], Any], corners: Iterable[Corner]) -> Iterator[Any]:
    """Yield results of some calls as they come in their order, on all cores; an error ends those that are left."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        running, following = [], iter(corners)
        try:
            for corner in following:
                running.append(pool.submit(work, corner))
                if len(running) > 2 * workers:
                    yield running.pop(0).result()
            while running:
                yield running.pop(0).result()
        finally:
            for future in running:
                future.cancel()


class _Tiles:
    """The tiles of some bands, which threads take one after the other.

    Parameters
    ----------
    target : Target
        What is to be filled in.
    bands : sequence of int
        The bands.
    """

    def __init__(self, target: Target, bands: Sequence[int]) -> None:
        self._corners = (corner for band in bands for corner in target.corners(band))
        self._left = {band: len(target.corners(band)) for band in bands}
        self._lock, self._stopped = Lock(), False

    def take(self) -> tuple[int, int] | None:
        """Return the corner of the next tile; None if there is none."""
        with self._lock:
            return None if self._stopped else next(self._corners, None)

    def completes(self, corner: tuple[int, int]) -> bool:
        """Return whether a tile that was written was the last of its band."""
        with self._lock:
            self._left[corner[0]] -= 1
            return not self._left[corner[0]]

    def stop(self) -> None:
        """Give out no more tiles."""
        with self._lock:
            self._stopped = True


def tile_kernels(
    recursion: Recursion, first: SampleSet, second: SampleSet, target: Target, corner: tuple[int, int]
) -> list[np.ndarray]:
    """Return the kernels that are wanted on one tile."""
    (i, j), shape, (n, m) = corner, target.size, target.shape
    # the last tile of a row or column begins earlier, so that all have one shape, and its first samples are dropped
    begin = min(i, n - shape[0]), min(j, m - shape[1])
    tile = recursion.tile(first, second, begin, shape, target.only)
    kernels = tile.kernels
    if tile.certain is not None:
        kernels = _with_exact_pairs(recursion, first, second, kernels, np.asarray(tile.certain), begin, target)
    return [kernel[i - begin[0] :, j - begin[1] :] for kernel in kernels]


def write_tile(target: Target, corner: tuple[int, int], kernels: list[np.ndarray], diagonals: list[np.ndarray]) -> None:
    """Write one tile and its mirror image."""
    i, j = corner
    for kernel, whole, diagonal in zip(kernels, target.arrays, diagonals, strict=True):
        rows, columns = slice(i, i + kernel.shape[0]), slice(j, j + kernel.shape[1])
        if target.symmetric and i == j:
            write_mirrored(whole[rows, columns], kernel, diagonal[rows])
            continue
        whole[rows, columns] = kernel
        if target.symmetric:
            whole[columns, rows] = kernel.T
        elif i == j and target.same:
            k = np.arange(rows.start, rows.stop)
            whole[k, k] = diagonal[rows]


def write_mirrored(
    out: Float[np.ndarray, "a a"], tile: Float[np.ndarray, "a a"], diagonal: Float[np.ndarray, " a"]
) -> None:
    """Write a tile on the diagonal to an array; its lower half mirrors the upper one."""
    out[:] = tile
    np.copyto(out, tile.T, where=np.tri(len(tile), k=-1, dtype=bool))
    np.fill_diagonal(out, diagonal)


def _with_exact_pairs(
    recursion: Recursion,
    first: SampleSet,
    second: SampleSet,
    kernels: list[np.ndarray],
    certain: np.ndarray,
    begin: tuple[int, int],
    target: Target,
) -> list[np.ndarray]:
    """Return a tile's kernels with the pairs that are not accurate replaced by exact forms."""
    i, j = np.nonzero(~certain)
    if target.symmetric:
        upper = i + begin[0] < j + begin[1]
        i, j = i[upper], j[upper]
    if not i.size:
        return kernels
    mended = [np.array(kernel) for kernel in kernels]
    size = next((few for few in PAIR_BATCHES if i.size <= few), PAIR_BATCHES[-1])
    for start in range(0, i.size, size):
        rows, columns = i[start : start + size], j[start : start + size]
        # repeated to one length, so that one compiled program serves
        padded = [np.resize(v, size) + b for v, b in zip((rows, columns), begin, strict=True)]
        exact = recursion.pairs(first, second, *padded, only=target.only).kernels
        for kernel, values in zip(mended, exact, strict=True):
            kernel[rows, columns] = values[: rows.size]
    return mended
