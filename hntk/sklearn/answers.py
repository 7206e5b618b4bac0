"""What every classifier does with labels, and every regressor with targets: it gives them to a model of hntk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


class LabelEstimator(ClassifierMixin, BaseEstimator):
    """A classifier whose other base fits a model of hntk on labels, and gives its scores of raw samples."""

    _fit_model: Callable[[np.ndarray, np.ndarray], None]
    _scores: Callable[[Any], np.ndarray]

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


class TargetEstimator(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A regressor whose other base fits a model of hntk on targets, and gives its predictions of raw samples."""

    _fit_model: Callable[[np.ndarray, np.ndarray], None]
    _scores: Callable[[Any], np.ndarray]

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on samples and their targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.

        Returns
        -------
        Self
            The regressor itself.

        Raises
        ------
        ValueError
            If samples, targets or parameters do not fit.
        """
        checked: Any = validate_data(self, X, y, ensure_min_samples=2, multi_output=True, y_numeric=True)
        X, y = checked
        self._answer_shape = y.shape[1:]
        # columns are targets for certain; a row of whole numbers would be taken for classes, with a warning
        self._fit_model(X, np.asarray(y, np.float64).reshape(len(y), -1))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, of the shape and in the units of the targets that were fitted.
        """
        scores = self._scores(X)
        return scores.reshape(len(scores), *self._answer_shape)


def new_samples(estimator: BaseEstimator, X: Any) -> np.ndarray:
    """Return samples for a fitted estimator, as it was fitted on such."""
    check_is_fitted(estimator)
    samples: Any = validate_data(estimator, X, reset=False)
    return samples


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
