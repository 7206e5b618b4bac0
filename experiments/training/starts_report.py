"""Starts compared: test accuracies along the way, paired differences from the uniform start, and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.runner.console import show_table
from experiments.runner.jobs import Job
from experiments.runner.record import Record
from experiments.training.figures import epochs_figure
from experiments.training.job_tables import rows_of
from experiments.training.settings import STARTS, TEACHERS
from hntk._utils.statistics import mean_and_error

# The program that a training returns, of an epoch that validation chose.
END = "end"
REFERENCE = "uniform"


@dataclass(frozen=True)
class Course:
    """All seeds of one start and one teacher.

    Attributes
    ----------
    start, teacher : str
        Names of the settings.
    validation : dict
        By epoch, validation accuracies of shape (seeds,).
    test : dict
        By epoch as text, and ``END``, test accuracies of shape (seeds,).
    network : str
        Widths and shares of zeros.
    """

    start: str
    teacher: str
    validation: Mapping[int, np.ndarray]
    test: Mapping[str, np.ndarray]
    network: str

    @property
    def name(self) -> str:
        """The name of its line in figures."""
        return self.start if self.teacher == "none" else f"{self.start}, {self.teacher} teacher"


def courses_of(jobs: Sequence[Job]) -> list[Course]:
    """Return the courses of the finished jobs, by teacher and start."""
    made = []
    for job in jobs:
        if job.state != "done":
            continue
        by_epoch = [{row["epoch"]: _numbers(row) for row in rows_of(job, name)} for name in ("validation", "test")]
        validation = {int(epoch): values for epoch, values in by_epoch[0].items()}
        settings, measured = job.config.experiment, job.metrics
        network = f"{measured['widths']}, zeros {measured['zeros']}"
        made.append(Course(settings.start, settings.teacher, validation, by_epoch[1], network))
    return sorted(made, key=lambda c: (TEACHERS.index(c.teacher), STARTS.index(c.start)))


def _numbers(row: Mapping[str, str]) -> np.ndarray:
    return np.array([float(value) for name, value in row.items() if name != "epoch"])


def moments(courses: Sequence[Course]) -> list[str]:
    """Return the epochs at which any course was tested, in their order, with ``END`` last."""
    epochs = {int(e) for course in courses for e in course.test if e != END}
    return [*map(str, sorted(epochs)), END]


def accuracy_table(courses: Sequence[Course]) -> tuple[list[str], list[list[Any]]]:
    """Return mean test accuracies with standard errors, one row a course; None where one was not tested."""
    at = moments(courses)
    columns = ["start", "teacher", "seeds", "network", *(name for e in at for name in (_heading(e), f"± {e}"))]
    rows = []
    for course in courses:
        cells = [mean_and_error(course.test[e]) if e in course.test else (None, None) for e in at]
        seeds = course.test[END].size
        rows.append([course.start, course.teacher, seeds, course.network, *(x for pair in cells for x in pair)])
    return columns, rows


def difference_table(courses: Sequence[Course]) -> tuple[list[str], list[list[Any]]]:
    """Return mean differences of test accuracy from the uniform start of the same teacher, seed by seed.

    The standard error is that of the differences, which have less spread than the accuracies where seeds share their
    samples.
    """
    at = moments(courses)
    reference = {course.teacher: course for course in courses if course.start == REFERENCE}
    columns = ["start", "teacher", "seeds", *(name for e in at for name in (_heading(e), f"± {e}"))]
    rows = []
    for course in courses:
        other = reference.get(course.teacher)
        if other is None or other is course or other.test[END].shape != course.test[END].shape:
            continue
        pairs = [
            mean_and_error(course.test[e] - other.test[e]) if e in course.test and e in other.test else (None, None)
            for e in at
        ]
        rows.append([course.start, course.teacher, course.test[END].size, *(x for pair in pairs for x in pair)])
    return columns, rows


def _heading(epoch: str) -> str:
    return "at the end" if epoch == END else f"epoch {epoch}"


def gather(jobs: Sequence[Job], record: Record, command: str) -> None:
    """Write tables and figure of all finished jobs into the sweep's folder, and print the tables."""
    courses = courses_of(jobs)
    cfg = next(job.config for job in jobs if job.state == "done")
    for name, title, (columns, rows) in (
        ("starts", f"{cfg.data.name}: test accuracy after epochs", accuracy_table(courses)),
        ("differences", f"Differences from the {REFERENCE} start, seed by seed", difference_table(courses)),
    ):
        record.add_table(name, columns, rows)
        show_table(title, columns, rows)
    histories = {course.name: _history(course) for course in courses}
    seeds = max(course.test[END].size for course in courses)
    record.add_figure("accuracy_epochs", epochs_figure(histories, cfg.data.name, seeds))


def _history(course: Course) -> dict[str, Any]:
    """Return means and standard errors of a course; the returned program stands at the last epoch."""
    epochs = sorted(course.validation)
    validation = [mean_and_error(course.validation[e]) for e in epochs]
    at = [int(e) for e in course.test if e != END and int(e) < epochs[-1]]
    test = [mean_and_error(course.test[str(e)]) for e in at] + [mean_and_error(course.test[END])]
    parts = {"validation": validation, "test": test}
    means = {name: np.array([mean for mean, _ in pairs]) for name, pairs in parts.items()}
    errors = {f"{name}_error": np.array([error for _, error in pairs]) for name, pairs in parts.items()}
    return {"epochs": epochs, "at": [*at, epochs[-1]], **means, **errors}
