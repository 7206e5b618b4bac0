"""Densities of eigenvalues with their edges, atoms and spikes, over a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from hntk._utils.arguments import as_count, as_instance
from hntk._utils.arrays import brief
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.asymptotics.limiting_kernel import LimitingKernel
from hntk.asymptotics.limiting_spikes import Spike
from hntk.plot.panels import named, one_panel
from hntk.plot.spectra import MOST_BINS, eigenvalues
from hntk.plot.style import COLOURS, GRAY, STYLES, styled
from hntk.spectra.density import SpectralDensity

Density = LimitingDensity | FiniteSizeDensity | SpectralDensity
KINDS = (LimitingDensity, FiniteSizeDensity, SpectralDensity)
# Share of the shown range that is left free on either side of it, and points of a curve.
MARGIN, POINTS = 0.06, 600
# Bulk of a finite size that is shown: all but so small a share below and above.
TAILS = (0.001, 0.9995)
# Height of the axis where an atom stands beside the bulk, in terms of the bulk's largest density.
ATOM_ROOM = 2.6


@styled
def density(
    of: object,
    values: object | None = None,
    *,
    spikes: Sequence[Spike] | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw a density of eigenvalues with its edges, atoms and spikes, over a histogram of eigenvalues.

    Dotted lines are edges of a limit's support, arrows its atoms with their masses, and triangles spikes.

    Parameters
    ----------
    of : LimitingKernel, LimitingDensity, FiniteSizeDensity, SpectralDensity, or mapping
        The density, or several by name. Of a kernel it is the density in the limit, with the kernel's spikes. The
        Gauss rules of a SpectralDensity are widened to what it resolves, their range over their number of nodes.
    values : Spectrum, (n, n) matrix or operator, or (m,) eigenvalues, optional
        Eigenvalues to draw as a histogram. What lies beyond the axis is told at its right end.
    spikes : sequence of Spike, optional
        Spikes to mark. Directions below their phase transition are left out. By default those of a LimitingKernel.
    bins : int
        Number of bins of the histogram.
    ax : Axes, optional
        Axes to draw on. By default those of a new figure.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If it is no density, or the eigenvalues or a setting do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import hntk.plot
    >>> law = hntk.asymptotics.MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> axes = hntk.plot.density(hntk.asymptotics.LimitingKernel.of(law, 800, ["relu"]))
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['limit', 'spikes']
    """
    bins = as_count(bins, "bins", 1, MOST_BINS)
    if isinstance(of, LimitingKernel):
        of, spikes = {"limit": of.density()}, of.spikes() if spikes is None else spikes
    shown = {name: _checked(one) for name, one in named(of, "of").items()}
    marked = [spike.value for spike in _as_spikes(spikes) if spike.above]
    found = None if values is None else eigenvalues(values)
    axes = one_panel(ax, (6.4, 4.2))
    low, high = shown_range(list(shown.values()), marked)
    heights = [0.0] if found is None else [_top(histogram(axes, found, low, high, bins))]
    for i, (name, one) in enumerate(shown.items()):
        heights.append(_draw_curve(axes, one, low, high, i, name))
    atoms = [atom for one in shown.values() for atom in (one.atoms if isinstance(one, LimitingDensity) else ())]
    bulk = [h for h, one in zip(heights[1:], shown.values(), strict=True) if isinstance(one, LimitingDensity) and h > 0]
    top = ATOM_ROOM * max(bulk) if atoms and bulk else 1.15 * max(heights)
    axes.set(xlim=(low, high), ylim=(0, top or 1.0), xlabel="eigenvalue", ylabel="share of eigenvalues per unit")
    for place, mass in atoms:
        _draw_atom(axes, place, mass, high - low)
    _draw_spikes(axes, marked)
    if found is not None:
        _tell_beyond(axes, found, high)
    if found is not None or any(shown) or marked:
        axes.legend(loc="upper right")
    return axes


