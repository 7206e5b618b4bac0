"""Estimators for scikit-learn: ternary networks as transformers, classifiers and regressors, and kernel regression."""

from hntk.sklearn import _installed  # noqa: F401  (first: it refuses to go on without scikit-learn)
from hntk.sklearn.compressed_networks import CompressedClassifier, CompressedRegressor
from hntk.sklearn.kernel_regression import EquivalentRidgeClassifier
from hntk.sklearn.ternary_features import TernaryFeatures
from hntk.sklearn.trained_networks import TrainedClassifier, TrainedRegressor

__all__ = [
    "CompressedClassifier",
    "CompressedRegressor",
    "EquivalentRidgeClassifier",
    "TernaryFeatures",
    "TrainedClassifier",
    "TrainedRegressor",
]
