"""Samples whose rows the machines of a Ray cluster read, and call functions on, some rows at a time.

Tasks have the same rows as the blocks that one machine takes one after the other, and their results come in the same
order, so that sums of them are the same numbers. Ray repeats a task whose worker died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
from jaxtyping import Real

from hntk._utils.arguments import as_choice
from hntk._utils.memory import gigabytes
from hntk._utils.rows import row_blocks
from hntk.data.row_files import RowFiles, files_of
from hntk.kernels.ray_workers import REPLACED, Engine, Tell, import_ray, machines

# tasks in flight for each processor
AHEAD = 2


class RaySamples:
    """Samples on a Ray cluster.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        The samples, in memory or a memory map.
    files : RowFiles or None
        Files in which tasks find them. None sends them, once to each machine.
    tell : callable
        Called with lines of text.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and columns.
    dtype : numpy.dtype
        Type of the samples.
    moved : int
        Bytes that tasks were given and gave back so far, beside the samples.
    """

    def __init__(self, x: Real[np.ndarray, "n p"], files: RowFiles | None, tell: Tell) -> None:
        self.ray = import_ray()
        nodes = machines(tell)
        self.x, self.shape, self.dtype, self.moved = x, x.shape, x.dtype, 0
        self._processors = int(self.ray.cluster_resources().get("CPU", 1))
        self._read = files if files is not None else self.ray.put(np.asarray(x))
        self._task = self.ray.remote(_call).options(max_retries=REPLACED, num_cpus=1)
        blocks = len(list(row_blocks(x)))
        where = "read from files" if files is not None else f"sent, {gigabytes(x.nbytes)} to each"
        tell(
            f"passes over {x.shape[0]:,} samples on {len(nodes)} machine{'s' if len(nodes) > 1 else ''} with "
            f"{self._processors} processors: samples {where}, {blocks:,} block{'s' if blocks > 1 else ''} of rows, of "
            f"which a Gram matrix takes {gigabytes(8 * x.shape[1] ** 2)} back from each"
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Real[np.ndarray, "m p"]:
        return self.x[rows]

    def each(
        self, function: Callable[..., Any], *arrays: np.ndarray, columns: int | None = None
    ) -> Iterator[tuple[slice, Any]]:
        """Yield some rows at a time, in order, and what a function gives for them and these rows of further arrays.

        Raises
        ------
        RuntimeError
            If workers die again and again.
        """
        sent, running = self.ray.put(function), deque()
        try:
            for rows in row_blocks(self.x, columns):
                parts = [array[rows] for array in arrays]
                self.moved += sum(part.nbytes for part in parts)
                running.append((rows, self._task.remote(sent, self._read, rows.start, rows.stop, *parts)))
                if len(running) > AHEAD * self._processors:
                    yield self._result(*running.popleft())
            while running:
                yield self._result(*running.popleft())
        finally:
            for _, reference in running:
                self.ray.cancel(reference)

    def _result(self, rows: slice, reference: Any) -> tuple[slice, Any]:
        errors = self.ray.exceptions
        try:
            found = self.ray.get(reference)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            raise RuntimeError(
                f"the worker of samples {rows.start:,} to {rows.stop:,} died {REPLACED + 1} times ({error}): give "
                "machines with more memory, or fewer processors on each."
            ) from error
        self.moved += found.nbytes if isinstance(found, np.ndarray) else 0
        return rows, found


def _call(function: Callable[..., Any], x: Any, start: int, stop: int, *parts: np.ndarray) -> Any:
    found = function(x[start:stop], *parts)
    return list(found) if isinstance(found, Iterator) else found


def as_samples_on(engine: object, x: Real[np.ndarray, "n p"], given: object) -> Any:
    """Return samples as they are, or on a Ray cluster; ``given`` is what a user gave, which may be files of them.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    as_choice(engine, "engine", get_args(Engine))
    if engine == "local":
        return x
    return RaySamples(x, files_of(given if isinstance(given, RowFiles) else x), print)
