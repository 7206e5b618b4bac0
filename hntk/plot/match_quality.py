"""How well a match does: coefficients of both networks, the shift δ, and bounds that no match can beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from hntk._utils.arguments import as_instance
from hntk.matching.bounds import Certificate
from hntk.matching.result import Match
from hntk.plot.panels import panels
from hntk.plot.style import COLOURS, GRAY, styled

SYMBOLS = {"alpha": "α", "beta": "β"}
SUBSCRIPTS = "₁₂₃"
BAR = 0.38
# Coefficients below this share are rounding errors.
ROUNDING = 1e-12


@styled
def match(
    result: Match | Certificate, *, bound: bool = True, ax: Axes | Sequence[Axes] | np.ndarray | None = None
) -> np.ndarray:
    """Draw the coefficients of a match beside the original's, the shift δ, and the bounds on it.

    Coefficients are in units of the original's τ_L² and powers of τ_0, so that those of the conjugate kernel are shares
    of its diagonal. A coefficient that was not asked for is hatched. The other panel has the output variances of the
    compressed network and of its layers: the network's τ̂_L² in units of the original's τ_L², which is 1 + δ/τ_L², and
    each layer's in its own units. Ticks are bounds that no network, or layer, of as many levels can be below.

    Parameters
    ----------
    result : Match or Certificate
        The match, or the bounds of one, for which there is no panel of coefficients.
    bound : bool
        Whether to draw the bounds of a match, which takes seconds where they were not computed yet.
    ax : Axes or sequence of Axes, optional
        Axes to draw on, one for each panel. By default those of a new figure.

    Returns
    -------
    ndarray
        The axes: of the coefficients, and of the bounds.

    Raises
    ------
    ValueError
        If it is neither a match nor a certificate, or the number of axes is wrong.

    Examples
    --------
    >>> import hntk.plot
    >>> coefficients, bounds = hntk.plot.match(hntk.match(["relu"], tau0=1.0, levels=4))
    >>> [label.get_text() for label in bounds.get_yticklabels()]
    ['network', 'layer 1']
    """
    as_instance(result, "result", (Match, Certificate), "a hntk.Match or a hntk.Certificate")
    as_instance(bound, "bound", (bool, np.bool_), "True or False")
    alone = isinstance(result, Certificate)
    count = 2 if bound and not alone else 1
    axes = panels(ax, (1, count), (4.1 * count, 3.4))
    if isinstance(result, Match):
        _draw_coefficients(axes[0], result)
        if bound:
            _draw_bounds(axes[1], result.certificate)
    else:
        _draw_bounds(axes[0], result)
    return axes


def _draw_coefficients(axes: Axes, result: Match) -> None:
    """Draw bars of the coefficients of both networks, those of a kernel that was matched in any."""
    kernels = dict.fromkeys(name[:-1] for name in result.asked)
    names = [f"{kernel}{k}" for kernel in kernels for k in (1, 2, 3)]
    pairs = np.array([result.final_shares(name) for name in names])
    rows = np.arange(len(names))
    axes.barh(rows - BAR / 2, pairs[:, 0], BAR, color=GRAY, label="original")
    bars = axes.barh(rows + BAR / 2, pairs[:, 1], BAR, color=COLOURS[0], label="compressed")
    for name, bar in zip(names, bars, strict=True):
        if name not in result.asked:
            bar.set(facecolor="white", edgecolor=COLOURS[0], hatch="////")
    axes.bar_label(
        bars, ["0" if abs(value) < ROUNDING else f"{value:.3g}" for value in pairs[:, 1]], padding=3, fontsize=8
    )
    axes.set_yticks(rows, [SYMBOLS[name[:-1]] + SUBSCRIPTS[int(name[-1]) - 1] for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.set_xlabel("coefficient, by τ_L² and powers of τ_0")
    unasked = ", hatched: not asked for" if set(names) - set(result.asked) else ""
    axes.set_title(f"largest miss {max(result.residuals.values()):.1g}{unasked}", fontsize=9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2)


def _draw_bounds(axes: Axes, certificate: Certificate) -> None:
    """Draw variances as dots, and their bounds as ticks."""
    names = ["network", *(f"layer {k}" for k in range(1, len(certificate.layers) + 1))]
    reached = np.array([certificate.ratio, *(layer.variance for layer in certificate.layers)])
    least = np.array([max(1.0, certificate.bound), *(layer.bound for layer in certificate.layers)])
    rows = np.arange(len(names))
    axes.hlines(rows, least, reached, color=COLOURS[0], lw=2, alpha=0.5)
    axes.plot(least, rows, linestyle="none", marker="|", ms=15, mew=2.5, color=COLOURS[1], label="bound")
    axes.plot(reached, rows, linestyle="none", marker="o", ms=8, color=COLOURS[0], label="reached")
    axes.set_yticks(rows, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel("output variance (the original's: 1)")
    # a lossless match has δ = 0 up to rounding, of either sign
    shift, gap = (0.0 if abs(number) < ROUNDING else number for number in (certificate.ratio - 1, certificate.gap))
    axes.set_title(f"δ = {shift:.2%} of τ_L², at most {gap:.2%} from the best", fontsize=9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2)
