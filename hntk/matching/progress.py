"""Lines that report how far a match has come."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str], None]


def no_progress(_line: str) -> None:
    """Ignore a line."""
