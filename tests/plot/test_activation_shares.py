"""A staircase over its original: steps, curve and shares are those of the functions."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle, StepPatch

import hntk
import hntk.plot

STEPS = hntk.staircase([-1.0, 0.5, 2.0], [0.0, 1.0, 0.0, 3.0])


def step(axes: Axes) -> StepPatch:
    (drawn,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    return drawn


def shares(axes: Axes) -> dict[float, float]:
    """Return the length of every bar by its height, all of them together 1."""
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    total = sum(bar.get_width() for bar in bars)
    return {round(bar.get_y() + bar.get_height() / 2, 12): bar.get_width() / total for bar in bars}


@pytest.mark.parametrize("tau", [1.0, 0.7])
def test_a_staircase_has_its_levels_thresholds_and_the_mass_of_each_level(tau: float) -> None:
    axes = hntk.plot.activation(STEPS, tau=tau)
    heights, edges, _ = step(axes).get_data()
    np.testing.assert_array_equal(heights, STEPS.levels)
    np.testing.assert_allclose(edges[1:-1], np.array(STEPS.thresholds) / tau)
    below = scipy.stats.norm.cdf(np.array(STEPS.thresholds) / tau)
    expected = {0.0: below[0] + below[2] - below[1], 1.0: below[1] - below[0], 3.0: 1 - below[2]}
    assert shares(axes) == pytest.approx(expected)
    written = {f"{100 * share:.0f} %" if share > 0.01 else "< 1 %" for share in expected.values()}
    assert written == {text.get_text() for text in axes.texts} - {"share of inputs"}


def test_thresholds_beyond_the_axis_draw_nothing_but_count() -> None:
    axes = hntk.plot.activation(hntk.staircase([-5.0, 0.0, 6.0], [7.0, -1.0, 1.0, 9.0]))
    heights, edges, _ = step(axes).get_data()
    np.testing.assert_array_equal(heights, [-1.0, 1.0])
    np.testing.assert_array_equal(edges, [-3.5, 0.0, 3.5])
    assert set(shares(axes)) == {7.0, -1.0, 1.0, 9.0}
    assert {"< 1 %", "50 %"} <= {text.get_text() for text in axes.texts}


def test_both_functions_are_drawn_less_their_means() -> None:
    rising = hntk.staircase([-1.0, 0.5, 2.0], [0.0, 0.2, 1.0, 3.0])
    axes = hntk.plot.activation(rising, "relu", tau=0.8, original_tau=1.3)
    heights, *_ = step(axes).get_data()
    np.testing.assert_allclose(heights, np.array(rising.levels) - rising.moments(0.8).mean)
    (curve,) = (line for line in axes.lines if line.get_label() == "relu")
    xi = curve.get_xdata()
    np.testing.assert_allclose(curve.get_ydata(), np.maximum(1.3 * xi, 0) - 1.3 / np.sqrt(2 * np.pi), atol=1e-12)
    assert axes.get_ylabel() == "output less its mean"


@pytest.mark.parametrize(
    ("thresholds", "levels", "note"),
    [
        ([0.5, 1.5], [0.0, 1.0, 2.0], ""),
        ([0.5, 1.5], [2.0, 1.0, 0.0], ", as −σ(u)"),
        ([-1.5, -0.5], [2.0, 1.0, 0.0], ", as σ(−u)"),
        ([-1.5, -0.5], [-2.0, -1.0, 0.0], ", as −σ(−u)"),
    ],
)
def test_the_function_with_the_same_kernels_that_is_nearest_is_drawn(
    thresholds: list[float], levels: list[float], note: str
) -> None:  # fmt: skip
    staircase = hntk.staircase(thresholds, levels)
    axes = hntk.plot.activation(staircase, "relu")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["relu", staircase.name + note]
    heights, edges, _ = step(axes).get_data()
    np.testing.assert_allclose(edges, [-3.5, 0.5, 1.5, 3.5])
    np.testing.assert_allclose(np.diff(heights), [1.0, 1.0])


def test_a_matched_staircase_is_drawn_near_its_original() -> None:
    result = hntk.match(["relu"], 1.2, 3)
    axes = hntk.plot.activation(result.activations[0], result.original[0])
    (curve,) = axes.lines[:1]
    heights, edges, _ = step(axes).get_data()
    xi = np.asarray(curve.get_xdata())
    drawn = heights[np.searchsorted(edges[1:-1], xi, side="right")]
    weights = np.exp(-(xi**2) / 2)
    assert np.corrcoef(drawn * np.sqrt(weights), curve.get_ydata() * np.sqrt(weights))[0, 1] > 0.9


def test_given_axes_are_used() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    assert hntk.plot.activation(STEPS, ax=right) is right
    assert figure.axes == [left, right]
    assert not left.has_data()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("relu",), {}, "staircase must be"),
        ((STEPS, "rellu"), {}, "rellu"),
        ((STEPS,), {"tau": 0.0}, "tau must be"),
        ((STEPS,), {"original_tau": np.inf}, "original_tau must be"),
        ((STEPS,), {"ax": "here"}, "ax must be"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.plot.activation(*arguments, **options)
    assert not plt.get_fignums()
