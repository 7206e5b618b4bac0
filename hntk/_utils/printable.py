"""Text of unknown origin, made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with its control characters, line ends excepted, as escapes that a terminal or page does not act on.

    Names and labels come from files, which anybody may have made.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
