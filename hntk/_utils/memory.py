"""Check that results fit into memory and onto the disk, before they are computed."""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

# Below so many bytes the system is not asked: asking takes as long as the prediction of one sample.
SMALL = 2**26
# Deflate, and so gzip and zip, makes nothing smaller than this many times.
DEFLATE_LIMIT = 1032
# Files in which Linux tells a container's limit, and what it uses.
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Return the bytes that this process may still take, of its machine or container; None if they are not known."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except OSError:
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, usage in LIMITS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(usage).read_text()))
        except (OSError, ValueError):  # "max" stands for no limit.
            continue
    return min(free, default=None)


def give_back_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc), so that it does not count as in use.

    Arrays of some megabytes that threads have freed stay with the process otherwise, which then seems to have less
    room than it has.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def room_for(needed: float) -> int | None:
    """Return the bytes that this process may still take, after freed memory was given back where they seem too few."""
    free = available_memory()
    if free is not None and free < needed:
        give_back_memory()
        free = available_memory()
    return free


def check_room(needed: float, what: str, remedy: str) -> None:
    """Refuse a result that does not fit into memory, because allocating it would end the process.

    Parameters
    ----------
    needed : float
        Bytes that it takes at least.
    what : str
        What takes them, as the beginning of a sentence.
    remedy : str
        What to do instead, as a sentence.

    Raises
    ------
    MemoryError
        If it does not fit; the message says how much it takes and how much is free.
    """
    if needed <= SMALL:
        return
    free = room_for(needed)
    if free is not None and needed > free:
        raise MemoryError(f"{what} would take {gigabytes(needed)} and {gigabytes(free)} of memory are free. {remedy}")


def check_disk(folder: Path, needed: int, what: str = "the kernels take") -> None:
    """Refuse files that do not fit onto a disk; ``what`` is the beginning of the message.

    Raises
    ------
    OSError
        If they do not; the message says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{what} {gigabytes(needed)} in {folder}, where {gigabytes(free)} are free: free "
            f"{gigabytes(needed - free)} there, or choose a folder on another disk."
        )


def gigabytes(size: float) -> str:
    """Return a number of bytes as text, in GB or MB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
