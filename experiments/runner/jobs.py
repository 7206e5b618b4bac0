"""The jobs of a sweep as they lie on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from omegaconf import OmegaConf

from experiments.runner import keys, states

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
        """Its resolved configuration."""
        return OmegaConf.load(self.folder / "config.yaml")

    @property
    def metrics(self) -> dict[str, Any]:
        """The scalars that it measured."""
        return states.read(self.folder / "metrics.json", {}) or {}


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs that a sweep asked for, each once, in their order."""
    numbered = [path for path in folder.glob("*/") if path.name.isdigit() and (path / states.POINTER).exists()]
    jobs: dict[str, Job] = {}
    requests: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(numbered, key=lambda path: int(path.name)):
        fallback = f"job {path.name}"
        pointer = states.pointer(path)
        if pointer is None:
            jobs[fallback] = Job(fallback, "missing", 0.0, path, f"{states.POINTER} is damaged")
        elif "state" in pointer:
            jobs[fallback] = Job(pointer["name"], pointer["state"], 0.0, path, pointer["message"])
        else:
            requests.setdefault(pointer["key"], []).append(pointer["asked"])
            jobs.setdefault(pointer["key"], _stored_job(pointer))
    return _with_unique_names([replace(job, requests=tuple(requests.get(job.key, ()))) for job in jobs.values()])


def _stored_job(pointer: dict[str, Any]) -> Job:
    """Return the job that a pointer leads to."""
    folder = Path(pointer["folder"])
    state = states.state_of(folder) or {"state": "missing", "seconds": 0.0, "message": "interrupted, or damaged"}
    older = state["state"] == "done" and not pointer["key"].endswith(keys.code_hash())
    message = OLDER if older else state["message"]
    return Job(pointer["name"], state["state"], state["seconds"], folder, message, key=pointer["key"])


def _with_unique_names(jobs: list[Job]) -> list[Job]:
    """Number the jobs that share a name."""
    names = [job.name for job in jobs]
    return [
        replace(job, name=f"{job.name} (#{number})") if names.count(job.name) > 1 else job
        for number, job in enumerate(jobs)
    ]
