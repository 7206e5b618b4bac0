"""Tables that jobs of a sweep left in their folders."""

from __future__ import annotations

import csv

from experiments.runner.jobs import Job


def rows_of(job: Job, name: str) -> list[dict[str, str]]:
    """Return the rows of a table of a finished job.

    Raises
    ------
    ValueError
        If the table is missing; the message says how to make it anew.
    """
    path = job.folder / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: remove the folder {job.folder}, and run the sweep again.") from None
