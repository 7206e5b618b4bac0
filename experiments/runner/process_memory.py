"""Memory of processes, as Linux reports it."""

from __future__ import annotations

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


def restart_peak() -> None:
    """Measure the peak memory of this process (VmHWM) from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
