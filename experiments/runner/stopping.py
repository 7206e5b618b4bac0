"""An end on request: a sweep that is told to end does so at once, takes its workers along, and says how to go on.

Nothing is lost by it: files are replaced whole, a job that has not ended starts anew, and a training goes on from its
checkpoint.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from experiments.runner.console import CONSOLE

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# seconds until a signal whose exception was lost is sent again
AGAIN = 0.05
# seconds that the queue may take for an answer
PATIENCE = 30


class Stopped(SystemExit):
    """The end that a signal asked for; the exit status is 128 and its number, as shells have it."""


class _Asked:
    """The signal that this process was told to end by."""

    number: int | None = None


def listen() -> None:
    """Have this process end on signals by way of its own clean-up; what is ignored stays so (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    if sys.unraisablehook is not _insist:
        sys.unraisablehook = _insist


def stop(number: int, _frame: FrameType | None = None) -> NoReturn:
    """Say how to go on, and end; an interruption from the keyboard is said by who catches it."""
    first, _Asked.number = _Asked.number is None, number
    if first and number != signal.SIGINT:
        with suppress(OSError):  # the terminal may be gone
            CONSOLE.print(
                f"\n[bold red]stopped[/] by {signal.Signals(number).name}; the same command goes on from here.",
                soft_wrap=True,
            )
    raise _end(number)


def check() -> None:
    """End if that was asked for: code in between may have taken the exception for an error of its own.

    Raises
    ------
    Stopped, KeyboardInterrupt
        If a signal came.
    """
    if _Asked.number is not None:
        raise _end(_Asked.number)


def _end(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Stopped(128 + number)


def _insist(lost: Any) -> None:
    """Send the signal again if its exception came where Python drops exceptions, such as in a callback."""
    if _Asked.number is None or not isinstance(lost.exc_value, Stopped | KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(AGAIN, signal.pthread_kill, (main, _Asked.number))
    timer.daemon = True
    timer.start()


def cancel_queued(folder: Path, since: float) -> None:
    """Take the jobs of this sweep back from Slurm's queue: each has a folder that is named after it."""
    found = [path for path in folder.glob("*") if re.match(r"\d+", path.name) and path.stat().st_mtime >= since]
    numbers = sorted({re.split(r"\D", path.name)[0] for path in found})
    if not numbers:
        return
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", *numbers], capture_output=True, timeout=PATIENCE, check=False)
        CONSOLE.print(f"Taken back from the queue: {', '.join(numbers)}", soft_wrap=True)
