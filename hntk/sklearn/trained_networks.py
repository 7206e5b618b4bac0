"""Classifiers and regressors whose ternary hidden layers are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.readouts.training import Schedule
from hntk.sklearn.answers import LabelEstimator, TargetEstimator, new_samples
from hntk.sklearn.network_parameters import draw_seed, random_key
from hntk.sklearn.programs import ProgramWriter
from hntk.training.few_level_training import SCHEDULE, train

# Widths where neither they nor a size are given, and the fewest steps of an epoch where there are few samples.
WIDTHS, STEPS = (128,), 10


class TrainedNetwork(ProgramWriter):
    """What estimators with a trained network take, and its training."""

    model_: IntegerClassifier | IntegerRegressor

    def __init__(
        self,
        widths: int | Sequence[int] | None = None,
        *,
        kilobytes: float | None = None,
        levels: int | Sequence[int] | None = None,
        sparsity: float | Sequence[float] | None = None,
        start: Any = "uniform",
        teacher: Any = None,
        augment: Any = None,
        shape: tuple[int, int] | None = None,
        pool: tuple[int, int] | str | None = None,
        schedule: Schedule | None = None,
        validation: float | None = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.widths = widths
        self.kilobytes = kilobytes
        self.levels = levels
        self.sparsity = sparsity
        self.start = start
        self.teacher = teacher
        self.augment = augment
        self.shape = shape
        self.pool = pool
        self.schedule = schedule
        self.validation = validation
        self.random_state = random_state

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        self.model_ = train(
            X, answers, self._widths(), levels=self.levels, sparsity=self.sparsity, kilobytes=self.kilobytes,
            start=self.start, teacher=self.teacher, augment=self.augment, shape=self.shape, pool=self.pool,
            schedule=self._schedule(len(X)), validation=self.validation, key=random_key(draw_seed(self.random_state)),
        )  # fmt: skip

    def _scores(self, X: Any) -> np.ndarray:
        """Return the scores of raw samples, in the unit of targets."""
        samples = new_samples(self, X)
        return np.asarray(self.model_.scores(samples), np.float64) * self.model_.unit

    def _widths(self) -> Any:
        return WIDTHS if self.widths is None and self.kilobytes is None else self.widths

    def _schedule(self, n: int) -> Schedule:
        return self.schedule or replace(SCHEDULE, batch=max(1, min(SCHEDULE.batch, n // STEPS)))

    def to_integers(self) -> IntegerClassifier | IntegerRegressor:
        """Return the network in whole numbers, which is ``model_`` itself.

        Returns
        -------
        IntegerClassifier or IntegerRegressor
            The network.
        """
        check_is_fitted(self)
        return self.model_


class TrainedClassifier(LabelEstimator, TrainedNetwork):
    """Classifier by a network of weights in {0, ±1} and few levels, trained for a number of kilobytes.

    All layers are trained, by :func:`hntk.train`, in the whole numbers that the C program will compute with. That takes
    longer than :class:`CompressedClassifier`, whose hidden layers are random, and gives a smaller program for the same
    quality. :func:`hntk.train` has a few options more.

    Parameters
    ----------
    widths : int, sequence of int or None, default=None
        Number of neurons of each hidden layer. None is 128 in one layer, or chosen where ``kilobytes`` is given.
    kilobytes : float or None, default=None
        Largest size of the C program's tables, in thousand bytes, which is then filled. What is not given of widths,
        sparsity and pooling is chosen by short trainings.
    levels : int, sequence of int or None, default=None
        Number of values that each neuron takes. None is 4, or 8 with ``kilobytes``.
    sparsity : float, sequence of float or None, default=None
        Share of zero weights of each layer. None has weights below .7 of the mean magnitude be 0.
    start : str, list, Architecture, Classifier or model, default="uniform"
        Where training starts: ``"uniform"``, ``"match"``, ``"dense"`` or a dense network, see :func:`hntk.train`.
    teacher : callable, classifier, model, "kernel" or None, default=None
        What is followed beside the labels, see :func:`hntk.train`.
    augment : callable or None, default=None
        Changes samples at random in every step, such as a :class:`hntk.Augmentation`.
    shape, pool : pair of int, "auto" or None, default=None
        Height and width of the image that a sample is, and to which it is pooled.
    schedule : Schedule or None, default=None
        How long and how fast to train. None is 60 epochs, in batches of 256 or a tenth of the samples.
    validation : float or None, default=0.1
        Share of the samples that is held out for early stopping; None trains on all of them.
    random_state : int, RandomState or None, default=None
        What the start and the order of samples are drawn from; give an int for the same result in every call.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    model_ : IntegerClassifier
        The network in whole numbers, for ``hntk.summarize``, ``hntk.deploy.to_onnx`` and other functions of hntk.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    Notes
    -----
    Samples of the type uint8 are pixels, which the program takes as they are. Others are rounded to 8 bits in one unit
    for all coordinates: bring these to one size first, with a ``StandardScaler`` for instance.

    Examples
    --------
    >>> import hntk
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from hntk.sklearn import TrainedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X.astype("uint8"), y, random_state=0)
    >>> schedule = hntk.Schedule(epochs=20, batch=64, learning_rate=1e-2)
    >>> model = TrainedClassifier(64, schedule=schedule, random_state=0).fit(X, y)
    >>> model.score(X_test, y_test) > 0.93
    True
    >>> model.to_c("digits").table_bytes < 2500
    True
    """

    def __init__(
        self,
        widths: int | Sequence[int] | None = None,
        *,
        kilobytes: float | None = None,
        levels: int | Sequence[int] | None = None,
        sparsity: float | Sequence[float] | None = None,
        start: Any = "uniform",
        teacher: Any = None,
        augment: Any = None,
        shape: tuple[int, int] | None = None,
        pool: tuple[int, int] | str | None = None,
        schedule: Schedule | None = None,
        validation: float | None = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            widths, kilobytes=kilobytes, levels=levels, sparsity=sparsity, start=start, teacher=teacher,
            augment=augment, shape=shape, pool=pool, schedule=schedule, validation=validation,
            random_state=random_state,
        )  # fmt: skip


class TrainedRegressor(TargetEstimator, TrainedNetwork):
    """Regressor by a network of weights in {0, ±1} and few levels, trained for a number of kilobytes.

    All layers are trained, by :func:`hntk.train`, in the whole numbers that the C program will compute with. That takes
    longer than :class:`CompressedRegressor`, whose hidden layers are random, and gives a smaller program for the same
    quality. :func:`hntk.train` has a few options more.

    Parameters
    ----------
    widths : int, sequence of int or None, default=None
        Number of neurons of each hidden layer. None is 128 in one layer, or chosen where ``kilobytes`` is given.
    kilobytes : float or None, default=None
        Largest size of the C program's tables, in thousand bytes, which is then filled. What is not given of widths,
        sparsity and pooling is chosen by short trainings.
    levels : int, sequence of int or None, default=None
        Number of values that each neuron takes. None is 4, or 8 with ``kilobytes``.
    sparsity : float, sequence of float or None, default=None
        Share of zero weights of each layer. None has weights below .7 of the mean magnitude be 0.
    start : str, list, Architecture, Classifier or model, default="uniform"
        Where training starts: ``"uniform"``, ``"match"``, ``"dense"`` or a dense network, see :func:`hntk.train`.
    teacher : callable, classifier, model, "kernel" or None, default=None
        What is followed beside the labels, see :func:`hntk.train`.
    augment : callable or None, default=None
        Changes samples at random in every step, such as a :class:`hntk.Augmentation`.
    shape, pool : pair of int, "auto" or None, default=None
        Height and width of the image that a sample is, and to which it is pooled.
    schedule : Schedule or None, default=None
        How long and how fast to train. None is 60 epochs, in batches of 256 or a tenth of the samples.
    validation : float or None, default=0.1
        Share of the samples that is held out for early stopping; None trains on all of them.
    random_state : int, RandomState or None, default=None
        What the start and the order of samples are drawn from; give an int for the same result in every call.

    Attributes
    ----------
    model_ : IntegerRegressor
        The network in whole numbers, for ``hntk.summarize`` and other functions of hntk.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    Notes
    -----
    Samples of the type uint8 are pixels, which the program takes as they are. Others are rounded to 8 bits in one unit
    for all coordinates: bring these to one size first, with a ``StandardScaler`` for instance.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from hntk.sklearn import TrainedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = TrainedRegressor(32, random_state=0).fit(X[:300], y[:300])
    >>> model.score(X[300:], y[300:]) > 0.3
    True
    """

    def __init__(
        self,
        widths: int | Sequence[int] | None = None,
        *,
        kilobytes: float | None = None,
        levels: int | Sequence[int] | None = None,
        sparsity: float | Sequence[float] | None = None,
        start: Any = "uniform",
        teacher: Any = None,
        augment: Any = None,
        shape: tuple[int, int] | None = None,
        pool: tuple[int, int] | str | None = None,
        schedule: Schedule | None = None,
        validation: float | None = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            widths, kilobytes=kilobytes, levels=levels, sparsity=sparsity, start=start, teacher=teacher,
            augment=augment, shape=shape, pool=pool, schedule=schedule, validation=validation,
            random_state=random_state,
        )  # fmt: skip
