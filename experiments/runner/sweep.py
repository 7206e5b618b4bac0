"""Sweeps that can be stopped and continued: a job is keyed by all that decides its result.

A job of ``-m`` lives in ``sweep.store`` under its key (``experiments.runner.keys``), wherever and whenever it is asked
for; the sweep's own folder names the keys it asked for. What is done is not done again; a job that was killed starts
anew in its folder, where a training finds its checkpoint.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig

from experiments.runner import keys, states, stopping
from experiments.runner.console import CONSOLE, format_cell
from experiments.runner.errors import Skip, expected, say_error
from experiments.runner.finished import Job, jobs_of, summarise
from experiments.runner.keys import resolved
from experiments.runner.record import Record
from experiments.runner.states import mark_failed, unfinished
from experiments.runner.watch import CURRENT, Watch
from experiments.runner.words import shown

if TYPE_CHECKING:
    from experiments.runner.catalog import Entry
    from experiments.runner.config import Config

__all__ = [
    "CURRENT", "Job", "Skip", "Watch", "expected", "jobs_of", "mark_failed", "resolved", "run_job", "say_error",
    "summarise", "unfinished",
]  # fmt: skip


def run_job(cfg: Config, entry: Entry) -> tuple[float, ...] | None:
    """Run one job of a sweep, unless it is done; a failure is marked, said, and does not stop the sweep.

    Jobs of one result may be asked for by several workers or sweeps at once: the first runs, the others wait for it.

    Returns
    -------
    What a sweeper is to optimise, of an experiment that has ``objectives``; None after a failure.

    Raises
    ------
    OSError
        If the store, or the sweep's folder, cannot be written: then no job could be kept.
    """
    hydra = HydraConfig.get()
    told = states.sweep_facts(Path(hydra.sweep.dir))
    words = list(hydra.overrides.task)
    name = ", ".join([w for w in words if w.split("=")[0] in told["varied"]] or words) or entry.name
    place = f"[{hydra.job.num + 1}{'/{}'.format(told['total']) if told['total'] else ''}]"
    pointer = Path(hydra.runtime.output_dir) / states.POINTER
    try:
        key = keys.key_of(cfg, entry)
    except Skip as reason:
        states.write(pointer, {"name": name, "state": "skipped", "message": str(reason)})
        CONSOLE.print(f"[dim]{place} {shown(name)}: skipped, {shown(reason)}[/]", soft_wrap=True)
        return None
    folder = _folder(cfg, entry, key)
    asked = {"name": name, "key": folder.name.removeprefix(f"{entry.name}-"), "without_code": key.asked}
    states.write(pointer, {**asked, "folder": str(folder), "asked": resolved(cfg)})
    try:
        state, when = _settled(cfg, entry, folder, key, told)
    except OSError as error:
        _check_store(Path(cfg.sweep.store))
        why = f"{type(error).__name__}: {error} (its folder cannot be written: mend or remove {folder})"
        state, when = states.failure(why), ""
        states.write(pointer, {"name": name, "state": "failed", "message": why})
    if not pointer.exists():  # removed meanwhile
        states.write(pointer, {**asked, "folder": str(folder), "asked": resolved(cfg)})
    _say(place, name, state, when)
    return _objectives(entry, folder, state)


def _folder(cfg: Config, entry: Entry, key: keys.Key) -> Path:
    """Where the job is kept: by its key, or where older code may count and has a result, that."""
    store = Path(cfg.sweep.store)
    folder = store / f"{entry.name}-{key}"
    if not cfg.sweep.older_code or states.state_of(folder) is not None:
        return folder
    older = [path for path in store.glob(f"{entry.name}-{key.asked}-*") if path != folder]
    done = [path for path in older if (states.state_of(path) or {"state": ""})["state"] == "done"]
    return max(done, key=lambda path: (path / states.STATE_FILE).stat().st_mtime, default=folder)


def _settled(
    cfg: Config, entry: Entry, folder: Path, key: keys.Key, told: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The state of a job, which is run if it has none that counts, and when it was reached."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / states.LOCK_FILE):
        known = states.state_of(folder)
        if known is not None and known["state"] != "done" and cfg.sweep.retry and not _since(folder, told):
            known = None
        if known is None:
            state = _run(cfg, entry, folder, key)
            return state, f"{state['seconds']:.1f} s"
    return known, "done before" if folder.name.endswith(f"-{key}") else "done before, by older code"


def _since(folder: Path, told: dict[str, Any]) -> bool:
    """Whether a job ended in this very sweep: what failed then is not tried again."""
    return (folder / states.STATE_FILE).stat().st_mtime >= told["started"]


def _run(cfg: Config, entry: Entry, folder: Path, key: keys.Key) -> dict[str, Any]:
    from experiments.runner import tracking

    record, start = Record(folder), time.perf_counter()
    states.write(folder / states.HOLDER_FILE, {"host": platform.node(), "process": os.getpid()})
    (folder / states.STATE_FILE).unlink(missing_ok=True)
    states.write(folder / states.KEY_FILE, {"key": str(key), "without_code": key.asked, **key.made_by})
    record.start(cfg)
    state: dict[str, Any] = {"state": "done", "message": ""}
    try:
        entry.load()(cfg, record)
        # complete also where an experiment leaves tables alone
        record.add_metrics()
        if why := states.lacking(folder):
            state = states.failure(f"{folder} was removed or changed while the job ran: {why}")
    except Exception as error:
        stopping.check()
        gone = "" if folder.exists() else f"its folder {folder} was removed while it ran; "
        state = states.failure(f"{gone}{type(error).__name__}: {error}", traceback.format_exc())
    state |= {"seconds": round(time.perf_counter() - start, 2), "metrics": record.headline}
    state |= {"key": str(key), "without_code": key.asked}
    if folder.exists():
        tracking.mirror(cfg, record, failure=state["message"])
    states.write(folder / states.STATE_FILE, state)
    return state


def _check_store(store: Path) -> None:
    """See whether other jobs can be kept.

    Raises
    ------
    OSError
        If not.
    """
    from hntk._utils.atomic_file import replacing

    try:
        store.mkdir(parents=True, exist_ok=True)
        probe = store / f".{platform.node()}-{os.getpid()}.probe"
        with replacing(probe) as part:
            part.write_bytes(b"probe")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"no job can be kept in {store} ({error}): make room there, or choose another sweep.store; the same "
            "command goes on from here."
        ) from error


def _objectives(entry: Entry, folder: Path, state: dict[str, Any]) -> tuple[float, ...] | None:
    objectives: Callable[[dict[str, Any]], tuple[float, ...]] | None = getattr(entry.module, "objectives", None)
    if objectives is None or state["state"] != "done":
        return None
    measured = states.read(folder / "metrics.json", {})
    return None if measured is None else objectives(measured)


def _say(place: str, name: str, state: dict[str, Any], when: str) -> None:
    if state["state"] == "failed":
        CONSOLE.print(f"[bold red]failed[/] {place} {shown(name)}: {shown(state['message'])}", soft_wrap=True)
        return
    told = ", ".join(f"{k} {format_cell(v)}" for k, v in state["metrics"].items())
    CONSOLE.print(f"{place} {shown(name)}: {shown(told)} [dim]({when})[/]", soft_wrap=True)
