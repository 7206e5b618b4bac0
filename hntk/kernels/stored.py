"""Exact kernels on disk, for those that do not fit into memory: written tile by tile, continued after interruptions.

A folder holds ``ck.npy`` and ``ntk.npy``, which NumPy opens as they are (``np.load(path, mmap_mode="r")``), and
``progress.json``, which says what they are kernels of and which bands (rows of tiles) are done. ``progress.lock`` lets
one process at a time write them.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
from filelock import FileLock

from hntk._utils.arguments import as_callback, as_choice, as_count, as_path
from hntk._utils.arrays import brief
from hntk._utils.float64 import warn_if_float32
from hntk._utils.memory import check_disk, gigabytes
from hntk.activations import SurrogateLike
from hntk.data.row_files import RowFiles, files_of
from hntk.kernels.journal import FILES, Journal, remedy
from hntk.kernels.kernel_identity import kernel_identity
from hntk.kernels.kernel_memory import kernel_bytes
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.kernels.ray_tiles import fill_on_ray
from hntk.kernels.ray_workers import Engine
from hntk.kernels.tiling import Target
from hntk.theory.architecture import ArchitectureLike

# samples on the side of a tile; larger than in memory, because disks are fast at long runs of bytes, and no power of 2
TILE = 1032
STORED_TYPES = ("float32", "float64")
LOCK = "progress.lock"
# errors of file systems that cannot reserve space
NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def store_kernels(
    folder: str | Path,
    x: object,
    activations: ArchitectureLike,
    *,
    x2: object | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    surrogate: SurrogateLike | Sequence[SurrogateLike | None] | None = None,
    tile: int = TILE,
    dtype: str | np.dtype | None = None,
    older_code: bool = False,
    engine: Engine = "local",
    progress: Callable[[int], None] | None = None,
) -> Kernels:
    """Compute the conjugate kernel and the NTK of a network of infinite width into files.

    They are the kernels of :func:`exact_kernels`. A call that was interrupted is continued by the same call. A process
    that finds another one at work in the folder waits for it. A finished store is opened without writing anything.

    Parameters
    ----------
    folder : str or Path
        Folder of the files. It is made if it does not exist.
    x : array_like or RowFiles
        (n, p) samples, one a row, or files of them (:func:`hntk.open_rows`).
    activations : Architecture or sequence of str or Activation
        The network; a list of one activation per layer, first layer first, is centred, with unit weights and without
        biases.
    x2 : array_like or RowFiles, optional
        (m, p) further samples, for kernels between ``x`` and ``x2``. By default ``x`` itself.
    tau0 : float, optional
        Scale at which the activations are centred. By default the root mean square norm of the rows of ``x``.
    kappa_sq : float, optional
        Number to put on the NTK's diagonal, which is infinite for a network with jumps.
    surrogate : str, Activation, Surrogate or sequence of them, optional
        What the backward pass has in the place of derivatives of staircases. The NTK is then not symmetric.
    tile : int
        Number of samples on the side of a tile. An interruption loses at most one row of tiles.
    dtype : {"float32", "float64"}, optional
        Type that kernels are stored in. By default the one they are computed in.
    older_code : bool
        Whether to accept kernels that another version of hntk's own code computed. A warning says so.
    engine : {"local", "ray"}
        Where tiles are computed. "ray" has the machines of a Ray cluster compute them, the one that ``ray.init`` has
        connected to or this machine, and this process writes them.
    progress : callable, optional
        Function that is called with the number of entries that are done, n·m in all. The first call counts those of
        earlier calls.

    Returns
    -------
    Kernels
        Read-only memory maps of both kernels, (n, n) or (n, m).

    Raises
    ------
    ValueError
        If samples or settings do not fit, or the folder holds kernels of something else or of other code, or a journal
        that does not fit them.
    OSError
        If the folder cannot be written to, or the files do not fit onto the disk. It is raised before anything is
        computed.

    Examples
    --------
    >>> import jax, tempfile, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> kernels = hntk.store_kernels(tempfile.mkdtemp(), data.x, ["relu", "erf"])
    >>> kernels.ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    as_choice(engine, "engine", get_args(Engine))
    place, progress, tile = as_path(folder, "folder"), as_callback(progress), as_count(tile, "tile")
    problem = KernelProblem.of(x, activations, x2, tau0, kappa_sq, surrogate)
    kept = _as_kept(problem.dtype if dtype is None else dtype)
    identity = kernel_identity(problem) | {"tile": tile} | {"kept": kept.name}
    files = [files_of(given) for given in (x, x2)] if engine == "ray" else None
    store = _Store(place, problem, kept, tile, files)
    journal = Journal.of(place, identity, store.bands, older_code)
    if journal.older:
        warnings.warn(f"{place}: kernels that another version of hntk's code computed are taken.", stacklevel=2)
    if journal.fresh or journal.left:
        with locked(place, kernel_bytes(problem.shape, kept) if journal.fresh else 0):
            # read again, because another process may have written meanwhile
            store.fill(Journal.of(place, identity, store.bands, older_code), progress)
    else:
        store.check()
        if progress is not None:
            progress(problem.shape[0] * problem.shape[1])
    return Kernels(*(np.load(place / name, mmap_mode="r") for name in FILES))


