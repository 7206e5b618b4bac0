"""Kernels filled in tile by tile, the upper triangle alone where both sides are the same samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk.kernels.recursion import Recursion, SampleSet

# of so many samples a tile's arrays stay in a core's cache
TILE = 256
# pairs at a time by exact forms: few, or many
PAIRS = (32, 256)


@dataclass(frozen=True)
class Target:
    """Where kernels go.

    Attributes
    ----------
    ck, ntk : (n, m) writable arrays, on disk or in memory.
    symmetric : whether both sides are the same samples.
    tile : samples on the side of a tile.
    """

    ck: Float[np.ndarray, "n m"]
    ntk: Float[np.ndarray, "n m"]
    symmetric: bool
    tile: int = TILE

    @property
    def size(self) -> tuple[int, int]:
        """Samples on the sides of a tile."""
        n, m = self.ck.shape
        return min(n, self.tile), min(m, self.tile)

    @property
    def bands(self) -> list[int]:
        """First rows of the rows of tiles."""
        return list(range(0, self.ck.shape[0], self.size[0]))

    def corners(self, band: int) -> list[tuple[int, int]]:
        """Of the tiles of one row of tiles."""
        return [(band, j) for j in range(band if self.symmetric else 0, self.ck.shape[1], self.size[1])]

    def pairs(self, band: int) -> int:
        """Entries that a row of tiles fills in."""
        n, m = self.ck.shape
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
    """Fill in some rows of tiles on all cores; ``done`` is told the first row of each that is complete."""
    left = {band: len(target.corners(band)) for band in bands}
    corners = (corner for band in bands for corner in target.corners(band))
    workers = os.cpu_count() or 1
    precision = float64 if first.x.dtype == jnp.float64 else nullcontext
    diagonals = np.asarray(first.ck), np.asarray(first.ntk)

    def work(corner: tuple[int, int]) -> int:
        with precision():  # a setting of each thread
            _write(target, corner, _tile(recursion, first, second, target, corner), diagonals)
        return corner[0]

    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(work, corner) for corner in islice(corners, 2 * workers)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for band in [future.result() for future in finished]:
                    left[band] -= 1
                    if done is not None and not left[band]:
                        done(band)
                running |= {pool.submit(work, corner) for corner in islice(corners, len(finished))}
        finally:
            for future in running:
                future.cancel()


def _tile(
    recursion: Recursion, first: SampleSet, second: SampleSet, target: Target, corner: tuple[int, int]
) -> list[np.ndarray]:
    """Both kernels on one tile."""
    (i, j), shape, (n, m) = corner, target.size, target.ck.shape
    # the last tile begins earlier, so that all have one shape, and its first samples are dropped
    begin = min(i, n - shape[0]), min(j, m - shape[1])
    tile = recursion.tile(first, second, begin, shape)
    kernels = [np.asarray(kernel) for kernel in (tile.ck, tile.ntk)]
    if tile.certain is not None:
        kernels = _mended(recursion, first, second, kernels, np.asarray(tile.certain), begin, target.symmetric)
    return [kernel[i - begin[0] :, j - begin[1] :] for kernel in kernels]


def _write(
    target: Target, corner: tuple[int, int], kernels: list[np.ndarray], diagonals: tuple[np.ndarray, np.ndarray]
) -> None:
    """One tile, and its mirror image."""
    i, j = corner
    for kernel, whole, diagonal in zip(kernels, (target.ck, target.ntk), diagonals, strict=True):
        rows, columns = slice(i, i + kernel.shape[0]), slice(j, j + kernel.shape[1])
        if target.symmetric and i == j:
            upper = np.triu(kernel, 1)
            whole[rows, columns] = upper + upper.T + np.diag(diagonal[rows])
            continue
        whole[rows, columns] = kernel
        if target.symmetric:
            whole[columns, rows] = kernel.T


def _mended(
    recursion: Recursion,
    first: SampleSet,
    second: SampleSet,
    kernels: list[np.ndarray],
    certain: np.ndarray,
    begin: tuple[int, int],
    symmetric: bool,
) -> list[np.ndarray]:
    """The tile with its uncertain pairs by exact forms."""
    i, j = np.nonzero(~certain)
    if symmetric:
        upper = i + begin[0] < j + begin[1]
        i, j = i[upper], j[upper]
    if not i.size:
        return kernels
    ck, ntk = (np.array(kernel) for kernel in kernels)
    size = next((few for few in PAIRS if i.size <= few), PAIRS[-1])
    for start in range(0, i.size, size):
        rows, columns = i[start : start + size], j[start : start + size]
        # of one length, so that one program serves
        padded = [np.resize(v, size) + b for v, b in zip((rows, columns), begin, strict=True)]
        exact = jax.device_get(recursion.pairs(first, second, *padded))
        ck[rows, columns], ntk[rows, columns] = exact.ck[: rows.size], exact.ntk[: rows.size]
    return [ck, ntk]
