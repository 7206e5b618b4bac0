r"""Training and test errors of ridge regression and of gradient flow with a kernel of n samples.

Scores are Gaussian in the limit (:mod:`hntk.asymptotics.scores`). Squared errors are therefore
$\sum_b\pi_b(|Y_b - \bar f_b|^2 + \mathrm{tr}\,\Sigma_b)$, where class b's scores have mean $\bar f_b$ and covariance
$\Sigma_b$, and classification errors are Gaussian probabilities (docs/theory.md, "Labels through a linear filter").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_choice, as_count, as_finite, as_positive
from hntk._utils.arrays import check_result, finite_array
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.filters import LabelFilter, flow_filter, ridge_filter
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.orthant import positive_probability
from hntk.asymptotics.scores import FilteredLabels, GaussianScores
from hntk.asymptotics.spiked_kernel import SpikedKernel

Criterion = Literal["squared", "classification"]
# Ridges from which the search for the best one starts, in units of the kernel's mean eigenvalue.
RIDGE_GRID = np.logspace(-5, 4, 37)


@array_dataclass()
class ScoreLaw:
    """The Gaussian law of the scores of some samples, such as new ones, and the errors they make.

    Attributes
    ----------
    means : array, shape (K, m)
        Mean scores of each class.
    covariances : array, shape (K, m, m)
        Covariances of the scores of each class.
    squared_error : float
        The mean of ‖y − f‖², with the noise of y where there is any.
    classification_error : float
        The share of samples whose class does not have the largest score; NaN if scores do not belong to classes. It is
        that of Gaussian scores. Those of exact kernels have a small skewness: with class means of norm 2.5 to 4, shares
        at finite size were predicted 1.7 to 2.8 % too low at p = 200, and within half a standard error, .5 %, at
        p = 400 (docs/theory.md, "What is only approximately true").
    """

    means: Float[np.ndarray, "K m"]
    covariances: Float[np.ndarray, "K m m"]
    squared_error: float
    classification_error: float

    def __repr__(self) -> str:
        classes, outputs = np.shape(self.means)
        return (
            f"ScoreLaw({outputs} scores in {classes} classes; squared_error={self.squared_error:.6g}, "
            f"classification_error={self.classification_error:.6g})"
        )


@array_dataclass()
class Learned:
    """The scores that a kernel machine reaches, on its training samples and on new ones.

    Attributes
    ----------
    training : ScoreLaw
        The scores of the samples trained on.
    test : ScoreLaw
        The scores of new samples.
    ridge : float or None
        The ridge λ of ridge regression; None for gradient flow.
    time : float or None
        The time s of gradient flow; None for ridge regression.
    """

    training: ScoreLaw
    test: ScoreLaw
    ridge: float | None = None
    time: float | None = None


@array_dataclass()
class ClassTargets:
    """The targets of every class, and how scores become classes.

    Attributes
    ----------
    targets : array, shape (K, m)
        Y, what samples of each class are trained to score. With one column and two classes, the score's sign decides.
    offset : array, shape (m,)
        An offset added to the scores before the largest one decides.
    linear : array, shape (p, m), or None
        The weights w of ⟨w, x⟩, which is added to the targets of a sample x; None for nothing.
    noise : array, shape (m,), or None
        The variances of independent noise that is added; None for none.
    """

    targets: Float[np.ndarray, "K m"]
    offset: Float[np.ndarray, " m"]
    linear: Float[np.ndarray, "p m"] | None = None
    noise: Float[np.ndarray, " m"] | None = None

    @staticmethod
    def of(
        law: MixtureLaw,
        targets: object | None = None,
        offset: object | None = None,
        linear: object | None = None,
        noise: object | None = None,
    ) -> ClassTargets:
        """Return one-hot targets minus the classes' shares, with the shares as offset; or the user's, with 0 as offset.

        Raises
        ------
        ValueError
            If targets, offset, linear part or noise do not fit the classes or each other.
        """
        weights = None if linear is None else _linear_weights(linear, law.dimension)
        if weights is not None and targets is None:
            targets = np.zeros((law.classes, weights.shape[1]))
        if targets is None:
            y, default_offset = np.eye(law.classes) - law.proportions, law.proportions
        else:
            y = finite_array(targets, "targets")
            y = y.reshape(len(y), -1) if y.size and y.ndim else y.reshape(1, -1)
            default_offset = np.zeros(y.shape[1])
        added = default_offset if offset is None else finite_array(offset, "offset")
        if targets is not None:
            added = added.reshape(-1)
        if len(y) != law.classes or 0 in y.shape or added.shape != y.shape[1:]:
            raise ValueError(
                f"targets must be a finite ({law.classes}, m) array, one row per class, and offset (m,); got shapes "
                f"{y.shape} and {added.shape}."
            )
        if weights is not None and weights.shape[1] != y.shape[1]:
            raise ValueError(f"linear must have a column for each of {y.shape[1]} targets, got {weights.shape[1]}.")
        return ClassTargets(y, added, weights, None if noise is None else _noise_variances(noise, y.shape[1]))

    def filtered(self, kernel: SpikedKernel, label_filter: LabelFilter) -> FilteredLabels:
        """Return a filter applied to the labels of a training set with these targets.

        Raises
        ------
        ValueError
            If targets have a linear part, and the kernel is one at finite size or does not see it.
        """
        if self.linear is None:
            return FilteredLabels(kernel, label_filter, self.targets, noise=self.noise)
        if kernel.quadrature is not None:
            raise ValueError("linear= is for the limit of large n and p: leave finite_size=False.")
        gram = kernel.coefficients.gram
        if not gram > 0:
            raise ValueError(
                "the kernel has no linear part, and takes linear= for noise: give its variance as noise= instead."
            )
        directions = self.linear.T / np.sqrt(kernel.law.dimension)
        extended = kernel.law.with_directions(directions)
        classes, outputs = kernel.law.classes, len(directions)
        assert extended.means is not None
        targets = np.zeros((extended.classes, outputs))
        targets[:classes] = self.targets + extended.means[:classes] @ directions.T
        # the kernel's own samples and directions are √gram times these
        linear = np.concatenate([np.zeros((classes, outputs)), np.eye(outputs) / gram])
        return FilteredLabels(replace(kernel, law=extended), label_filter, targets, linear, self.noise)

    def score_law(self, scores: GaussianScores, shares: Float[np.ndarray, " K"]) -> ScoreLaw:
        """Return the law of Gaussian scores, given by class, with the errors they make; refuse scores that overflow."""
        # those of classes that only stand for a direction come last
        means, covariances, squares = (part[: len(self.targets)] for part in scores)
        check_result(np.append(squares, means), "a score")
        right = [self._right(b, mean, c) for b, (mean, c) in enumerate(zip(means, covariances, strict=True))]
        return ScoreLaw(means, covariances, float(shares @ squares), float(1 - shares @ right))

    def _right(self, b: int, mean: Float[np.ndarray, " m"], covariance: Float[np.ndarray, "m m"]) -> float:
        """Return the probability that a sample of class b is recognised."""
        (classes, outputs), mean = self.targets.shape, mean + self.offset
        if self.linear is not None:
            return np.nan
        if classes == 1:
            return 1.0
        if outputs == 1 and classes == 2:
            side = np.sign(self.targets[b, 0] - self.targets[1 - b, 0])
            return positive_probability(side * mean, covariance)
        if outputs != classes:
            return np.nan
        contrast = np.delete(np.eye(outputs)[b] - np.eye(outputs), b, axis=0)
        return positive_probability(contrast @ mean, contrast @ covariance @ contrast.T)


def learned_by_ridge(kernel: SpikedKernel, ridge: float, targets: ClassTargets) -> Learned:
    """Return what kernel ridge regression reaches, or refuse a ridge that does not make the kernel positive."""
    ridge = as_finite(ridge, "ridge")
    shift = kernel.coefficients.shift
    if ridge + shift <= 0:
        raise ValueError(f"ridge must exceed {-shift:.4g}, minus the kernel's own multiple of I; got {ridge!r}.")
    return Learned(*_learned(kernel, ridge_filter(ridge), targets), ridge=ridge)


def learned_by_flow(kernel: SpikedKernel, time: float, targets: ClassTargets) -> Learned:
    """Return what gradient flow reaches at a time, or refuse one that is not positive."""
    time = as_positive(time, "time", "before training, at 0, all scores are 0")
    return Learned(*_learned(kernel, flow_filter(time), targets), time=time)


def learned_at_best_ridge(kernel: SpikedKernel, targets: ClassTargets, criterion: Criterion, rounds: int) -> Learned:
    """Return ridge regression with the ridge λ ≥ 0 of least test error, by a search on ever finer grids."""
    as_choice(criterion, "criterion", get_args(Criterion))
    rounds = as_count(rounds, "rounds", least=0)

    def error(learned: Learned) -> float:
        return learned.test.squared_error if criterion == "squared" else learned.test.classification_error

    shift = kernel.coefficients.shift
    mean_eigenvalue = shift + kernel.coefficients.gram * kernel.law.tau0**2
    ridges = [*([0.0] if shift > 0 else []), *(mean_eigenvalue * RIDGE_GRID)]
    tried = [learned_by_ridge(kernel, ridge, targets) for ridge in ridges]
    log_width = np.log(RIDGE_GRID[1] / RIDGE_GRID[0])
    for _ in range(rounds):
        best = min(tried, key=error)
        if not best.ridge:
            return best
        finer = best.ridge * np.exp(log_width * np.linspace(-1, 1, 11))
        tried += [learned_by_ridge(kernel, float(ridge), targets) for ridge in finer]
        log_width /= 5
    return min(tried, key=error)


def _learned(kernel: SpikedKernel, label_filter: LabelFilter, targets: ClassTargets) -> tuple[ScoreLaw, ScoreLaw]:
    """Return the laws of training and of test scores."""
    labels = targets.filtered(kernel, label_filter)
    shares = kernel.law.proportions
    return targets.score_law(labels.training_scores(), shares), targets.score_law(labels.new_scores(), shares)


def _linear_weights(linear: object, dimension: int) -> Float[np.ndarray, "p m"]:
    """Return the weights of a linear part as columns, or refuse what does not fit the samples."""
    given = finite_array(linear, "linear")
    if given.ndim not in (1, 2) or len(given) != dimension or given.size == 0:
        raise ValueError(f"linear must be ({dimension},) or ({dimension}, m), got shape {given.shape}.")
    return given.reshape(dimension, -1)


def _noise_variances(noise: object, outputs: int) -> Float[np.ndarray, " m"]:
    """Return the variance of each target's noise."""
    given = finite_array(noise, "noise")
    if given.shape not in ((), (outputs,)) or np.any(given < 0):
        raise ValueError(f"noise must be a variance or {outputs} of them, not negative; got {noise!r:.60}.")
    return np.broadcast_to(given, outputs).copy()
