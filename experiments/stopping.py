"""An end on request: a sweep that is told to end does so at once, takes its workers along, and says how to go on.

Nothing is lost by it: files are replaced whole, a job that has not ended starts anew, and a training goes on from its
checkpoint. SIGINT is Python's own KeyboardInterrupt.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from experiments.console import CONSOLE

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
# seconds that the queue may take for an answer
PATIENCE = 30


class Stopped(SystemExit):
    """The end that a signal asked for; the exit status is 128 and its number, as shells have it."""


def listen() -> None:
    """Have this process end on SIGTERM and SIGHUP by way of its own clean-up; what is ignored stays so (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)


def stop(number: int, _frame: FrameType | None = None) -> NoReturn:
    """Say how to go on, and end."""
    # the next one ends the process at once
    signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):  # the terminal may be gone
        CONSOLE.print(
            f"\n[bold red]stopped[/] by {signal.Signals(number).name}; the same command goes on from here.",
            soft_wrap=True,
        )
    raise Stopped(128 + number)


def cancel_queued(folder: Path, since: float) -> None:
    """Take the jobs of this sweep back from Slurm's queue: each has a folder that is named after it."""
    found = [path for path in folder.glob("*") if re.match(r"\d+", path.name) and path.stat().st_mtime >= since]
    numbers = sorted({re.split(r"\D", path.name)[0] for path in found})
    if not numbers:
        return
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", *numbers], capture_output=True, timeout=PATIENCE, check=False)
        CONSOLE.print(f"Taken back from the queue: {', '.join(numbers)}", soft_wrap=True)
