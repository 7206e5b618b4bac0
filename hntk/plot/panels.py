"""Axes to draw on: those that were given, or those of a new figure; and objects with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from hntk._utils.arguments import as_instance
from hntk._utils.arrays import brief

# Names of the kernels in pairs such as hntk.Kernels.
KERNEL_NAMES = {"ck": "conjugate kernel", "ntk": "neural tangent kernel"}


def one_panel(ax: object, size: tuple[float, float]) -> Axes:
    """Return the given Axes, or those of a new figure of a size in inches.

    Raises
    ------
    ValueError
        If something else than Axes was given.
    """
    if ax is None:
        return plt.subplots(figsize=size)[1]
    return as_instance(ax, "ax", Axes, "matplotlib Axes, or None for a new figure")


def panels(ax: Any, shape: tuple[int, int], size: tuple[float, float], **options: Any) -> np.ndarray:
    """Return as many Axes as a figure has panels: those given, or those of a new figure.

    Parameters
    ----------
    ax : object
        Axes, a sequence or array of them, or None.
    shape : tuple of int
        Rows and columns of a new figure.
    size : tuple of float
        Size of a new figure in inches.
    **options
        Options of ``plt.subplots``.

    Returns
    -------
    ndarray
        Rows times columns Axes, in one dimension.

    Raises
    ------
    ValueError
        If something else than Axes was given, or another number of them.
    """
    count = shape[0] * shape[1]
    if ax is None:
        return plt.subplots(*shape, figsize=size, squeeze=False, **options)[1].ravel()
    given: list[Any] = list(np.ravel(ax)) if isinstance(ax, np.ndarray | Sequence) else [ax]
    if len(given) != count or not all(isinstance(one, Axes) for one in given):
        raise ValueError(
            f"ax must be {count} matplotlib Axes, one a panel, or None for a new figure; got {brief(ax)}. "
            f"plt.subplots({shape[0]}, {shape[1]})[1] makes them."
        )
    return np.array(given, dtype=object)


def named(given: Any, what: str) -> dict[str, Any]:
    """Return objects by name: of a mapping its items, of a pair of kernels both, and of another object itself as "".

    Raises
    ------
    ValueError
        If a mapping is empty, or a name is no text.
    """
    if not isinstance(given, Mapping):
        pair = getattr(given, "_fields", None) == tuple(KERNEL_NAMES)
        return {name: getattr(given, kernel) for kernel, name in KERNEL_NAMES.items()} if pair else {"": given}
    if not given:
        raise ValueError(f"{what} is empty: give at least one.")
    wrong = next((name for name in given if not isinstance(name, str)), None)
    if wrong is not None:
        raise ValueError(f"names of {what} must be text, got {brief(wrong)}.")
    return dict(given)


def add_legend(axes: Axes, names: Mapping[str, Any], **options: Any) -> None:
    """Draw a legend where there is a name to show."""
    if any(names):
        axes.legend(**options)
