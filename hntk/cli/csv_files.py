"""Read tables of comma-separated values, which say nothing of types, headers or separators."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO, cast

import numpy as np

from hntk._utils.memory import check_room
from hntk.cli.columns import LabelledTable, as_labels_of_text, as_small, label_column, shortened
from hntk.data.idx import open_unzipped

Header = Literal["auto", "yes", "no"]
SEPARATORS = (",", ";", "\t", "|")
# Rows by which the separator is chosen, and rows that become numbers at a time.
FIRST_ROWS, BLOCK = 8, 2000
# A cell takes two bytes of the file at least, and eight as a number; a block's are added at the end.
GROWTH = 5
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")


class _Place(NamedTuple):
    """Where in the file a row is: its number among the rows of samples from 1, and its line."""

    row: int
    line: int


def read_csv(path: Path, label: str | None = None, header: Header = "auto") -> LabelledTable:
    """Read a table of numbers with one column of labels, as UTF-8 text, zipped by gzip or not.

    The separator is a comma, semicolon, tabulator or bar, whichever divides the first rows into the most columns.

    Parameters
    ----------
    path : Path
        The file.
    label : str, optional
        Name or place of the column of labels, see :func:`hntk.cli.columns.label_column`.
    header : {"auto", "yes", "no"}
        Whether the first row holds names. ``"auto"`` takes it for names if a cell of it is no number where the row
        below has one, or none of it is a number.

    Returns
    -------
    LabelledTable
        Samples and labels.

    Raises
    ------
    ValueError
        If the file is no such table, or a cell is missing or no number; the message says which.
    MemoryError
        If the table does not fit into memory.
    """
    check_room(GROWTH * path.stat().st_size, f"The numbers of {path}", "Keep fewer rows in it.")
    with _readable(path):
        with _open(path) as stream:
            separator = _separator(list(islice(stream, FIRST_ROWS)), path)
        with _open(path) as stream:
            reader = csv.reader(stream, delimiter=separator, skipinitialspace=True)
            first = list(islice(filter(None, reader), 2))
            if len(first) < 2:
                raise ValueError(
                    f"{path} holds {len(first)} rows: it needs one of names or a sample, and more samples."
                )
            named = _is_header(first, header)
            names = [name.strip() for name in first[0]] if named else [str(i) for i in range(len(first[0]))]
            place = label_column(names, label, named=named)
            rows = _rows(reader, first, named=named)
            x, cells = _numbers(rows, names, place, path)
    features = tuple(name for i, name in enumerate(names) if i != place)
    return LabelledTable(x, as_labels_of_text(cells), features, names[place] if named else f"column {place}")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text (byte {error.start:,}): save the table as CSV in UTF-8.") from error
    except csv.Error as error:
        raise ValueError(
            f"{path} is no table of CSV ({error}): write it again, with quotes that are closed."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}): write it again.") from error


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    with open_unzipped(path) as raw, io.TextIOWrapper(cast(Any, raw), encoding="utf-8-sig", newline="") as stream:
        yield stream


def _separator(lines: Sequence[str], path: Path) -> str:
    """Return the separator that divides the first rows into the most columns, as many in each."""
    found = dict[str, int]()
    for separator in SEPARATORS:
        counts = {len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if row}
        found[separator] = min(counts) if len(counts) == 1 else 0
    best = max(found, key=lambda separator: found[separator])
    if found[best] < 2 and not any("," in line for line in lines):
        raise ValueError(f"{path} has no columns: separate its cells by commas, with as many in each row.")
    return best if found[best] > 1 else ","


def _is_header(first: Sequence[Sequence[str]], header: Header) -> bool:
    if header != "auto":
        return header == "yes"
    names, below = ([_number(cell) is not None for cell in row] for row in first)
    return not any(names) or any(b and not a for a, b in zip(names, below, strict=False))


def _rows(reader: Iterator[list[str]], first: list[list[str]], *, named: bool) -> Iterator[tuple[_Place, list[str]]]:
    """Yield the rows of samples; empty lines are left out."""
    number = 0
    for row in first[1:] if named else first:
        number += 1
        yield _Place(number, number + named), row
    for row in reader:
        if row:
            number += 1
            yield _Place(number, reader.line_num), row  # type: ignore[attr-defined]


def _numbers(
    rows: Iterator[tuple[_Place, list[str]]], names: Sequence[str], label: int, path: Path
) -> tuple[np.ndarray, list[str]]:
    """Return the numbers of all rows but the labels, and the labels' cells."""
    blocks, cells = list[np.ndarray](), list[str]()
    while block := list(islice(rows, BLOCK)):
        numbers = []
        for place, row in block:
            if len(row) != len(names):
                raise ValueError(
                    f"{path}, line {place.line}: {len(row)} cells where the first row has {len(names)}: give every row "
                    "as many."
                )
            cell = row.pop(label)
            if cell.strip().lower() in MISSING:
                raise ValueError(_missing(cell, path, place, names[label], "label"))
            cells.append(cell)
            numbers.append(_numbers_of(row, path, place, [*names[:label], *names[label + 1 :]]))
        blocks.append(as_small(np.array(numbers, np.float64)))
    return as_small(np.concatenate(blocks)), cells


def _numbers_of(row: list[str], path: Path, place: _Place, names: Sequence[str]) -> list[float]:
    try:
        numbers = list(map(float, row))
    except ValueError:
        numbers = [np.nan]
    if all(map(np.isfinite, (min(numbers), max(numbers), sum(numbers)))) and not any("_" in cell for cell in row):
        return numbers
    for cell, name in zip(row, names, strict=True):
        if _number(cell) is None:
            if cell.strip().lower() in MISSING:
                raise ValueError(_missing(cell, path, place, name, "number"))
            raise ValueError(
                f"{path}, row {place.row} (line {place.line}), column {shortened(name)}: {shortened(cell)} is no "
                "finite number: drop the column, or code it in numbers; if it holds the labels, name it with --label."
            )
    raise ValueError(f"{path}, row {place.row} (line {place.line}): the numbers are too large: rescale them.")


def _number(cell: str) -> float | None:
    """Return a finite number that a cell holds; None if it holds none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in cell else None


def _missing(cell: str, path: Path, place: _Place, name: str, what: str) -> str:
    return (
        f"{path}, row {place.row} (line {place.line}), column {shortened(name)}: the {what} is missing "
        f"({shortened(cell)}): fill it in, or drop the row."
    )
