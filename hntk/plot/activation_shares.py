"""A staircase over the activation it stands for, and the share of a Gaussian's mass on each of its levels."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from hntk._utils.arguments import as_instance, as_positive
from hntk._utils.float64 import float64
from hntk.activations import Activation, Staircase
from hntk.activations import activation as activation_of
from hntk.activations.gaussian_cells import density, gaussian_cells
from hntk.plot.panels import one_panel
from hntk.plot.style import COLOURS, GRAY, styled

# Standard deviations that are drawn on either side, and points of a curve between them.
REACH, POINTS = 3.5, 1401
# Where bars of shares begin, in standard deviations, and how long the longest is.
BARS_FROM, BAR_LENGTH = 3.75, 2.0
# Shares are written beside bars that are so far apart, in terms of the levels' span.
WRITTEN_APART = 0.045
# The functions that have the kernels of σ, by their labels.
MIRRORED: dict[str, tuple[int, int]] = {
    "": (1, 1),
    ", as −σ(u)": (-1, 1),
    ", as σ(−u)": (1, -1),
    ", as −σ(−u)": (-1, -1),
}


@styled
def activation(
    staircase: Staircase,
    original: str | Activation | None = None,
    *,
    tau: float = 1.0,
    original_tau: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a staircase over its original, and the share of inputs on each of its levels.

    Inputs are Gaussian, and drawn in units of their standard deviation. With an original both functions are drawn less
    their means, which kernels of centred networks do not see. Neither do they see signs: where −σ(u), σ(−u) or −σ(−u)
    is nearer to the original than σ(u), it is drawn instead, and the legend says so.

    Parameters
    ----------
    staircase : Staircase
        The staircase, such as one of ``Match.activations``.
    original : str or Activation, optional
        The activation that it stands for, such as one of ``Match.original``.
    tau : float
        Standard deviation of the staircase's input: for layer l of a match ``coefficients.tau[l - 1]``.
    original_tau : float, optional
        Standard deviation of the original's input, by default ``tau``: ``original_coefficients.tau[l - 1]``.
    ax : Axes, optional
        Axes to draw on. By default those of a new figure.

    Returns
    -------
    Axes
        The axes. The bars at the right are as long as the shares, in units of the largest.

    Raises
    ------
    ValueError
        If the first argument is no staircase, the original is unknown, or a scale is not positive.

    Examples
    --------
    >>> import hntk.plot
    >>> axes = hntk.plot.activation(hntk.staircase([0.0], [-1.0, 1.0]), "tanh")
    >>> [text.get_text() for text in axes.texts]
    ['share of inputs', '50 %', '50 %']
    """
    as_instance(staircase, "staircase", Staircase, "a hntk.Staircase, such as match.activations[0]")
    tau = as_positive(tau, "tau")
    own_tau = tau if original_tau is None else as_positive(original_tau, "original_tau")
    whole = None if original is None else activation_of(original)
    axes = one_panel(ax, (6.4, 4.2))
    flip, mirror, centre, note = 1, 1, 0.0, ""
    if whole is not None:
        xi = np.linspace(-REACH, REACH, POINTS)
        curve = _at(whole, own_tau * xi) - whole.moments(own_tau).mean
        centre = staircase.moments(tau).mean
        note = _nearest(lambda t: _at(staircase, tau * t) - centre, curve, xi)
        flip, mirror = MIRRORED[note]
        axes.plot(xi, curve, color=GRAY, lw=1.4, label=whole.name)
    cells = mirror * np.array([-np.inf, *staircase.thresholds, np.inf])[::mirror] / tau
    heights = flip * (np.array(staircase.levels)[::mirror] - centre)
    inside = (cells[1:] > -REACH) & (cells[:-1] < REACH)
    ends = np.append(cells[:-1][inside], cells[1:][inside][-1:])
    axes.stairs(heights[inside], np.clip(ends, -REACH, REACH), baseline=None, color=COLOURS[0], lw=2,
                label=f"{staircase.name}{note}")  # fmt: skip
    _draw_shares(axes, heights, gaussian_cells(cells[1:-1]).probability)
    unit = (
        ""
        if tau == own_tau == 1
        else f", of τ = {tau:.3g}" + (f" and {own_tau:.3g}" if f"{own_tau:.3g}" != f"{tau:.3g}" else "")
    )
    axes.set(xlim=(-REACH, BARS_FROM + 1.5 * BAR_LENGTH), xticks=range(-3, 4),
             xlabel=f"input in standard deviations{unit}",
             ylabel="output" if whole is None else "output less its mean")  # fmt: skip
    axes.legend(loc="upper left")
    return axes


def _at(function: Activation, t: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Return the values of an activation in float64."""
    with float64():
        return np.asarray(function(jnp.asarray(t)), np.float64)


def _nearest(
    step: Callable[[np.ndarray], np.ndarray], curve: Float[np.ndarray, " m"], xi: Float[np.ndarray, " m"]
) -> str:
    """Return which of the functions with the same kernels has the largest correlation with a curve; σ(u) of equals."""
    products = {note: flip * float(np.sum(density(xi) * curve * step(mirror * xi)))
                for note, (flip, mirror) in MIRRORED.items()}  # fmt: skip
    largest = max(products.values())
    return next(note for note, product in products.items() if product >= largest - 1e-9 * abs(largest))


def _draw_shares(axes: Axes, heights: Float[np.ndarray, " c"], masses: Float[np.ndarray, " c"]) -> None:
    """Draw a bar at the height of every level, as long as the share of inputs that is mapped to it."""
    levels, place = np.unique(heights, return_inverse=True)
    shares = np.bincount(place, masses)
    gaps = np.diff(levels)
    span = max(float(np.ptp(levels)), 1e-300)
    thick = min(0.06 * span, 0.8 * float(gaps.min())) if gaps.size else 0.1
    lengths = BAR_LENGTH * shares / shares.max()
    axes.barh(levels, lengths, thick, left=BARS_FROM, color=COLOURS[0], alpha=0.45, lw=0)
    axes.axvline(BARS_FROM, color=GRAY, lw=0.8)
    axes.annotate("share of inputs", (BARS_FROM, 1.0), (3, 3), xycoords=axes.get_xaxis_transform(),
                  textcoords="offset points", fontsize=8, color=GRAY)  # fmt: skip
    written: list[float] = []
    for k in np.argsort(-shares, kind="stable").tolist():
        if all(abs(levels[k] - other) >= WRITTEN_APART * span for other in written):
            written.append(float(levels[k]))
            text = "< 1 %" if 0 < shares[k] < 0.0095 else f"{100 * shares[k]:.0f} %"
            axes.annotate(text, (BARS_FROM + lengths[k], levels[k]), (3, 0), textcoords="offset points", va="center",
                          fontsize=8)  # fmt: skip
