"""Histograms of eigenvalues: what is drawn are the eigenvalues of the object that was given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

import hntk
import hntk.plot
from tests.support.samples import two_classes
from tests.support.spiked_matrix import MATRIX, VALUES, N

X, LABELS = two_classes(60, 20)


def steps(axes: Axes) -> list[StepPatch]:
    return [patch for patch in axes.patches if isinstance(patch, StepPatch)]


def triangles(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() == "v"]


def test_a_histogram_counts_the_eigenvalues_of_a_matrix() -> None:
    (drawn,) = steps(hntk.plot.spectrum(MATRIX, bins=25))
    counts, edges, _ = drawn.get_data()
    assert counts.sum() == N
    np.testing.assert_array_equal(counts, np.histogram(VALUES, edges)[0])
    assert counts.size == 25
    np.testing.assert_allclose(np.diff(np.log(edges)), np.log(edges[1] / edges[0]))


def test_all_forms_of_a_spectrum_are_drawn_alike() -> None:
    kernel = hntk.equivalent_kernels(X, LABELS, ["relu"]).ck
    forms = [kernel, kernel.to_dense(), kernel.eigvalsh(), hntk.spectrum(kernel, 2), kernel.eigvalsh()[::-1].tolist()]
    heights = [steps(hntk.plot.spectrum(form, bins=12))[0].get_data().values for form in forms]
    for other in heights[1:]:
        np.testing.assert_array_equal(heights[0], other)


def test_kernels_of_a_pair_and_of_a_mapping_are_drawn_over_each_other_with_their_names() -> None:
    pair = hntk.equivalent_kernels(X, LABELS, ["relu"])
    axes = hntk.plot.spectrum(pair, spikes=2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["conjugate kernel", "neural tangent kernel"]
    assert [patch.get_fill() for patch in steps(axes)] == [True, False]
    for line, kernel in zip(triangles(axes), pair, strict=True):
        np.testing.assert_allclose(line.get_xdata(), kernel.eigvalsh()[:2])
    heights = {tuple(line.get_ydata()) for line in triangles(axes)}
    assert len(heights) == 2, "triangles of one kernel hide those of the other"


@pytest.mark.parametrize(("spikes", "marked"), [(None, 3), (1, 1), (0, 0)])
def test_triangles_mark_as_many_as_have_eigenvectors_or_are_asked_for(spikes: int | None, marked: int) -> None:
    pairs = hntk.spectrum(MATRIX, 3)
    assert sum(line.get_xdata().size for line in triangles(hntk.plot.spectrum(pairs, spikes=spikes))) == marked
    assert not triangles(hntk.plot.spectrum(MATRIX))


def test_eigenvalues_without_a_place_on_the_axis_are_counted() -> None:
    axes = hntk.plot.spectrum([3.0, 2.0, 1.0, 0.0, -1e-9])
    assert steps(axes)[0].get_data().values.sum() == 3
    assert [text.get_text() for text in axes.texts] == ["2 below the axis"]
    assert not hntk.plot.spectrum([3.0, 2.0]).texts


def test_given_axes_are_drawn_on_and_no_other_figure_is_made() -> None:
    figure, axes = plt.subplots()
    before = plt.get_fignums()
    assert hntk.plot.spectrum(VALUES, ax=axes) is axes
    assert plt.get_fignums() == before
    assert figure.axes == [axes]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("eigenvalue", "number of eigenvalues")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        ([-1.0, -2.0], {}, "no eigenvalue is positive"),
        (np.triu(np.ones((3, 3))), {}, "not symmetric"),
        (np.ones((2, 3)), {}, "square matrix"),
        ([1.0, np.nan], {}, "finite"),
        ([], {}, r"\(n,\) eigenvalues"),
        ({}, {}, "empty"),
        ({1: [1.0]}, {}, "names of kernel must be text"),
        ([1.0], {"bins": 0}, "bins must be"),
        ([1.0], {"spikes": 2}, "spikes must be a whole number from 0 to 1"),
        ([1.0], {"ax": plt}, "ax must be matplotlib Axes"),
    ],
)
def test_what_is_no_spectrum_is_refused(kernel: object, options: dict, message: str) -> None:
    figures = plt.get_fignums()
    with pytest.raises(ValueError, match=message):
        hntk.plot.spectrum(kernel, **options)
    assert plt.get_fignums() == figures
