"""Text that comes from settings, data and errors, made fit for a terminal."""

from __future__ import annotations

import re

from rich.markup import escape

# a terminal obeys these, and a line of the terminal ends at the last two
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Return a text in which characters that a terminal obeys stand as Python writes them, such as ``\x1b``."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], str(text))


def shown(text: object) -> str:
    r"""Return a text that is printed as it is, whatever brackets and control characters it has.

    Examples
    --------
    >>> from experiments.runner.words import shown
    >>> print(shown("[/] is no markup"))
    \\[/] is no markup
    """
    return escape(visible(text))
