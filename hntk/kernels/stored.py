"""Exact kernels on disk, for those that do not fit into memory: written tile by tile, and continued when interrupted.

A folder holds ``ck.npy`` and ``ntk.npy``, which NumPy opens as they are (``np.load(path, mmap_mode="r")``), and
``progress.json``: what they are kernels of, and which rows of tiles are done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hntk.activations import Activation
from hntk.activations.fingerprint import fingerprint as _fingerprint
from hntk.atomic import replacing
from hntk.kernels.exact import Kernels, Problem
from hntk.kernels.room import check_disk, kernel_bytes
from hntk.kernels.tiling import Target
from hntk.precision import warn_if_float32

# larger than in memory: disks take long runs
TILE = 1024
FILES = ("ck.npy", "ntk.npy")
KEPT = ("float32", "float64")
PROGRESS = "progress.json"


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
    progress: Callable[[int], None] | None = None,
) -> Kernels:
    """K_L and Θ_L at infinite width in files; the same call goes on where an interrupted one stopped.

    Parameters
    ----------
    folder : where they go; it is made if need be.
    x, activations, x2, tau0, kappa_sq : as for :func:`exact_kernels`.
    tile : samples on the side of a tile; what is lost by an interruption is a row of tiles.
    dtype : float32 or float64, in which kernels are kept; by default the one they are computed in.
    progress : called with the number of entries that are done, n·m in all; first with those of earlier calls.

    Returns
    -------
    Kernels of read-only memory maps.

    Raises
    ------
    ValueError
        For data that does not fit, another dtype, and if the folder holds kernels of something else.
    OSError
        If the files do not fit onto the disk, before anything is computed.

    Examples
    --------
    >>> import jax, tempfile, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> kernels = hntk.store_kernels(tempfile.mkdtemp(), data.x, ["relu", "erf"])
    >>> kernels.ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    problem = Problem.of(x, activations, x2, tau0, kappa_sq)
    kept = problem.dtype if dtype is None else np.dtype(dtype)
    if kept.name not in KEPT:
        raise ValueError(f"kernels are kept in {' or '.join(KEPT)}, not in {kept.name}.")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    journal = _Journal.of(place, _identity(problem, tile) | {"kept": kept.name})
    if journal.fresh:
        check_disk(place, kernel_bytes(problem.shape, kept))
    arrays = [_array(place / name, problem.shape, kept, journal.fresh) for name in FILES]
    target = Target(*arrays, symmetric=problem.symmetric, tile=tile)
    journal.write()

    def told(band: int) -> None:
        # on the disk before it is called done
        for array in arrays:
            array.flush()
        journal.add(band)
        if progress is not None:
            progress(target.pairs(band))

    if progress is not None and journal.done:
        progress(sum(target.pairs(band) for band in journal.done))
    left = [band for band in target.bands if band not in journal.done]
    if left:
        problem.fill(target, left, told)
    return Kernels(*(np.load(place / name, mmap_mode="r") for name in FILES))


@dataclass
class _Journal:
    """What is done, in a file of its own that is replaced whole."""

    path: Path
    identity: dict[str, Any]
    done: set[int] = field(default_factory=set)
    fresh: bool = True

    @classmethod
    def of(cls, folder: Path, identity: dict[str, Any]) -> _Journal:
        path = folder / PROGRESS
        if not path.exists():
            return cls(path, identity)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            known, done = told["kernels"], {int(band) for band in told["done"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error}): remove the folder, or choose another.") from error
        if known != identity:
            other = [key for key in identity if known.get(key) != identity[key]]
            raise ValueError(
                f"{folder} holds kernels of something else (other {', '.join(other)}): choose another folder, or "
                f"remove {FILES[0]}, {FILES[1]} and {PROGRESS} there."
            )
        there = all((folder / name).exists() for name in FILES)
        return cls(path, identity, done if there else set(), fresh=not there)

    def add(self, band: int) -> None:
        self.done.add(band)
        self.write()

    def write(self) -> None:
        with replacing(self.path) as part:
            part.write_text(json.dumps({"kernels": self.identity, "done": sorted(self.done)}), encoding="utf-8")


def _identity(problem: Problem, tile: int) -> dict[str, Any]:
    """What decides the numbers."""
    samples = [None if part is None else _digest(np.asarray(part)) for part in (problem.x, problem.x2)]
    return {
        "x": samples[0],
        "x2": samples[1],
        "activations": [_fingerprint(layer) for layer in problem.layers],
        "centres": list(problem.centres),
        "kappa_sq": problem.kappa_sq,
        "precision": problem.dtype.name,
        "tile": tile,
    }


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _array(path: Path, shape: tuple[int, int], dtype: np.dtype, fresh: bool) -> np.memmap:
    if fresh:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    try:
        np.load(path, mmap_mode="r")  # "r+" would make a file longer that was cut
        found = np.load(path, mmap_mode="r+")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, to begin anew.") from error
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{path} holds {found.dtype} of shape {found.shape}: remove it, to begin anew.")
    return found
