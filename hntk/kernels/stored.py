"""Exact kernels on disk, for those that do not fit into memory: written tile by tile, and continued when interrupted.

A folder holds ``ck.npy`` and ``ntk.npy``, which NumPy opens as they are (``np.load(path, mmap_mode="r")``), and
``progress.json``: what they are kernels of, and which rows of tiles are done. ``progress.lock`` lets one process at a
time write them.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from hntk._utils.arguments import as_callback, as_path
from hntk._utils.arrays import brief
from hntk._utils.digest import array_digest, source_digest
from hntk._utils.float64 import warn_if_float32
from hntk.activations import Activation
from hntk.activations.fingerprint import fingerprint
from hntk.kernels.exact import as_tile
from hntk.kernels.journal import FILES, Journal, remedy
from hntk.kernels.kernel_memory import check_disk, gigabytes, kernel_bytes
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.kernels.tiling import Target

# larger than in memory: disks take long runs
TILE = 1024
KEPT = ("float32", "float64")
LOCK = "progress.lock"
# of file systems that reserve nothing
NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
PACKAGE = Path(__file__).parents[1]
# what kernels are computed by
CODE = (PACKAGE / "kernels", PACKAGE / "activations", PACKAGE / "theory" / "coefficients.py")


def store_kernels(
    folder: str | Path,
    x: object,
    activations: Sequence[str | Activation],
    *,
    x2: object | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    tile: int = TILE,
    dtype: str | np.dtype | None = None,
    older_code: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Kernels:
    """K_L and Θ_L at infinite width in files; the same call goes on where an interrupted one stopped.

    A process that finds another one at work in the folder waits for it. A store that is finished is opened without
    anything being written.

    Parameters
    ----------
    folder : where they go; it is made if need be.
    x, activations, x2, tau0, kappa_sq : as for :func:`exact_kernels`.
    tile : samples on the side of a tile; what is lost by an interruption is a row of tiles.
    dtype : float32 or float64, in which kernels are kept; by default the one they are computed in.
    older_code : whether kernels that another version of hntk's own code computed are taken too; a warning says so.
    progress : called with the number of entries that are done, n·m in all; first with those of earlier calls.

    Returns
    -------
    Kernels of read-only memory maps.

    Raises
    ------
    ValueError
        For data or settings that do not fit, another dtype, and if the folder holds kernels of something else, of
        other code, or a journal that does not fit them.
    OSError
        If the folder cannot be written to, or the files do not fit onto the disk, before anything is computed.

    Examples
    --------
    >>> import jax, tempfile, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> kernels = hntk.store_kernels(tempfile.mkdtemp(), data.x, ["relu", "erf"])
    >>> kernels.ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    place, progress, tile = as_path(folder, "folder"), as_callback(progress), as_tile(tile)
    problem = KernelProblem.of(x, activations, x2, tau0, kappa_sq)
    kept = _as_kept(problem.dtype if dtype is None else dtype)
    identity = _identity(problem, tile) | {"kept": kept.name}
    store = _Store(place, problem, kept, tile)
    journal = Journal.of(place, identity, store.bands, older_code)
    if journal.older:
        warnings.warn(f"{place}: kernels that another version of hntk's code computed are taken.", stacklevel=2)
    if journal.fresh or journal.left:
        with _alone(place, kernel_bytes(problem.shape, kept) if journal.fresh else 0):
            # read again: another process may have been at work
            store.fill(Journal.of(place, identity, store.bands, older_code), progress)
    else:
        store.check()
        if progress is not None:
            progress(problem.shape[0] * problem.shape[1])
    return Kernels(*(np.load(place / name, mmap_mode="r") for name in FILES))


class _Store:
    """The files of one problem."""

    def __init__(self, place: Path, problem: KernelProblem, kept: np.dtype, tile: int) -> None:
        self.place, self.problem, self.kept, self.tile = place, problem, kept, tile
        # of the right shape, and nothing in memory
        empty = np.broadcast_to(np.zeros((), kept), problem.shape)
        self.bands = Target(empty, empty, symmetric=problem.symmetric, tile=tile).bands

    def check(self) -> None:
        """Refuse files that are not whole."""
        for name in FILES:
            self._open(self.place / name, "r")

    def fill(self, journal: Journal, progress: Callable[[int], None] | None) -> None:
        """Compute what is left."""
        arrays = self._arrays(journal)
        target = Target(*arrays, symmetric=self.problem.symmetric, tile=self.tile)

        def done(band: int) -> None:
            # on the disk before it is called done
            for array in arrays:
                array.flush()
            journal.add(band)
            if progress is not None:
                progress(target.pairs(band))

        if progress is not None and journal.done:
            progress(sum(target.pairs(band) for band in journal.done))
        if journal.left:
            self.problem.fill(target, journal.left, done)
        if journal.left:
            raise RuntimeError(f"{self.place} misses rows of tiles {journal.left} after all were computed.")

    def _arrays(self, journal: Journal) -> list[np.memmap]:
        paths = [self.place / name for name in FILES]
        if journal.done:
            return [self._open(path, "r+") for path in paths]
        # nothing is done, and says so before the files are emptied: a kill in between must not leave zeros called done
        journal.write()
        for path in paths:
            path.unlink(missing_ok=True)
        try:
            return [self._made(path) for path in paths]
        except OSError as error:
            for path in paths:
                path.unlink(missing_ok=True)
            needed = kernel_bytes(self.problem.shape, self.kept)
            raise OSError(
                f"{self.place} has no room for kernels of {gigabytes(needed)} ({error}): free some there, or choose a "
                "folder on another disk."
            ) from error

    def _made(self, path: Path) -> np.memmap:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=self.kept, shape=self.problem.shape)
        # a write through the map to a disk that has become full meanwhile would end the process
        _reserve(path)
        return array

    def _open(self, path: Path, mode: str) -> np.memmap:
        try:
            found = np.load(path, mmap_mode="r")  # "r+" would make a file longer that was cut
            found = found if mode == "r" else np.load(path, mmap_mode="r+")
        except (ValueError, EOFError, FileNotFoundError) as error:
            raise ValueError(f"{path} cannot be read ({error}): {remedy(self.place)}.") from error
        if found.shape != self.problem.shape or found.dtype != self.kept:
            raise ValueError(f"{path} holds {found.dtype} of shape {found.shape}: {remedy(self.place)}.")
        return found


@contextmanager
def _alone(place: Path, needed: int) -> Iterator[None]:
    """The folder, made if need be, as the one process that writes to it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        # before the lock, so that nothing is left behind where it is refused
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


def _reserve(path: Path) -> None:
    """Take a file's bytes from the disk now, where the file system can."""
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
        raise ValueError(f"dtype must be {' or '.join(KEPT)}, got {brief(dtype)}.") from error
    if kept.name not in KEPT or not kept.isnative:
        raise ValueError(f"kernels are kept in {' or '.join(KEPT)}, not in {kept.name}.")
    return kept


def _identity(problem: KernelProblem, tile: int) -> dict[str, Any]:
    """What decides the numbers."""
    return {
        "x": array_digest(problem.x),
        "x2": array_digest(problem.x2),
        "activations": [fingerprint(layer) for layer in problem.layers],
        "centres": list(problem.centres),
        "kappa_sq": problem.kappa_sq,
        "precision": problem.dtype.name,
        "tile": tile,
        "code": source_digest(*CODE),
    }
