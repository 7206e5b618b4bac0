"""Leading eigenvectors of kernels against the samples, and their alignment within near-degenerate eigenspaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from hntk._utils.arguments import as_count, as_nonnegative
from hntk._utils.arrays import brief, finite_array
from hntk._utils.labels import as_labels
from hntk.plot.panels import named, panels
from hntk.plot.style import COLOURS, GRAY, STYLES, styled
from hntk.spectra.comparison import Spectrum
from hntk.spectra.eigenpairs import Eigenpairs


class Leading(NamedTuple):
    """Leading eigenvalues, where they are known, and eigenvectors as columns."""

    values: Float[np.ndarray, " k"] | None
    vectors: Float[np.ndarray, "n k"]


@styled
def eigenvectors(
    pairs: object,
    labels: object | None = None,
    *,
    count: int | None = None,
    near: float = 0.1,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """Draw leading eigenvectors against the samples, one panel each.

    An eigenvector has no sign, and eigenvectors of nearly equal eigenvalues are any orthonormal basis of the space
    they span, so that those of two kernels that agree may look different. The eigenvectors of the second kernel and
    later ones are therefore turned onto those of the first: within every group of nearly equal eigenvalues by the
    orthogonal matrix that brings them nearest (Procrustes), and the panel says so. One on its own is at most negated.

    Parameters
    ----------
    pairs : Spectrum, Eigenpairs, (n, k) eigenvectors as columns, or mapping
        The eigenvectors, or those of several kernels by name, drawn over each other. Arrays have no eigenvalues, and
        their eigenvectors count as well apart unless another kernel's eigenvalues say otherwise.
    labels : array, shape (n,), optional
        Classes of the samples: samples are drawn class after class, with the mean of each as a thick line.
    count : int, optional
        Number of eigenvectors to draw. By default all that every kernel has, and 6 at most.
    near : float
        Relative distance below which neighbouring eigenvalues belong to one group. 0 only chooses signs.
    ax : sequence of Axes, optional
        Axes to draw on, one for each eigenvector. By default those of a new figure.

    Returns
    -------
    ndarray
        The axes, one for each eigenvector.

    Raises
    ------
    ValueError
        If kernels have different numbers of samples, labels do not fit, or a setting does not.

    Examples
    --------
    >>> import numpy as np
    >>> import hntk.plot
    >>> kernel = np.diag([1.0, 3.0, 2.0])
    >>> len(hntk.plot.eigenvectors(hntk.spectrum(kernel, 2), [0, 0, 1]))
    2
    """
    spaces = {name: _leading(one) for name, one in named(pairs, "pairs").items()}
    n, most = _common_shape(list(spaces.values()))
    count = as_count(min(most, 6) if count is None else count, "count", 1, most)
    near = as_nonnegative(near, "near", "a relative distance of eigenvalues")
    groups = near_groups([space.values for space in spaces.values()], most, near)
    shown = aligned([space.vectors for space in spaces.values()], groups)
    classes = None if labels is None else as_labels(labels, n, least=1)[1]
    axes = panels(ax, (count, 1), (8.0, 1.7 * count + 0.9), sharex=True)
    for k, a in enumerate(axes):
        for i, (name, vectors) in enumerate(zip(spaces, shown, strict=True)):
            _draw_vector(a, vectors[:, k], classes, i, name)
        group = next(group for group in groups if k in group)
        if len(group) > 1 and len(spaces) > 1:
            _tell_turned(a, group, near)
        a.set_ylabel(f"eigenvector {k + 1}")
        a.margins(x=0.01)
    axes[-1].set_xlabel("sample" if classes is None else "sample, class after class (thick: class means)")
    if any(spaces):
        axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(spaces))
    return axes


def near_groups(spectra: Sequence[Float[np.ndarray, " k"] | None], count: int, near: float) -> list[range]:
    """Return groups of neighbouring eigenvalues, from 0 to ``count``, that are nearly equal in any of the spectra.

    Parameters
    ----------
    spectra : sequence of array or None
        Leading eigenvalues, descending; None where they are not known.
    count : int
        Number of eigenvalues to group.
    near : float
        Relative distance up to which neighbours are nearly equal.

    Returns
    -------
    list of range
        The groups, ascending.
    """
    starts = [0]
    for k in range(1, count):
        known = [values for values in spectra if values is not None]
        if not any(abs(v[k - 1] - v[k]) <= near * abs(v[k - 1]) for v in known):
            starts.append(k)
    return [range(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def aligned(spaces: Sequence[Float[np.ndarray, "n k"]], groups: Sequence[range]) -> list[Float[np.ndarray, "n k"]]:
    """Return eigenvectors turned onto those of the first space, within every group of columns.

    The orthogonal Q that makes ‖VQ − V_1‖ least is UWᵀ, where VᵀV_1 = USWᵀ; for one column it is a sign.
    """
    reference = spaces[0]
    # products of columns of any scale do not overflow
    first, *_ = units = [vectors / (np.max(np.abs(vectors)) or 1.0) for vectors in spaces]
    turned = []
    for vectors, unit in zip(spaces, units, strict=True):
        own = vectors.copy()
        for group in groups:
            part = slice(group.start, group.stop)
            u, _, w = np.linalg.svd(unit[:, part].T @ first[:, part])
            own[:, part] = own[:, part] @ u @ w
        turned.append(own)
    return [reference, *turned[1:]]


def _leading(given: Any) -> Leading:
    if isinstance(given, Spectrum):
        vectors = np.asarray(given.leading)
        return Leading(np.asarray(given.values)[: vectors.shape[1]], vectors)
    if isinstance(given, Eigenpairs):
        return Leading(np.asarray(given.values), np.asarray(given.vectors))
    vectors = finite_array(given, "pairs")
    if vectors.ndim != 2 or not vectors.size or vectors.shape[1] > vectors.shape[0]:
        raise ValueError(
            f"pairs must have eigenvectors as columns, of shape (n, k), got {brief(given)}: hntk.spectrum(kernel, k) "
            "gives them."
        )
    return Leading(None, vectors)


def _common_shape(spaces: Sequence[Leading]) -> tuple[int, int]:
    """Return the number of samples, and of eigenvectors that all kernels have."""
    sizes = {space.vectors.shape[0] for space in spaces}
    if len(sizes) > 1:
        raise ValueError(f"eigenvectors must be of the same samples, got {sorted(sizes)} of them.")
    return sizes.pop(), min(space.vectors.shape[1] for space in spaces)


def _draw_vector(
    axes: Axes, vector: Float[np.ndarray, " n"], classes: Int[np.ndarray, " n"] | None, index: int, name: str
) -> None:
    """Draw one eigenvector, with classes in order and with their means."""
    colour = COLOURS[index % len(COLOURS)]
    if classes is None:
        axes.plot(vector, color=colour, lw=0.8, alpha=0.7, label=name or None)
        return
    order = np.argsort(classes, kind="stable")
    axes.plot(vector[order], color=colour, lw=0.5, alpha=0.45 if index == 0 else 0.35)
    means = np.bincount(classes, vector) / np.bincount(classes)
    axes.plot(means[classes[order]], color=colour, linestyle=STYLES[index % len(STYLES)], lw=2.2, label=name or None)
    if index == 0:
        for boundary in np.flatnonzero(np.diff(classes[order])) + 1:
            axes.axvline(boundary - 0.5, color="black", lw=0.8)


def _tell_turned(axes: Axes, group: range, near: float) -> None:
    text = f"eigenvalues {group.start + 1}–{group.stop} within {near:.0%}: turned onto the first kernel's"
    axes.annotate(text, (0.99, 0.98), xycoords="axes fraction", ha="right", va="top", fontsize=8, color=GRAY,
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5})  # fmt: skip
