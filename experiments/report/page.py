"""The report of a sweep: one HTML file that shows everything and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from markupsafe import Markup

from experiments.report import jobs as job_summary
from experiments.report.tables import Table
from experiments.report.templates import ENVIRONMENT, FOLDER
from experiments.runner.jobs import Job
from experiments.runner.record import DPI, write_text

CSS_PIXELS_PER_INCH = 96
# figures whose width exceeds so many heights have several panels side by side
WIDE = 2.2
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture with a title and a caption.

    Attributes
    ----------
    title, caption : str
        What it shows; `backticks` mark code.
    png : Path
        The file, as `Record.add_figure` writes it; it is shown at the size in inches that it was drawn for.
    alt : str
        A description for readers who do not see it.
    command : str
        The command that makes it.
    """

    title: str
    caption: str
    png: Path
    alt: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs (separated by empty lines), figures and tables."""

    heading: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes
    ----------
    title, lead : str
        What it is, and the main result in one paragraph.
    commands : sequence of str
        The commands that make all of it.
    sections : sequence of Section
        Figures and tables under headings.
    jobs : sequence of Job
        All jobs, finished or not; their names are unique.
    versions : dict
        Versions of the report itself, as ``record.circumstances`` gives them.
    retry : str
        One command that runs all unfinished jobs again.
    """

    title: str
    lead: str
    commands: Sequence[str]
    sections: Sequence[Section]
    jobs: Sequence[Job] = ()
    versions: dict[str, Any] = field(default_factory=dict)
    retry: str = ""


def write_report(report: Report, path: Path) -> None:
    """Write the report as a whole, or not at all; the same report gives the same bytes.

    Raises
    ------
    FileNotFoundError
        If the picture of a figure is missing.
    ValueError
        If a picture is not a PNG, two jobs share a name, or a file of a job cannot be read.
    """
    names = [job.name for job in report.jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"jobs share the name {', '.join(map(repr, repeated))}: give each its own.")
    page = ENVIRONMENT.get_template("report.html").render(_context(report, path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _context(report: Report, folder: Path) -> dict[str, Any]:
    """Return the variables of the template, for a report that will lie in a folder."""
    style, script = ((FOLDER / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    problems = job_summary.problems(report.jobs)
    known = _known_versions(report)
    table, shared_settings, configured = job_summary.job_table(report.jobs, folder)
    return {
        "report": report,
        "style": Markup(style),
        "style_hash": _hash(style),
        "script": Markup(script),
        "script_hash": _hash(script),
        "states": job_summary.numbers_of_states(report.jobs),
        "seconds": job_summary.total_seconds(report.jobs),
        "problems": problems,
        "unfinished": sum(len(problem.jobs) for problem in problems),
        "differences": job_summary.differences(known),
        "sections": _numbered(report.sections),
        "made": bool(report.jobs or known or any(report.commands)),
        "job_table": table,
        "shared_settings": shared_settings,
        "configured_jobs": configured,
        "version_table": job_summary.version_table(known),
    }


def _hash(text: str) -> str:
    """Return the hash by which the page allows its own style or script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _known_versions(report: Report) -> dict[str, dict[str, str]]:
    """Return the versions of the report, and of each job that left them."""
    known = {job_summary.REPORT: job_summary.flatten(report.versions)}
    known |= {job.name: job_summary.versions(job) for job in report.jobs}
    # the seed is a setting, in which jobs are meant to differ
    return {who: {k: v for k, v in values.items() if k != "seed"} for who, values in known.items() if values}


def _numbered(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return the sections with their figures and tables, which are numbered through the report."""
    figures, tables = count(1), count(1)
    return [
        {
            "heading": section.heading,
            "text": section.text,
            "figures": [(next(figures), figure, _picture(figure)) for figure in section.figures],
            "tables": [(next(tables), table) for table in section.tables],
        }
        for section in sections
    ]


def _picture(figure: Figure) -> dict[str, Any]:
    """Return a figure's size on the page, and its file in base64."""
    if not figure.png.is_file():
        raise FileNotFoundError(
            f"figure {figure.title!r} is not at {figure.png}: run the job that draws it again, or leave the figure out."
        )
    data = figure.png.read_bytes()
    if not data.startswith(PNG) or len(data) < 24:
        raise ValueError(f"{figure.png} is not a PNG file: write it anew with Record.add_figure.")
    # the first chunk of a PNG begins with its size
    pixels = struct.unpack(">II", data[16:24])
    width, height = (max(1, round(size * CSS_PIXELS_PER_INCH / DPI)) for size in pixels)
    return {"width": width, "height": height, "wide": width > WIDE * height, "base64": base64.b64encode(data).decode()}
