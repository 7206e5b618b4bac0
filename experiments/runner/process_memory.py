"""Memory of processes, as Linux reports it."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path


def status_bytes(process: int, name: str) -> int | None:
    """Return a quantity of a running process, such as VmRSS (memory now) or VmHWM (peak memory), in bytes.

    None stands for a system that does not report it.
    """
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    line = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
    return None if line is None else 1024 * int(line[1])


def give_back_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc), so that it does not count as in use."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def restart_peak() -> None:
    """Measure the peak memory of this process (VmHWM) from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
