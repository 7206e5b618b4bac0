"""Layout that all figures of the experiments share; colours, line styles and ticks are those of hntk.plot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from hntk.plot.style import COLOURS, STYLE, plain_ticks

# Figures are shown about 800 pixels wide: in a wider one texts of 10 points are hard to read.
WIDEST = 9.0

plt.rcParams.update(STYLE)


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int | None = None) -> None:
    """Draw one legend below all panels, by default in one row."""
    handles = legend_handles(axes)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncol=columns or len(handles))


def paired_panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes], list[Axes]]:
    """Return a figure with two panels for each of some subjects, one below the other; subjects stand in a grid.

    Parameters
    ----------
    count : int
        Number of subjects.
    columns : int
        Subjects beside each other, at most.
    height : float
        Height of a panel in inches.

    Returns
    -------
    figure : Figure
        The figure.
    upper, lower : list of Axes
        The upper and the lower panel of every subject; all upper ones share their axes, and so do all lower ones.
    """
    columns = min(columns, count)
    bands = -(-count // columns)
    figure, grid = plt.subplots(2 * bands, columns, figsize=(WIDEST, 2 * bands * height + 0.9), squeeze=False)
    upper, lower = (list(grid[start::2].ravel()) for start in (0, 1))
    for kind in (upper, lower):
        for a in kind[count:]:
            a.set_axis_off()
        for place, a in enumerate(kind[1:count], start=1):
            a.sharey(kind[0])
            a.tick_params(labelleft=place % columns == 0)
    for a in (*upper[1:count], *lower[:count]):
        a.sharex(upper[0])
    for a in upper:
        a.tick_params(labelbottom=False)
    return figure, upper[:count], lower[:count]


def legend_handles(axes: Iterable[Axes]) -> dict[str, Any]:
    """Return what a legend of all axes shows, by label; an entry that several axes share stands once."""
    handles: dict[str, Any] = {}
    for a in axes:
        for handle, label in zip(*a.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def caption_above(figure: Figure, caption: str) -> Figure:
    """Write the caption above the figure and return the figure."""
    figure.suptitle(caption, fontsize=10)
    return figure


def limit_line(axes: Axes, height: float, right: float) -> None:
    """Draw a horizontal line at a height, with the number at its right end."""
    axes.axhline(height, color=COLOURS[4], lw=0.8)
    axes.annotate(f"{height:g}", (right, height), (0, 2), textcoords="offset points", ha="right", fontsize=8)


def engineering_axis(axes: Axes, unit: str = "") -> None:
    """Make the horizontal axis logarithmic, with numbers such as 50 k or 2 M; lines must be drawn already."""
    axes.set_xscale("log")
    plain_ticks(axes.xaxis, EngFormatter(unit))
