"""Kernel ridge regression with the exact kernels of infinitely wide networks."""

from __future__ import annotations

import numpy as np

from hntk.activations import Activation
from hntk.data.scaling import Scaling
from hntk.readouts.gradient_options import ConjugateGradients
from hntk.readouts.kernel_regression import DIRECT, KernelName, Solver, fit_kernel
from hntk.sklearn.answers import LabelEstimator, TargetEstimator
from hntk.sklearn.network_kernels import NetworkKernel
from hntk.theory.architecture import ArchitectureLike


class ExactKernel(NetworkKernel):
    """An estimator by an exact kernel."""

    solver: Solver

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        samples, network, options = self._prepared(X)
        # estimators print nothing unless they are asked to
        quiet = ConjugateGradients(log=None) if self.solver == "auto" and len(samples) > DIRECT else self.solver
        self.model_ = fit_kernel(samples, answers, network, solver=quiet, **options)


class KernelRidge(TargetEstimator, ExactKernel):
    """Regressor by kernel ridge regression with the exact kernel of an infinitely wide network.

    Up to 5,000 samples the kernel is solved with directly, in O(n²) memory and O(n³) time for n samples. For more,
    preconditioned conjugate gradients take O(n²) time for each iteration, see :func:`hntk.fit_kernel`.

    Parameters
    ----------
    activations : str, Activation, sequence of these, or Architecture, default=("relu", "relu")
        The network, an activation for each layer; a list of them has centred layers without biases, and an
        :class:`hntk.Architecture` may have more.
    kernel : {"ntk", "ck"}, default="ntk"
        Which kernel: the neural tangent kernel, of a network whose layers are all trained by small steps, or the
        conjugate kernel, of one whose readout alone is.
    ridge : float or None, default=None
        Ridge λ ≥ 0 on the kernel's diagonal. None chooses it by the mean squared error, leave-one-out or for more
        than 5,000 samples on some that are held out; several targets share it, and count standardised.
    kappa_sq : float or None, default=None
        Diagonal of the NTK, which has to be given for activations that jump.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, and
        False nothing.
    solver : {"auto", "direct"} or ConjugateGradients, default="auto"
        How the system is solved, see :func:`hntk.fit_kernel`.

    Attributes
    ----------
    model_ : KernelRegressor
        The fitted regression; its ``ridge`` is what was chosen, and its ``tried`` tells how each one did.
    normalization_ : Normalization
        What samples go through first.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    EquivalentRidge : The same with the kernel's equivalent in high dimension, for many samples.
    sklearn.kernel_ridge.KernelRidge : The same for other kernels.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from hntk.sklearn import KernelRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> KernelRidge("erf").fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.45
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
        solver: Solver = "auto",
    ) -> None:
        super().__init__(activations, kernel=kernel, ridge=ridge, kappa_sq=kappa_sq, normalize=normalize)
        self.solver: Solver = solver


class KernelRidgeClassifier(LabelEstimator, ExactKernel):
    """Classifier by kernel ridge regression with the exact kernel of an infinitely wide network.

    Up to 5,000 samples the kernel is solved with directly, in O(n²) memory and O(n³) time for n samples. For more,
    preconditioned conjugate gradients take O(n²) time for each iteration, see :func:`hntk.fit_kernel`.

    Parameters
    ----------
    activations : str, Activation, sequence of these, or Architecture, default=("relu", "relu")
        The network, an activation for each layer; a list of them has centred layers without biases, and an
        :class:`hntk.Architecture` may have more.
    kernel : {"ntk", "ck"}, default="ntk"
        Which kernel: the neural tangent kernel, of a network whose layers are all trained by small steps, or the
        conjugate kernel, of one whose readout alone is.
    ridge : float or None, default=None
        Ridge λ ≥ 0 on the kernel's diagonal. None chooses it by the mean squared error, leave-one-out or for more
        than 5,000 samples on some that are held out.
    kappa_sq : float or None, default=None
        Diagonal of the NTK, which has to be given for activations that jump.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, and
        False nothing.
    solver : {"auto", "direct"} or ConjugateGradients, default="auto"
        How the system is solved, see :func:`hntk.fit_kernel`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    model_ : KernelClassifier
        The fitted regression; its ``ridge`` is what was chosen, and its ``tried`` tells how each one did.
    normalization_ : Normalization
        What samples go through first.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    EquivalentRidgeClassifier : The same with the kernel's equivalent in high dimension, for many samples.
    CompressedClassifier : A network of few bytes with nearly the same conjugate kernel.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from hntk.sklearn import KernelRidgeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> KernelRidgeClassifier("relu").fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.95
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
        solver: Solver = "auto",
    ) -> None:
        super().__init__(activations, kernel=kernel, ridge=ridge, kappa_sq=kappa_sq, normalize=normalize)
        self.solver: Solver = solver
