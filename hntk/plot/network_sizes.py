"""Bytes and operations of a network, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from hntk._utils.arguments import as_instance
from hntk.networks.saveable import Saveable
from hntk.networks.summary import summarize
from hntk.networks.summary_table import Summary
from hntk.plot.panels import panels
from hntk.plot.style import COLOURS, GRAY, plain_ticks, styled

BAR = 0.38


@styled
def layers(summary: Summary | Saveable, *, ax: Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """Draw the bytes and the operations of every layer of a network.

    Parameters
    ----------
    summary : Summary, or a network or classifier
        What :func:`hntk.summarize` gives, or what it takes.
    ax : sequence of Axes, optional
        Two axes to draw on. By default those of a new figure.

    Returns
    -------
    ndarray
        Two axes with a row a layer: bytes beside those of the same matrices in float32, and multiply-accumulates and
        additions of one prediction. Both have logarithmic axes, on which a 0 has no bar.

    Raises
    ------
    ValueError
        If it is neither a summary nor a network, or the number of axes is wrong.

    Examples
    --------
    >>> import jax, hntk.plot
    >>> net = hntk.draw_network(["sign"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> [axes.get_xlabel() for axes in hntk.plot.layers(net)]
    ['bytes', 'operations of a prediction']
    """
    remedy = "a hntk.Summary, or a network or classifier"
    what = as_instance(summary, "summary", (Summary, Saveable), remedy)
    shown = what if isinstance(what, Summary) else summarize(what)
    rows = list(shown.layers)
    axes = panels(ax, (1, 2), (8.2, 0.55 * len(rows) + 2.0), sharey=True)
    columns = (
        (("in float32", GRAY, "float_bytes"), ("packed", COLOURS[0], "bytes")),
        (("multiply-accumulates", COLOURS[1], "multiply_accumulates"), ("additions", COLOURS[6], "additions")),
    )
    for a, pair, unit in zip(axes, columns, ("B", ""), strict=True):
        for offset, (label, colour, field) in zip((-BAR / 2, BAR / 2), pair, strict=True):
            _draw_bars(a, [getattr(row, field) for row in rows], offset, colour, label, unit)
        a.set_xscale("log")
        a.set_xlim(*_limits([getattr(row, field) for row in rows for *_, field in pair]))
        plain_ticks(a.xaxis, EngFormatter(unit))
        a.set_ylim(len(rows) - 0.4, -0.6)
        a.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    axes[0].set_yticks(range(len(rows)), [f"{row.name}\n{row.outputs} × {row.inputs}" for row in rows])
    axes[0].set_xlabel("bytes")
    axes[1].set_xlabel("operations of a prediction")
    return axes


def _draw_bars(axes: Axes, values: Sequence[float], offset: float, colour: str, label: str, unit: str) -> None:
    """Draw a bar for every layer, with its number at the end."""
    bars = axes.barh(np.arange(len(values)) + offset, values, BAR, color=colour, label=label)
    form = EngFormatter(unit, places=1)
    axes.bar_label(
        bars, [form(v) if v >= 1000 else f"{v:g}{unit and ' ' + unit}" for v in values], padding=3, fontsize=8
    )


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis, with room for numbers beside the bars."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 4, max(positive)
    return low, high * (high / low) ** 0.3
