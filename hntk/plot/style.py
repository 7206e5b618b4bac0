"""Colours, line styles, ticks and settings that all figures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

# Blue, vermilion, green, yellow and sky are of Okabe and Ito (2008); purple and gray are of the same lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7B3294", "#555555", "#E69F00", "#56B4E9")
# Line styles and marks of the same order: they tell lines apart in print.
STYLES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1)))
MARKS = "osD^vPX"
GRAY = COLOURS[4]
# Settings of matplotlib while a figure is drawn.
STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "grid.alpha": 0.25,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "pdf.fonttype": 42,
}
# Which multiples of powers of ten are labelled on a logarithmic axis, the fewest that give so many labels.
SUBS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
FEWEST_LABELS = 3

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Return a function that draws in the style of hntk, and leaves matplotlib's settings as they were."""

    @wraps(draw)
    def inside(*arguments: P.args, **options: P.kwargs) -> R:
        with rc_context(STYLE):
            return draw(*arguments, **options)

    return inside


def line_style(index: int, **options: Any) -> dict[str, Any]:
    """Return the colour and line style of one line among several, and the given options."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)], **options}


def listed_ticks(axes: Axes, sizes: Sequence[float]) -> None:
    """Label the horizontal axis at these sizes alone."""
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def plain_ticks(axis: Axis, formatter: Formatter | None = None) -> None:
    """Label a logarithmic axis, such as ``axes.xaxis``, with plain numbers: 1, 10, … or more where it is short.

    Lines must be drawn already, as labels follow from the limits.
    """
    axis.set_major_locator(LogLocator(subs=_subs(*sorted(axis.get_view_interval()))))
    axis.set_major_formatter(StrMethodFormatter("{x:g}") if formatter is None else formatter)
    axis.set_minor_formatter(NullFormatter())


def _subs(low: float, high: float) -> tuple[float, ...]:
    """Return which multiples of powers of ten to label between two positive numbers."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for subs in SUBS:
        labelled = np.multiply.outer(powers, subs)
        if np.sum((labelled >= low) & (labelled <= high)) >= FEWEST_LABELS:
            return subs
    return SUBS[-1]
