"""Estimators for scikit-learn: ternary networks as transformers, classifiers and regressors, and kernel regression."""

from hntk.sklearn import _installed  # noqa: F401  (first: it refuses to go on without scikit-learn)
from hntk.sklearn.compressed_classifier import CompressedClassifier
from hntk.sklearn.compressed_regressor import CompressedRegressor
from hntk.sklearn.equivalent_ridge import EquivalentRidge, EquivalentRidgeClassifier
from hntk.sklearn.exact_ridge import KernelRidge, KernelRidgeClassifier
from hntk.sklearn.ternary_features import TernaryFeatures
from hntk.sklearn.trained_networks import TrainedClassifier, TrainedRegressor

__all__ = [
    "CompressedClassifier",
    "CompressedRegressor",
    "EquivalentRidge",
    "EquivalentRidgeClassifier",
    "KernelRidge",
    "KernelRidgeClassifier",
    "TernaryFeatures",
    "TrainedClassifier",
    "TrainedRegressor",
]
