"""The jobs of a report: what failed and how to retry it, what they had in common, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.report.markup import commands, count, details, duration, escape, section
from experiments.report.tables import Table, table_html

State = Literal["failed", "missing", "skipped", "done"]
# one holder of versions beside the jobs
REPORT = "this report"
# messages and names beyond these are counted, so that failures never bury the results
MESSAGES, NAMES = 5, 8


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes
    ----------
    name : short and unique.
    state : done, failed, skipped (on purpose), or missing (has not run).
    seconds : how long it took, if known.
    folder : what it left; config.yaml and versions.json are read where they are.
    message : why it failed or was skipped.
    command : what to type to run it again.
    """

    name: str
    state: State
    seconds: float | None
    folder: Path
    message: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"job {self.name!r} is {self.state!r}: a state is one of {', '.join(get_args(State))}.")


def flatten(nested: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, with dotted names and text values: {"git": {"commit": "a"}} is {"git.commit": "a"}."""
    if not isinstance(nested, Mapping):
        return {prefix: nested if isinstance(nested, str) else json.dumps(nested, ensure_ascii=False, default=str)}
    parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in nested.items())
    return {name: text for part in parts for name, text in part.items()}


def settings(job: Job) -> dict[str, str]:
    """The resolved configuration of a job, flat; empty if it left none.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    path = job.folder / "config.yaml"
    if not path.is_file():
        return {}
    try:
        return flatten(OmegaConf.to_container(OmegaConf.load(path)))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(_unreadable(path, error)) from error


def versions(job: Job) -> dict[str, str]:
    """The circumstances of a job, flat; empty if it left none. The seed is a setting, and left out.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    path = job.folder / "versions.json"
    if not path.is_file():
        return {}
    try:
        found = flatten(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from error
    return {name: value for name, value in found.items() if name != "seed"}


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} cannot be read ({error}): remove its folder and run the job again."


def holders(known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Who has which value: {setting: {value: names}}."""
    found: dict[str, dict[str, list[str]]] = {}
    for who, values in known.items():
        for name, value in values.items():
            found.setdefault(name, {}).setdefault(value, []).append(who)
    return found


def status(jobs: Sequence[Job]) -> str:
    """One line: how many jobs came to which end, and the time they took."""
    if not jobs:
        return ""
    parts = []
    for state in reversed(get_args(State)):
        number = sum(job.state == state for job in jobs)
        if number or state == "done":
            parts.append(f'<strong class="{state}">{number:,} {state}</strong>')
    # not finite: a clock that was never read
    seconds = sum(job.seconds for job in jobs if job.seconds is not None and 0 <= job.seconds < float("inf"))
    return f'<p class="status">{count(len(jobs), "job")}: {", ".join(parts)}; {duration(seconds)} of computing</p>'


def problems(jobs: Sequence[Job], retry: str) -> str:
    """What failed or has not run, with its message and how to retry; jobs of one message together."""
    grouped: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if job.state in ("failed", "missing"):
            grouped.setdefault((job.state, job.message), []).append(job)
    if not grouped:
        return ""
    number = sum(map(len, grouped.values()))
    parts = [_problem(state, message, group) for (state, message), group in grouped.items()]
    if more := parts[MESSAGES:]:
        parts = [*parts[:MESSAGES], details(count(len(more), "more problem"), "\n".join(more))]
    if retry:
        parts.append(f"<p>To run again all that is not done:</p>\n{commands([retry])}")
    verb = "is" if number == 1 else "are"
    return section("problems", f"{count(number, 'job')} {verb} not done", "\n".join(parts), kind="problems")


def _problem(state: str, message: str, group: Sequence[Job]) -> str:
    names = ", ".join(f"<strong>{escape(job.name)}</strong>" for job in group[:NAMES])
    more = f" and {count(len(group) - NAMES, 'other job')}" if len(group) > NAMES else ""
    what = "failed" if state == "failed" else "not run yet"
    text = f'<pre class="message" tabindex="0">{escape(message)}</pre>' if message else ""
    again = commands([job.command for job in group])
    if len(group) > 3 and again:
        again = details(f"{count(len(group), 'command')} to run them again", again)
    return f"<div>\n<p>{names}{more}: {what}.</p>\n{text}\n{again}\n</div>"


def differences(known: Mapping[str, Mapping[str, str]]) -> str:
    """A warning if the jobs do not come from one state of code and packages; nothing if they do."""
    points = []
    for name, values in holders(known).items():
        if len(values) > 1 and name != "git.dirty":
            each = (f"<code>{escape(_short(v))}</code> ({escape(who)})" for v, who in _told(values).items())
            points.append(f"<li><strong>{escape(name)}</strong>: {'; '.join(each)}</li>")
    dirty = [who for who, values in known.items() if values.get("git.dirty") == "true"]
    if dirty:
        points.append(f"<li>with changes that were not committed: {escape(_who(dirty, 3))}</li>")
    if not points:
        return ""
    return section("differences", "Not from one state of the code", f"<ul>{''.join(points)}</ul>", kind="warning")


def _short(value: str) -> str:
    """A commit or a hash of sources by its first digits, and other values whole."""
    return value[:10] if len(value) in (40, 64) and all(c in "0123456789abcdef" for c in value) else value


def _told(values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Who has each value: the most by their number, the others by name."""
    most = max(values, key=lambda value: len(values[value]))
    return {value: _who(names, 0 if value == most else 3) for value, names in values.items()}


def _who(names: Sequence[str], named: int) -> str:
    """How many jobs, and the first of them by name."""
    jobs = [name for name in names if name != REPORT]
    shown = [REPORT] if len(jobs) < len(names) else []
    if jobs:
        listed = ": " + ", ".join(jobs[:named]) + (" …" if len(jobs) > named else "") if named else ""
        shown.append(count(len(jobs), "job") + listed)
    return " and ".join(shown)


def job_list(jobs: Sequence[Job], base: Path) -> str:
    """Every job with the settings in which it differs, closed; and the settings that all have in common."""
    known = {job.name: settings(job) for job in jobs}
    configured = sum(bool(values) for values in known.values())
    shared = {name for name, values in holders(known).items() if [len(v) for v in values.values()] == [configured]}
    rows = []
    for job in jobs:
        own = "  ".join(f"{name}={value}" for name, value in known[job.name].items() if name not in shared)
        rows.append([job.name, job.state, job.seconds, own, _relative(job.folder, base), job.message])
    columns = ["job", "state", "time (s)", "settings of its own", "folder", "message"]
    table = Table("Jobs", columns, rows, "Folders are named as seen from this file.", formats={"time (s)": ".1f"})
    text = details(f"{count(len(jobs), 'job')}, each with its settings, time and folder", table_html(table, "job-list"))
    common = next((values for values in known.values() if values), {})
    lines = "\n".join(f"{name} = {value}" for name, value in common.items() if name in shared)
    if lines:
        block = f'<pre tabindex="0">{escape(lines)}</pre>'
        text += "\n" + details(f"Resolved configuration that {count(configured, 'job')} share", block)
    return text


def _relative(folder: Path, base: Path) -> str:
    """A folder as seen from the report, so that the text means something elsewhere."""
    folder, base = folder.resolve(), base.resolve()
    return str(folder.relative_to(base)) if folder.is_relative_to(base) else folder.name


def version_list(known: Mapping[str, Mapping[str, str]]) -> str:
    """Every version and circumstance, closed."""
    rows = [
        [name, value, "all" if len(values[value]) == len(known) else who]
        for name, values in holders(known).items()
        for value, who in _told(values).items()
    ]
    if not rows:
        return ""
    table = Table("Versions", ["what", "value", "where"], rows)
    return details("Versions of the code, the packages and the machine", table_html(table, "version-list"))
