"""Charts that W&B draws from tables in the browser, by its own presets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from experiments.runner.record import Chart, Record

if TYPE_CHECKING:
    from wandb.plot.custom_chart import CustomChart

# name of the preset, and of its fields for x, y and the column that tells lines apart
PRESETS = {
    "scatter": ("wandb/scatter/v0", "x", "y"),
    "bar": ("wandb/bar/v0", "label", "value"),
    "lines": ("wandb/lineseries/v0", "step", "lineVal", "lineKey"),
}


def custom_chart(title: str, chart: Chart, record: Record) -> CustomChart:
    """Return W&B's chart of a record's table."""
    import wandb

    columns, rows = chart_rows(chart, record)
    preset, *roles = PRESETS[chart.kind]
    table = wandb.Table(columns=list[str | int](columns), data=rows)
    return wandb.plot_table(
        preset, table, dict(zip(roles, columns, strict=True)), {"title": title, "xname": columns[0]}
    )


def chart_rows(chart: Chart, record: Record) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows to draw: with logarithms taken, and without rows that lack a number."""
    names = [chart.x, chart.y, *([chart.by] if chart.by else [])]
    columns, rows = record.tables[chart.table]
    chosen = [[row[columns.index(name)] for name in names] for row in rows]
    numbers = (1,) if chart.kind == "bar" else (0, 1)
    kept = [row for row in chosen if all(_drawable(row[i], names[i] in chart.log) for i in numbers)]
    drawn = [[math.log10(v) if n in chart.log else v for n, v in zip(names, row, strict=True)] for row in kept]
    return [f"log10 of {name}" if name in chart.log else name for name in names], drawn


def _drawable(value: Any, logarithmic: bool) -> bool:
    """Whether a value can be drawn on a linear or logarithmic axis."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and (value > 0 or not logarithmic)