class _Store:
    """The files of the kernels of one problem."""

    def __init__(
        self, place: Path, problem: KernelProblem, kept: np.dtype, tile: int, files: list[RowFiles | None] | None
    ) -> None:
        self.place, self.problem, self.kept, self.tile, self.files = place, problem, kept, tile, files
        # an array of the right shape that takes no memory
        empty = np.broadcast_to(np.zeros((), kept), problem.shape)
        self.bands = Target(empty, empty, symmetric=problem.symmetric, tile=tile).bands

    def check(self) -> None:
        """Refuse files that are not complete."""
        for name in FILES:
            self._open(self.place / name, "r")

    def fill(self, journal: Journal, progress: Callable[[int], None] | None) -> None:
        """Compute the bands that the journal does not have."""
        arrays = self._arrays(journal)
        target = Target(*arrays, symmetric=self.problem.symmetric, tile=self.tile, same=self.problem.same)

        def done(band: int) -> None:
            # numbers are on the disk before the journal says so
            for array in arrays:
                array.flush()
            journal.add(band)
            if progress is not None:
                progress(target.pairs(band))

        if progress is not None and journal.done:
            progress(sum(target.pairs(band) for band in journal.done))
        if journal.left:
            if self.files is None:
                self.problem.fill(target, journal.left, done)
            else:
                fill_on_ray(self.problem, target, journal.left, done, self.files)
        if journal.left:
            raise RuntimeError(f"{self.place} misses rows of tiles {journal.left} after all were computed.")

    def _arrays(self, journal: Journal) -> list[np.memmap]:
        paths = [self.place / name for name in FILES]
        if journal.done:
            return [self._open(path, "r+") for path in paths]
        # the journal says that nothing is done before the files are emptied: a kill in between must not leave zeros
        journal.write()
        for path in paths:
            path.unlink(missing_ok=True)
        try:
            return [self._create(path) for path in paths]
        except OSError as error:
            for path in paths:
                path.unlink(missing_ok=True)
            needed = kernel_bytes(self.problem.shape, self.kept)
            raise OSError(
                f"{self.place} has no room for kernels of {gigabytes(needed)} ({error}): free some there, or choose a "
                "folder on another disk."
            ) from error

    def _create(self, path: Path) -> np.memmap:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=self.kept, shape=self.problem.shape)
        # writing through a map to a disk that has become full would kill the process
        reserve(path)
        return array

    def _open(self, path: Path, mode: str) -> np.memmap:
        try:
            array = np.load(path, mmap_mode="r")  # "r+" would lengthen a file that was cut
            array = array if mode == "r" else np.load(path, mmap_mode="r+")
        except (ValueError, EOFError, FileNotFoundError) as error:
            raise ValueError(f"{path} cannot be read ({error}): {remedy(self.place)}.") from error
        if array.shape != self.problem.shape or array.dtype != self.kept:
            raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}: {remedy(self.place)}.")
        return array


@contextmanager
def locked(place: Path, needed: int) -> Iterator[None]:
    """Hold the folder's lock, as the one process that writes to it; the folder is made if it does not exist."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        # before the lock, so that a refusal leaves no file behind
        check_disk(place, needed)
        lock = FileLock(place / LOCK)
        lock.acquire()
    except OSError as error:
        if not error.errno:
            raise
        raise OSError(f"{place} cannot be written to ({error}): choose another folder.") from error
    try:
        yield
    finally:
        lock.release()


def reserve(path: Path) -> None:
    """Reserve a file's bytes on the disk, where the file system can."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise


def _as_kept(dtype: object) -> np.dtype:
    try:
        kept = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError as error:
        raise ValueError(f"dtype must be {' or '.join(STORED_TYPES)}, got {brief(dtype)}.") from error
    if kept.name not in STORED_TYPES or not kept.isnative:
        raise ValueError(f"kernels are kept in {' or '.join(STORED_TYPES)}, not in {kept.name}.")
    return kept
