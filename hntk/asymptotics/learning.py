r"""What is learned from n samples of a mixture by ridge regression and by gradient flow with an equivalent kernel.

Scores are Gaussian in the limit (:mod:`hntk.asymptotics.scores`), which gives squared errors as
$\sum_b\pi_b(|Y_b - \bar f_b|^2 + \mathrm{tr}\,\Sigma_b)$ and classification errors as Gaussian probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_choice, as_count, as_finite, as_positive
from hntk._utils.arrays import check_result, finite_array
from hntk.asymptotics.filters import LabelFilter, flow_filter, ridge_filter
from hntk.asymptotics.kernel_parameters import Kind, Net
from hntk.asymptotics.limiting_kernel import LimitingKernel, limiting_kernel
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.orthant import positive_probability
from hntk.asymptotics.scores import FilteredLabels, GaussianScores

Criterion = Literal["squared", "classification"]
# ridges tried for the best one, in units of the kernel's mean eigenvalue
GRID = np.logspace(-5, 4, 37)


@dataclass(frozen=True)
class ScoreLaw:
    """Scores of a class of samples, such as new ones, and the errors they make.

    Attributes
    ----------
    means : (K, m) by class.
    covariances : (K, m, m) by class.
    squared_error : mean of ‖y − f‖².
    classification_error : share of samples whose class has not the largest score; NaN where scores are not by class.
    """

    means: Float[np.ndarray, "K m"]
    covariances: Float[np.ndarray, "K m m"]
    squared_error: float
    classification_error: float


@dataclass(frozen=True)
class Learned:
    """What training reaches in the limit.

    Attributes
    ----------
    training, test : the scores of the samples trained on, and of new ones.
    ridge : λ of ridge regression, None for gradient flow.
    time : s of gradient flow, None for ridge regression.
    """

    training: ScoreLaw
    test: ScoreLaw
    ridge: float | None = None
    time: float | None = None


@dataclass(frozen=True)
class Task:
    """What is learned, and how scores become classes.

    Attributes
    ----------
    targets : (K, m) Y; one column for a score whose sign decides between two classes.
    offset : (m,) added to the scores before the largest wins.
    """

    targets: Float[np.ndarray, "K m"]
    offset: Float[np.ndarray, " m"]


def classification_task(law: MixtureLaw, targets: object | None = None, offset: object | None = None) -> Task:
    """One-hot targets minus the classes' shares, which are added to the scores; or targets of one's own.

    Raises
    ------
    ValueError
        If targets or offset do not fit the classes.
    """
    if targets is None:
        y = np.eye(law.classes) - law.proportions
        added = law.proportions if offset is None else finite_array(offset, "offset")
    else:
        y = finite_array(targets, "targets")
        y = y.reshape(len(y), -1) if y.size and y.ndim else y.reshape(1, -1)
        added = np.zeros(y.shape[1]) if offset is None else finite_array(offset, "offset").reshape(-1)
    if len(y) != law.classes or 0 in y.shape or added.shape != y.shape[1:]:
        raise ValueError(
            f"targets must be a finite ({law.classes}, m) array, one row per class, and offset (m,); got shapes "
            f"{y.shape} and {added.shape}."
        )
    return Task(y, added)


def ridge_regression(
    law: MixtureLaw,
    n: int,
    net: Net,
    ridge: float,
    *,
    kernel: Kind = "ntk",
    kappa_sq: float | None = None,
    finite_size: bool = False,
    targets: object | None = None,
    offset: object | None = None,
) -> Learned:
    """Kernel ridge regression, β = (K̃ + λI)⁻¹ y.

    Parameters
    ----------
    law : of the data.
    n : number of training samples.
    net : one activation per layer, or coefficients.
    ridge : λ, above −γ, minus the kernel's own multiple of the identity.
    kernel : ``"ntk"`` or ``"ck"``.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.
    finite_size : whether for the exact kernel of p coordinates (:mod:`hntk.asymptotics.sample_norms`), which takes the
        activations, or for the equivalent kernel in the limit.
    targets, offset : see :func:`classification_task`.

    Raises
    ------
    ValueError
        If the net or the targets do not fit, or the ridge does not make the kernel positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> [round(ridge_regression(law, n, ["relu"], 0.1).test.classification_error, 3) for n in (200, 800, 3200)]
    [0.048, 0.035, 0.024]
    """
    limit = limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq, finite_size=finite_size)
    return _ridge(limit, as_finite(ridge, "ridge"), classification_task(law, targets, offset))


def gradient_flow(
    law: MixtureLaw,
    n: int,
    net: Net,
    time: float,
    *,
    kernel: Kind = "ntk",
    kappa_sq: float | None = None,
    finite_size: bool = False,
    targets: object | None = None,
    offset: object | None = None,
) -> Learned:
    """Gradient flow on ½‖y − f‖² from f = 0 for a time, with the NTK that of a wide network: f = (I − exp(−sK̃)) y.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, finite_size, targets, offset : as for :func:`ridge_regression`.
    time : s > 0, in units of one over the kernel's eigenvalues.

    Raises
    ------
    ValueError
        If the net or the targets do not fit, or the time is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> [round(gradient_flow(law, 800, ["relu"], s).test.squared_error, 3) for s in (0.1, 1.0, 10.0)]
    [0.236, 0.109, 0.12]
    """
    time = as_positive(time, "time", "before training, at 0, all scores are 0")
    limit = limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq, finite_size=finite_size)
    found = _learned(limit, flow_filter(time), classification_task(law, targets, offset))
    return Learned(*found, time=time)


def optimal_ridge(
    law: MixtureLaw,
    n: int,
    net: Net,
    *,
    criterion: Criterion = "squared",
    kernel: Kind = "ntk",
    kappa_sq: float | None = None,
    finite_size: bool = False,
    targets: object | None = None,
    offset: object | None = None,
    rounds: int = 4,
) -> Learned:
    """Ridge regression with the ridge λ ≥ 0 of least test error.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, finite_size, targets, offset : as for :func:`ridge_regression`.
    criterion : ``"squared"`` or ``"classification"``.
    rounds : of a search on a grid, each ten times finer about the best ridge of the last.

    Raises
    ------
    ValueError
        If something does not fit, or the criterion is unknown.
    """
    as_choice(criterion, "criterion", get_args(Criterion))
    rounds = as_count(rounds, "rounds", least=0)
    limit = limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq, finite_size=finite_size)
    task = classification_task(law, targets, offset)
    shift = limit.coefficients.shift
    scale = shift + limit.coefficients.gram * law.tau0**2
    tried = [_ridge(limit, ridge, task) for ridge in (*([0.0] if shift > 0 else []), *(scale * GRID))]
    width = np.log(GRID[1] / GRID[0])
    for _ in range(rounds):
        best = min(tried, key=lambda found: _error(found, criterion))
        if not best.ridge:
            return best
        near = best.ridge * np.exp(width * np.linspace(-1, 1, 11))
        tried += [_ridge(limit, float(ridge), task) for ridge in near]
        width /= 5
    return min(tried, key=lambda found: _error(found, criterion))


def _error(found: Learned, criterion: Criterion) -> float:
    return found.test.squared_error if criterion == "squared" else found.test.classification_error


def _ridge(limit: LimitingKernel, ridge: float, task: Task) -> Learned:
    shift = limit.coefficients.shift
    if not (np.isfinite(ridge) and ridge + shift > 0):
        raise ValueError(f"ridge must exceed {-shift:.4g}, minus the kernel's own multiple of I; got {ridge!r}.")
    return Learned(*_learned(limit, ridge_filter(ridge), task), ridge=ridge)


def _learned(limit: LimitingKernel, label_filter: LabelFilter, task: Task) -> tuple[ScoreLaw, ScoreLaw]:
    labels = FilteredLabels(limit, label_filter, task.targets)
    shares = limit.law.proportions
    return score_law(labels.trained(), task, shares), score_law(labels.new(), task, shares)


def score_law(scores: GaussianScores, task: Task, shares: Float[np.ndarray, " K"]) -> ScoreLaw:
    """The errors Gaussian scores make."""
    means, covariances = scores
    squares = np.sum((task.targets - means) ** 2, axis=1) + np.trace(covariances, axis1=1, axis2=2)
    check_result(np.append(squares, means), "a score")
    right = [_right(mean + task.offset, c, b, task.targets) for b, (mean, c) in enumerate(zip(*scores, strict=True))]
    return ScoreLaw(means, covariances, float(shares @ squares), float(1 - shares @ right))


def _right(
    mean: Float[np.ndarray, " m"], covariance: Float[np.ndarray, "m m"], b: int, targets: Float[np.ndarray, "K m"]
) -> float:
    """Probability that class b is recognised."""
    classes, outputs = targets.shape
    if classes == 1:
        return 1.0
    if outputs == 1 and classes == 2:
        side = np.sign(targets[b, 0] - targets[1 - b, 0])
        return positive_probability(side * mean, covariance)
    if outputs != classes:
        return np.nan
    contrast = np.delete(np.eye(outputs)[b] - np.eye(outputs), b, axis=0)
    return positive_probability(contrast @ mean, contrast @ covariance @ contrast.T)
