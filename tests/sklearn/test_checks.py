"""scikit-learn's own checks of estimators; by default those that are about samples, labels and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator

import hntk
from hntk.sklearn import (
    CompressedClassifier,
    CompressedRegressor,
    EquivalentRidgeClassifier,
    TernaryFeatures,
    TrainedClassifier,
    TrainedRegressor,
)

# what can go wrong in other ways for each estimator; the rest only repeats fits
BY_DEFAULT = {
    "check_classifiers_one_label",
    "check_classifiers_train",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_sparse_array",
    "check_estimators_pickle",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_transformer_preserve_dtypes",
}
# of estimators that compile a training for every shape
OF_TRAINED = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_sparse_array",
    "check_fit2d_1sample",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
}
ESTIMATORS = [
    TernaryFeatures(16, levels=2),
    TernaryFeatures((16, 8), levels=3, layers="all", random_state=0),
    CompressedClassifier(32, levels=3),
    CompressedClassifier(32, levels=3, readout="softmax"),
    CompressedRegressor(32, levels=3),
    EquivalentRidgeClassifier(),
    EquivalentRidgeClassifier(hntk.Architecture(["relu"], bias_std=0.5), kernel="ck", ridge=0.1),
    TrainedClassifier(8),
    TrainedRegressor(8),
]
# the first of each class, in its default settings but for size
FIRST = list({type(estimator): estimator for estimator in reversed(ESTIMATORS)}.values())


def repeats(estimator: BaseEstimator, name: str) -> bool:
    """Return whether a check only repeats what others do a part of."""
    chosen = OF_TRAINED if isinstance(estimator, TrainedClassifier | TrainedRegressor) else BY_DEFAULT
    return name not in chosen or not any(estimator is first for first in FIRST)


def checks() -> Iterator[Any]:
    """Yield an estimator with each check, those that only repeat marked."""
    for estimator in ESTIMATORS:
        for tried, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            given = ", ".join(f"{key}={value}" for key, value in check.keywords.items())
            marks = [pytest.mark.nightly] if repeats(estimator, name) else []
            yield pytest.param(tried, check, id=f"{estimator!r}-{name}({given})", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_check(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(clone(estimator))


@pytest.mark.filterwarnings("ignore:X .*feature names")
@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(each, id=repr(each), marks=[pytest.mark.nightly] * repeats(each, "check_estimators_pickle"))
        for each in FIRST
    ],
)
def test_names_of_columns(estimator: BaseEstimator) -> None:
    pytest.importorskip("pandas")
    name = type(estimator).__name__
    estimator_checks.check_dataframe_column_names_consistency(name, estimator)
    if hasattr(estimator, "transform"):
        estimator_checks.check_set_output_transform_pandas(name, estimator)
        estimator_checks.check_transformer_get_feature_names_out_pandas(name, estimator)
        estimator_checks.check_get_feature_names_out_error(name, estimator)


def test_what_runs_by_default_is_there() -> None:
    names = {check.func.__name__ for estimator in ESTIMATORS for _, check in estimator_checks_generator(estimator)}
    assert names >= BY_DEFAULT, sorted(BY_DEFAULT - names)
