"""Errors whose message is enough: they are printed without a traceback."""

from __future__ import annotations

import sys

from experiments.runner.console import say, shown


class Skip(Exception):
    """A job that makes no sense, such as a network that does not fit its budget; it does not count as a failure."""


def expected() -> tuple[type[Exception], ...]:
    """Return the types of error whose message is enough."""
    types = (ValueError, OSError, ImportError, MemoryError, Skip)
    # the library is not imported for this: where no training has run, none has failed
    training = sys.modules.get("hntk.readouts.training")
    return types if training is None else (*types, training.TrainingError)


def print_error(error: BaseException) -> int:
    """Print an error's message, and return the exit status."""
    say(f"\n[bold red]error[/] {shown(error)}")
    return 1
