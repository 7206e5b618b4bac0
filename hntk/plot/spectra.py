"""Histograms of the eigenvalues of kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from hntk._utils.arguments import as_count
from hntk._utils.arrays import finite_array, real_array
from hntk.plot.panels import add_legend, named, one_panel
from hntk.plot.style import COLOURS, GRAY, line_style, plain_ticks, styled
from hntk.spectra.comparison import Spectrum
from hntk.spectra.eigenpairs import Eigenpairs
from hntk.spectra.operators import is_operator, knows_spectrum, symmetric

# The share of the largest eigenvalue below which others are left out: a logarithmic axis has no place for 0.
SMALLEST_SHARE = 1e-6
MOST_BINS = 10_000


@styled
def spectrum(kernel: object, *, spikes: int | None = None, bins: int = 70, ax: Axes | None = None) -> Axes:
    """Draw a histogram of eigenvalues on logarithmic axes; triangles mark the largest ones.

    Eigenvalues below 1e-6 of the largest, such as the 0 of a centred kernel, have no place on the axis: a line below
    the legend tells how many there are.

    Parameters
    ----------
    kernel : Spectrum, Eigenpairs, (n, n) matrix or operator, (n,) eigenvalues, Kernels, or mapping
        What has the eigenvalues. A mapping from names to such objects, and a pair of kernels, are drawn over each
        other, the first one filled.
    spikes : int, optional
        Number of leading eigenvalues that triangles mark. By default as many as there are eigenvectors, and none where
        only eigenvalues are known.
    bins : int
        Number of bins.
    ax : Axes, optional
        Axes to draw on. By default those of a new figure.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If there is no positive eigenvalue, a matrix is not symmetric, or a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import hntk.plot
    >>> axes = hntk.plot.spectrum({"exact": np.diag([1.0, 3.0, 2.0]), "theory": [1.1, 2.9, 2.0]}, spikes=1)
    >>> axes.get_xlabel(), [text.get_text() for text in axes.get_legend().get_texts()]
    ('eigenvalue', ['exact', 'theory'])
    """
    bins = as_count(bins, "bins", 1, MOST_BINS)
    given = named(kernel, "kernel")
    spectra = {name: eigenvalues(one) for name, one in given.items()}
    marked = [
        _spikes_of(one, spikes, values.size) for one, values in zip(given.values(), spectra.values(), strict=True)
    ]
    shown = [values[values > SMALLEST_SHARE * max(values.max(), 0)] for values in spectra.values()]
    together = np.concatenate(shown)
    if not together.size:
        raise ValueError("no eigenvalue is positive, and a logarithmic axis needs some: check the kernel's sign.")
    axes = one_panel(ax, (6.4, 4.4))
    edges = np.geomspace(together.min() * 0.95, together.max() * 1.05, bins + 1)
    for i, (name, values) in enumerate(zip(spectra, shown, strict=True)):
        look = {"color": COLOURS[0], "alpha": 0.3, "fill": True} if i == 0 else {"lw": 1.6, **line_style(i)}
        axes.stairs(np.histogram(values, edges)[0], edges, label=name or None, **look)
    _mark_spikes(axes, list(spectra.values()), marked)
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue", ylabel="number of eigenvalues")
    # room for the legend above the bulk
    axes.set_ylim(0.7, (8 if any(spectra) else 2) * axes.get_ylim()[1])
    axes.set_xlim(edges[0], edges[-1] * 1.02)
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    add_legend(axes, spectra, loc="upper right")
    _count_hidden(axes, sum(map(np.size, spectra.values())) - together.size)
    return axes


def eigenvalues(kernel: Any) -> Float[np.ndarray, " n"]:
    """Return the eigenvalues of a kernel, or those that were given, descending.

    Raises
    ------
    ValueError
        If there is none, or a matrix is not finite or not symmetric.
    """
    if isinstance(kernel, Spectrum | Eigenpairs):
        return np.asarray(kernel.values)
    if knows_spectrum(kernel):
        return np.asarray(kernel.eigvalsh())
    if is_operator(kernel) or np.ndim(real_array(kernel, "kernel")) == 2:
        return np.linalg.eigvalsh(symmetric(kernel))[::-1]
    values = finite_array(kernel, "kernel")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"kernel must be an (n, n) matrix or (n,) eigenvalues, got shape {values.shape}.")
    return np.sort(values)[::-1]


def _spikes_of(kernel: object, spikes: int | None, size: int) -> int:
    """Return how many leading eigenvalues are marked: those asked for, or those whose eigenvectors are known."""
    if spikes is not None:
        return as_count(spikes, "spikes", 0, size)
    vectors = getattr(kernel, "leading", getattr(kernel, "vectors", None))
    return 0 if isinstance(kernel, np.ndarray) or vectors is None else np.shape(vectors)[1]


def _mark_spikes(axes: Axes, spectra: list[np.ndarray], marked: list[int]) -> None:
    """Draw triangles at the leading eigenvalues near the bottom of the axes, a row a spectrum, the first lowest."""
    for i, (values, spikes) in enumerate(zip(spectra, marked, strict=True)):
        if spikes:
            axes.plot(values[:spikes], np.full(spikes, 0.06 + 0.055 * i), linestyle="none", marker="v", ms=6,
                      color=COLOURS[i % len(COLOURS)], mec="white", mew=0.5,
                      transform=axes.get_xaxis_transform())  # fmt: skip


def _count_hidden(axes: Axes, hidden: int) -> None:
    if hidden:
        axes.annotate(f"{hidden:,} below the axis", (0.01, 0.99), xycoords="axes fraction", va="top", fontsize=8,
                      color=GRAY)  # fmt: skip
