"""Sweeps that can be stopped and continued: a job is keyed by its resolved configuration.

A job of ``-m`` lives in ``sweep.store`` under its key, wherever and whenever it is asked for; the sweep's own folder
names the keys it asked for. What is done is not done again; a job that was killed starts anew in its folder, where a
training finds its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape

import hntk
from experiments import catalog, metrics, report_jobs, tracking
from experiments.catalog import Entry
from experiments.config import Config
from experiments.console import CONSOLE, show_table
from experiments.record import Record, write_text

# what does not change a job's result
IMMATERIAL = ("wandb", "sweep")
STATE_FILE = "state.json"
POINTER = "job.json"
# what workers know of the sweep, in its folder
SWEEP_FILE = "sweep.json"
# held while a job runs, in its folder, and who holds it
LOCK_FILE, HOLDER_FILE = "running.lock", "running.json"


class Skip(Exception):
    """A job that makes no sense, such as a network that does not fit its budget; not a failure."""


# errors whose message says all there is to say
EXPECTED = (ValueError, OSError, ImportError, MemoryError, hntk.TrainingError, Skip)


def say_error(error: BaseException) -> int:
    """Print it, and return the exit status."""
    CONSOLE.print(f"\n[bold red]error[/] {escape(str(error))}", soft_wrap=True)
    return 1


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
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))


@dataclass
class _Sweep:
    """The sweep this process runs, as Hydra tells of it."""

    total: int | None = None
    started: float = 0.0
    finished: Path | None = None
    entry: Entry | None = None
    config: Any = None


CURRENT = _Sweep()


class Watch(Callback):
    """Learns from Hydra how many jobs there are, and where the sweep lies when all have run."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the jobs, where the sweeper is Hydra's own."""
        CURRENT.started, CURRENT.finished, sizes = time.perf_counter(), None, _sizes(config)
        CURRENT.total = prod(sizes.values()) if sizes else None
        told = {"total": CURRENT.total, "varied": [k for k, n in sizes.items() if n > 1], "started": time.time()}
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / SWEEP_FILE, json.dumps(told) + "\n")
        if sizes:
            CONSOLE.print(
                f"{CURRENT.total} jobs; those of the same result run once, and what is done is not repeated. Checking "
                "their configurations first ..."
            )

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Remember the folder, for the summary."""
        CURRENT.finished, CURRENT.entry = Path(config.hydra.sweep.dir), catalog.find(config.experiment.name)
        CURRENT.config = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])


def _sizes(config: DictConfig) -> dict[str, int]:
    """How many values each setting takes; nothing for a sweeper with a grammar of its own."""
    params = config.hydra.sweeper.get("params") or {}
    words = [f"{k}={v}" for k, v in params.items()] + list(config.hydra.overrides.task)
    try:
        parsed = OverridesParser.create().parse_overrides(words)
        return {
            o.get_key_element(): len(list(o.sweep_string_iterator())) if o.is_sweep_override() else 1 for o in parsed
        }
    except Exception:  # whatever such a grammar makes of Hydra's parser
        return {}


def job_key(identity: object) -> str:
    """Hash of what decides a job's result."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolved(cfg: Config) -> dict[str, Any]:
    """The configuration as plain values, without what does not change the result."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    return {k: v for k, v in plain.items() if k not in IMMATERIAL}


def run_job(cfg: Config, entry: Entry) -> tuple[float, ...] | None:
    """Run one job of a sweep, unless it is done; a failure is marked, said, and does not stop the sweep.

    Jobs of one result may be asked for by several workers or sweeps at once: the first runs, the others wait for it.

    Returns
    -------
    What a sweeper is to optimise, of an experiment that has ``objectives``; None after a failure.

    Raises
    ------
    OSError
        If the store cannot be written: then no job could be kept.
    """
    hydra = HydraConfig.get()
    words, told = list(hydra.overrides.task), json.loads((Path(hydra.sweep.dir) / SWEEP_FILE).read_text())
    name = ", ".join([w for w in words if w.split("=")[0] in told["varied"]] or words) or entry.name
    place = f"[{hydra.job.num + 1}{'/{}'.format(told['total']) if told['total'] else ''}]"
    identify: Callable[[Config], object] = getattr(entry.module, "identity", resolved)
    pointer = Path(hydra.runtime.output_dir) / POINTER
    pointer.parent.mkdir(parents=True, exist_ok=True)
    try:
        key = job_key(identify(cfg))
    except Skip as reason:
        write_text(pointer, json.dumps({"name": name, "state": "skipped", "message": str(reason)}))
        CONSOLE.print(f"[dim]{place} {name}: skipped, {reason}[/]", soft_wrap=True)
        return None
    folder = Path(cfg.sweep.store) / f"{entry.name}-{key}"
    write_text(pointer, json.dumps({"name": name, "key": key, "folder": str(folder), "asked": resolved(cfg)}))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_FILE):
        known = _state(folder)
        if known is not None and known["state"] != "done" and cfg.sweep.retry and not _since(folder, told):
            known = None
        state = known or _run(cfg, entry, folder)
    _say(place, name, state, again=known is not None)
    objectives: Callable[[dict[str, Any]], tuple[float, ...]] | None = getattr(entry.module, "objectives", None)
    if objectives is None or state["state"] != "done":
        return None
    return objectives(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def _since(folder: Path, told: dict[str, Any]) -> bool:
    """Whether a job ended in this very sweep: what failed then is not tried again."""
    return (folder / STATE_FILE).stat().st_mtime >= told["started"]


def unfinished(asked: Path) -> bool:
    """Whether the job of a folder in a sweep's was started, and neither ended nor was skipped."""
    if not (asked / POINTER).exists():
        return False
    told = json.loads((asked / POINTER).read_text(encoding="utf-8"))
    return "key" in told and _state(Path(told["folder"])) is None


