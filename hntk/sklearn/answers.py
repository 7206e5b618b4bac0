"""What every classifier does with labels: it gives them to a model of hntk, and predicts by the model's scores."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


class LabelEstimator(ClassifierMixin, BaseEstimator):
    """A classifier that keeps a model of hntk, ``model_``, which gives a score for each class of raw samples."""

    model_: Any

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        """Set ``model_``, fitted on raw samples and labels."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on samples and their labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.
        y : array-like of shape (n_samples,)
            Labels: whole numbers, booleans or text.

        Returns
        -------
        Self
            The classifier itself.

        Raises
        ------
        ValueError
            If samples, labels or parameters do not fit.
        """
        checked: Any = validate_data(self, X, y, ensure_min_samples=2)
        X, y = checked
        self.classes_, labels = known_labels(y)
        self._fit_model(X, labels)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return a score for each class, of which the largest is predicted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,)
            Scores; of two classes the second one's less the first one's.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels of the largest scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        scores = self._scores(X)
        return self.classes_[np.argmax(scores, axis=1)]

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        samples: Any = validate_data(self, X, reset=False)
        return np.asarray(self.model_.scores(samples, raw=True))


def known_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes as scikit-learn shows them, and every sample's label as hntk keeps it in files.

    Whole numbers of a floating-point type become integers, as hntk takes such numbers for targets of a regression.

    Raises
    ------
    ValueError
        If y holds no labels of a classification, or one class alone.
    """
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if classes.size < 2:
        raise ValueError(f"y holds one class only ({classes.tolist()}), and a classifier needs two at least.")
    kept = classes.astype(np.int64) if classes.dtype.kind == "f" else classes
    return classes, kept[index]
