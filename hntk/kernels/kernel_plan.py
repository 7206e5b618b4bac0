"""Where the blocks of a kernel between training samples are kept while a system with it is solved."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hntk._utils.arguments import as_choice
from hntk._utils.devices import device_memory
from hntk._utils.memory import gigabytes, room_for
from hntk.kernels.tiling import TILE

Place = Literal["device", "memory", "disk", "nowhere"]
Keep = Literal["auto", "device", "memory", "disk", "nowhere"]
# file of blocks on disk
FILE = "blocks.bin"
# most samples on the side of a block
SIDE = 4 * TILE
# the same where a device keeps them, whose programs take longer to start
DEVICE_SIDE = 4096
# blocks on a side of a small kernel, so that all cores have a share of it
BLOCKS = 6
# blocks of at most so many bytes in all are kept in float64
DOUBLE = 2**30
# share of free memory and of a disk's free bytes that blocks may take
SHARE = 0.8


@dataclass(frozen=True)
class KernelPlan:
    """Where and how the blocks of the upper triangle of a kernel are kept.

    Attributes
    ----------
    n : int
        Number of samples.
    place : {"device", "memory", "disk", "nowhere"}
        Where they are: on JAX's device, in memory, or on disk. Blocks that are nowhere are computed anew for every
        product.
    dtype : str
        Type that they are kept in, "float32" or "float64". They are computed, and multiplied by, in float64.
    side : int
        Samples on the side of a block.
    reason : str
        Why this place was chosen.
    """

    n: int
    place: Place
    dtype: str
    side: int
    reason: str = ""

    @property
    def count(self) -> int:
        """Number of blocks on a side of the kernel."""
        return -(-self.n // self.side)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Block row and block column of every block that is kept."""
        return [(i, j) for i in range(self.count) for j in range(i, self.count)]

    @property
    def size(self) -> int:
        """Bytes of all blocks, where they are kept."""
        return triangle_bytes(self.n, self.side, np.dtype(self.dtype).itemsize)

    def __str__(self) -> str:
        where = {
            "device": f"{gigabytes(self.size)} on the device",
            "memory": f"{gigabytes(self.size)} in memory",
            "disk": f"{gigabytes(self.size)} on disk",
            "nowhere": "computed anew for every product",
        }[self.place]
        blocks = len(self.corners)
        kept = f"{blocks:,} block{'s' if blocks > 1 else ''} of the upper triangle in {self.dtype}, {where}"
        return f"kernel of {self.n:,} samples: {kept}" + (f" ({self.reason})" if self.reason else "")


def triangle_bytes(n: int, side: int, itemsize: int) -> int:
    """Return the bytes of the blocks of the upper triangle of an (n, n) matrix."""
    count = -(-n // side)
    return itemsize * count * (count + 1) // 2 * min(side, n) ** 2


def plan_kernel(
    n: int,
    *,
    keep: Keep = "auto",
    folder: Path | None = None,
    memory: int | None = None,
    beside: int = 0,
    precision: str = "auto",
) -> KernelPlan:
    """Choose where the blocks of a kernel are kept.

    Parameters
    ----------
    n : int
        Number of samples.
    keep : {"auto", "device", "memory", "disk", "nowhere"}
        The place. "auto" takes a GPU's memory where JAX has one and they fit there, then the machine's memory, then the
        disk where a folder is given and they fit there, and computes them anew for every product otherwise.
    folder : Path, optional
        Folder for blocks on disk.
    memory : int, optional
        Bytes of memory that the whole computation may take. By default four fifths of what is free.
    beside : int
        Bytes that the computation takes beside the blocks.
    precision : {"auto", "float32", "float64"}
        Type that blocks are kept in. "auto" is float64 up to 1 GiB, and float32 beyond.

    Returns
    -------
    KernelPlan
        The plan.

    Raises
    ------
    ValueError
        If blocks are to be on disk and no folder is given.
    MemoryError
        If blocks are to be in memory, and do not fit.
    OSError
        If blocks are to be on disk, and do not fit there.
    """
    as_choice(keep, "keep", get_args(Keep))
    side, dtype = _side(n), _dtype(n, precision)
    size = triangle_bytes(n, side, np.dtype(dtype).itemsize)
    free = room_for((size + beside) / SHARE) if memory is None else memory
    room = None if free is None else int((SHARE if memory is None else 1) * free) - beside
    fits = room is None or size <= room
    short = f"{gigabytes(size)} of blocks and {gigabytes(beside)} beside them"
    spare = device_memory()
    if keep == "device" or (keep == "auto" and spare is not None and size <= SHARE * spare):
        return KernelPlan(n, "device", dtype, min(DEVICE_SIDE, n))
    if keep == "memory" or (keep == "auto" and fits):
        if not fits:
            raise MemoryError(
                f"{short} do not fit into {gigabytes(free or 0)} of memory: give keep='disk' and a folder, "
                "keep='nowhere', which computes blocks anew for every product, or fewer samples."
            )
        return KernelPlan(n, "memory", dtype, side)
    if keep == "disk" or (keep == "auto" and folder is not None):
        if folder is None:
            raise ValueError("keep='disk' needs a folder for the blocks: give folder=.")
        left = shutil.disk_usage(existing(folder)).free
        if size <= SHARE * left or (folder / FILE).exists():
            return KernelPlan(n, "disk", dtype, side, "" if keep == "disk" else "more than memory has")
        if keep == "disk":
            raise OSError(
                f"the kernel's blocks take {gigabytes(size)}, and {folder} has {gigabytes(left)} free: free some "
                "there, or choose a folder on another disk."
            )
    reason = "" if keep == "nowhere" else f"{short} are more than memory has"
    return KernelPlan(n, "nowhere", dtype, side, reason)


def _side(n: int) -> int:
    """Return the number of samples on the side of a block."""
    return min(SIDE, n, TILE * -(-n // (BLOCKS * TILE)))


def _dtype(n: int, precision: str) -> str:
    """Return the type that blocks are kept in."""
    if as_choice(precision, "precision", ("auto", "float32", "float64")) != "auto":
        return precision
    return "float64" if triangle_bytes(n, _side(n), 8) <= DOUBLE else "float32"


def existing(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
