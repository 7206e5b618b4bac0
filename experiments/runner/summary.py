"""The summary of a sweep: a table of its jobs, what failed, and what the experiment makes of all results."""

from __future__ import annotations

import time
from collections.abc import Iterable

from experiments.runner import catalog, metrics, tracking
from experiments.runner.console import CONSOLE, say, show_table, shown, visible
from experiments.runner.errors import expected, print_error
from experiments.runner.experiment import Experiment
from experiments.runner.jobs import KEY_FILE, OLDER, Job, jobs_of
from experiments.runner.record import Record
from experiments.runner.watch import Sweep


def summarise(sweep: Sweep, command: str) -> int:
    """Summarise a sweep on the terminal, in its folder and in W&B; return the exit status."""
    jobs = jobs_of(sweep.folder)
    record = Record(sweep.folder)
    _add_table(jobs, record)
    done = [job for job in jobs if job.state == "done"]
    status = _gather(catalog.find(sweep.config.experiment.name), jobs, record, command) if done else 0
    failed = [job for job in jobs if job.state in ("failed", "missing")]
    record.add_metrics(**{metrics.JOBS_DONE: len(done), metrics.JOBS_FAILED: len(failed)})
    tracking.mirror(sweep.config, record, summary=True)
    if failed:
        _print_failed(failed, len(jobs), command)
    _print_older(jobs)
    total = sum(job.seconds or 0.0 for job in jobs)
    elapsed = time.perf_counter() - sweep.started
    say(
        f"\n{len(done)} jobs done, {len(failed)} without a result; {total / 60:.1f} minutes of computation in all, "
        f"{elapsed / 60:.1f} minutes for this sweep.\nEverything is in [bold]{shown(sweep.folder)}[/]"
    )
    return 1 if failed else status


def _gather(experiment: Experiment, jobs: list[Job], record: Record, command: str) -> int:
    """Have the experiment summarise its jobs; the table of jobs stays even if this fails. Return the exit status."""
    gather = getattr(experiment.load(), "gather", None)
    try:
        if gather is not None:
            gather(jobs, record, command)
    except expected() as error:
        return print_error(error)
    return 0


def _print_failed(failed: list[Job], of: int, command: str) -> None:
    rows = [[shown(job.name), job.state, shown(job.message)] for job in failed]
    show_table(f"{len(failed)} of {of} jobs without a result", ["job", "state", "why"], rows)
    CONSOLE.print(f"Try them again: {visible(command)} sweep.retry=true", soft_wrap=True, markup=False)


def _print_older(jobs: list[Job]) -> None:
    older = sum(job.message == OLDER for job in jobs)
    if older:
        say(
            f"\n[yellow]{older} of {len(jobs)} results are of older code[/], which sweep.older_code=true accepts; each "
            f"folder's {KEY_FILE} says of which. Without this setting they are computed anew."
        )


def _add_table(jobs: Iterable[Job], record: Record) -> None:
    """Write jobs.csv: one row per job, with all its metrics."""
    rows = [
        {"job": job.name, "state": job.state, "seconds": job.seconds, "message": job.message, "folder": str(job.folder)}
        | (job.metrics if job.state == "done" else {})
        for job in jobs
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    record.add_table(metrics.JOBS, columns, [[row.get(name) for name in columns] for row in rows])