def shown_range(densities: Sequence[Density], spikes: Sequence[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis that shows the bulk of every density, and the spikes, with a margin."""
    ends = np.array([_bulk_ends(one) for one in densities]).reshape(-1, 2)
    left, right = ends[:, 0].min(), max(ends[:, 1].max(), *spikes, -np.inf)
    margin = MARGIN * (right - left) or 0.05 * abs(left) or 1.0
    return float(left - margin), float(right + margin)


def histogram(
    axes: Axes, values: Float[np.ndarray, " n"], low: float, high: float, bins: int
) -> Float[np.ndarray, " bins"]:  # fmt: skip
    """Draw a histogram of eigenvalues as shares per unit, and return the heights of its bars."""
    edges = np.linspace(low, high, bins + 1)
    heights = np.histogram(values, edges)[0] / (values.size * np.diff(edges))
    axes.stairs(heights, edges, fill=True, color=COLOURS[0], alpha=0.3, label="eigenvalues")
    return heights


def _checked(one: Any) -> Density:
    remedy = "a LimitingKernel, LimitingDensity, FiniteSizeDensity or SpectralDensity, or a mapping of such densities"
    return as_instance(one, "of", KINDS, remedy)


def _as_spikes(spikes: Sequence[Spike] | None) -> list[Spike]:
    given: list[Any] = [] if spikes is None else list(spikes) if isinstance(spikes, Sequence) else [spikes]
    if not all(isinstance(spike, Spike) for spike in given):
        raise ValueError(f"spikes must be a list of Spike, such as LimitingKernel.spikes() gives, got {brief(spikes)}.")
    return given


def _bulk_ends(one: Density) -> tuple[float, float]:
    """Return where the bulk of a density begins and ends."""
    if isinstance(one, LimitingDensity):
        places = [*one.edges.ravel(), *(place for place, _ in one.atoms)]
        return min(places), max(places)
    if isinstance(one, FiniteSizeDensity):
        cumulative = np.cumsum(one.values * np.gradient(one.grid))
        low, high = np.interp(TAILS, cumulative, one.grid)
        return float(low), float(high)
    used = np.asarray(one.nodes)[np.asarray(one.weights) > 0]
    return float(used.min()), float(used.max())


def _top(heights: Float[np.ndarray, " bins"]) -> float:
    """Return the height that the axis needs for a histogram, whose single highest bar may be cut off."""
    return float(np.sort(heights)[-2:].mean())


def _draw_curve(axes: Axes, one: Density, low: float, high: float, index: int, name: str) -> float:
    """Draw a density, and a limit's edges, and return its largest value."""
    colour = COLOURS[(index + 1) % len(COLOURS)]
    look = {"color": colour, "linestyle": STYLES[index % len(STYLES)], "lw": 1.6, "label": name or None}
    if isinstance(one, LimitingDensity):
        # one line, interrupted between the intervals
        grids = [np.append(_dense_at_ends(*edges), np.nan) for edges in one.edges]
        grid = np.concatenate(grids) if grids else np.zeros(0)
        inside = np.isfinite(grid)
        heights = np.full(grid.shape, np.nan)
        heights[inside] = one.density(grid[inside])
        for edge in one.edges.ravel():
            axes.axvline(edge, color=colour, lw=0.9, linestyle=":")
    elif isinstance(one, FiniteSizeDensity):
        grid = one.grid[(one.grid > low) & (one.grid < high)]
        heights = one.density(grid)
    else:
        grid = np.linspace(low, high, POINTS)
        left, right = _bulk_ends(one)
        heights = one.density(grid, (right - left) / np.shape(one.nodes)[1] or (high - low) / POINTS)
    axes.plot(grid, heights, **look)
    return float(np.nanmax(heights, initial=0.0))


def _dense_at_ends(left: float, right: float) -> Float[np.ndarray, " m"]:
    """Return points between two edges, dense at both, where the density rises steeply."""
    return left + (right - left) * (1 - np.cos(np.linspace(0.02, np.pi - 0.02, POINTS // 2))) / 2


def _draw_atom(axes: Axes, place: float, mass: float, width: float) -> None:
    """Draw an arrow at an atom, with its mass beside it."""
    top = axes.get_ylim()[1]
    axes.annotate("", (place, top), (place, 0), arrowprops={"arrowstyle": "->", "color": GRAY, "lw": 1.4})
    axes.annotate(f"{mass:.0%} at {place:.3g}".replace("%", " %"), (place + 0.012 * width, 0.97),
                  xycoords=axes.get_xaxis_transform(), va="top", fontsize=8, color=GRAY)  # fmt: skip


def _draw_spikes(axes: Axes, places: Sequence[float]) -> None:
    """Draw triangles at spikes, above the axis, with their values."""
    if places:
        axes.plot(places, np.full(len(places), 0.04), linestyle="none", marker="v", ms=7, color=COLOURS[3],
                  label="spikes", transform=axes.get_xaxis_transform())  # fmt: skip
    for place in places:
        axes.annotate(f"{place:.4g}", (place, 0.04), (0, 6), xycoords=axes.get_xaxis_transform(), rotation=90,
                      textcoords="offset points", ha="center", va="bottom", fontsize=8)  # fmt: skip


def _tell_beyond(axes: Axes, values: Float[np.ndarray, " n"], high: float) -> None:
    beyond = int(np.sum(values > high))
    if beyond:
        axes.annotate(f"{beyond / values.size:.2%} beyond →", (0.99, 0.21), va="bottom", xycoords="axes fraction",
                      ha="right", fontsize=8, color=GRAY)  # fmt: skip
