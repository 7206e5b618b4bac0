"""The jobs of a sweep, which can be stopped and continued.

A job of a sweep lives in ``sweep.store`` under its key (``experiments.runner.keys``), whichever sweep asks for it; the
sweep's own folder names the keys that it asked for. A finished job is not repeated. A job that was killed starts anew
in its folder, where a training continues from its checkpoint.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig

from experiments.runner import jobs, keys, stopping, tracking
from experiments.runner.console import format_cell, say, shown
from experiments.runner.errors import Skip
from experiments.runner.record import Record

if TYPE_CHECKING:
    from experiments.runner.config import Config
    from experiments.runner.experiment import Experiment


@dataclass(frozen=True)
class _Request:
    """A job as one sweep asks for it.

    Attributes
    ----------
    name : str
        The settings in which it differs from the sweep's other jobs.
    place : str
        Its number among the sweep's jobs, as it is printed.
    pointer : Path
        The file in the sweep's folder that leads to the job's own folder.
    sweep_started : float
        When the sweep began, in seconds since the epoch.
    """

    name: str
    place: str
    pointer: Path
    sweep_started: float

    @classmethod
    def from_hydra(cls, experiment: Experiment) -> _Request:
        """Return the request of the job that Hydra runs."""
        hydra = HydraConfig.get()
        facts = jobs.sweep_facts(Path(hydra.sweep.dir))
        words = list(hydra.overrides.task)
        name = ", ".join([w for w in words if w.split("=")[0] in facts["varied"]] or words) or experiment.name
        place = f"[{hydra.job.num + 1}{'/{}'.format(facts['total']) if facts['total'] else ''}]"
        return cls(name, place, Path(hydra.runtime.output_dir) / jobs.POINTER, facts["started"])

    def end(self, state: str, message: str) -> None:
        """Note how a job ended that has no folder of its own."""
        jobs.write(self.pointer, {"name": self.name, "state": state, "message": message})


def run_job(cfg: Config, experiment: Experiment) -> tuple[float, ...] | None:
    """Run one job of a sweep, unless it is done; a failure is noted and printed, and does not stop the sweep.

    Several workers or sweeps may ask for the same job at once: the first runs it, the others wait for it.

    Returns
    -------
    tuple of float or None
        What a sweeper is to optimise, if the experiment defines ``objectives`` and the job succeeded.

    Raises
    ------
    OSError
        If the store or the sweep's folder cannot be written, so that no job could be kept.
    """
    request = _Request.from_hydra(experiment)
    try:
        key = job_key(cfg, experiment)
    except Skip as reason:
        request.end("skipped", str(reason))
        say(f"[dim]{request.place} {shown(request.name)}: skipped, {shown(reason)}[/]")
        return None
    folder = _folder(cfg, experiment, key)
    pointer = {
        "name": request.name,
        "key": folder.name.removeprefix(f"{experiment.name}-"),
        "without_code": key.request,
        "folder": str(folder),
        "asked": keys.resolved(cfg),
    }
    jobs.write(request.pointer, pointer)
    try:
        state, note = _finished(cfg, experiment, folder, key, request)
    except OSError as error:
        _check_store(Path(cfg.sweep.store))
        why = f"{type(error).__name__}: {error} (its folder cannot be written: mend or remove {folder})"
        state, note = jobs.failure(why), ""
        request.end("failed", why)
    if not request.pointer.exists():  # somebody removed it meanwhile
        jobs.write(request.pointer, pointer)
    _print_state(request, state, note)
    return _objectives(experiment, folder, state)


def job_key(cfg: Config, experiment: Experiment) -> keys.Key:
    """Return the key of a job, by the experiment's own account of what decides its result, if it has one."""
    # late, as this imports the library
    from experiments.runner.from_config import dataset_read

    module = experiment.load()
    settings = getattr(module, "identity", keys.resolved)(cfg)
    return keys.key_of(settings, getattr(module, "data_read", dataset_read)(cfg))


