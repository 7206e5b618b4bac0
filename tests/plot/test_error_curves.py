"""Errors against sizes: lines are means and predictions, marks are draws and measurements."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

import hntk.plot
from hntk.asymptotics import MixtureLaw, ridge_regression
from hntk.asymptotics.learning import Learned, ScoreLaw

SIZES = np.array([100.0, 200.0, 400.0, 800.0])
DRAWS = 3 / np.sqrt(SIZES)[:, None] * np.random.default_rng(0).uniform(0.9, 1.1, (4, 5))


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def learned(classification: float, squared: float) -> Learned:
    law = ScoreLaw(np.zeros((2, 1)), np.ones((2, 1, 1)), squared, classification)
    return Learned(law, law)


def test_lines_are_means_and_dots_are_draws() -> None:
    axes = hntk.plot.convergence(SIZES, {"CK": DRAWS, "NTK": 2 / SIZES}, across="p")
    lines = [line for line in axes.lines if line.get_marker() != "."]
    np.testing.assert_allclose(lines[0].get_ydata(), DRAWS.mean(axis=1))
    np.testing.assert_allclose(lines[1].get_ydata(), 2 / SIZES)
    dots = [line for line in axes.lines if line.get_marker() == "."]
    np.testing.assert_allclose(np.transpose([dot.get_ydata() for dot in dots]), DRAWS)
    rate = np.polyfit(np.log(SIZES), np.log(DRAWS.mean(axis=1)), 1)[0]
    assert names(axes) == [f"CK: $p^{{{rate:.2f}}}$", "NTK: $p^{-1.00}$"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("p", "error")


@pytest.mark.parametrize("span", [1.3, 2.5, 8.0, 300.0, 1e6])
def test_a_logarithmic_axis_has_at_least_three_labels(span: float) -> None:
    axes = hntk.plot.convergence(SIZES, {"a": np.geomspace(0.07 * span, 0.07, 4)})
    axes.figure.canvas.draw()
    low, high = axes.get_ylim()
    shown = [t.get_text() for t, y in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True) if low <= y <= high]
    assert len([text for text in shown if text]) >= 3, shown
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "200", "400", "800"]


def test_predictions_are_lines_and_measurements_marks_with_standard_errors() -> None:
    predicted = {"a": [learned(0.1 * k, k) for k in (4.0, 3.0, 2.0, 1.0)], "b": [0.5, np.nan, 0.3, 0.2]}
    measured = np.array([[0.4, 0.5, 0.6], [0.1, 0.2, 0.3]])
    axes = hntk.plot.learning_curve(SIZES, predicted, {"a": measured}, measured_sizes=[100, 800])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.4, 0.3, 0.2, 0.1])
    (marks,) = axes.containers
    np.testing.assert_allclose(marks[0].get_xdata(), [100, 800])
    np.testing.assert_allclose(marks[0].get_ydata(), [0.5, 0.2])
    (bars,) = marks[2]
    half = np.diff([segment[:, 1] for segment in bars.get_segments()], axis=1).ravel() / 2
    np.testing.assert_allclose(half, np.std(measured, axis=1, ddof=1) / np.sqrt(3))
    assert names(axes) == ["a", "b"]
    assert axes.get_legend().get_title().get_text() == "lines: theory; marks: measured"


def test_squared_errors_of_the_library_s_predictions() -> None:
    law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    curve = [ridge_regression(law, n, ["relu"], 0.1) for n in (200, 800)]
    axes = hntk.plot.learning_curve([200, 800], curve, error="squared", scale="linear")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [one.test.squared_error for one in curve])
    assert axes.get_xscale() == "linear"
    assert axes.get_ylabel() == "test squared error"
    assert axes.get_legend() is None
    alone = hntk.plot.learning_curve([200, 800], curve, [0.05, 0.04])
    assert names(alone) == ["theory", "measured"]


@pytest.mark.parametrize("draw", [hntk.plot.convergence, hntk.plot.learning_curve])
def test_given_axes_are_used(draw) -> None:
    _, (given, other) = plt.subplots(1, 2)
    assert draw(SIZES, 1 / SIZES, ax=given) is given
    assert not other.has_data()


@pytest.mark.parametrize(
    ("sizes", "errors", "message"),
    [
        ([100, 0], [1.0, 1.0], "sizes must be positive"),
        ([[100]], [1.0], "in one dimension"),
        ([100, 200], [1.0], r"shape \(2,\) or \(2, draws\)"),
        ([100, 200], {"a": [1.0, 0.0]}, "errors of 'a' must be positive"),
        ([100, 200], {"a": [1.0, np.nan]}, "finite"),
        ([100, 200], {}, "errors is empty"),
    ],
)
def test_errors_that_do_not_fit_are_refused(sizes: list, errors: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.plot.convergence(sizes, errors)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2], [0.1]), {}, "2 numbers or Learned"),
        (([1, 2], [0.1, 0.2], {"b": [1, 2]}), {}, "of which there is no line"),
        (([1, 2], [0.1, 0.2], [0.1]), {}, r"shape \(2,\)"),
        (([1, 2], [np.nan, np.nan]), {}, "error='squared'"),
        (([1, 2], [0.1, 0.2]), {"error": "absolute"}, "error must be 'squared' or 'classification'"),
        (([1, 2], [0.1, 0.2]), {"scale": "sqrt"}, "scale must be"),
        (([1, 2], [0.1, 0.2]), {"ax": plt}, "ax must be"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.plot.learning_curve(*arguments, **options)
    assert not plt.get_fignums()
