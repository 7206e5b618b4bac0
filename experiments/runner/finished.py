"""A sweep that has ended: its jobs as they lie on disk, a table of them, and what the experiment makes of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from experiments.report import jobs as report_jobs
from experiments.runner import keys, metrics, states
from experiments.runner.console import CONSOLE, show_table
from experiments.runner.errors import expected, say_error
from experiments.runner.record import Record
from experiments.runner.watch import CURRENT
from experiments.runner.words import shown, visible

if TYPE_CHECKING:
    from experiments.runner.config import Config

OLDER = "a result of older code"


@dataclass(frozen=True)
class Job(report_jobs.Job):
    """One job of a sweep as it lies on disk.

    Attributes
    ----------
    key : hash of what decides its result; empty where it was skipped.
    asked : the resolved configurations it was asked for by.
    """

    key: str = ""
    asked: tuple[dict[str, Any], ...] = ()

    @property
    def config(self) -> Any:
        """Its resolved configuration."""
        return OmegaConf.load(self.folder / "config.yaml")

    @property
    def metrics(self) -> dict[str, Any]:
        """What it measured."""
        return states.read(self.folder / "metrics.json", {}) or {}


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs a sweep asked for, each once, in their order."""
    numbered = [path for path in folder.glob("*/") if path.name.isdigit() and (path / states.POINTER).exists()]
    found: dict[str, Job] = {}
    asked: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(numbered, key=lambda path: int(path.name)):
        told = states.pointer(path)
        if told is None:
            found[f"job {path.name}"] = Job(f"job {path.name}", "missing", 0.0, path, f"{states.POINTER} is damaged")
        elif "state" in told:
            found[f"job {path.name}"] = Job(told["name"], told["state"], 0.0, path, told["message"])
        else:
            asked.setdefault(told["key"], []).append(told["asked"])
            found.setdefault(told["key"], _kept(told))
    return _distinct([replace(job, asked=tuple(asked.get(job.key, ()))) for job in found.values()])


def _kept(told: dict[str, Any]) -> Job:
    folder = Path(told["folder"])
    state = states.state_of(folder) or {"state": "missing", "seconds": 0.0, "message": "interrupted, or damaged"}
    older = state["state"] == "done" and not told["key"].endswith(keys.code_hash())
    message = OLDER if older else state["message"]
    return Job(told["name"], state["state"], state["seconds"], folder, message, key=told["key"])


def _distinct(jobs: list[Job]) -> list[Job]:
    """Jobs with names of their own."""
    names = [job.name for job in jobs]
    return [
        replace(job, name=f"{job.name} (#{number})") if names.count(job.name) > 1 else job
        for number, job in enumerate(jobs)
    ]


def summarise(folder: Path, command: str, cfg: Config | None = None) -> int:
    """Gather a finished sweep: a table of all jobs, what the experiment makes of them, and the exit status."""
    jobs = jobs_of(folder)
    record = Record(folder)
    _table(jobs, record)
    done = [job for job in jobs if job.state == "done"]
    status = _gather(jobs, record, command) if done else 0
    failed = [job for job in jobs if job.state in ("failed", "missing")]
    record.add_metrics(**{metrics.JOBS_DONE: len(done), metrics.JOBS_FAILED: len(failed)})
    if cfg is not None:
        from experiments.runner import tracking

        tracking.mirror(cfg, record, summary=True)
    if failed:
        _tell_failed(failed, len(jobs), command)
    _tell_older(jobs)
    total = sum(job.seconds or 0.0 for job in jobs)
    CONSOLE.print(
        f"\n{len(done)} jobs done, {len(failed)} without a result; {total / 60:.1f} minutes of computation, "
        f"{(time.perf_counter() - CURRENT.started) / 60:.1f} of them now.\nEverything is in [bold]{shown(folder)}[/]",
        soft_wrap=True,
    )
    return 1 if failed else status


def _gather(jobs: list[Job], record: Record, command: str) -> int:
    """What the experiment makes of all jobs, whose tables stay even if that fails; the exit status."""
    module = None if CURRENT.entry is None else CURRENT.entry.module
    gather: Callable[[list[Job], Record, str], None] | None = getattr(module, "gather", None)
    try:
        if gather is not None:
            gather(jobs, record, command)
    except expected() as error:
        return say_error(error)
    return 0


def _tell_failed(failed: list[Job], of: int, command: str) -> None:
    rows = [[shown(job.name), job.state, shown(job.message)] for job in failed]
    show_table(f"{len(failed)} of {of} jobs without a result", ["job", "state", "why"], rows)
    CONSOLE.print(f"Try them again: {visible(command)} sweep.retry=true", soft_wrap=True, markup=False)


def _tell_older(jobs: list[Job]) -> None:
    older = sum(job.message == OLDER for job in jobs)
    if older:
        CONSOLE.print(
            f"\n[yellow]{older} of {len(jobs)} results are of older code[/], as sweep.older_code=true accepts; the "
            f"{states.KEY_FILE} of each says which. Without it they are computed anew.",
            soft_wrap=True,
        )


def _table(jobs: Iterable[Job], record: Record) -> None:
    """jobs.csv: one row a job, with every metric."""
    rows = [
        {"job": job.name, "state": job.state, "seconds": job.seconds, "message": job.message, "folder": str(job.folder)}
        | (job.metrics if job.state == "done" else {})
        for job in jobs
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    record.add_table(metrics.JOBS, columns, [[row.get(name) for name in columns] for row in rows])
