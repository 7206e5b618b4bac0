"""The jobs of a sweep as they lie on disk, in small files that are read such that no damage to them stops the sweep.

A job's own folder lies in ``sweep.store``; the sweep's folder has one folder for every requested job, with a pointer to
it. Every file is replaced as a whole, so only a failing disk or a user can leave half a file. A damaged file counts as
missing, and a message says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.runner import keys
from experiments.runner.console import say, shown
from experiments.runner.record import write_text

STATE_FILE = "state.json"
POINTER = "job.json"
# facts about the sweep for its workers, in its folder
SWEEP_FILE = "sweep.json"
# the lock of a running job and the process that holds it, in the job's folder
LOCK_FILE, HOLDER_FILE = "running.lock", "running.json"
# everything that decided the result
KEY_FILE = "key.json"
Fields = Mapping[str, type | tuple[type, ...]]
STATE: Fields = {"state": str, "message": str, "seconds": (int, float), "metrics": dict}
# the pointer of a job that was skipped or could not be kept has a state instead of a folder
ENDED: Fields = {"name": str, "state": str, "message": str}
REQUESTED: Fields = {"name": str, "key": str, "folder": str, "asked": dict}
SWEEP: Fields = {"varied": list, "started": (int, float)}


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file as a whole, and make its folder if there is none.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, indent=2, default=str) + "\n")


def read(path: Path, fields: Fields) -> dict[str, Any] | None:
    """Return the values of a file; None if it is missing or, with a message, if it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        return _damaged(path, str(error) if path.exists() and path.stat().st_size else "it is empty")
    if not isinstance(values, dict):
        return _damaged(path, "it does not hold names with values")
    return values if _has(values, fields, path) else None


def _has(values: Mapping[str, Any], fields: Fields, path: Path) -> bool:
    """Whether a file has all fields with values of the right types; a message says which it lacks."""
    wrong = [name for name, kind in fields.items() if not isinstance(values.get(name), kind)]
    if wrong:
        _damaged(path, f"it lacks {', '.join(wrong)}")
    return not wrong


def state_of(folder: Path) -> dict[str, Any] | None:
    """Return the state of a finished job; None if it has not finished or left incomplete files."""
    state = read(folder / STATE_FILE, STATE)
    if state is None or state["state"] not in ("done", "failed"):
        return None
    if state["state"] == "done" and (why := incompleteness(folder)):
        return _damaged(folder, why)
    return state


def incompleteness(folder: Path) -> str:
    """Return which file of a finished job is missing or damaged; empty if its folder is complete."""
    for name in ("metrics.json", "versions.json"):
        if not (folder / name).is_file():
            return f"{name} is missing"
        if read(folder / name, {}) is None:
            return f"{name} is damaged"
    try:
        config = OmegaConf.load(folder / "config.yaml")
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException):
        return "config.yaml is missing or damaged"
    return "" if OmegaConf.is_dict(config) and config else "config.yaml is empty"


def pointer(requested: Path) -> dict[str, Any] | None:
    """Return what the folder of a requested job says: where the job is kept, or how it ended without a folder."""
    path = requested / POINTER
    values = read(path, {"name": str})
    if values is None:
        return None
    return values if _has(values, ENDED if "state" in values else REQUESTED, path) else None


def sweep_facts(folder: Path) -> dict[str, Any]:
    """Return how many jobs a sweep has, which settings it varies and when it began, as far as this is known."""
    facts = read(folder / SWEEP_FILE, SWEEP) or {"varied": [], "started": float("inf")}
    total = facts.get("total")
    return {**facts, "total": total if isinstance(total, int) else None}


def unfinished(requested: Path) -> bool:
    """Whether a requested job was started, and has neither ended nor been skipped."""
    if not (requested / POINTER).exists():
        return False
    values = pointer(requested)
    return values is None or ("folder" in values and state_of(Path(values["folder"])) is None)


def mark_failed(requested: Path, why: str) -> None:
    """Mark a requested job as failed, if it has no result.

    Raises
    ------
    OSError
        If neither its own folder nor the sweep's can be written.
    """
    values = pointer(requested) if unfinished(requested) else None
    if values is None:
        return
    try:
        write(Path(values["folder"]) / STATE_FILE, failure(why))
    except OSError:
        write(requested / POINTER, {"name": values["name"], "state": "failed", "message": why})


def failure(why: str, traceback: str = "", seconds: float = 0.0) -> dict[str, Any]:
    """Return the state of a job that failed."""
    return {"state": "failed", "message": why, "traceback": traceback, "seconds": seconds, "metrics": {}}


def _damaged(path: Path, why: str) -> None:
    """Say that a file is damaged."""
    say(f"[yellow]damaged[/] {shown(path)}: {shown(why)}; the job counts as not done")


State = Literal["failed", "missing", "skipped", "done"]
OLDER = "a result of older code"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes
    ----------
    name : str
        A short name, unique within the sweep.
    state : {"failed", "missing", "skipped", "done"}
        ``missing`` has not run to its end; ``skipped`` was left out on purpose.
    seconds : float or None
        How long it took, if known.
    folder : Path
        The folder with its config.yaml, versions.json and metrics.json.
    message : str
        Why it failed or was skipped.
    key : str
        The hash of everything that decides its result; empty if it was skipped.
    requests : tuple of dict
        The resolved configurations that asked for it.
    """

    name: str
    state: State
    seconds: float | None
    folder: Path
    message: str = ""
    key: str = ""
    requests: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"job {self.name!r} is {self.state!r}: a state is one of {', '.join(get_args(State))}.")

    @property
    def config(self) -> Any:
        """The first of the configurations that asked for it."""
        return OmegaConf.create(self.requests[0])

    @property
    def metrics(self) -> dict[str, Any]:
        """The scalars that it measured."""
        return read(self.folder / "metrics.json", {}) or {}


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs that a sweep asked for, each once, in their order."""
    numbered = [path for path in folder.glob("*/") if path.name.isdigit() and (path / POINTER).exists()]
    jobs: dict[str, Job] = {}
    requests: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(numbered, key=lambda path: int(path.name)):
        fallback = f"job {path.name}"
        target = pointer(path)
        if target is None:
            jobs[fallback] = Job(fallback, "missing", 0.0, path, f"{POINTER} is damaged")
        elif "state" in target:
            jobs[fallback] = Job(target["name"], target["state"], 0.0, path, target["message"])
        else:
            requests.setdefault(target["key"], []).append(target["asked"])
            jobs.setdefault(target["key"], _stored_job(target))
    return _with_unique_names([replace(job, requests=tuple(requests.get(job.key, ()))) for job in jobs.values()])


def _stored_job(target: dict[str, Any]) -> Job:
    """Return the job that a pointer leads to."""
    folder = Path(target["folder"])
    state = state_of(folder) or {"state": "missing", "seconds": 0.0, "message": "interrupted, or damaged"}
    older = state["state"] == "done" and not target["key"].endswith(keys.code_hash())
    message = OLDER if older else state["message"]
    return Job(target["name"], state["state"], state["seconds"], folder, message, key=target["key"])


def _with_unique_names(jobs: list[Job]) -> list[Job]:
    """Number the jobs that share a name."""
    names = [job.name for job in jobs]
    return [
        replace(job, name=f"{job.name} (#{number})") if names.count(job.name) > 1 else job
        for number, job in enumerate(jobs)
    ]
