"""Whether results fit into memory and onto the disk, before they are computed."""

from __future__ import annotations

import os
import shutil
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
    """Bytes that this process may still take: of the machine, or of the container it is in; None if nobody tells."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except OSError:
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for most, now in LIMITS:
        try:
            found.append(int(Path(most).read_text()) - int(Path(now).read_text()))
        except (OSError, ValueError):  # "max": no limit
            continue
    return min(found, default=None)


def check_room(needed: float, what: str, remedy: str) -> None:
    """Refuse what does not fit into memory, before anything is computed: the allocation would end the process.

    Parameters
    ----------
    needed : bytes, at least.
    what : that takes them, as the beginning of a sentence.
    remedy : what would do instead.

    Raises
    ------
    MemoryError
        With how much it would take and how much there is.
    """
    if needed <= SMALL:
        return
    there = available_memory()
    if there is not None and needed > there:
        raise MemoryError(f"{what} would take {gigabytes(needed)} and {gigabytes(there)} of memory are free. {remedy}")


def check_disk(folder: Path, needed: int, what: str = "the kernels take") -> None:
    """Refuse files that do not fit onto a disk.

    Raises
    ------
    OSError
        With how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{what} {gigabytes(needed)} in {folder}, where {gigabytes(free)} are free: free "
            f"{gigabytes(needed - free)} there, or choose a folder on another disk."
        )


def gigabytes(size: float) -> str:
    """A number of bytes to read."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
