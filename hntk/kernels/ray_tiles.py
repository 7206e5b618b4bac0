"""Kernels on disk whose tiles the machines of a Ray cluster compute; the driver writes them.

One process writes all files: two machines that write to the same page of a mapped file on a shared file system would
lose each other's bytes. Ray repeats a tile whose worker died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any
from uuid import uuid4

import jax.numpy as jnp
import numpy as np

from hntk._utils.float64 import float64
from hntk._utils.memory import gigabytes
from hntk.data.row_files import RowFiles
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_samples import AHEAD
from hntk.kernels.ray_workers import REPLACED, import_ray, machines
from hntk.kernels.recursion import WANTED, SampleSet
from hntk.kernels.tiling import Target, tile_kernels, write_tile

Corner = tuple[int, int]
# the network of a worker's last tile, whose compiled programs serve the next one
_NETWORKS: dict[str, KernelProblem] = {}


def fill_on_ray(
    problem: KernelProblem,
    target: Target,
    bands: Sequence[int],
    done: Callable[[int], None],
    files: Sequence[RowFiles | None],
) -> None:
    """Fill in some bands by the tasks of a Ray cluster; ``done`` is called with each band that is complete.

    Parameters
    ----------
    problem : KernelProblem
        Samples and network.
    target : Target
        The arrays to be filled in.
    bands : sequence of int
        First rows of the bands.
    done : callable
        Called with a band that is complete.
    files : sequence of RowFiles or None
        Files in which tasks find both sets of samples; None sends them.

    Raises
    ------
    RuntimeError
        If workers die again and again.
    """
    ray, cluster = import_ray(), machines(print)
    first = problem.checked_samples(problem.x)
    diagonals = [np.asarray(getattr(first, name)) for name in WANTED[target.only]]
    corners = [corner for band in bands for corner in target.corners(band)]
    processors = int(ray.cluster_resources().get("CPU", 1))
    size = 8 * len(diagonals) * target.size[0] * target.size[1]
    print(
        f"kernels of {target.shape[0]:,} × {target.shape[1]:,} samples on {len(cluster)} "
        f"machine{'s' if len(cluster) > 1 else ''} with {processors} processors: {len(corners):,} tiles of up to "
        f"{target.size[0]:,} samples, {gigabytes(size)} back from each"
    )
    given = _Given(problem, target, files)
    left = {band: len(target.corners(band)) for band in bands}
    for corner, kernels in _in_tasks(given, corners, AHEAD * processors):
        write_tile(target, corner, kernels, diagonals)
        left[corner[0]] -= 1
        if not left[corner[0]]:
            done(corner[0])


class _Given:
    """What all tasks are given, in the object store once."""

    def __init__(self, problem: KernelProblem, target: Target, files: Sequence[RowFiles | None]) -> None:
        ray = import_ray()
        self.shape, self.size = target.shape, target.size
        small = np.zeros((1, problem.x.shape[1]), problem.dtype)
        self.network = ray.put((uuid4().hex, replace(problem, x=small, x2=None), target.only))
        both = [problem.x, problem.x if problem.x2 is None else problem.x2]
        sources = list(files) if problem.x2 is not None else [files[0]] * 2
        sent = [file if file is not None else ray.put(np.asarray(x)) for x, file in zip(both, sources, strict=True)]
        self.samples = sent if problem.x2 is not None else [sent[0]] * 2

    def begins(self, corner: Corner) -> Corner:
        """Return where a tile begins that all have the shape of; the last of a row or column begins earlier."""
        (i, j), (n, m), (a, b) = corner, self.shape, self.size
        return min(i, n - a), min(j, m - b)


def _in_tasks(given: _Given, corners: Sequence[Corner], ahead: int) -> Iterator[tuple[Corner, list[np.ndarray]]]:
    """Yield tiles as they come."""
    ray = import_ray()
    task = ray.remote(_tile).options(max_retries=REPLACED, num_cpus=1)

    def start(corner: Corner) -> tuple[Any, Corner]:
        return task.remote(given.network, *given.samples, given.begins(corner), given.size), corner

    following = iter(corners)
    running = dict(start(corner) for corner in islice(following, ahead))
    try:
        while running:
            (reference,), _ = ray.wait(list(running), num_returns=1)
            corner = running.pop(reference)
            i, j = (k - begin for k, begin in zip(corner, given.begins(corner), strict=True))
            try:
                yield corner, [kernel[i:, j:] for kernel in ray.get(reference)]
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise RuntimeError(
                    f"the worker of a tile died {REPLACED + 1} times ({error}): give a smaller tile=, or machines with "
                    "more memory."
                ) from error
            running |= dict(start(corner) for corner in islice(following, 1))
    finally:
        for reference in running:
            ray.cancel(reference)


def _tile(known: tuple, x: Any, x2: Any, begin: Corner, size: tuple[int, int]) -> list[np.ndarray]:
    """Return both kernels on one tile; this runs on a worker."""
    token, problem, only = known
    if token not in _NETWORKS:
        _NETWORKS.clear()
    problem = _NETWORKS.setdefault(token, problem)
    precise = problem.dtype == np.float64
    with float64() if precise else nullcontext():
        first, second = (
            _samples(problem, np.asarray(rows[start : start + count]))
            for rows, start, count in zip((x, x2), begin, size, strict=True)
        )
        empty = np.broadcast_to(np.zeros(()), size)
        ck, ntk = (None if only == other else empty for other in ("ntk", "ck"))
        return tile_kernels(problem.recursion, first, second, Target(ck, ntk, symmetric=False, tile=max(size)), (0, 0))


def _samples(problem: KernelProblem, rows: np.ndarray) -> SampleSet:
    return problem.samples(jnp.asarray(rows, problem.dtype))
