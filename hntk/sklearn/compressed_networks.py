"""A classifier and a regressor, each a compressed network with a readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy
from sklearn.utils.metaestimators import available_if

from hntk._utils.arguments import as_choice
from hntk.activations import Activation
from hntk.data.scaling import Scaling
from hntk.matching import Levels, Match
from hntk.matching.options import Method
from hntk.networks.read_layers import ReadLayers
from hntk.readouts.ridge import fit_ridge
from hntk.readouts.softmax import fit_softmax
from hntk.readouts.training import Schedule
from hntk.sklearn.answers import LabelEstimator, TargetEstimator
from hntk.sklearn.network_parameters import draw_seed
from hntk.sklearn.readout_parameters import ReadoutEstimator
from hntk.theory.architecture import ArchitectureLike

# Samples per step of a softmax readout, and the fewest steps of an epoch where there are fewer samples than in ten.
BATCH, STEPS = 256, 10


def _has_probabilities(estimator: CompressedClassifier) -> bool:
    return estimator.readout == "softmax"


class CompressedClassifier(LabelEstimator, ReadoutEstimator):
    """Classifier by a random network with weights in {0, ±1} and a fitted readout.

    The hidden weights are drawn and stay as they are, with activations of few levels that are solved for so that the
    network has the kernel of a dense one on the data. Only the readout is fitted. The result runs in whole numbers:
    ``to_c`` writes it as a C program that takes raw samples.

    Parameters
    ----------
    widths : int or sequence of int, default=(512, 512)
        Number of neurons of each hidden layer.
    activations : str, Activation, sequence of these, Architecture or model, default="relu"
        The dense network whose kernel is kept: a name such as ``"relu"`` or ``"erf"`` for every layer, one for each, or
        anything that :func:`hntk.compress` takes.
    levels : int, "paper", sequence of these, or Match, default=4
        Number of values that each neuron takes, from 2 to 16; one for all layers or one each. Or a match made by
        :func:`hntk.match`.
    sparsity : float, default=0.5
        Share of zero weights, in [0, 1).
    weights : {"orthogonal", "iid"} or None, default=None
        Ternary weights in orthogonal blocks, which are nearer to their limit, or independent ones. None takes
        orthogonal ones where the sparsity is 1 − 2⁻ᵏ: 0, .5, .75, …
    method : {"joint", "layerwise"} or None, default=None
        Whether activations are solved for all together, for the kernel of the last layer, or layer by layer, for the
        kernels of all. None goes by ``layers``.
    alpha2 : bool, default=True
        Whether the kernel's dependence on the norms of samples is kept too. Fewer levels suffice without it.
    layers : {"last", "all"}, default="last"
        Whose features the readout takes: the last layer's, or those of all layers side by side.
    readout : {"ridge", "softmax"}, default="ridge"
        Ridge regression on one-hot targets, or logistic regression by gradient steps, which has ``predict_proba``.
    ridge : float or None, default=None
        Ridge λ > 0 of the ridge readout, beside features whose inner products are the kernel. None chooses it by
        accuracy on a part of the training samples, and refits on all of them.
    schedule : Schedule or None, default=None
        How long to train the softmax readout. None is 30 epochs, in batches of 256 or a tenth of the samples.
    validation_share : float, default=0.1
        Share of every class by which the ridge, or the end of the softmax readout's training, is chosen.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, but
        are not for C. False does nothing.
    random_state : int, RandomState or None, default=None
        What the weights and the validation samples are drawn from; give an int for the same result in every call.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    model_ : RidgeClassifier or SoftmaxClassifier
        The network with its readout, for ``hntk.summarize``, ``hntk.deploy.to_onnx`` and other functions of hntk. It
        takes raw samples with ``raw=True``.
    network_ : CompressedNetwork
        The network, with levels rounded to multiples of a unit.
    match_ : Match
        How its activations were found, with residuals and identity shift.
    normalization_ : Normalization
        What samples go through before the network.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    TernaryFeatures : The network without a readout, before any other estimator.

    Notes
    -----
    Coordinates of different units, such as columns of a table, are best brought to one size before: put a
    ``StandardScaler`` in front. A C program then takes standardised samples.

    Examples
    --------
    The number of levels and the sparsity by cross-validation, in two processes:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV, train_test_split
    >>> from hntk.sklearn import CompressedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X.astype("uint8"), y, random_state=0)
    >>> grid = {"levels": [2, 4], "sparsity": [0.5, 0.75]}
    >>> search = GridSearchCV(CompressedClassifier(256, random_state=0), grid, cv=3, n_jobs=2)
    >>> search.fit(X, y).best_params_["levels"]
    4
    >>> search.score(X_test, y_test) > 0.95
    True

    The best one as a program for a microcontroller, which takes the images' bytes as they are:

    >>> program = search.best_estimator_.to_c("digits")
    >>> program.table_bytes
    5368
    """

    def __init__(
        self,
        widths: int | Sequence[int] = (512, 512),
        activations: ArchitectureLike | str | Activation | Any = "relu",
        *,
        levels: Levels | Sequence[Levels] | Match = 4,
        sparsity: float = 0.5,
        weights: Literal["orthogonal", "iid"] | None = None,
        method: Method | None = None,
        alpha2: bool = True,
        layers: ReadLayers = "last",
        readout: Literal["ridge", "softmax"] = "ridge",
        ridge: float | None = None,
        schedule: Schedule | None = None,
        validation_share: float = 0.1,
        normalize: bool | Scaling = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            widths, activations, levels=levels, sparsity=sparsity, weights=weights, method=method, alpha2=alpha2,
            layers=layers, normalize=normalize, random_state=random_state,
        )  # fmt: skip
        self.readout = readout
        self.ridge = ridge
        self.schedule = schedule
        self.validation_share = validation_share

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        as_choice(self.readout, "readout", ("ridge", "softmax"))
        seed = draw_seed(self.random_state)
        samples, common = self._draw_network(X, seed), self._readout_options(seed)
        if self.readout == "ridge":
            self.model_ = fit_ridge(self.network_, samples, answers, self.ridge, **common)
        else:
            schedule = self.schedule or Schedule(batch=max(1, min(BATCH, len(samples) // STEPS)))
            self.model_ = fit_softmax(self.network_, samples, answers, schedule=schedule, **common)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, by the softmax readout alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return scipy.special.softmax(self._scores(X), axis=1)


class CompressedRegressor(TargetEstimator, ReadoutEstimator):
    """Regressor by a random network with weights in {0, ±1} and a fitted readout.

    The hidden weights are drawn and stay as they are, with activations of few levels that are solved for so that the
    network has the kernel of a dense one on the data. Only the readout is fitted, by ridge regression on one target or
    several. The result runs in whole numbers: ``to_c`` writes it as a C program that takes raw samples.

    Parameters
    ----------
    widths : int or sequence of int, default=(512, 512)
        Number of neurons of each hidden layer.
    activations : str, Activation, sequence of these, Architecture or model, default="relu"
        The dense network whose kernel is kept: a name such as ``"relu"`` or ``"erf"`` for every layer, one for each, or
        anything that :func:`hntk.compress` takes.
    levels : int, "paper", sequence of these, or Match, default=4
        Number of values that each neuron takes, from 2 to 16; one for all layers or one each. Or a match made by
        :func:`hntk.match`.
    sparsity : float, default=0.5
        Share of zero weights, in [0, 1).
    weights : {"orthogonal", "iid"} or None, default=None
        Ternary weights in orthogonal blocks, which are nearer to their limit, or independent ones. None takes
        orthogonal ones where the sparsity is 1 − 2⁻ᵏ: 0, .5, .75, …
    method : {"joint", "layerwise"} or None, default=None
        Whether activations are solved for all together, for the kernel of the last layer, or layer by layer, for the
        kernels of all. None goes by ``layers``.
    alpha2 : bool, default=True
        Whether the kernel's dependence on the norms of samples is kept too. Fewer levels suffice without it.
    layers : {"last", "all"}, default="last"
        Whose features the readout takes: the last layer's, or those of all layers side by side.
    ridge : float or None, default=None
        Ridge λ > 0, beside features whose inner products are the kernel; all targets share it. None chooses it by R² on
        a part of the training samples, and refits on all of them.
    validation_share : float, default=0.1
        Share of the samples by which the ridge is chosen.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, but
        are not for C. False does nothing.
    random_state : int, RandomState or None, default=None
        What the weights and the validation samples are drawn from; give an int for the same result in every call.

    Attributes
    ----------
    model_ : RidgeRegressor
        The network with its readout, for ``hntk.summarize`` and other functions of hntk. It takes raw samples with
        ``raw=True``.
    network_ : CompressedNetwork
        The network, with levels rounded to multiples of a unit.
    match_ : Match
        How its activations were found, with residuals and identity shift.
    normalization_ : Normalization
        What samples go through before the network.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    TernaryFeatures : The network without a readout, before any other estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from hntk.sklearn import CompressedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> bool(cross_val_score(CompressedRegressor(256, random_state=0), X, y, cv=5).mean() > 0.4)
    True
    """

    def __init__(
        self,
        widths: int | Sequence[int] = (512, 512),
        activations: ArchitectureLike | str | Activation | Any = "relu",
        *,
        levels: Levels | Sequence[Levels] | Match = 4,
        sparsity: float = 0.5,
        weights: Literal["orthogonal", "iid"] | None = None,
        method: Method | None = None,
        alpha2: bool = True,
        layers: ReadLayers = "last",
        ridge: float | None = None,
        validation_share: float = 0.1,
        normalize: bool | Scaling = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            widths, activations, levels=levels, sparsity=sparsity, weights=weights, method=method, alpha2=alpha2,
            layers=layers, normalize=normalize, random_state=random_state,
        )  # fmt: skip
        self.ridge = ridge
        self.validation_share = validation_share

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        seed = draw_seed(self.random_state)
        samples = self._draw_network(X, seed)
        self.model_ = fit_ridge(self.network_, samples, answers, self.ridge, **self._readout_options(seed))
