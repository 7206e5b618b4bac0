"""The small files by which a sweep knows its jobs, read so that no damage to them can stop it.

A job's own folder lies in ``sweep.store``; the sweep's folder has one folder a job that was asked for, with a pointer.
Every file is replaced whole, so that half a file is the work of a disk or of a hand: it counts as none, and this is
said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.runner.console import CONSOLE
from experiments.runner.record import write_text
from experiments.runner.words import shown

STATE_FILE = "state.json"
POINTER = "job.json"
# what workers know of the sweep, in its folder
SWEEP_FILE = "sweep.json"
# held while a job runs, in its folder, and who holds it
LOCK_FILE, HOLDER_FILE = "running.lock", "running.json"
# what decided the result
KEY_FILE = "key.json"
Fields = Mapping[str, type | tuple[type, ...]]
STATE: Fields = {"state": str, "message": str, "seconds": (int, float), "metrics": dict}
# a job that was skipped, or could not be kept, has a state of its own there
ENDED: Fields = {"name": str, "state": str, "message": str}
ASKED: Fields = {"name": str, "key": str, "folder": str, "asked": dict}
SWEEP: Fields = {"varied": list, "started": (int, float)}


def write(path: Path, told: Mapping[str, Any]) -> None:
    """Write a file whole, and its folder if that is not there.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(told, indent=2, default=str) + "\n")


def read(path: Path, fields: Fields) -> dict[str, Any] | None:
    """Return what a file tells; None where there is none, and, said, where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        return _damaged(path, str(error) if path.exists() and path.stat().st_size else "it is empty")
    if not isinstance(found, dict):
        return _damaged(path, "it does not hold names with values")
    wrong = [name for name, kind in fields.items() if not isinstance(found.get(name), kind)]
    return _damaged(path, f"it lacks {', '.join(wrong)}") if wrong else found


def state_of(folder: Path) -> dict[str, Any] | None:
    """Return how a job ended; None if it has not, or if what it left is not whole."""
    found = read(folder / STATE_FILE, STATE)
    if found is None or found["state"] not in ("done", "failed"):
        return None
    if found["state"] == "done" and (why := lacking(folder)):
        return _damaged(folder, why)
    return found


def lacking(folder: Path) -> str:
    """Return what a job's folder lacks that every finished job leaves; empty if it is whole."""
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


def pointer(asked: Path) -> dict[str, Any] | None:
    """Return what a job of the sweep's folder points to, or how it ended without a folder of its own."""
    told = read(asked / POINTER, {"name": str})
    if told is None:
        return None
    fields = ENDED if "state" in told else ASKED
    wrong = [name for name, kind in fields.items() if not isinstance(told.get(name), kind)]
    return _damaged(asked / POINTER, f"it lacks {', '.join(wrong)}") if wrong else told


def sweep_facts(folder: Path) -> dict[str, Any]:
    """Return how many jobs a sweep has, which settings it varies, and when it began, as far as that is known."""
    told = read(folder / SWEEP_FILE, SWEEP) or {"varied": [], "started": float("inf")}
    total = told.get("total")
    return {**told, "total": total if isinstance(total, int) else None}


def unfinished(asked: Path) -> bool:
    """Whether the job of a folder in a sweep's was started, and neither ended nor was skipped."""
    if not (asked / POINTER).exists():
        return False
    told = pointer(asked)
    return told is None or ("folder" in told and state_of(Path(told["folder"])) is None)


def mark_failed(asked: Path, why: str) -> None:
    """Mark the job of a folder in a sweep's as failed, if it has no result.

    Raises
    ------
    OSError
        If neither its own folder nor the sweep's can be written.
    """
    told = pointer(asked) if unfinished(asked) else None
    if told is None:
        return
    try:
        write(Path(told["folder"]) / STATE_FILE, failure(why))
    except OSError:
        write(asked / POINTER, {"name": told["name"], "state": "failed", "message": why})


def failure(why: str, traceback: str = "", seconds: float = 0.0) -> dict[str, Any]:
    """Return the state of a job that failed."""
    return {"state": "failed", "message": why, "traceback": traceback, "seconds": seconds, "metrics": {}}


def _damaged(path: Path, why: str) -> None:
    CONSOLE.print(f"[yellow]damaged[/] {shown(path)}: {shown(why)}; the job counts as not done", soft_wrap=True)
