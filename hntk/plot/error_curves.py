"""Errors against sizes: with fitted rates, and predicted beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from hntk._utils.arguments import as_choice, as_instance
from hntk._utils.arrays import brief, finite_array, real_array
from hntk._utils.statistics import growth_exponent, mean_and_error
from hntk.asymptotics.learning import Criterion, Learned
from hntk.plot.panels import add_legend, named, one_panel
from hntk.plot.style import COLOURS, MARKS, line_style, listed_ticks, plain_ticks, styled

ERROR_NAMES = {"classification": "test error (share)", "squared": "test squared error"}
Scale = Literal["linear", "log"]
# Most sizes of which each is labelled.
MOST_LISTED = 8


@styled
def convergence(sizes: object, errors: object, *, across: str = "n", ax: Axes | None = None) -> Axes:
    """Draw errors against sizes on logarithmic axes, with the rate of the power law that fits each best.

    Parameters
    ----------
    sizes : array, shape (m,)
        Sizes, such as numbers of samples, positive.
    errors : array, shape (m,) or (m, draws), or mapping
        Positive errors at every size, or several lines of them by name. Of several draws the line is the mean, and
        every draw is a dot.
    across : str
        What the sizes are, in labels and rates.
    ax : Axes, optional
        Axes to draw on. By default those of a new figure.

    Returns
    -------
    Axes
        The axes; each label in the legend ends with the rate, such as $n^{-0.51}$.

    Raises
    ------
    ValueError
        If a number is not positive, or shapes do not fit.

    Examples
    --------
    >>> import hntk.plot
    >>> axes = hntk.plot.convergence([100, 200, 400], {"CK": [0.2, 0.1, 0.05]})
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['CK: $n^{-1.00}$']
    """
    as_instance(across, "across", str, "text, such as 'n'")
    places = _sizes(sizes)
    lines = {name: _errors(one, name, places) for name, one in named(errors, "errors").items()}
    axes = one_panel(ax, (6.4, 4.4))
    for i, (name, draws) in enumerate(lines.items()):
        means = draws.mean(axis=1)
        rate = growth_exponent(places, means) if np.unique(places).size > 1 else None
        label = ": ".join([*([name] if name else []), *([] if rate is None else [f"${across}^{{{rate:.2f}}}$"])])
        axes.plot(places, means, marker=MARKS[i % len(MARKS)], ms=5, label=label or None, **line_style(i))
        if draws.shape[1] > 1:
            axes.plot(places, draws, color=COLOURS[i % len(COLOURS)], linestyle="none", marker=".", ms=4, alpha=0.5)
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel="error")
    _label_sizes(axes, places)
    plain_ticks(axes.yaxis)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    return axes


@styled
def learning_curve(
    sizes: object,
    predicted: object,
    measured: object | None = None,
    *,
    measured_sizes: object | None = None,
    error: Criterion = "classification",
    scale: Scale = "log",
    ax: Axes | None = None,
) -> Axes:
    """Draw the test errors that theory predicts as lines, and measured ones as marks with standard errors.

    Parameters
    ----------
    sizes : array, shape (m,)
        Numbers of training samples, or other places such as ridges or times, of the predictions.
    predicted : sequence of Learned or float, or mapping
        What :class:`hntk.asymptotics.LimitingKernel` or its functions predict at every size, or errors as numbers; or
        several lines of them by name. NaN where there is no prediction.
    measured : array, shape (k,) or (k, draws), or mapping
        Measured errors, or those of each line by its name: marks are means over draws, and bars their standard errors.
    measured_sizes : array, shape (k,), optional
        Sizes of what was measured. By default ``sizes``.
    error : {"classification", "squared"}
        Which test error of the predictions is drawn.
    scale : {"log", "linear"}
        Scale of the sizes.
    ax : Axes, optional
        Axes to draw on. By default those of a new figure.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If shapes do not fit, names of what was measured have no line, or a setting is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import hntk.plot
    >>> law = hntk.asymptotics.MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> curve = [hntk.asymptotics.ridge_regression(law, n, ["relu"], 0.1) for n in (200, 800)]
    >>> axes = hntk.plot.learning_curve([200, 800], curve, [[0.05, 0.06], [0.03, 0.04]])
    >>> axes.lines[0].get_ydata().round(3)
    array([0.048, 0.035])
    """
    as_choice(error, "error", get_args(Criterion))
    as_choice(scale, "scale", get_args(Scale))
    places = _sizes(sizes)
    lines = {name: _predictions(one, name, places, error) for name, one in named(predicted, "predicted").items()}
    at = places if measured_sizes is None else _sizes(measured_sizes, "measured_sizes")
    marks = {} if measured is None else named(measured, "measured")
    draws = {name: _errors(one, name, at, least=None) for name, one in marks.items()}
    unknown = [name for name in marks if name not in lines]
    if unknown:
        raise ValueError(f"measured has {brief(unknown)}, of which there is no line: predicted has {brief([*lines])}.")
    axes = one_panel(ax, (6.4, 4.4))
    for i, (name, line) in enumerate(lines.items()):
        axes.plot(places, line, lw=1.6, label=name or ("theory" if marks else None), **line_style(i))
        if name in marks:
            _draw_measured(axes, at, draws[name], i, "" if name else "measured")
    axes.set(xscale=scale, xlabel="training samples n", ylabel=ERROR_NAMES[error])
    if scale == "log":
        _label_sizes(axes, at if marks else places)
    if marks:
        axes.legend(title="lines: theory; marks: measured" if any(lines) else None, title_fontsize=8)
    else:
        add_legend(axes, lines)
    return axes


def _draw_measured(axes: Axes, places: np.ndarray, draws: np.ndarray, index: int, label: str) -> None:
    """Draw means over draws with standard errors; the first line's marks are hollow, as others may cover them."""
    means, errors = np.array([mean_and_error(row) for row in draws]).T
    colour, hollow = COLOURS[index % len(COLOURS)], index == 0
    axes.errorbar(places, means, np.nan_to_num(errors), linestyle="none", capsize=3, color=colour,
                  marker=MARKS[index % len(MARKS)], ms=7 if hollow else 5, mfc="none" if hollow else colour,
                  label=label or None)  # fmt: skip


