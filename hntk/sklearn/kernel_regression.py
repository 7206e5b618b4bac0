"""Kernel ridge regression with the kernels of wide networks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from hntk.activations import Activation
from hntk.data.normalization import Normalization
from hntk.data.scaling import Scaling
from hntk.readouts.equivalent_ridge import fit_equivalent
from hntk.sklearn.answers import LabelEstimator, new_samples
from hntk.theory.architecture import ArchitectureLike


class KernelParameters(BaseEstimator):
    """What estimators by a kernel of a wide network take, and its normalised samples."""

    normalize: bool | Scaling
    activations: Any
    model_: Any

    def _normalised(self, X: np.ndarray) -> np.ndarray:
        """Set the normalisation for raw samples, and return the normalised samples."""
        self.normalization_ = Normalization.of(X, self.normalize)
        return np.asarray(self.normalization_(X))

    def _scores(self, X: Any) -> np.ndarray:
        """Return the scores of raw samples."""
        samples = new_samples(self, X)
        return np.asarray(self.model_.scores(samples, raw=True))

    def _network(self) -> Any:
        """Return the network; one activation is that of its only layer."""
        return [self.activations] if isinstance(self.activations, str | Activation) else self.activations


class EquivalentParameters(KernelParameters):
    """Parameters of a regression with an equivalent kernel, and how it is fitted."""

    kernel: Literal["ntk", "ck"]

    def __init__(
        self,
        activations: ArchitectureLike | str | Activation = ("relu", "relu"),
        *,
        kernel: Literal["ntk", "ck"] = "ntk",
        ridge: float | None = None,
        kappa_sq: float | None = None,
        normalize: bool | Scaling = True,
    ) -> None:
        self.activations = activations
        self.kernel = kernel
        self.ridge = ridge
        self.kappa_sq = kappa_sq
        self.normalize = normalize

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        samples = self._normalised(X)
        self.model_ = fit_equivalent(
            samples, answers, self._network(), kernel=self.kernel, ridge=self.ridge, kappa_sq=self.kappa_sq,
            normalization=self.normalization_,
        )  # fmt: skip


class EquivalentRidgeClassifier(LabelEstimator, EquivalentParameters):
    """Classifier by kernel ridge regression with the equivalent kernel of a wide network.

    In high dimension the conjugate kernel and the neural tangent kernel of a wide network act like a linear kernel with
    a few quadratic terms. That equivalent takes O(np) memory and O(np²) time for n samples of p coordinates, so that a
    million samples can be fitted. How near it is to the network's kernel on data is what :func:`hntk.check` tells;
    :class:`KernelRidgeClassifier` has the exact kernel.

    Parameters
    ----------
    activations : str, Activation, sequence of these, or Architecture, default=("relu", "relu")
        The network, an activation for each layer; a list of them has centred layers without biases, and an
        :class:`hntk.Architecture` may have more.
    kernel : {"ntk", "ck"}, default="ntk"
        Which kernel: the neural tangent kernel, of a network whose layers are all trained by small steps, or the
        conjugate kernel, of one whose readout alone is.
    ridge : float or None, default=None
        Ridge λ ≥ 0. None chooses it by the mean squared leave-one-out error.
    kappa_sq : float or None, default=None
        Diagonal of the NTK, which has to be given for activations that jump.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, and
        False nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    model_ : EquivalentRegression
        The fitted regression; its ``ridge`` is what was chosen, and its ``tried`` tells how each one did.
    normalization_ : Normalization
        What samples go through first.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from hntk.sklearn import EquivalentRidgeClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), EquivalentRidgeClassifier(["relu"] * 3))
    >>> bool(cross_val_score(model, X, y, cv=5).mean() > 0.95)
    True
    """

    def __init__(
        self,
        activations: ArchitectureLike | str | Activation = ("relu", "relu"),
        *,
        kernel: Literal["ntk", "ck"] = "ntk",
        ridge: float | None = None,
        kappa_sq: float | None = None,
        normalize: bool | Scaling = True,
    ) -> None:
        super().__init__(activations, kernel=kernel, ridge=ridge, kappa_sq=kappa_sq, normalize=normalize)
