"""Tables of a report: numbers that line up, units apart, the best of a column in bold."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.report.markup import escape, inline
from experiments.runner.console import format_cell

MISSING = "–"
SHORT = 28


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row.

    Attributes
    ----------
    title, caption : what it shows, and what is to be noted; `backticks` mark code.
    columns : headers; a unit goes last, in brackets: "memory (kB)".
    rows : one value per column: numbers, text, or None for what is missing.
    formats : format specification by column (".4f", ",d"). Without one, floats of like size share their number of
        decimals, and others have four significant digits.
    best : columns in which the "max" or the "min" is the best, and is bold.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)
    best: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r} has {len(self.columns)} columns, but row {i} has {len(row)} values: "
                    "give one per column, None where there is none."
                )
        if unknown := (set(self.formats) | set(self.best)) - set(self.columns):
            raise ValueError(
                f"table {self.title!r} has no column {', '.join(map(repr, sorted(unknown)))} to format or to find the "
                f"best of: name one of {', '.join(map(repr, self.columns))}."
            )
        if wrong := {k: v for k, v in self.best.items() if v not in ("max", "min")}:
            raise ValueError(f"the best of a column is its 'max' or its 'min', got {wrong} in table {self.title!r}.")


def read_table(path: Path, title: str, **options: Any) -> Table:
    """A table that a job wrote as csv; ``options`` are the other fields of Table.

    Raises
    ------
    FileNotFoundError
        If the job has not written it.
    ValueError
        If the file is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table {title!r} is not at {path}: run its job again, or leave the table out.")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    if not lines:
        raise ValueError(f"{path} is empty, without even a header: run its job again.")
    return Table(title, lines[0], [[_parsed(word) for word in line] for line in lines[1:]], **options)


def _parsed(word: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word or None


def table_html(table: Table, anchor: str, label: str = "") -> str:
    """A table that scrolls in itself when it is wider than the page, its first column staying in sight."""
    columns = [_column(table, i) for i in range(len(table.columns))]
    heads = "".join(
        f'<th scope="col"{_look(values)}>{_header(name)}</th>'
        for name, (values, _) in zip(table.columns, columns, strict=True)
    )
    rows = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(*(cells for _, cells in columns), strict=True))
    note = "Bold: the best of its column." if table.best else ""
    text = " ".join(inline(part) for part in (table.caption, note) if part)
    return (
        f'<div class="scroll" id="{anchor}" role="region" tabindex="0" aria-labelledby="{anchor}-title">\n<table>\n'
        f'<caption><div><strong id="{anchor}-title">{inline(label + table.title)}.</strong> {text}</div></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _column(table: Table, index: int) -> tuple[list[Any], list[str]]:
    """Values of a column, and their cells."""
    name = table.columns[index]
    values = [_plain(row[index]) for row in table.rows]
    spec = table.formats.get(name) or _common_format(values)
    texts = [cell_text(value, spec, name) for value in values]
    best = _best(values, texts, table.best.get(name))
    tag = ('<th scope="row"', "</th>") if index == 0 else ("<td", "</td>")
    cells = []
    for value, text in zip(values, texts, strict=True):
        key = f' data-value="{value}"' if _is_finite(value) else ""
        shown = f"<strong>{escape(text)}</strong>" if text == best else escape(text)
        cells.append(f"{tag[0]}{_look(values)}{key}>{shown}{tag[1]}")
    return values, cells


def _plain(value: Any) -> Any:
    """A Python value for a scalar of numpy or JAX."""
    return value.item() if hasattr(value, "item") else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or math.isfinite(value))


def _look(values: list[Any]) -> str:
    """How a column is set: numbers to the right, and short texts on one line."""
    if any(map(_is_number, values)):
        return ' class="number"'
    return ' class="short"' if all(len(str(value)) <= SHORT for value in values) else ""


def _header(name: str) -> str:
    """A column's name, with its unit set apart."""
    return re.sub(r" \(([^()]+)\)$", r' <span class="unit">(\1)</span>', inline(name))


def _common_format(values: list[Any]) -> str:
    """Decimals that give the largest four digits, if the least then keeps two; else nothing in common."""
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0]
    if not sizes or min(sizes) < 0.01 * max(sizes) or not 1e-3 <= max(sizes) < 1e6:
        return ""
    return f".{max(0, 3 - math.floor(math.log10(max(sizes))))}f"


def cell_text(value: Any, spec: str = "", column: str = "") -> str:
    """What a cell shows: – for what is missing, and proper signs.

    Raises
    ------
    ValueError
        If the format does not fit the number.
    """
    if value is None or value == "":
        return MISSING
    if not _is_number(value):
        return format_cell(value)
    if not _is_finite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    try:
        text = format(value, spec) if spec else format_cell(value)
    except ValueError as error:
        raise ValueError(
            f"the format {spec!r} of column {column!r} does not fit {value!r}: use one like '.4f' for decimals, "
            "or ',d' if all are integers."
        ) from error
    return text.replace("-", "−")


def _best(values: list[Any], texts: list[str], kind: str | None) -> str | None:
    """The text of the best number: what reads the same is as good."""
    finite = [(value, text) for value, text in zip(values, texts, strict=True) if _is_finite(value)]
    if kind is None or not finite:
        return None
    return (max if kind == "max" else min)(finite, key=lambda pair: pair[0])[1]
