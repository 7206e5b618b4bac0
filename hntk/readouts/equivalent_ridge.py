r"""Kernel ridge regression with the equivalent kernels, on more samples than an (n, n) matrix allows.

To predict, a kernel must be a function of two samples, and what the equivalents know of a class must be read off the
sample. With the forms $q$ of :mod:`hntk.readouts.quadratic_forms` the function is

$$k(x, x') = c_1\, x^\top x' + c_2\,(\|x\|^2 - \tau_0^2)(\|x'\|^2 - \tau_0^2) + c_3\, q(x)^\top G^{-1} q(x'),$$

and on the training samples $\gamma$ is added to the diagonal; $(c_1, c_2, c_3)$ are $\alpha_L$ or $\beta_L$. It becomes
the equivalent kernel when n and p grow: $\|x_i\|^2 - \tau_0^2 = \psi_i + t_a/\sqrt p$ and $q_b(x_i) = T_{ab}/p$ up to
terms that vanish in operator norm.

Networks that are not plain have such a kernel behind an intercept, with (a, e, d) of their expansions for
$(c_1, c_2, c_3)$. The regression then has one: the mean over the training samples is taken from what the kernel sees of
a sample. Samples are not copied for that. With the mean sample $\bar x$ and $g = X\bar x - 1\|\bar x\|^2$,

$$PXX^\top P = XX^\top - g1^\top - 1g^\top - \|\bar x\|^211^\top,\qquad P = I - 11^\top/n .$$
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import scipy
from jaxtyping import Float, Int

from hntk._utils.arguments import as_callback, as_choice, as_diagonal
from hntk._utils.arrays import check_result
from hntk._utils.labels import as_labels
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import row_blocks
from hntk.data.normalization import Normalization
from hntk.kernels.ray_samples import as_samples_on
from hntk.kernels.ray_workers import Engine
from hntk.networks.label_predictor import LabelPredictor
from hntk.networks.target_predictor import TargetPredictor
from hntk.readouts.answers import Answers
from hntk.readouts.equivalent_features import equivalent_operator, equivalent_weights
from hntk.readouts.kernel_data import KernelData
from hntk.readouts.kernel_ridge import RIDGES, Trial, lowest_error, try_ridges
from hntk.readouts.kernel_scores import KernelScores
from hntk.readouts.quadratic_forms import QuadraticForms
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.theory.low_rank_operator import StructuredKernel


@array_dataclass()
class EquivalentRegression(KernelScores):
    """A kernel ridge regression with an equivalent kernel, on classes or on real-valued targets.

    Attributes
    ----------
    kernel : StructuredKernel
        Equivalent kernel between the training samples.
    forms : QuadraticForms
        What the kernel takes of a sample besides inner products.
    linear : ndarray of shape (p, K)
        Scores are x · linear + forms(x) · quadratic + offset.
    quadratic : ndarray of shape (k + 1, K)
        Weights of the forms.
    offset : ndarray of shape (K,)
        Shares of the classes, or means of the targets; with an intercept less the scores that the mean training sample
        would have otherwise.
    ridge : float
        Ridge λ that was used.
    tried : tuple of Trial
        Ridge, mean squared leave-one-out error and leave-one-out accuracy of every ridge that was tried; empty when
        the ridge was given. Errors of a regression are in units of the targets' variances, summed over the targets, and
        there is no accuracy.
    normalization : Normalization or None
        What raw samples go through first, where it is known.
    """

    kernel: StructuredKernel
    forms: QuadraticForms
    linear: Float[np.ndarray, "p K"]
    quadratic: Float[np.ndarray, "k_plus_1 K"]
    offset: Float[np.ndarray, " K"]
    ridge: float
    tried: tuple[Trial, ...] = ()
    normalization: Normalization | None = None

    @property
    def _scale(self) -> float:
        return self.forms.tau0

    @property
    def _dimension(self) -> int:
        return len(self.linear)

    def _parts(self, samples: np.ndarray) -> Iterator[Float[np.ndarray, "m K"]]:
        for rows in row_blocks(samples):
            block = samples[rows]
            yield block @ self.linear + self.forms(block) @ self.quadratic


@array_dataclass(static=("classes",))
class EquivalentClassifier(EquivalentRegression, LabelPredictor):
    """A classifier by kernel ridge regression with an equivalent kernel, on centred one-hot targets.

    Attributes
    ----------
    classes : ndarray of shape (K,)
        Labels in the order of the scores.
    """

    classes: np.ndarray = field(kw_only=True)


@array_dataclass()
class EquivalentRegressor(EquivalentRegression, TargetPredictor):
    """A regressor of real-valued targets by kernel ridge regression with an equivalent kernel."""


def fit_equivalent(
    x: object,
    labels: object,
    activations: ArchitectureLike,
    *,
    kernel: Literal["ck", "ntk"] = "ntk",
    ridge: float | None = None,
    ridges: Sequence[float] = RIDGES,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    groups: object = None,
    normalization: Normalization | None = None,
    engine: Engine = "local",
    progress: Callable[[int], None] | None = None,
) -> EquivalentClassifier | EquivalentRegressor:
    r"""Fit a kernel ridge regression with the equivalent CK or NTK, in O(np) memory and O(np²) time.

    The type of the labels decides what is predicted: classes, or real-valued targets where they are floating-point
    numbers. The kernel of a regression is that of samples of one class, unless ``groups`` tells their classes.

    Parameters
    ----------
    x : array of shape (n, p), RowFiles or Dataset
        Training samples, ‖x_i‖² ≈ τ_0², files of them (:func:`hntk.open_rows`), or a :class:`hntk.Dataset`, whose
        training part is taken. A memory map is read in blocks and never copied.
    labels : array of shape (n,), or of shape (n, K) for targets
        Labels: whole numbers, booleans or text. Or targets: floating-point numbers; classes that are such numbers
        become labels by ``labels.astype(int)``. None for a data set's own.
    activations : sequence of str or Activation, or Architecture
        The network. A list of one activation per layer is centred, with unit weights and without biases. For other
        networks an intercept is fitted too, as their equivalents are those behind one.
    kernel : {"ntk", "ck"}
        Which kernel.
    ridge : float, optional
        Ridge λ ≥ 0, added to the kernel's own multiple of the identity; None chooses it by mean squared leave-one-out
        error, to which targets of a regression count standardised.
    ridges : sequence of float
        Ridges to choose from, in units of the kernel's mean eigenvalue.
    tau0 : float, optional
        Root mean square norm of a sample; by default the data's.
    kappa_sq : float, optional
        The NTK's diagonal κ_L², to be declared when an activation jumps.
    groups : array of shape (n,), optional
        Labels of the classes that the samples of a regression belong to, whose second moments the kernel tells apart.
    normalization : Normalization, optional
        What raw samples go through before they are like x, for the result to take those with ``raw=True``; by default
        the data set's own.
    engine : {"local", "ray"}
        Where passes over the samples are made. "ray" has the machines of a Ray cluster make them, some rows each: the
        one that ``ray.init`` has connected to, or this machine. The numbers are the same.
    progress : callable, optional
        Called with the number of samples done, after each block of the choice of the ridge.

    Returns
    -------
    EquivalentClassifier or EquivalentRegressor
        The classifier, or the regressor where the labels are floating-point numbers.

    Raises
    ------
    ValueError
        If data, labels or settings do not fit, a class is too small, ``groups`` are given beside classes, or the matrix
        is singular.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=2000, p=40, key=jax.random.key(0))
    >>> fitted = hntk.fit_equivalent(data.x[::2], data.labels[::2], ["relu"] * 3)
    >>> fitted.accuracy(data.x[1::2], data.labels[1::2]) > 0.95
    True
    >>> y = data.x @ data.x[:3].T  # three real-valued targets
    >>> regressor = hntk.fit_equivalent(data.x[::2], y[::2], ["relu"] * 3)
    >>> regressor.predict(data.x[1::2]).shape, regressor.r2(data.x[1::2], y[1::2]) > 0.95
    ((1000, 3), True)
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared, progress = as_diagonal(kappa_sq), as_callback(progress)
    data = KernelData.of(x, labels, ridge=ridge, ridges=ridges, tau0=tau0, normalization=normalization, name="labels")
    net, index = as_architecture(activations), _mixture_classes(data.answers, groups)
    weights, diagonal = equivalent_weights(net, data.tau0, kernel, declared)
    samples = as_samples_on(engine, data.x, x)
    forms = QuadraticForms.of(samples, index, data.tau0)
    operator = equivalent_operator(samples, index, forms, weights, diagonal)
    regression = _Regression(operator) if net.is_plain else _Regression.with_intercept(operator)
    targets, ridge, tried = data.targets, data.ridge, ()
    if ridge is None:
        tried = try_ridges(regression, targets, np.multiply(data.ridges, diagonal).tolist(), progress)
        ridge = lowest_error(tried).ridge
    dual = regression.kernel.solve(targets.values, ridge)
    check_result(dual, "the regression")
    linear, quadratic, common = (part * targets.spread for part in regression.weights(dual))
    fitted = regression.kernel if engine == "local" else replace(regression.kernel, x=data.x)
    parts = (fitted, forms, linear, quadratic, targets.mean + common, float(ridge), tried)
    if data.answers.classes is None:
        return EquivalentRegressor(*parts, data.normalization)
    return EquivalentClassifier(*parts, data.normalization, classes=data.answers.classes)


