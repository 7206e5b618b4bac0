"""Samples in several files, such as the shards of a large data set, of which the rows that are asked for are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Real

from hntk._utils.arrays import brief
from hntk._utils.extras import import_extra


@dataclass(frozen=True)
class RowFiles:
    """Rows of one or more files, one file after the other; made by :func:`open_rows`.

    Slices and arrays of whole numbers read the rows that they name; ``np.asarray`` reads all. ``.npy`` files are mapped
    into memory, and Parquet files are read whole, the last one staying in memory.

    Attributes
    ----------
    paths : tuple of str
        Absolute paths of the files.
    lengths : tuple of int
        Number of rows of each.
    p : int
        Number of columns.
    dtype : numpy.dtype
        Type of the rows.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    p: int
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self), self.p

    @property
    def mapped(self) -> bool:
        """Whether rows anywhere in the files are read at no more than their own cost."""
        return all(path.endswith(".npy") for path in self.paths)

    def __len__(self) -> int:
        return sum(self.lengths)

    def __repr__(self) -> str:
        files = f"{len(self.paths)} file{'s' if len(self.paths) > 1 else ''}"
        return f"RowFiles({len(self):,} rows of {self.p:,} columns, {self.dtype}, in {files})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of files become an array by a copy.")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def __getitem__(self, index: slice | Int[np.ndarray, " m"]) -> Real[np.ndarray, "m p"]:
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        files = np.searchsorted(self._ends, rows, side="right")
        found = np.empty((rows.size, self.p), self.dtype)
        for k in np.unique(files):
            chosen = files == k
            found[chosen] = self._file(int(k))[rows[chosen] - (self._ends[k] - self.lengths[k])]
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("paths", "lengths", "p", "dtype")}

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    @cached_property
    def _last(self) -> dict[int, np.ndarray]:
        return {}

    def _file(self, k: int) -> np.ndarray:
        if k not in self._last:
            array = _read(self.paths[k])
            if array.shape != (self.lengths[k], self.p) or array.dtype != self.dtype:
                raise ValueError(f"{self.paths[k]} holds {array.dtype} of shape {array.shape} now: it has changed.")
            self._last.clear()
            self._last[k] = array
        return self._last[k]


def open_rows(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> RowFiles:
    """Open files of samples as one array of rows, none of which is read yet.

    Parameters
    ----------
    paths : path, or sequence of paths
        ``.npy`` files of shape (n, p), or Parquet files whose columns are all numbers, in their order. A pattern such
        as ``"shards/*.npy"`` stands for the files that match, sorted by name.

    Returns
    -------
    RowFiles
        The rows of all files, for ``x`` of :func:`hntk.fit_kernel`, :func:`hntk.fit_equivalent` and
        :func:`hntk.store_kernels`, whose workers on a cluster read what they need themselves.

    Raises
    ------
    ImportError
        If files are Parquet and pyarrow is not installed.
    ValueError
        If there are no such files, one cannot be read, or their widths or types differ.

    Examples
    --------
    >>> import tempfile, numpy as np, hntk
    >>> folder = tempfile.mkdtemp()
    >>> for k in range(3):
    ...     np.save(f"{folder}/part-{k}.npy", np.full((4, 2), float(k)))
    >>> rows = hntk.open_rows(f"{folder}/*.npy")
    >>> rows
    RowFiles(12 rows of 2 columns, float64, in 3 files)
    >>> rows[3:5].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    names = _names(paths)
    shapes, types = [], []
    for name in names:
        array = _read(name)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds {array.dtype} of shape {array.shape}, and not numbers of shape (n, p).")
        shapes.append(array.shape)
        types.append(array.dtype)
    for what, values in (("columns", [shape[1] for shape in shapes]), ("dtype", types)):
        other = next((k for k, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise ValueError(
                f"files of samples must be alike in their {what}: {names[0]} has {values[0]}, and {names[other]} has "
                f"{values[other]}. Write them again alike, or leave one out."
            )
    return RowFiles(tuple(names), tuple(shape[0] for shape in shapes), shapes[0][1], types[0])


def files_of(x: object) -> RowFiles | None:
    """Return the files that samples are in, of which machines read rows themselves; None for an array in memory."""
    if isinstance(x, RowFiles):
        return x if x.mapped else None
    # a part of a memory map has another array for its base
    if isinstance(x, np.memmap) and isinstance(x.base, mmap) and str(x.filename).endswith(".npy"):
        rows = open_rows(str(x.filename))
        return rows if (rows.shape, rows.dtype) == (x.shape, x.dtype) else None
    return None


def _names(paths: Any) -> list[str]:
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    try:
        texts = [os.fspath(path) for path in given]
    except TypeError:
        texts = []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"paths must be a path, a pattern or a list of them, got {brief(paths)}.")
    found = [name for text in texts for name in (sorted(glob.glob(text)) or [text])]
    return [str(Path(name).absolute()) for name in found]


def _read(path: str) -> np.ndarray:
    if not path.endswith((".npy", ".parquet")):
        raise ValueError(f"paths must be .npy or .parquet files, got {path}.")
    try:
        if path.endswith(".npy"):
            return np.load(path, mmap_mode="r")
        table = import_extra("pyarrow.parquet", "parquet", "Reading Parquet files").read_table(path)
        return np.column_stack([column.to_numpy() for column in table.columns])
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): give an existing file, for a cluster one on a file system that all "
            "machines share."
        ) from error