def _folder(cfg: Config, experiment: Experiment, key: keys.Key) -> Path:
    """Return where the job is kept: by its key, or with ``sweep.older_code`` where older code left a result."""
    store = Path(cfg.sweep.store)
    folder = store / f"{experiment.name}-{key}"
    if not cfg.sweep.older_code or jobs.state_of(folder) is not None:
        return folder
    older = [path for path in store.glob(f"{experiment.name}-{key.request}-*") if path != folder]
    done = [path for path in older if (jobs.state_of(path) or {"state": ""})["state"] == "done"]
    return max(done, key=lambda path: (path / jobs.STATE_FILE).stat().st_mtime, default=folder)


def _finished(
    cfg: Config, experiment: Experiment, folder: Path, key: keys.Key, request: _Request
) -> tuple[dict[str, Any], str]:
    """Return the state of a job, running it if it has none that counts, and a note for its line on the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / jobs.LOCK_FILE):
        state = jobs.state_of(folder)
        if state is not None and state["state"] != "done" and cfg.sweep.retry:
            # a job that failed in this very sweep is not tried again
            before = (folder / jobs.STATE_FILE).stat().st_mtime < request.sweep_started
            state = None if before else state
        if state is None:
            state = _run(cfg, experiment, folder, key)
            return state, f"{state['seconds']:.1f} s"
    return state, "done before" if folder.name.endswith(f"-{key}") else "done before, by older code"


def _run(cfg: Config, experiment: Experiment, folder: Path, key: keys.Key) -> dict[str, Any]:
    """Run a job in its folder, and return and keep its state."""
    record, start = Record(folder), time.perf_counter()
    hashes = {"key": str(key), "without_code": key.request}
    jobs.write(folder / jobs.HOLDER_FILE, {"host": platform.node(), "process": os.getpid()})
    (folder / jobs.STATE_FILE).unlink(missing_ok=True)
    jobs.write(folder / jobs.KEY_FILE, {**hashes, **key.contents})
    record.start(cfg)
    state = _attempt(cfg, experiment, record)
    state |= {"seconds": round(time.perf_counter() - start, 2), "metrics": record.headline, **hashes}
    if folder.exists():
        tracking.mirror(cfg, record, failure=state["message"])
    jobs.write(folder / jobs.STATE_FILE, state)
    return state


def _attempt(cfg: Config, experiment: Experiment, record: Record) -> dict[str, Any]:
    """Run the experiment, and return whether it succeeded or why it failed."""
    folder = record.folder
    try:
        experiment.load().run(cfg, record)
        # metrics.json must exist even if an experiment leaves tables alone
        record.add_metrics()
        if why := jobs.incompleteness(folder):
            return jobs.failure(f"{folder} was removed or changed while the job ran: {why}")
    except Exception as error:
        stopping.check()
        removed = "" if folder.exists() else f"its folder {folder} was removed while it ran; "
        return jobs.failure(f"{removed}{type(error).__name__}: {error}", traceback.format_exc())
    return {"state": "done", "message": ""}


def _check_store(store: Path) -> None:
    """Check that other jobs can be kept.

    Raises
    ------
    OSError
        If they cannot.
    """
    try:
        probe = store / f".{platform.node()}-{os.getpid()}.probe"
        jobs.write(probe, {})
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"no job can be kept in {store} ({error}): make room there, or choose another sweep.store; the same "
            "command goes on from here."
        ) from error


def _objectives(experiment: Experiment, folder: Path, state: dict[str, Any]) -> tuple[float, ...] | None:
    """Return what a sweeper is to optimise, if the experiment defines it and the job succeeded."""
    objectives = getattr(experiment.load(), "objectives", None)
    if objectives is None or state["state"] != "done":
        return None
    values = jobs.read(folder / "metrics.json", {})
    return None if values is None else objectives(values)


def _print_state(request: _Request, state: dict[str, Any], note: str) -> None:
    """Print one line about a job."""
    if state["state"] == "failed":
        message = f"[bold red]failed[/] {request.place} {shown(request.name)}: {shown(state['message'])}"
        say(message)
        return
    headline = ", ".join(f"{name} {format_cell(value)}" for name, value in state["metrics"].items())
    say(f"{request.place} {shown(request.name)}: {shown(headline)} [dim]({note})[/]")
