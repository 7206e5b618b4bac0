"""What tests of all readers share: samples, and the comparison of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hntk

N, P = 40, 5
X = np.random.default_rng(7).normal(size=(N, P))
# Relative difference that float32 explains.
TOLERANCE = 1e-5


def assert_scores(classifier: hntk.Classifier, expected: Any, x: np.ndarray = X) -> None:
    """Compare scores, of two classes the second, with a model's outputs."""
    outputs = np.asarray(expected, np.float64).reshape(len(x), -1)
    scores = np.asarray(classifier.scores(x.reshape(len(x), -1)), np.float64)[:, -outputs.shape[1] :]
    assert np.max(np.abs(scores - outputs)) <= TOLERANCE * np.max(np.abs(outputs))


def assert_refused(model: Any, *words: str, **options: Any) -> None:
    """Expect an error that has all of some words: a layer's name and what to do."""
    with pytest.raises(ValueError, match=r".*".join(words)):
        hntk.from_model(model, **options)
