"""Kernel ridge regression with the equivalents, in high dimension, of wide networks' kernels."""

from __future__ import annotations

import numpy as np

from hntk.activations import Activation
from hntk.data.scaling import Scaling
from hntk.readouts.equivalent_ridge import fit_equivalent
from hntk.readouts.kernel_regression import KernelName
from hntk.sklearn.answers import LabelEstimator, TargetEstimator
from hntk.sklearn.network_kernels import NetworkKernel
from hntk.theory.architecture import ArchitectureLike


class EquivalentKernel(NetworkKernel):
    """An estimator by an equivalent kernel."""

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        samples, network, options = self._prepared(X)
        self.model_ = fit_equivalent(samples, answers, network, **options)


class EquivalentRidge(TargetEstimator, EquivalentKernel):
    """Regressor by kernel ridge regression with the equivalent kernel of a wide network.

    In high dimension the conjugate kernel and the neural tangent kernel of a wide network act like a linear kernel with
    a few quadratic terms. That equivalent takes O(np) memory and O(np²) time for n samples of p coordinates, so that a
    million samples can be fitted. How near it is to the network's kernel on data is what :func:`hntk.check` tells.

    Parameters
    ----------
    activations : str, Activation, sequence of these, or Architecture, default=("relu", "relu")
        The network, an activation for each layer; a list of them has centred layers without biases, and an
        :class:`hntk.Architecture` may have more.
    kernel : {"ntk", "ck"}, default="ntk"
        Which kernel: the neural tangent kernel, of a network whose layers are all trained by small steps, or the
        conjugate kernel, of one whose readout alone is.
    ridge : float or None, default=None
        Ridge λ ≥ 0 on the kernel's diagonal. None chooses it by the mean squared leave-one-out error; several
        targets share it, and count standardised.
    kappa_sq : float or None, default=None
        Diagonal of the NTK, which has to be given for activations that jump.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, and
        False nothing.

    Attributes
    ----------
    model_ : EquivalentRegressor
        The fitted regression; its ``ridge`` is what was chosen, and its ``tried`` tells how each one did.
    normalization_ : Normalization
        What samples go through first.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    KernelRidge : The same with the network's exact kernel, for a few thousand samples.
    EquivalentRidgeClassifier : The same for labels.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from hntk.sklearn import EquivalentRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> bool(cross_val_score(EquivalentRidge(["relu"] * 3), X, y, cv=5).mean() > 0.45)
    True
    """

    def __init__(
        self,
        activations: ArchitectureLike | str | Activation = ("relu", "relu"),
        *,
        kernel: KernelName = "ntk",
        ridge: float | None = None,
        kappa_sq: float | None = None,
        normalize: bool | Scaling = True,
    ) -> None:
        super().__init__(activations, kernel=kernel, ridge=ridge, kappa_sq=kappa_sq, normalize=normalize)


class EquivalentRidgeClassifier(LabelEstimator, EquivalentKernel):
    """Classifier by kernel ridge regression with the equivalent kernel of a wide network.

    In high dimension the conjugate kernel and the neural tangent kernel of a wide network act like a linear kernel with
    a few quadratic terms. That equivalent takes O(np) memory and O(np²) time for n samples of p coordinates, so that a
    million samples can be fitted. How near it is to the network's kernel on data is what :func:`hntk.check` tells.

    Parameters
    ----------
    activations : str, Activation, sequence of these, or Architecture, default=("relu", "relu")
        The network, an activation for each layer; a list of them has centred layers without biases, and an
        :class:`hntk.Architecture` may have more.
    kernel : {"ntk", "ck"}, default="ntk"
        Which kernel: the neural tangent kernel, of a network whose layers are all trained by small steps, or the
        conjugate kernel, of one whose readout alone is.
    ridge : float or None, default=None
        Ridge λ ≥ 0 on the kernel's diagonal. None chooses it by the mean squared leave-one-out error.
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
    model_ : EquivalentClassifier
        The fitted regression; its ``ridge`` is what was chosen, and its ``tried`` tells how each one did.
    normalization_ : Normalization
        What samples go through first.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    KernelRidgeClassifier : The same with the network's exact kernel, for a few thousand samples.
    EquivalentRidge : The same for targets.

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
        kernel: KernelName = "ntk",
        ridge: float | None = None,
        kappa_sq: float | None = None,
        normalize: bool | Scaling = True,
    ) -> None:
        super().__init__(activations, kernel=kernel, ridge=ridge, kappa_sq=kappa_sq, normalize=normalize)
