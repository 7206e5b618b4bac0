"""Accuracy on held-out samples, against regressions on features that are fitted anew."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.readouts.held_out import PARTS, HeldOut, held_out_accuracy, held_out_parts
from hntk.readouts.kernel_ridge import RIDGES

N, P = 64, 12


def problem() -> tuple[np.ndarray, np.ndarray]:
    data = hntk.reference_mixture(N, P, key=jax.random.key(0), separation=2.0)
    return np.asarray(data.x), data.labels


def ridge_scores(f: np.ndarray, y: np.ndarray, new: np.ndarray, ridge: float) -> np.ndarray:
    """Regression with an intercept, by least squares."""
    centre, mean, targets = f.mean(axis=0), np.bincount(y) / len(y), np.eye(2)[y]
    g = f - centre
    weights = np.linalg.solve(g.T @ g + ridge * np.eye(P), g.T @ (targets - mean))
    return (new - centre) @ weights + mean


def test_parts_hold_every_class_evenly_and_every_sample_once() -> None:
    y = np.repeat([0, 1, 2], [9, 16, 31])
    parts = held_out_parts(y, seed=1)
    assert set(parts) == set(range(PARTS))
    for a in range(3):
        assert np.ptp(np.bincount(parts[y == a], minlength=PARTS)) <= 1
    assert not np.array_equal(parts, held_out_parts(y, seed=2))
    with pytest.raises(ValueError, match="at least 8 of every class"):
        held_out_parts(np.repeat([0, 1], [7, 30]))


def test_each_part_is_predicted_by_the_others_at_the_ridge_they_choose() -> None:
    f, y = problem()
    parts = held_out_parts(y)
    measured = held_out_accuracy(f @ f.T, y, parts)
    for part in range(PARTS):
        held, others = parts == part, np.flatnonzero(parts != part)
        g = f[others] - f[others].mean(axis=0)
        best = []
        for ridge in np.multiply(RIDGES, np.trace(g @ g.T) / len(others)):
            right = []
            for i in others:
                rest = others[others != i]
                # Leave-one-out errors are of targets minus the shares of all samples that are fitted on.
                right.append(np.argmax(ridge_scores(f[rest], y[rest], f[[i]], ridge)) == y[i])
            best.append((np.mean(right), ridge))
        assert measured.ridges[part] == pytest.approx(max(best)[1])
        scores = ridge_scores(f[others], y[others], f[held], measured.ridges[part])
        np.testing.assert_array_equal(measured.right[held], np.argmax(scores, axis=1) == y[held])
    assert measured.accuracy == np.mean(measured.right) > 0.6


def test_the_error_of_a_difference_is_of_samples_that_differ() -> None:
    one, other = (HeldOut(np.array(right), ()) for right in ([True, True, False, True], [True, False, False, False]))
    assert one.error_against(other) == pytest.approx(np.std([0, 1, 0, 1], ddof=1) / 2)
    assert one.error_against(one) == 0.0
