"""Signals that end a sweep: it stops at once, stops its workers, and says how to continue.

No result is lost: files are replaced as a whole, an unfinished job starts anew, and a training continues from its
checkpoint.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from experiments.runner.console import say

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# seconds until a signal whose exception was lost is sent again
RESEND_AFTER = 0.05
# seconds that Slurm may take to cancel jobs
CANCEL_TIMEOUT = 30


class Stopped(SystemExit):
    """The exit that a signal asked for; its status is 128 plus the signal's number, as in shells."""


class _Received:
    """The number of the signal that this process received, if any."""

    number: int | None = None


def listen() -> None:
    """Have signals end this process with its usual clean-up; ignored signals stay ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    if sys.unraisablehook is not _resend_lost_signal:
        sys.unraisablehook = _resend_lost_signal


def stop(number: int, _frame: FrameType | None = None) -> NoReturn:
    """Say how to continue, and end; for an interruption from the keyboard, its handler says it."""
    first, _Received.number = _Received.number is None, number
    if first and number != signal.SIGINT:
        with suppress(OSError):  # the terminal may be gone
            _say_stopped(signal.Signals(number).name)
    raise _exit(number)


def _say_stopped(name: str) -> None:
    """Say how to continue, even if the signal came while another line was being written."""
    by = f"by {name}; the same command goes on from here."
    try:
        say(f"\n[bold red]stopped[/] {by}")
    except RuntimeError:  # Python's buffers refuse a write within a write
        os.write(sys.stdout.fileno(), f"\nstopped {by}\n".encode())


def check() -> None:
    """End if a signal came: code in between may have mistaken its exception for an error of its own.

    Raises
    ------
    Stopped, KeyboardInterrupt
        If a signal came.
    """
    if _Received.number is not None:
        raise _exit(_Received.number)


def _exit(number: int) -> BaseException:
    """Return the exception by which a signal ends this process."""
    return KeyboardInterrupt() if number == signal.SIGINT else Stopped(128 + number)


def _resend_lost_signal(lost: Any) -> None:
    """Send the signal again if its exception was raised where Python drops exceptions, such as in a callback."""
    if _Received.number is None or not isinstance(lost.exc_value, Stopped | KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(RESEND_AFTER, signal.pthread_kill, (main, _Received.number))
    timer.daemon = True
    timer.start()


def cancel_queued(folder: Path, since: float) -> None:
    """Cancel this sweep's jobs in Slurm's queue; each has a folder here that is named after its number."""
    recent = [path for path in folder.glob("*") if re.match(r"\d+", path.name) and path.stat().st_mtime >= since]
    numbers = sorted({re.split(r"\D", path.name)[0] for path in recent})
    if not numbers:
        return
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", *numbers], capture_output=True, timeout=CANCEL_TIMEOUT, check=False)
        say(f"Cancelled in the queue: {', '.join(numbers)}")
