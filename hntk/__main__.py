"""The command line: ``hntk compress DATA``, ``hntk export FILE --to c`` and others; also as ``python -m hntk``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hntk
from hntk.cli.parser import parser_of
from hntk.cli.terminal import printable
from hntk.readouts.training import TrainingError

# What commands raise on purpose, with a message that says what to do.
ERRORS = (ValueError, OSError, ImportError, MemoryError, ArithmeticError, TrainingError)
INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    words : sequence of str, optional
        Command and options; by default those of the process.

    Returns
    -------
    int
        Exit status. After an error it is 1, and one line on stderr says what to do; a wrong option exits with 2.
    """
    parser = parser_of(_program_name(sys.argv[0]), hntk.__version__)
    options = parser.parse_args(words)
    if options.run is None:
        parser.print_help()
        return 0
    options.words = words
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # What reads the output has ended, as head does. Python would complain at its own end too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ERRORS as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        print(printable(message, sys.stderr), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the last checkpoint, where it keeps one", file=sys.stderr)
        return INTERRUPTED
    return 0


def _program_name(path: str) -> str:
    """Return how the program was called: ``hntk`` or ``python -m hntk``."""
    return "python -m hntk" if Path(path).name == "__main__.py" else "hntk"


if __name__ == "__main__":
    sys.exit(main())