def mark_failed(asked: Path, why: str) -> None:
    """Mark the job of a folder in a sweep's as failed, if it has no result."""
    if unfinished(asked):
        folder = Path(json.loads((asked / POINTER).read_text(encoding="utf-8"))["folder"])
        state = {"state": "failed", "message": why, "traceback": "", "seconds": 0.0, "metrics": {}}
        write_text(folder / STATE_FILE, json.dumps(state, indent=2) + "\n")


def _run(cfg: Config, entry: Entry, folder: Path) -> dict[str, Any]:
    record, start = Record(folder), time.perf_counter()
    write_text(folder / HOLDER_FILE, json.dumps({"host": platform.node(), "process": os.getpid()}) + "\n")
    (folder / STATE_FILE).unlink(missing_ok=True)
    record.start(cfg)
    state: dict[str, Any] = {"state": "done", "message": ""}
    try:
        entry.load()(cfg, record)
    except Exception as error:
        state = {"state": "failed", "message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    state |= {"seconds": round(time.perf_counter() - start, 2), "metrics": record.headline}
    tracking.mirror(cfg, record, failure=state["message"])
    write_text(folder / STATE_FILE, json.dumps(state, indent=2) + "\n")
    return state


def _state(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _say(place: str, name: str, state: dict[str, Any], *, again: bool) -> None:
    if state["state"] == "failed":
        CONSOLE.print(f"[bold red]failed[/] {place} {name}: {state['message']}", soft_wrap=True)
        return
    shown = ", ".join(f"{k} {v:.4g}" for k, v in state["metrics"].items())
    when = "done before" if again else f"{state['seconds']:.1f} s"
    CONSOLE.print(f"{place} {name}: {shown} [dim]({when})[/]", soft_wrap=True)


def jobs_of(folder: Path) -> list[Job]:
    """The jobs a sweep asked for, each once, in their order."""
    pointers = sorted(folder.glob(f"*/{POINTER}"), key=lambda path: int(path.parent.name))
    found: dict[str, Job] = {}
    asked: dict[str, list[dict[str, Any]]] = {}
    for path, number in zip(pointers, count()):
        told = json.loads(path.read_text(encoding="utf-8"))
        if "key" not in told:
            found[f"skipped {number}"] = Job(told["name"], "skipped", 0.0, path.parent, told["message"])
            continue
        job = Path(told["folder"])
        state = _state(job) or {"state": "missing", "seconds": 0.0, "message": "interrupted"}
        asked.setdefault(told["key"], []).append(told["asked"])
        found.setdefault(
            told["key"],
            Job(told["name"], state["state"], state["seconds"], job, state["message"], key=told["key"]),
        )
    return [replace(job, asked=tuple(asked.get(job.key, ()))) for job in found.values()]


def summarise(folder: Path, command: str, cfg: Config | None = None) -> int:
    """Gather a finished sweep: a table of all jobs, what the experiment makes of them, and the exit status."""
    jobs = jobs_of(folder)
    record = Record(folder)
    _table(jobs, record)
    module = None if CURRENT.entry is None else CURRENT.entry.module
    gather: Callable[[list[Job], Record, str], None] | None = getattr(module, "gather", None)
    done = [job for job in jobs if job.state == "done"]
    if gather is not None and done:
        gather(jobs, record, command)
    failed = [job for job in jobs if job.state in ("failed", "missing")]
    record.add_metrics(**{metrics.JOBS_DONE: len(done), metrics.JOBS_FAILED: len(failed)})
    if cfg is not None:
        tracking.mirror(cfg, record, summary=True)
    if failed:
        rows = [[job.name, job.state, job.message] for job in failed]
        show_table(f"{len(failed)} of {len(jobs)} jobs without a result", ["job", "state", "why"], rows)
        CONSOLE.print(f"Try them again: {command} sweep.retry=true", soft_wrap=True, markup=False)
    total = sum(job.seconds or 0.0 for job in jobs)
    CONSOLE.print(
        f"\n{len(done)} jobs done, {len(failed)} without a result; {total / 60:.1f} minutes of computation, "
        f"{(time.perf_counter() - CURRENT.started) / 60:.1f} of them now.\nEverything is in [bold]{folder}[/]",
        soft_wrap=True,
    )
    return 1 if failed else 0


def _table(jobs: Iterable[Job], record: Record) -> None:
    """jobs.csv: one row a job, with every metric."""
    rows = [
        {"job": job.name, "state": job.state, "seconds": job.seconds, "message": job.message, "folder": str(job.folder)}
        | (job.metrics if job.state == "done" else {})
        for job in jobs
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    record.add_table(metrics.JOBS, columns, [[row.get(name) for name in columns] for row in rows])