def _mixture_classes(answers: Answers, groups: object) -> Int[np.ndarray, " n"]:
    """Return the class of every sample as the kernel sees it."""
    if answers.index is not None:
        if groups is not None:
            raise ValueError("groups= are for a regression: labels that are classes are the groups themselves.")
        return answers.index
    if groups is None:
        return np.zeros(len(answers.values), int)
    return as_labels(groups, len(answers.values), least=1)[1]


@dataclass(frozen=True, eq=False)
class _Regression:
    """A kernel between training samples, and what is fitted with it.

    Attributes
    ----------
    kernel : StructuredKernel
        The kernel; centred where there is an intercept, with the columns g and 1 behind those of the forms.
    form_means : ndarray of shape (k + 1,) or None
        Means of the forms, which were taken from them, where there is an intercept; None where there is none.
    """

    kernel: StructuredKernel
    form_means: Float[np.ndarray, " k_plus_1"] | None = None

    @staticmethod
    def with_intercept(kernel: StructuredKernel) -> _Regression:
        """Centre a kernel but for its identity, whose part along 1 no target of mean 0 sees."""
        x, n = kernel.x, len(kernel.factor)
        mean = sum((np.asarray(x[rows], np.float64).sum(axis=0) for rows in row_blocks(x)), np.zeros(x.shape[1])) / n
        along, square = np.concatenate([x[rows] @ mean for rows in row_blocks(x)]), float(mean @ mean)
        means = kernel.factor.mean(axis=0)
        factor = np.column_stack([kernel.factor - means, along - square, np.ones(n)])
        beside = -kernel.weight * np.array([[0.0, 1.0], [1.0, square]])
        core = np.asarray(scipy.linalg.block_diag(kernel.core, beside))
        centred = StructuredKernel(x, kernel.weight, factor, core, kernel.shift)
        return _Regression(centred, means)

    def leave_one_out_grid(
        self, y: Float[np.ndarray, "n K"], ridges: Sequence[float]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows K"]]]:
        """Yield leave-one-out errors at several ridges, some rows at a time."""
        return self.kernel.leave_one_out_grid(y, ridges, intercept=self.form_means is not None)

    def weights(
        self, dual: Float[np.ndarray, "n K"]
    ) -> tuple[Float[np.ndarray, "p K"], Float[np.ndarray, "k_plus_1 K"], Float[np.ndarray, " K"]]:
        """Return the weights of a sample and of its forms, and a constant, that give its scores."""
        linear, quadratic = self.kernel.weights(dual)
        if self.form_means is None:
            return linear, quadratic, np.zeros(dual.shape[1])
        forms = quadratic[:-2]
        return linear, forms, quadratic[-1] - self.form_means @ forms
