"""An HTML page without scripts or outside files, in which all text is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

# Characters that HTML or UTF-8 cannot hold, and those that reverse the direction of text.
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{digest}'; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{lead}
</header>
<main>
{sections}
</main>
</body>
</html>
"""


class Markup(str):
    """Text that is HTML already."""


def text(value: object) -> Markup:
    """Return a value as HTML: markup as it is, anything else escaped, without characters that no page can hold."""
    return value if isinstance(value, Markup) else Markup(escape(UNFIT.sub("\ufffd", str(value))))


def page(title: str, lead: Sequence[object], sections: Sequence[Markup]) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Its title.
    lead : sequence of str
        Paragraphs below it.
    sections : sequence of Markup
        What :func:`section` returns.

    Returns
    -------
    str
        The page.
    """
    style = files("hntk.cli").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    paragraphs = "\n".join(f"<p>{text(part)}</p>" for part in lead)
    return PAGE.format(
        digest=f"sha256-{digest}", title=text(title), style=style, lead=paragraphs, sections="\n".join(sections)
    )


def section(heading: str, *parts: object) -> Markup:
    """Return a section; parts that are no markup become paragraphs."""
    body = "\n".join(part if isinstance(part, Markup) else f"<p>{text(part)}</p>" for part in parts)
    return Markup(f"<section>\n<h2>{text(heading)}</h2>\n{body}\n</section>")


def commands(*lines: str) -> Markup:
    """Return commands or code as a block."""
    return Markup(f'<pre tabindex="0"><code>{text(chr(10).join(lines))}</code></pre>')


def listing(lines: Sequence[object]) -> Markup:
    """Return lines as a list."""
    return Markup("<ul>\n" + "\n".join(f"<li>{text(line)}</li>" for line in lines) + "\n</ul>")


def facts(pairs: Sequence[tuple[str, object]]) -> Markup:
    """Return names with values."""
    rows = "\n".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return Markup(f"<dl>\n{rows}\n</dl>")


def table(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    words: int = 1,
    marked: int | None = None,
) -> Markup:
    """Return a table that scrolls in its frame where it is wider than the page.

    Parameters
    ----------
    caption : str
        What it shows.
    headings : sequence of str
        Headings of the columns.
    rows : sequence of sequence
        Cells; those of the first column are the rows' headings.
    words : int
        Number of first columns that hold words. The others are aligned to the right.
    marked : int, optional
        A row to emphasise.

    Returns
    -------
    Markup
        The table.
    """

    def cells(row: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag if place else 'th'}{_scope(place, tag)}{'' if place < words else ' class=number'}>{text(cell)}"
            f"</{tag if place else 'th'}>"
            for place, cell in enumerate(row)
        )

    body = "\n".join(
        f"<tr{' class=chosen' if place == marked else ''}>{cells(row, 'td')}</tr>" for place, row in enumerate(rows)
    )
    return Markup(
        f'<figure>\n<figcaption>{text(caption)}</figcaption>\n<div class="scroll" tabindex="0"><table>\n'
        f"<thead><tr>{cells(headings, 'th')}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n</figure>"
    )


def _scope(place: int, tag: str) -> str:
    return ' scope="col"' if tag == "th" else ' scope="row"' if place == 0 else ""


def shaded(value: int, largest: int) -> Markup:
    """Return a count, on a ground that is the darker the larger it is."""
    step = 0 if not value else 1 + min(7, 7 * value // max(1, largest))
    return Markup(f'<span class="shade{step}">{value:,}</span>')
