"""The report of a sweep: one HTML file that shows everything and asks for nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from experiments.report.jobs import (
    REPORT,
    Job,
    differences,
    flatten,
    job_list,
    problems,
    status,
    version_list,
    versions,
)
from experiments.report.markup import commands, escape, inline, paragraphs, section
from experiments.report.tables import Table, read_table, table_html
from experiments.runner.record import DPI, write_text

__all__ = ["Figure", "Job", "Report", "Section", "Table", "read_table", "write_report"]

# per inch
CSS_PIXELS = 96
# of width to height: beyond it, several panels side by side
WIDE = 2.2
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture with what it shows.

    Attributes
    ----------
    title, caption : `backticks` mark code.
    png : the file, as Record.add_figure writes it, and shown at the size in inches it was drawn for.
    alt : what is to be seen, for who does not see it.
    command : what to type to get it.
    """

    title: str
    caption: str
    png: Path
    alt: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs (parted by empty lines), figures and tables."""

    heading: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Report:
    """What a sweep gave.

    Attributes
    ----------
    title, lead : what it is, and the main result in one paragraph.
    commands : what to type to get all of it.
    sections : figures and tables under headings.
    jobs : all jobs, done or not; names are unique.
    versions : circumstances of the report itself, as ``record.circumstances`` gives them.
    retry : one command that runs again all that is not done.
    """

    title: str
    lead: str
    commands: Sequence[str]
    sections: Sequence[Section]
    jobs: Sequence[Job] = ()
    versions: dict[str, Any] = field(default_factory=dict)
    retry: str = ""


def write_report(report: Report, path: Path) -> None:
    """Write the report, whole or not at all. The same report gives the same bytes.

    Raises
    ------
    FileNotFoundError
        If the picture of a figure is missing.
    ValueError
        If a picture is not a PNG, two jobs share a name, or what a job left cannot be read.
    """
    names = [job.name for job in report.jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"jobs share the name {', '.join(map(repr, repeated))}: give each its own.")
    page = _page(report, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _page(report: Report, base: Path) -> str:
    """The whole page; ``base`` is where it will lie."""
    style, script, page = (_resource(f"report.{kind}") for kind in ("css", "js", "html"))
    sections, contents = _sections(report.sections)
    attempts = [problems(report.jobs, report.retry), differences(_known(report))]
    made, listed = _made(report, base)
    return Template(page).substitute(
        title=escape(report.title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        heading=inline(report.title),
        lead=paragraphs(report.lead),
        status=status(report.jobs),
        problems="\n".join(part for part in attempts if part),
        contents="\n".join(contents + listed),
        sections="\n".join(sections + made),
    )


def _resource(name: str) -> str:
    return resources.files("experiments.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What lets the page's own style and script, and no other, take effect."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _known(report: Report) -> dict[str, dict[str, str]]:
    """Versions of the report, and of each job that left them."""
    own = {name: value for name, value in flatten(report.versions).items() if name != "seed"}
    found = {REPORT: own} | {job.name: versions(job) for job in report.jobs}
    return {who: values for who, values in found.items() if values}


def _sections(parts: Sequence[Section]) -> tuple[list[str], list[str]]:
    """Sections and their lines in the contents; figures and tables are numbered through the report."""
    pages, contents = [], []
    figure, table = 0, 0
    for number, part in enumerate(parts, 1):
        shown, lines = [paragraphs(part.text)], []
        for item in part.figures:
            figure += 1
            shown.append(_figure(item, figure))
            lines.append(_line(f"figure-{figure}", f"Figure {figure}: {item.title}"))
        for item in part.tables:
            table += 1
            shown.append(table_html(item, f"table-{table}", f"Table {table}: "))
            lines.append(_line(f"table-{table}", f"Table {table}: {item.title}"))
        pages.append(section(f"section-{number}", part.heading, "\n".join(shown)))
        contents.append(_line(f"section-{number}", part.heading, lines))
    return pages, contents


def _line(anchor: str, text: str, below: Sequence[str] = ()) -> str:
    """A line of the contents, with the lines below it."""
    inner = f"\n<ul>{''.join(below)}</ul>" if below else ""
    return f'<li><a href="#{anchor}">{inline(text)}</a>{inner}</li>'


def _made(report: Report, base: Path) -> tuple[list[str], list[str]]:
    """How all this was made: commands, jobs, configuration, versions."""
    parts = [commands(list(report.commands))]
    if report.jobs:
        parts.append(job_list(report.jobs, base))
    parts.append(version_list(_known(report)))
    text = "\n".join(part for part in parts if part)
    heading = "How this was made"
    return ([section("made", heading, text)], [_line("made", heading)]) if text else ([], [])


def _figure(figure: Figure, number: int) -> str:
    """A picture inside the page, with its caption and command."""
    width, height, data = _picture(figure)
    title = inline(f"Figure {number}: {figure.title}")
    look = ' class="wide"' if width > WIDE * height else ""
    return (
        f'<figure id="figure-{number}">\n'
        f'<div class="picture" role="group" tabindex="0" aria-labelledby="figure-{number}-title">'
        f'<img{look} src="data:image/png;base64,{data}" width="{width}" height="{height}"'
        f' alt="{escape(figure.alt)}"></div>\n'
        f'<figcaption><strong id="figure-{number}-title">{title}.</strong> {inline(figure.caption)}\n'
        f"{commands([figure.command])}</figcaption>\n</figure>"
    )


def _picture(figure: Figure) -> tuple[int, int, str]:
    """Width and height on the page, and the file in base64."""
    if not figure.png.is_file():
        raise FileNotFoundError(
            f"figure {figure.title!r} is not at {figure.png}: run the job that draws it again, or leave the figure out."
        )
    data = figure.png.read_bytes()
    if not data.startswith(PNG) or len(data) < 24:
        raise ValueError(f"{figure.png} is not a PNG file: write it anew with Record.add_figure.")
    # the first chunk of a PNG begins with its size
    width, height = struct.unpack(">II", data[16:24])
    return (
        max(1, round(width * CSS_PIXELS / DPI)),
        max(1, round(height * CSS_PIXELS / DPI)),
        base64.b64encode(data).decode(),
    )
