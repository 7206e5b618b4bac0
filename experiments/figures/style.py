"""Colours, line styles and layout that all figures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

# Blue, orange, green, purple, gray, yellow, sky: colour-blind readers tell them apart, and line styles do so in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7B3294", "#555555", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1)))
MARKS = "osD^vPX"

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "pdf.fonttype": 42,
    }
)


def line_style(index: int, **options: Any) -> dict[str, Any]:
    """Return the colour and line style of one line among several, and the given options."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)], **options}


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int | None = None) -> None:
    """Draw one legend below all panels, by default in one row."""
    handles = legend_handles(axes)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncol=columns or len(handles))


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


def listed_ticks(axes: Axes, sizes: Sequence[float]) -> None:
    """Label a logarithmic horizontal axis at these sizes alone."""
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def plain_ticks(axis: Axis) -> None:
    """Label a logarithmic axis, such as ``axes.xaxis``, with 1, 2, 5, 10, …, or with 1, 10, … where it is long."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=_subs(low, high)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def engineering_axis(axes: Axes, unit: str = "") -> None:
    """Make the horizontal axis logarithmic, with numbers such as 50 k or 2 M; lines must be drawn already."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=_subs(low, high)))
    axes.xaxis.set_major_formatter(EngFormatter(unit))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _subs(low: float, high: float) -> tuple[int, ...]:
    """Return which multiples of powers of ten to label between two numbers."""
    return (1, 2, 5) if high < 300 * low else (1,)