def _sizes(given: object, name: str = "sizes") -> Float[np.ndarray, " m"]:
    """Return positive sizes in one dimension."""
    sizes = finite_array(given, name)
    if sizes.ndim != 1 or not sizes.size or np.any(sizes <= 0):
        raise ValueError(f"{name} must be positive numbers in one dimension, got {brief(given)}.")
    return sizes


def _errors(
    given: Any, name: str, sizes: Float[np.ndarray, " m"], *, least: float | None = 0.0
) -> Float[np.ndarray, "m d"]:  # fmt: skip
    """Return errors as (sizes, draws), each above ``least``."""
    what = f"errors of {name!r}" if name else "errors"
    errors = finite_array(given, what)
    if errors.ndim not in (1, 2) or errors.shape[0] != sizes.size or not errors.size:
        raise ValueError(f"{what} must have shape ({sizes.size},) or ({sizes.size}, draws), got {errors.shape}.")
    if least is not None and np.any(errors <= least):
        raise ValueError(f"{what} must be positive: a logarithmic axis has no place for {errors.min():.3g}.")
    return errors.reshape(sizes.size, -1)


def _predictions(given: Any, name: str, sizes: np.ndarray, error: Criterion) -> Float[np.ndarray, " m"]:
    """Return predicted errors as numbers, NaN where there is none."""
    what = f"predictions of {name!r}" if name else "predictions"
    if isinstance(given, Sequence) and given and all(isinstance(one, Learned) for one in given):
        given = [getattr(one.test, f"{error}_error") for one in given]
    values = np.asarray(real_array(given, what), np.float64)
    if values.shape != sizes.shape:
        raise ValueError(f"{what} must be {sizes.size} numbers or Learned, one a size; got {brief(given)}.")
    if np.all(np.isnan(values)):
        raise ValueError(f"{what} are all NaN: scores of targets other than classes have no classification error. "
                         "Draw error='squared'.")  # fmt: skip
    return values


def _label_sizes(axes: Axes, sizes: Float[np.ndarray, " m"]) -> None:
    """Label a logarithmic axis at the sizes, or at round numbers where they are many."""
    if sizes.size <= MOST_LISTED:
        listed_ticks(axes, sizes.tolist())
    else:
        plain_ticks(axes.xaxis)
