"""Errors that are said rather than traced."""

from __future__ import annotations

import sys

from experiments.runner.console import CONSOLE
from experiments.runner.words import shown


class Skip(Exception):
    """A job that makes no sense, such as a network that does not fit its budget; not a failure."""


def expected() -> tuple[type[Exception], ...]:
    """Return the errors whose message says all there is to say."""
    # where no training has run, none has failed, and the library is not loaded for it
    training = sys.modules.get("hntk.readouts.training")
    known = (ValueError, OSError, ImportError, MemoryError, Skip)
    return known if training is None else (*known, training.TrainingError)


def say_error(error: BaseException) -> int:
    """Print it, and return the exit status."""
    CONSOLE.print(f"\n[bold red]error[/] {shown(error)}", soft_wrap=True)
    return 1
