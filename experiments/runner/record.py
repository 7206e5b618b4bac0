"""The output folder of a run: configuration, metrics, tables, figures, versions. W&B only mirrors it."""

from __future__ import annotations

import csv
import json
import math
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from omegaconf import OmegaConf

from experiments.runner import keys
from experiments.runner.console import show_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("hntk", *keys.COMPUTING, "hydra-core", "wandb", "matplotlib")
# pixels per inch of figures
DPI = 160
Table = tuple[list[str], list[list[Any]]]
Kind = Literal["scatter", "lines", "bar"]


class Chart(NamedTuple):
    """A chart that W&B draws from a table.

    Attributes
    ----------
    kind : {"scatter", "lines", "bar"}
        How it is drawn; a bar chart takes its labels from ``x``.
    table : str
        Name of the table.
    x, y : str
        Columns to draw.
    by : str or None
        Column that tells lines apart.
    log : sequence of str
        Columns drawn by their logarithm to base 10.
    """

    kind: Kind
    table: str
    x: str
    y: str
    by: str | None = None
    log: Sequence[str] = ()


@dataclass
class Record:
    """The output folder of one run, and what has been written to it.

    Attributes
    ----------
    folder : Path
        The folder.
    metrics : dict
        Scalars by name.
    tables : dict
        Columns and rows by the table's name.
    figures : dict
        Path of the png by the figure's name.
    histories : dict
        Tables whose first column is an axis, such as the epoch.
    charts : dict
        Charts that W&B draws from the tables, by title.
    headline : dict
        The few metrics that a job's line on the terminal shows.
    """

    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Path] = field(default_factory=dict)
    histories: dict[str, Table] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)
    headline: dict[str, Any] = field(default_factory=dict)

    def start(self, cfg: Any) -> None:
        """Write the resolved configuration and the versions, before any work.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
        write_text(self.folder / "versions.json", json.dumps(circumstances(int(cfg.seed)), indent=2) + "\n")

    def add_metrics(self, **values: float | int | str | bool | None) -> None:
        """Add scalars, and write metrics.json anew."""
        self.metrics |= values
        write_text(self.folder / "metrics.json", json.dumps(self.written, indent=2) + "\n")

    @property
    def written(self) -> dict[str, Any]:
        """The scalars as metrics.json has them: None for what is not finite."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in self.metrics.items()}

    def add_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """Write a table as csv; with a title, print it too.

        Cells that begin with = or +, which a spreadsheet may take for a formula, are written as they are: programs read
        these files, and their texts come from the user's own settings.
        """
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(["" if v is None else v for v in row] for row in rows)
        write_text(self.folder / f"{name}.csv", text.getvalue())
        self.tables[name] = (list(columns), [list(row) for row in rows])
        if title:
            show_table(title, columns, rows)

    def add_history(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table whose first column is the axis of the other columns."""
        self.add_table(name, columns, rows)
        self.histories[name] = self.tables.pop(name)

    def add_chart(
        self, title: str, kind: Kind, table: str, x: str, y: str, *, by: str | None = None, log: Sequence[str] = ()
    ) -> None:
        """Have W&B draw two columns of a table; lines need ``by`` to tell them apart.

        Raises
        ------
        ValueError
            If the table or a column of it does not exist, or lines cannot be told apart.
        """
        columns = self.tables[table][0] if table in self.tables else None
        wanted = [x, y, *([by] if by else []), *log]
        if columns is None or not set(wanted) <= set(columns):
            raise ValueError(
                f"the chart {title!r} asks for {', '.join(wanted)} of {table!r}, which has {columns}: add it first."
            )
        if (kind == "lines") != (by is not None):
            raise ValueError(f"the chart {title!r} is of kind {kind!r}: lines need by=COLUMN, others take none.")
        self.charts[title] = Chart(kind, table, x, y, by, tuple(log))

    def add_figure(self, name: str, figure: Figure) -> None:
        """Write a figure as png and pdf."""
        from hntk._utils.atomic_file import replacing

        for suffix in ("png", "pdf"):
            path = self.folder / f"{name}.{suffix}"
            with replacing(path) as part:
                figure.savefig(part, format=suffix, dpi=DPI)
            # it is laid out once for both
            figure.set_layout_engine("none")
        self.figures[name] = self.folder / f"{name}.png"


def circumstances(seed: int) -> dict[str, Any]:
    """Return versions, hash of the sources, seed, machine and git state."""
    import jax

    return {
        "seed": seed,
        "code": keys.code()["sources"],
        "python": platform.python_version(),
        "machine": platform.machine(),
        "devices": [str(d) for d in jax.devices()],
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "packages": {name: keys.version(name) for name in PACKAGES},
        "git": {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain"))},
    }


def _git(*arguments: str) -> str | None:
    """Return the output of a git command, or None if it fails."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_text(path: Path, text: str) -> None:
    """Write a file such that a reader never sees half of it."""
    # late, as importing the library imports JAX, which takes seconds
    from hntk._utils.atomic_file import replacing

    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
