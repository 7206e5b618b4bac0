"""Pieces of HTML that every part of a report is made of. Whatever comes from data is escaped here."""

from __future__ import annotations

import html
import re

# what terminals colour with; characters that HTML or UTF-8 cannot hold, and those that turn the order of others about
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(value: object) -> str:
    """Text that cannot be taken for markup, in an element or in a quoted attribute."""
    return html.escape(_UNFIT.sub("\ufffd", _COLOURS.sub("", str(value))))


def inline(text: str) -> str:
    """Text in which `backticks` mark code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))


def paragraphs(text: str) -> str:
    """Text as paragraphs, parted by empty lines."""
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return "\n".join(f"<p>{inline(part)}</p>" for part in parts if part)


def commands(lines: list[str]) -> str:
    """What to type, one command a line; nothing if there is none."""
    shown = "\n".join(f"<code>{escape(line)}</code>" for line in lines if line)
    return f'<pre class="command">{shown}</pre>' if shown else ""


def details(summary: str, body: str) -> str:
    """A part that is closed until it is asked for."""
    return f"<details>\n<summary>{inline(summary)}</summary>\n{body}\n</details>"


def section(anchor: str, heading: str, body: str, kind: str = "") -> str:
    """A part of the page with its heading; ``kind`` sets its look."""
    look = f' class="{kind}"' if kind else ""
    return (
        f'<section id="{anchor}"{look} aria-labelledby="{anchor}-heading">\n'
        f'<h2 id="{anchor}-heading">{inline(heading)}</h2>\n{body}\n</section>'
    )


def count(number: int, what: str) -> str:
    """A number of things: 1 job, 2 jobs."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
