"""Tasks that fit one kernel ridge regression and predict new samples: hntk's, and those of other libraries.

All have the same targets, one-hot rows minus the shares of the classes, the same ridge and the same kernel, the exact
NTK. None fits an intercept. The result of a task is a matrix of scores, one row for each new sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import hntk
from experiments.runner.config import NetConfig
from experiments.runner.networks import Network, network
from hntk.kernels._neural_tangents import load
from hntk.readouts.gradient_options import Chosen

Once = Callable[[], Sequence[Any]]
# computes the NTK of rows of x, or that between rows of x and of x2
KernelFunction = Callable[..., Any]


@dataclass(frozen=True)
class Problem:
    """What is to be fitted and predicted.

    Attributes
    ----------
    x : ndarray of shape (n, p)
        Training samples, float32.
    labels : ndarray of shape (n,)
        Their classes 0 … K − 1.
    new : ndarray of shape (m, p)
        New samples.
    net : Architecture or list of Activation
        The network whose NTK it is.
    tau0 : float
        Scale at which its activations are centred.
    ridge : float
        λ.
    """

    x: np.ndarray
    labels: np.ndarray
    new: np.ndarray
    net: Network
    tau0: float
    ridge: float

    @staticmethod
    def read(path: str, net: Mapping[str, Any], tau0: float, ridge: float) -> Problem:
        """Read the samples from an .npz file."""
        with np.load(Path(path)) as file:
            x, labels, new = (file[name] for name in ("x", "labels", "new"))
        return Problem(x, labels, new, network(NetConfig(**net)), tau0, ridge)

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets of shape (n, K), float32 and of mean 0, and the means that were subtracted."""
        one_hot = np.eye(self.labels.max() + 1, dtype=np.float32)[self.labels]
        means = one_hot.mean(axis=0)
        return one_hot - means, means

    def hntk_kernel(self) -> KernelFunction:
        """Return hntk's NTK, as a function of one or two arrays of samples."""

        def ntk(x: np.ndarray, x2: np.ndarray | None = None) -> Any:
            return hntk.exact_kernels(x, self.net, x2=x2, tau0=self.tau0).ntk

        return ntk

    def peer_kernel(self, batch: int) -> tuple[KernelFunction, Callable[[np.ndarray], np.ndarray]]:
        """Return neural-tangents' function (x, x2, get), as a whole (batch 0) or batched, and what inputs go through.

        A batch must divide the numbers of samples, so that new samples are followed by copies up to a multiple of it.
        It must divide that of training samples as it is.
        """
        import jax

        function, scale = hntk.stax_kernel_fn(self.net, self.tau0), np.float32(np.sqrt(self.x.shape[1]))
        if not batch:
            return jax.jit(function, static_argnums=2), lambda x: scale * x
        return load().batch(function, batch_size=batch), lambda x: scale * _filled(x, batch)


def _filled(x: np.ndarray, batch: int) -> np.ndarray:
    """Return samples, followed by copies of the first one up to a multiple of the batch."""
    # copies, as zeros have no angle to a sample
    return np.concatenate([x, np.repeat(x[:1], -len(x) % batch, axis=0)])


def gradients(*, tolerance: float, memory: int, preconditioner: Chosen, **problem: Any) -> Once:
    """Fit and use hntk's regression by conjugate gradients."""
    options = hntk.ConjugateGradients(tolerance, preconditioner, memory=memory, log=None)
    return _hntk(Problem.read(**problem), options)


def direct(**problem: Any) -> Once:
    """Fit and use hntk's regression by a Cholesky factor."""
    return _hntk(Problem.read(**problem), "direct")


def _hntk(problem: Problem, solver: Literal["direct"] | hntk.ConjugateGradients) -> Once:
    def once() -> Sequence[Any]:
        fitted = hntk.fit_kernel(
            problem.x, problem.labels, problem.net, "ntk", problem.ridge, intercept=False, tau0=problem.tau0,
            solver=solver,
        )  # fmt: skip
        return (fitted.scores(problem.new),)

    return once


