"""Points that others published: accuracy against the memory of a classifier, drawn beside what is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# What an author counts: weights alone; a model's file; all of a program's constants; or the program with its code.
Counted = Literal["weights", "file", "tables", "program"]


@dataclass(frozen=True)
class PublishedPoint:
    """One classifier that others report.

    Attributes
    ----------
    name : str
        A short name for tables and figures.
    data : str
        Name of the data set, as in ``conf/data``.
    kilobytes : float
        Memory, in kB of 1000 bytes.
    accuracy : float
        Test accuracy, from 0 to 1.
    counted : {"weights", "file", "tables", "program"}
        What the memory is of.
    source : str
        Authors, year, and the table or figure from which the numbers were read.
    address : str
        Where the source is found.
    computed : bool
        Whether the memory was computed from a description, such as a number of weights, and not stated.
    """

    name: str
    data: str
    kilobytes: float
    accuracy: float
    counted: Counted
    source: str
    address: str
    computed: bool = False

    def __post_init__(self) -> None:
        if not self.kilobytes > 0 or not 0 < self.accuracy < 1:
            raise ValueError(
                f"{self.name}: kilobytes must be positive and accuracy between 0 and 1, got {self.kilobytes} and "
                f"{self.accuracy}."
            )
        if not self.source or not self.address:
            raise ValueError(f"{self.name}: give the source of the numbers, and its address.")


# Read on 2026-11-27 in mcu/readme.md at commit def8bc4: a table of "Size (kB)" and "Test Accuracy" of every model.
BITNETMCU = "cpldcpu/BitNetMCU, mcu/readme.md, table of models"
POINTS: tuple[PublishedPoint, ...] = tuple(
    PublishedPoint(name, "mnist", kilobytes, accuracy, "weights", BITNETMCU, "github.com/cpldcpu/BitNetMCU")
    for name, kilobytes, accuracy in (
        ("BitNetMCU, CNN 16 small", 3.2, 0.9892),
        ("BitNetMCU, CNN 16", 5.4, 0.9906),
        ("BitNetMCU, CNN 32", 7.3, 0.9928),
        ("BitNetMCU, CNN 48", 9.3, 0.9944),
        ("BitNetMCU, CNN 64", 11.0, 0.9955),
        ("BitNetMCU, dense, 2 bits", 1.1, 0.9422),
        ("BitNetMCU, dense, 4 bits", 12.3, 0.9902),
        ("BitNetMCU, dense, FP130", 12.3, 0.9886),
    )
)
COLUMNS = ["name", "kB", "test accuracy", "counted", "computed", "source", "address"]


def published(data: str, points: Sequence[PublishedPoint] = POINTS) -> list[PublishedPoint]:
    """Return the points of a data set, the smallest first."""
    return sorted((point for point in points if point.data == data), key=lambda point: point.kilobytes)


def published_rows(points: Sequence[PublishedPoint]) -> list[list]:
    """Return the points as rows of a table."""
    return [
        [p.name, p.kilobytes, p.accuracy, p.counted, "yes" if p.computed else "no", p.source, p.address] for p in points
    ]
