"""Tables of a report: numbers that line up, units set apart, and the best of a column in bold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from experiments.runner.console import format_cell

MISSING = "–"
# texts of at most so many characters stay on one line
SHORT = 28


class Cell(NamedTuple):
    """A cell as it is shown, with the number that it sorts by, if any."""

    text: str
    number: float | None
    best: bool


class Column(NamedTuple):
    """A column as it is shown: its header, its unit, its look (``number``, ``short`` or empty) and its cells."""

    name: str
    unit: str
    kind: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row.

    Attributes
    ----------
    title, caption : str
        What it shows, and what to note; `backticks` mark code.
    columns : sequence of str
        Headers; a unit comes last, in brackets: "memory (kB)".
    rows : sequence
        One value per column: a number, a text, or None for a missing value.
    formats : mapping
        Format specification by column (".4f", ",d"). Without one, floats of similar size share their number of
        decimals, and others have four significant digits.
    best : mapping
        Columns in which the "max" or the "min" is the best, and is bold.
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

    def layout(self) -> list[Column]:
        """Return the columns as they are shown.

        Raises
        ------
        ValueError
            If a format does not fit a number.
        """
        return [self._column(i) for i in range(len(self.columns))]

    def _column(self, index: int) -> Column:
        header = self.columns[index]
        # scalars of numpy or JAX become Python's
        values = [row[index].item() if hasattr(row[index], "item") else row[index] for row in self.rows]
        specification = self.formats.get(header) or _common_format(values)
        texts = [cell_text(value, specification, header) for value in values]
        best = _best_text(values, texts, self.best.get(header))
        cells = [
            Cell(text, value if _is_finite(value) else None, text == best)
            for value, text in zip(values, texts, strict=True)
        ]
        unit = re.search(r" \(([^()]+)\)$", header)
        return Column(header[: unit.start()] if unit else header, unit[1] if unit else "", _kind(values), cells)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or math.isfinite(value))


def _kind(values: list[Any]) -> str:
    """Return how a column is set: numbers to the right, and short texts on one line."""
    if any(map(_is_number, values)):
        return "number"
    return "short" if all(len(str(value)) <= SHORT for value in values) else ""


def _common_format(values: list[Any]) -> str:
    """Return the decimals that give the largest number four digits, if the least keeps two; else no format."""
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0]
    if not sizes or min(sizes) < 0.01 * max(sizes) or not 1e-3 <= max(sizes) < 1e6:
        return ""
    return f".{max(0, 3 - math.floor(math.log10(max(sizes))))}f"


def cell_text(value: Any, specification: str = "", column: str = "") -> str:
    """Return the text of a cell: – for a missing value, and proper minus signs.

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
        text = format(value, specification) if specification else format_cell(value)
    except ValueError as error:
        raise ValueError(
            f"the format {specification!r} of column {column!r} does not fit {value!r}: use one like '.4f' for "
            "decimals, or ',d' if all are integers."
        ) from error
    return text.replace("-", "−")


def _best_text(values: list[Any], texts: list[str], kind: str | None) -> str | None:
    """Return the text of the best number; every number with the same text counts as best."""
    finite = [(value, text) for value, text in zip(values, texts, strict=True) if _is_finite(value)]
    if kind is None or not finite:
        return None
    return (max if kind == "max" else min)(finite, key=lambda pair: pair[0])[1]
