"""Samples that a study trains on and tests with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelledSamples:
    """Training samples and new ones, with their labels.

    Attributes
    ----------
    x : (n, p) array
        Training samples.
    labels : (n,) array
        Labels of the training samples.
    x_test : (m, p) array
        New samples.
    labels_test : (m,) array
        Labels of the new samples.
    """

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray
