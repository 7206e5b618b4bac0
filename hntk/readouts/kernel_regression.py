r"""Kernel ridge regression with the exact CK or NTK, solved directly or by conjugate gradients.

With kernel K between the training samples, ridge λ and centred targets Y, the dual coefficients are
$A = (K + \lambda I)^{-1} Y$, and a new sample's scores are $k(x, X) A$ plus the means. An intercept takes P K P for K,
$P = I - 11^\top/n$. :func:`hntk.fit_ridge` has one, and regression with the CK is its limit at infinite width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_callback, as_choice, as_diagonal, as_flag
from hntk._utils.arrays import brief, check_result
from hntk._utils.float64 import float64
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk.data.normalization import Normalization
from hntk.data.row_files import RowFiles
from hntk.kernels.held_kernel import KernelName, square, weighted_rows
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_workers import Engine
from hntk.networks.label_predictor import LabelPredictor
from hntk.networks.target_predictor import TargetPredictor
from hntk.readouts.gradient_options import ConjugateGradients, Convergence
from hntk.readouts.kernel_data import KernelData, check_diagonal
from hntk.readouts.kernel_gradients import RIDGES as DESCENDING
from hntk.readouts.kernel_gradients import fit_by_gradients
from hntk.readouts.kernel_on_ray import as_cluster
from hntk.readouts.kernel_ridge import (
    RIDGES,
    CentredTargets,
    DenseKernel,
    Trial,
    centre,
    lowest_error,
    solve_ridge,
    try_ridges,
)
from hntk.readouts.kernel_scores import KernelScores
from hntk.readouts.kernel_variance import posterior_variances
from hntk.theory.architecture import Architecture, ArchitectureLike, as_architecture

# most samples that the direct solver takes without being asked to
DIRECT = 5000
Solver = Literal["auto", "direct"] | ConjugateGradients
# Entries of one kernel between new samples and the training samples that are in memory at a time.
ENTRIES = 2**24
# (n, n) arrays of float64 that must fit into memory: where a ridge is given, and where one is chosen by eigenvectors.
SOLVED, DECOMPOSED = 2, 4


@array_dataclass(static=("architecture", "kernel", "convergence"))
class KernelRegression(KernelScores):
    """A kernel ridge regression with an exact kernel, on classes or on real-valued targets.

    Attributes
    ----------
    x : ndarray of shape (n, p)
        Training samples.
    architecture : Architecture
        The network of infinite width.
    kernel : {"ntk", "ck"}
        Which kernel.
    tau0 : float
        Root mean square norm of a training sample, the scale at which activations are centred.
    dual : ndarray of shape (n, K)
        Coefficients of the training samples.
    offset : ndarray of shape (K,)
        Scores of a sample whose kernel with every training sample is 0.
    ridge : float
        Ridge λ that was used.
    tried : tuple of Trial
        Ridge, mean squared leave-one-out error and leave-one-out accuracy of every ridge that was tried; empty when
        the ridge was given. Errors of a regression are in units of the targets' variances, summed over the targets, and
        there is no accuracy.
    normalization : Normalization or None
        What raw samples go through first, where it is known.
    intercept : bool
        Whether an intercept was fitted.
    kappa_sq : float or None
        The NTK's diagonal, where it was declared.
    convergence : Convergence or None
        How conjugate gradients solved the system; None where it was solved directly.
    """

    x: Float[np.ndarray, "n p"]
    architecture: Architecture
    kernel: KernelName
    tau0: float
    dual: Float[np.ndarray, "n K"]
    offset: Float[np.ndarray, " K"]
    ridge: float
    tried: tuple[Trial, ...] = ()
    normalization: Normalization | None = None
    intercept: bool = False
    kappa_sq: float | None = None
    convergence: Convergence | None = None

    @property
    def _scale(self) -> float:
        return self.tau0

    @property
    def _dimension(self) -> int:
        return self.x.shape[1]

    def _parts(self, samples: np.ndarray) -> Iterator[Float[np.ndarray, "m K"]]:
        """Yield scores by rows of the kernel with the training samples, which is not kept."""
        step = max(1, ENTRIES // len(self.x))
        with float64():
            problem = KernelProblem.of(self.x, self.architecture, None, self.tau0, self.kappa_sq)
            training = problem.checked_samples(problem.x)
            for start in range(0, len(samples), step):
                block = problem.checked_samples(jnp.asarray(samples[start : start + step], float))
                yield weighted_rows(problem, self.kernel, block, training, self.dual)

    def variance(self, x: object, *, raw: bool = False, solver: Solver = "auto") -> Float[np.ndarray, " m"]:
        """Return posterior variances of the Gaussian process that has the kernel, and noise of the ridge's variance.

        The kernel between the training samples is computed anew.

        Parameters
        ----------
        x : array of shape (m, p)
            Samples, normalised as the training samples were.
        raw : bool
            Whether they are raw instead, to go through ``normalization`` first.
        solver : {"auto", "direct"} or ConjugateGradients
            How systems are solved. "auto" is direct up to 5,000 training samples, and conjugate gradients for more.

        Returns
        -------
        ndarray of shape (m,)
            Variances of a score, without the noise. Targets of a regression count standardised: multiply by the
            variances of the targets. The kernel's scale is taken as it is and not fitted to the data.

        Raises
        ------
        ConvergenceError
            If conjugate gradients do not reach the residual that was asked for.
        ValueError
            If x does not have the training samples' dimension, or is not finite.

        Examples
        --------
        >>> import jax, hntk
        >>> data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
        >>> fitted = hntk.fit_kernel(data.x[::2], data.labels[::2], ["relu"] * 2, ridge=0.01)
        >>> known, unknown = fitted.variance(data.x[::2]).mean(), fitted.variance(data.x[1::2]).mean()
        >>> bool(known < 0.1 * unknown)
        True
        """
        samples = self._samples(x, raw=raw)
        settings = as_solver(solver, len(self.x))
        return posterior_variances(
            self.x,
            samples,
            self.architecture,
            self.kernel,
            self.tau0,
            self.kappa_sq,
            self.ridge,
            self.intercept,
            settings,
        )


@array_dataclass(static=("classes",))
class KernelClassifier(KernelRegression, LabelPredictor):
    """A classifier by kernel ridge regression with an exact kernel, on centred one-hot targets.

    Attributes
    ----------
    classes : ndarray of shape (K,)
        Labels in the order of the scores.
    """

    classes: np.ndarray = field(kw_only=True)


@array_dataclass()
class KernelRegressor(KernelRegression, TargetPredictor):
    """A regressor of real-valued targets by kernel ridge regression with an exact kernel."""


def fit_kernel(
    x: object,
    y: object,
    architecture: ArchitectureLike,
    kernel: KernelName = "ntk",
    ridge: float | None = None,
    *,
    ridges: Sequence[float] | None = None,
    intercept: bool | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    normalization: Normalization | None = None,
    solver: Solver = "auto",
    engine: Engine = "local",
    progress: Callable[[int], None] | None = None,
) -> KernelClassifier | KernelRegressor:
    """Fit a kernel ridge regression with the exact CK or NTK of an infinitely wide network.

    Up to 5,000 samples the kernel is solved with directly, in float64: O(n²) memory and O(n³) time. For more,
    preconditioned conjugate gradients take O(n²) time for each iteration, with the kernel's blocks in memory, on disk
    or computed anew, as they have room. :func:`hntk.fit_equivalent` does the same with the equivalent kernel in O(np)
    memory.

    Parameters
    ----------
    x : array of shape (n, p), RowFiles or Dataset
        Training samples, files of them (:func:`hntk.open_rows`), or a :class:`hntk.Dataset`, whose training part is
        taken.
    y : array of shape (n,), or of shape (n, K) for targets
        Labels: whole numbers, booleans or text. Or targets: floating-point numbers; classes that are such numbers
        become labels by ``y.astype(int)``. None for a data set's own.
    architecture : Architecture or sequence of str or Activation
        The network. A list of one activation per layer is centred, with unit weights and without biases.
    kernel : {"ntk", "ck"}
        Which kernel.
    ridge : float, optional
        Ridge λ ≥ 0, added to the kernel's diagonal. None chooses it by mean squared error, to which targets of a
        regression count standardised: leave-one-out by the direct solver, and on samples that are held out by
        conjugate gradients. Where K + λI is singular to rounding, such as for samples that occur twice and a ridge of
        0, the direct solver takes directions of eigenvalues that are rounding errors alone for nothing.
    ridges : sequence of float, optional
        Ridges to choose from, in units of the kernel's mean eigenvalue. By default 29 from 1e-4 to 1e3 for the direct
        solver. Conjugate gradients take 11 from 10 to 1e-4, from the largest on, until two have not lowered the error.
    intercept : bool, optional
        Whether an intercept is fitted that is not penalised. By default so for a network that is not plain, such as one
        with biases, and not for a plain one, as :func:`hntk.fit_equivalent` has it.
    tau0 : float, optional
        Root mean square norm of a sample; by default the data's.
    kappa_sq : float, optional
        The NTK's diagonal κ_L² on the training samples, to be declared when an activation jumps; new samples that are
        equal to a training sample have it with that one. Kernels between close samples may be larger than it, so that
        the matrix is positive definite from some ridge on alone.
    normalization : Normalization, optional
        What raw samples go through before they are like x, for the result to take those with ``raw=True``; by default
        the data set's own.
    solver : {"auto", "direct"} or ConjugateGradients
        How the system is solved. "auto" is direct up to 5,000 samples, and conjugate gradients for more and on Ray.
    engine : {"local", "ray"}
        Where the kernel is. "ray" has the machines of a Ray cluster share its blocks: the one that ``ray.init`` has
        connected to, or this machine. What it will cost is told first.
    progress : callable, optional
        Called with the number of entries of the kernel that were computed since the last call, n² in all.

    Returns
    -------
    KernelClassifier or KernelRegressor
        The classifier, or the regressor where y holds floating-point numbers.

    Raises
    ------
    ConvergenceError
        If conjugate gradients do not reach the residual that was asked for; the message says what they reached.
    MemoryError
        If the kernel and its factors do not fit into memory, before anything is computed.
    OSError
        If blocks of the kernel are to be on a disk that has no room for them.
    TypeError
        If ``normalization`` is no :class:`hntk.Normalization`.
    ValueError
        If data, labels or settings do not fit, or the NTK's diagonal is infinite.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=300, p=40, key=jax.random.key(0))
    >>> fitted = hntk.fit_kernel(data.x[::2], data.labels[::2], ["relu"] * 3)
    >>> fitted.accuracy(data.x[1::2], data.labels[1::2]) > 0.9
    True
    >>> y = data.x[:, :2] ** 2  # two real-valued targets
    >>> regressor = hntk.fit_kernel(data.x[::2], y[::2], ["relu"] * 3)
    >>> regressor.predict(data.x[1::2]).shape, regressor.r2(data.x[1::2], y[1::2]) > 0
    ((150, 2), True)
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared, progress = as_diagonal(kappa_sq), as_callback(progress)
    net = as_architecture(architecture)
    centred = not net.is_plain if intercept is None else as_flag(intercept, "intercept")
    grid = RIDGES if ridges is None else ridges
    data = KernelData.of(x, y, ridge=ridge, ridges=grid, tau0=tau0, normalization=normalization)
    cluster = as_cluster(engine, x if isinstance(x, RowFiles) else data.x)
    chosen = as_solver(solver, len(data.x), shared=cluster is not None)
    if chosen is None:
        dual, means, ridge, tried = _directly(data, net, kernel, declared, centred, progress)
        convergence = None
    else:
        data = data if ridges is not None else replace(data, ridges=list(DESCENDING))
        fit = fit_by_gradients(data, net, kernel, declared, centred, chosen, progress, cluster)
        dual, means, ridge, tried, convergence = fit.dual, fit.means, fit.ridge, fit.tried, fit.convergence
    check_result(dual, "the regression")
    targets = data.targets
    offset = targets.mean - (means @ dual) * targets.spread
    parts = (np.asarray(data.x), net, kernel, data.tau0, dual * targets.spread, offset, ridge, tried)
    more = {"intercept": centred, "kappa_sq": declared, "convergence": convergence}
    if data.answers.classes is None:
        return KernelRegressor(*parts, data.normalization, **more)
    return KernelClassifier(*parts, data.normalization, **more, classes=data.answers.classes)


def as_solver(solver: object, n: int, *, shared: bool = False) -> ConjugateGradients | None:
    """Return the settings of conjugate gradients, or None for the direct solver."""
    if isinstance(solver, ConjugateGradients):
        return solver
    if isinstance(solver, str):
        as_choice(solver, "solver", ("auto", "direct"))
        if shared and solver == "direct":
            raise ValueError("solver='direct' is for one machine: give a hntk.ConjugateGradients with engine='ray'.")
        return ConjugateGradients() if solver == "auto" and (shared or n > DIRECT) else None
    raise ValueError(f"solver must be 'auto', 'direct' or a hntk.ConjugateGradients, got {brief(solver)}.")


def _directly(
    data: KernelData,
    net: Architecture,
    kernel: KernelName,
    declared: float | None,
    centred: bool,
    progress: Callable[[int], None] | None,
) -> tuple[Float[np.ndarray, "n K"], Float[np.ndarray, " n"], float, tuple[Trial, ...]]:
    """Return the dual coefficients, what the kernel is centred by, the ridge, and the ridges that were tried."""
    _check_room(len(data.x), decomposed=data.ridge is None)
    return _solved(_training_kernel(data, net, kernel, declared, progress), data, centred)


def _check_room(n: int, *, decomposed: bool) -> None:
    """Refuse more samples than the kernel and its factors have room for."""
    choice = "give ridge=, which takes less than its choice; " if decomposed else ""
    check_room(
        (DECOMPOSED if decomposed else SOLVED) * 8 * n**2,
        f"the exact kernel of {n:,} samples and its {'eigenvectors' if decomposed else 'factor'}",
        f"Fit fewer samples; {choice}or use hntk.fit_equivalent, whose kernel takes O(np) memory.",
    )


def _training_kernel(
    data: KernelData,
    net: Architecture,
    kernel: KernelName,
    declared: float | None,
    progress: Callable[[int], None] | None,
) -> Float[np.ndarray, "n n"]:
    """Return the kernel between the training samples, which may be written to."""
    with float64():
        problem = KernelProblem.of(data.x, net, None, data.tau0, declared)
        check_diagonal(np.asarray(getattr(problem.checked_samples(problem.x), kernel)))
        return square(problem, kernel, progress)


def _solved(
    matrix: Float[np.ndarray, "n n"], data: KernelData, centred: bool
) -> tuple[Float[np.ndarray, "n K"], Float[np.ndarray, " n"], float, tuple[Trial, ...]]:
    """Return the dual coefficients, what the kernel is centred by, the ridge, and the ridges that were tried."""
    targets: CentredTargets = data.targets
    if data.ridge is None:
        decomposed = DenseKernel.of(matrix, centred=centred, overwrite=True)
        tried = try_ridges(decomposed, targets, np.multiply(data.ridges, decomposed.mean_eigenvalue).tolist())
        ridge, means = lowest_error(tried).ridge, decomposed.column_means
        return decomposed.solve(targets.values, ridge), np.zeros(len(matrix)) if means is None else means, ridge, tried
    means = centre(matrix) if centred else np.zeros(len(matrix))
    dual = solve_ridge(matrix, targets.values, data.ridge, overwrite=True)
    return dual - dual.mean(axis=0) if centred else dual, means, data.ridge, ()
