"""Eigenvectors against samples, and their alignment where eigenvalues are nearly equal."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import hntk
import hntk.plot
from hntk.plot.eigenspaces import aligned, near_groups

RNG = np.random.default_rng(0)
N = 40
BASIS = np.linalg.qr(RNG.standard_normal((N, N)))[0]
LABELS = RNG.integers(0, 3, N)


def spectrum(values: list[float], basis: np.ndarray, k: int = 4) -> hntk.Spectrum:
    """Return a spectrum with these eigenvalues, and others near 0, and leading eigenvectors of a basis."""
    return hntk.Spectrum(np.array([*values, *np.linspace(0.01, 0.001, N - len(values))]), basis[:, :k])


def turned(angle: float) -> np.ndarray:
    """Return the basis with its first two columns turned by an angle, and its third negated."""
    other = BASIS.copy()
    cosine, sine = np.cos(angle), np.sin(angle)
    other[:, :2] = BASIS[:, :2] @ np.array([[cosine, -sine], [sine, cosine]])
    other[:, 2] *= -1
    return other


def thin(axes: plt.Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 0.5]


def test_a_turned_pair_of_nearly_equal_eigenvalues_is_turned_back() -> None:
    values = [3.0, 2.9, 1.0, 0.5]
    first, second = spectrum(values, BASIS), spectrum(values, turned(1.1))
    panels = hntk.plot.eigenvectors({"a": first, "b": second}, LABELS)
    for axes in panels:
        own, other = thin(axes)
        np.testing.assert_allclose(other, own, atol=1e-12)
    notes = [[text.get_text() for text in axes.texts] for axes in panels]
    assert notes[0] == notes[1] == ["eigenvalues 1–2 within 10%: turned onto the first kernel's"]
    assert not notes[2]
    assert not notes[3]


def test_eigenvalues_that_are_well_apart_change_their_sign_alone() -> None:
    values = [3.0, 2.0, 1.0, 0.5]
    panels = hntk.plot.eigenvectors({"a": spectrum(values, BASIS), "b": spectrum(values, turned(1.1))}, LABELS)
    assert not any(axes.texts for axes in panels)
    own, other = thin(panels[0])
    assert np.abs(other - own).max() > 0.1, "a difference between kernels was turned away"
    own, other = thin(panels[2])
    np.testing.assert_allclose(other, own, atol=1e-12)


def test_alignment_is_procrustes_and_keeps_vectors_orthonormal() -> None:
    other = np.linalg.qr(BASIS[:, :3] + 0.1 * RNG.standard_normal((N, 3)))[0] @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    reference, nearest = aligned([BASIS[:, :3], other], [range(3)])
    np.testing.assert_array_equal(reference, BASIS[:, :3])
    np.testing.assert_allclose(nearest.T @ nearest, np.eye(3), atol=1e-12)
    # stationary: no rotation of the columns is nearer
    product = nearest.T @ reference
    np.testing.assert_allclose(product, product.T, atol=1e-12)
    for _ in range(20):
        rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
        assert np.linalg.norm(other @ rotation - reference) >= np.linalg.norm(nearest - reference) - 1e-12


def test_groups_are_of_neighbours_that_are_near_in_any_spectrum() -> None:
    apart, near = np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 3.0, 2.95, 1.0])
    assert near_groups([apart], 4, 0.1) == [range(1), range(1, 2), range(2, 3), range(3, 4)]
    assert near_groups([apart, None, near], 4, 0.1) == [range(1), range(1, 3), range(3, 4)]
    assert near_groups([near], 4, 0.0) == near_groups([None], 4, 0.5) == near_groups([apart], 4, 0.1)


def test_samples_are_drawn_class_after_class_with_the_means_of_classes() -> None:
    (axes,) = hntk.plot.eigenvectors(BASIS[:, :2], LABELS, count=1)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(thin(axes)[0], BASIS[order, 0])
    (means,) = (np.asarray(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 2.2)
    for c in range(3):
        np.testing.assert_allclose(means[LABELS[order] == c], BASIS[c == LABELS, 0].mean())
    sizes = np.cumsum(np.bincount(LABELS))[:2] - 0.5
    boundaries = [line.get_xdata()[0] for line in axes.lines if line.get_color() == "black"]
    np.testing.assert_array_equal(boundaries, sizes)


def test_eigenpairs_and_text_labels_are_taken_and_axes_respected() -> None:
    matrix = BASIS @ np.diag(np.linspace(0.1, 4, N)) @ BASIS.T
    pairs = hntk.leading_eigenpairs((matrix + matrix.T) / 2, 2)
    figure, given = plt.subplots(2, 1)
    panels = hntk.plot.eigenvectors({"own": pairs}, np.array(["b", "a"] * (N // 2)), ax=given)
    assert [*panels] == [*given] == figure.axes
    assert [axes.get_ylabel() for axes in panels] == ["eigenvector 1", "eigenvector 2"]
    np.testing.assert_array_equal(thin(panels[1])[0], np.concatenate([pairs.vectors[1::2, 1], pairs.vectors[::2, 1]]))
    without = hntk.plot.eigenvectors(pairs)
    np.testing.assert_array_equal(without[0].lines[0].get_ydata(), pairs.vectors[:, 0])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (({"a": BASIS[:, :2], "b": BASIS[:20, :2]},), {}, "of the same samples"),
        ((BASIS[:, :2], LABELS[:5]), {}, "labels"),
        ((BASIS[:, :2],), {"count": 3}, "count must be a whole number from 1 to 2"),
        ((BASIS[:, :2],), {"near": -1.0}, "near must be"),
        ((BASIS[:, :2],), {"ax": [None, None]}, "ax must be 2 matplotlib Axes"),
        ((BASIS[:, 0],), {}, "eigenvectors as columns"),
        ((BASIS[:3],), {}, "eigenvectors as columns"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.plot.eigenvectors(*arguments, **options)
    assert not plt.get_fignums()