def scikit_learn(*, kernel: Literal["hntk", "neural-tangents"], batch: int = 0, **problem: Any) -> Once:
    """Fit and use scikit-learn's KernelRidge on a kernel of hntk, or of neural-tangents."""
    from sklearn.kernel_ridge import KernelRidge

    given = Problem.read(**problem)
    model, (targets, means) = KernelRidge(alpha=given.ridge, kernel="precomputed"), given.targets  # type: ignore[arg-type]
    if kernel == "hntk":
        between = given.hntk_kernel()
    else:
        function, prepared = given.peer_kernel(batch)

        def between(x: np.ndarray, x2: np.ndarray | None = None) -> Any:
            whole = function(prepared(x), None if x2 is None else prepared(x2), "ntk")
            return whole[: len(x)]

    def once() -> Sequence[Any]:
        model.fit(np.asarray(between(given.x)), targets)
        return (model.predict(np.asarray(between(given.new, given.x))) + means,)

    return once


def neural_tangents(*, batch: int, **problem: Any) -> Once:
    """Fit and use neural-tangents' regression: the mean of trained networks after infinite time."""
    given = Problem.read(**problem)
    (targets, means), (function, prepared) = given.targets, given.peer_kernel(batch)
    x, new = prepared(given.x), prepared(given.new)

    def with_names(x1: Any, x2: Any = None, get: Any = None, **options: Any) -> Any:
        return function(x1, x2, get, **options)

    def once() -> Sequence[Any]:
        predict = load().predict.gradient_descent_mse_ensemble(
            with_names, x, targets, diag_reg=given.ridge, diag_reg_absolute_scale=True
        )
        return (np.asarray(predict(x_test=new, get="ntk", compute_cov=False))[: len(given.new)] + means,)

    return once


def scipy_gradients(*, tolerance: float, **problem: Any) -> Once:
    """Fit and use a regression by SciPy's conjugate gradients, without a preconditioner, a target at a time."""
    from scipy.sparse.linalg import LinearOperator, cg

    given = Problem.read(**problem)
    (targets, means), between, shape = given.targets, given.hntk_kernel(), (len(given.x),) * 2

    def once() -> Sequence[Any]:
        kernel = np.asarray(between(given.x))
        system = LinearOperator(shape, lambda v: kernel @ v + given.ridge * v, dtype=np.float32)  # type: ignore[call-arg]
        solved = [cg(system, column, rtol=tolerance)[0] for column in targets.T]
        return (np.asarray(between(given.new, given.x)) @ np.stack(solved, axis=1) + means,)

    return once


def gpytorch(*, tolerance: float, rank: int, **problem: Any) -> Once:
    """Fit and use a regression by GPyTorch's conjugate gradients, preconditioned by a pivoted Cholesky factor."""
    import gpytorch as library  # type: ignore[import-not-found]
    import torch  # type: ignore[import-not-found]
    from linear_operator import to_linear_operator  # type: ignore[import-not-found]

    given = Problem.read(**problem)
    (targets, means), between, settings = given.targets, given.hntk_kernel(), library.settings

    def once() -> Sequence[Any]:
        kernel = torch.from_numpy(np.array(between(given.x)))
        system = to_linear_operator(kernel).add_diagonal(torch.tensor(given.ridge, dtype=kernel.dtype))
        with (
            torch.no_grad(),
            settings.max_cholesky_size(0),
            settings.min_preconditioning_size(0),
            settings.max_preconditioner_size(rank),
            settings.cg_tolerance(tolerance),
            settings.eval_cg_tolerance(tolerance),
            settings.max_cg_iterations(10 * len(given.x)),
        ):
            solved = system.solve(torch.from_numpy(targets).to(kernel.dtype))
        return (np.asarray(between(given.new, given.x)) @ solved.numpy() + means,)

    return once
