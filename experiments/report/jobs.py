"""What a report says of a sweep's jobs: which failed, what they have in common, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.report.tables import Table
from experiments.report.templates import count
from experiments.runner.jobs import Job, State

# the name under which the report's own versions stand beside those of the jobs
REPORT = "this report"


class Problem(NamedTuple):
    """Jobs that failed with the same message, or that have not run."""

    state: State
    message: str
    jobs: list[Job]


class Differences(NamedTuple):
    """Versions that differ between jobs: ``{name: {value: holders in words}}``, and jobs of uncommitted code."""

    versions: dict[str, dict[str, str]]
    uncommitted: str


def flatten(nested: Any, prefix: str = "") -> dict[str, str]:
    """Return nested mappings as one with dotted names and texts: {"git": {"commit": "a"}} as {"git.commit": "a"}."""
    if not isinstance(nested, Mapping):
        return {prefix: nested if isinstance(nested, str) else json.dumps(nested, ensure_ascii=False, default=str)}
    parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in nested.items())
    return {name: text for part in parts for name, text in part.items()}


def settings(job: Job) -> dict[str, str]:
    """Return the flat configuration of a job; empty if it left none, and a `ValueError` if it cannot be read."""
    return _read(job.folder / "config.yaml", lambda text: OmegaConf.to_container(OmegaConf.create(text)))


def versions(job: Job) -> dict[str, str]:
    """Return the flat versions of a job; empty if it left none, and a `ValueError` if they cannot be read."""
    return _read(job.folder / "versions.json", json.loads)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, str]:
    """Read and flatten a file; empty if there is none."""
    if not path.is_file():
        return {}
    try:
        return flatten(parse(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove its folder and run the job again.") from error


def holders(known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Return who has which value: ``{name: {value: holders}}``."""
    result: dict[str, dict[str, list[str]]] = {}
    for holder, values in known.items():
        for name, value in values.items():
            result.setdefault(name, {}).setdefault(value, []).append(holder)
    return result


def numbers_of_states(jobs: Sequence[Job]) -> list[tuple[State, int]]:
    """Return how many jobs are in which state; ``done`` comes first, and is listed even if there is none."""
    numbers = [(state, sum(job.state == state for job in jobs)) for state in reversed(get_args(State))]
    return [(state, number) for state, number in numbers if number or state == "done"]


def total_seconds(jobs: Sequence[Job]) -> float:
    """Return the time that the jobs took together, as far as it is known and finite."""
    return sum(job.seconds for job in jobs if job.seconds is not None and 0 <= job.seconds < float("inf"))


def problems(jobs: Sequence[Job]) -> list[Problem]:
    """Group the jobs that failed or have not run by their message."""
    grouped: dict[tuple[State, str], list[Job]] = {}
    for job in jobs:
        if job.state in ("failed", "missing"):
            grouped.setdefault((job.state, job.message), []).append(job)
    return [Problem(state, message, group) for (state, message), group in grouped.items()]


def differences(known: Mapping[str, Mapping[str, str]]) -> Differences | None:
    """Return in which versions jobs and report differ; None if all come from one state of code and packages."""
    differing = {
        name: {_short(value): who for value, who in _holders_in_words(values).items()}
        for name, values in holders(known).items()
        if len(values) > 1 and name != "git.dirty"
    }
    dirty = [holder for holder, values in known.items() if values.get("git.dirty") == "true"]
    return Differences(differing, _in_words(dirty, 3)) if differing or dirty else None


def _short(value: str) -> str:
    """Return the first digits of a commit or a hash of sources, and other values as they are."""
    return value[:10] if len(value) in (40, 64) and all(c in "0123456789abcdef" for c in value) else value


def _holders_in_words(values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Describe who has each value: the majority by its number, the others by name too."""
    most = max(values, key=lambda value: len(values[value]))
    return {value: _in_words(names, 0 if value == most else 3) for value, names in values.items()}


def _in_words(names: Sequence[str], named: int) -> str:
    """Return how many jobs there are, and the names of the first ``named``."""
    jobs = [name for name in names if name != REPORT]
    parts = [REPORT] if len(jobs) < len(names) else []
    if jobs:
        listed = ": " + ", ".join(jobs[:named]) + (" …" if len(jobs) > named else "") if named else ""
        parts.append(count(len(jobs), "job") + listed)
    return " and ".join(parts)


def job_table(jobs: Sequence[Job], base: Path) -> tuple[Table, dict[str, str], int]:
    """Return a table of all jobs with the settings in which they differ, the shared ones, and how many jobs have any.

    The folders in the table are relative to ``base``.
    """
    known = {job.name: settings(job) for job in jobs}
    configured = sum(bool(values) for values in known.values())
    shared = {name for name, values in holders(known).items() if [len(v) for v in values.values()] == [configured]}
    rows = []
    for job in jobs:
        own = "  ".join(f"{name}={value}" for name, value in known[job.name].items() if name not in shared)
        rows.append([job.name, job.state, job.seconds, own, _relative(job.folder, base), job.message])
    columns = ["job", "state", "time (s)", "settings of its own", "folder", "message"]
    table = Table("Jobs", columns, rows, "Folders are relative to this file.", formats={"time (s)": ".1f"})
    common = next((values for values in known.values() if values), {})
    return table, {name: value for name, value in common.items() if name in shared}, configured


def _relative(folder: Path, base: Path) -> str:
    """Return a folder relative to the report, so that it is meaningful on another machine."""
    folder, base = folder.resolve(), base.resolve()
    return str(folder.relative_to(base)) if folder.is_relative_to(base) else folder.name


def version_table(known: Mapping[str, Mapping[str, str]]) -> Table:
    """Return a table of all versions and of who has them."""
    rows = [
        [name, value, "all" if len(values[value]) == len(known) else who]
        for name, values in holders(known).items()
        for value, who in _holders_in_words(values).items()
    ]
    return Table("Versions", ["what", "value", "where"], rows)
