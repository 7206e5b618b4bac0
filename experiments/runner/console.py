"""What a run prints: stages with their times, progress where it waits, tables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

# outside a terminal rich falls back to 80 columns, which breaks tables
CONSOLE = Console(highlight=False, soft_wrap=False, width=None if Console().is_terminal else 132)
SECONDS_BETWEEN_LINES = 5.0
# for what is wrong with a command line
ERRORS = Console(highlight=False, stderr=True)


@contextmanager
def stage(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something is being computed, and then how long it took; yields what tells how far it has come.

    Outside a terminal, where nothing can be overwritten, that is a line now and then.
    """
    start = told = time.perf_counter()

    def tell(line: str) -> None:
        nonlocal told
        if CONSOLE.is_terminal:
            status.update(f"{what} ... [dim]{escape(line)}[/]")
        elif time.perf_counter() - told > SECONDS_BETWEEN_LINES:
            told = time.perf_counter()
            CONSOLE.print(f"  [dim]{what}: {escape(line)}[/]", soft_wrap=True)

    with CONSOLE.status(f"{what} ...") as status:
        yield tell
    CONSOLE.print(f"  [green]done[/] {what} [dim]({time.perf_counter() - start:.1f} s)[/]")


@contextmanager
def progress(what: str, total: int) -> Iterator:
    """A progress bar; yields a function to call with the number of units done."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount=1: bar.advance(task, amount)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers to four significant digits."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(format_cell(v) for v in row))
    CONSOLE.print(f"\n[bold]{title}[/]", soft_wrap=True)
    CONSOLE.print(table)


def format_cell(value: object) -> str:
    """A table cell: short, and a dash for what does not apply or is not known."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
