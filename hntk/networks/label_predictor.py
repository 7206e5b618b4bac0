"""Predicted labels and accuracy of everything that gives one score a class."""

from __future__ import annotations

import numpy as np
from jax import Array

from hntk._utils.labels import accuracy_score


class LabelPredictor:
    """A classifier that predicts the class of the largest score.

    Attributes
    ----------
    classes : (K,) array
        Labels in the order of the scores.
    """

    classes: np.ndarray

    def scores(self, x: object, *, raw: bool = False) -> np.ndarray | Array:
        """Return one score a class, (n, K)."""
        raise NotImplementedError

    def predict(self, x: object, *, raw: bool = False) -> np.ndarray:
        """Predict labels of samples.

        Parameters
        ----------
        x : (n, p) array
            Samples as :meth:`scores` takes them.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        (n,) array
            The label of the largest score of each sample.
        """
        return self.classes[np.argmax(self.scores(x, raw=raw), axis=1)]

    def accuracy(self, x: object, labels: object, *, raw: bool = False) -> float:
        """Return the share of samples whose label is predicted.

        Parameters
        ----------
        x : (n, p) array
            Samples as :meth:`scores` takes them.
        labels : (n,) array
            True labels.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        float
            Share from 0 to 1.

        Raises
        ------
        ValueError
            If x does not fit, or there is not one label for each of its rows.
        """
        return accuracy_score(self.predict(x, raw=raw), labels)
