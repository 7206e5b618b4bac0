"""What a run prints: stages with their times, progress bars, tables, and text that a terminal cannot misread."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

# outside a terminal rich falls back to 80 columns, which breaks tables
CONSOLE = Console(highlight=False, soft_wrap=False, width=None if Console().is_terminal else 132)
# for what is wrong with a command line
ERRORS = Console(highlight=False, stderr=True)
# how often a stage reports its progress where a terminal's line cannot be overwritten
SECONDS_BETWEEN_LINES = 5.0
# seconds until a progress bar's first line there, and what they are multiplied by for each later one
FIRST_LINE, LATER_LINES = 15.0, 1.25
# control characters that a terminal obeys, and line separators
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Return a text with its control characters written as Python writes them, such as ``\x1b``."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], str(text))


def shown(text: object) -> str:
    r"""Return a text that rich prints as it is, whatever brackets and control characters it contains.

    Examples
    --------
    >>> from experiments.runner.console import shown
    >>> print(shown("[/] is no markup"))
    \[/] is no markup
    """
    return escape(visible(text))


def say(text: str) -> None:
    """Print a text as one line, which the terminal wraps where it must."""
    CONSOLE.print(text, soft_wrap=True)


@contextmanager
def stage(name: str) -> Iterator[Callable[[str], None]]:
    """Show that a computation is running, and afterwards how long it took.

    Yields a function that reports progress as a line of text. Outside a terminal, where nothing can be overwritten, it
    prints a line now and then.
    """
    start = last_line = time.perf_counter()

    def report(line: str) -> None:
        nonlocal last_line
        if CONSOLE.is_terminal:
            status.update(f"{name} ... [dim]{escape(line)}[/]")
        elif time.perf_counter() - last_line > SECONDS_BETWEEN_LINES:
            last_line = time.perf_counter()
            say(f"  [dim]{name}: {escape(line)}[/]")

    with CONSOLE.status(f"{name} ...") as status:
        yield report
    CONSOLE.print(f"  [green]done[/] {name} [dim]({time.perf_counter() - start:.1f} s)[/]")


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yields a function to call with the number of units done.

    Outside a terminal, lines at growing intervals take its place.
    """
    if not CONSOLE.is_terminal:
        yield _Lines(name, total).advance
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE, transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda amount=1: bar.advance(task, amount)


class _Lines:
    """Lines that tell how many units are done: the first after some seconds, each later one a quarter later."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done = name, total, 0
        self._start, self._next = time.perf_counter(), FIRST_LINE

    def advance(self, amount: int = 1) -> None:
        """Count units that are done, and print a line if it is time."""
        self._done += amount
        passed = time.perf_counter() - self._start
        if passed >= self._next and self._done < self._total:
            self._next = LATER_LINES * passed
            left = passed * (self._total - self._done) / self._done if self._done else math.nan
            more = f", about {in_words(left)} to go" if math.isfinite(left) else ""
            say(f"  [dim]{escape(self._name)}: {self._done:,} of {self._total:,} after {in_words(passed)}{more}[/]")


def in_words(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> from experiments.runner.console import in_words
    >>> in_words(42.3), in_words(150), in_words(9000)
    ('42 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, with floats to four significant digits."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(format_cell(value) for value in row))
    say(f"\n[bold]{title}[/]")
    CONSOLE.print(table)


def format_cell(value: object) -> str:
    """Return the short text of a table cell: a dash for None and NaN."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
