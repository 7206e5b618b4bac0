"""Kernel regression with an exact kernel by conjugate gradients, on as many samples as blocks have room for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hntk._utils.digest import array_digest, source_digest
from hntk._utils.float64 import float64
from hntk.kernels.disk_blocks import DiskBlocks
from hntk.kernels.held_kernel import Blocks, HeldKernel, KernelName, MemoryBlocks, NoBlocks
from hntk.kernels.kernel_identity import kernel_identity
from hntk.kernels.kernel_plan import KernelPlan, plan_kernel
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_kernel import RayKernel
from hntk.kernels.stored import locked
from hntk.readouts.equivalent_features import equivalent_features, feature_work
from hntk.readouts.gradient_options import ConjugateGradients, Convergence
from hntk.readouts.gradient_state import ARRAYS, Checkpoint, GradientState
from hntk.readouts.kernel_data import KernelData, check_diagonal
from hntk.readouts.kernel_on_ray import Cluster, TrainingKernel, open_on_ray
from hntk.readouts.kernel_ridge import Trial, eigenvalue_rounding, lowest_error
from hntk.readouts.kernel_system import GradientSolver, KernelSystem, Solution
from hntk.readouts.preconditioners import COMPUTED, COPIED, READ, Preconditioners
from hntk.solvers.conjugate_gradients import IndefiniteError
from hntk.solvers.operators import LeadingPart
from hntk.theory.architecture import Architecture

# ridges to choose from, in units of the kernel's mean eigenvalue, the largest first
RIDGES = tuple(np.logspace(1, -4, 11).tolist())
# most samples that are held out for the choice of a ridge
HELD_OUT = 5000
# tolerance of the solutions that are compared
COMPARED = 1e-3
# ridges in a row whose errors are not lower by such a share, after which smaller ones are not tried
PATIENCE, LOWER = 2, 1e-3
# samples whose residual is computed from rows of the kernel that were never kept
SAMPLED = 64
# most columns of samples that count as features
FEATURES = 8192
# how long a product takes where blocks are, in units of what it takes from memory
SPEED = {"memory": 1.0, "disk": 10.0, "device": 0.01, "nowhere": 400.0}
PACKAGE = Path(__file__).parents[1]
CODE = (PACKAGE / "solvers", PACKAGE / "readouts")


@dataclass(frozen=True, eq=False)
class Fit:
    """What conjugate gradients give a regression.

    Attributes
    ----------
    dual : ndarray of shape (n, K)
        Coefficients of the training samples.
    means : ndarray of shape (n,)
        Means of the kernel's columns for a regression with an intercept, 0 otherwise.
    ridge : float
        λ.
    tried : tuple of Trial
        Ridges that were tried, by the errors on samples that were held out.
    convergence : Convergence
        How the system was solved.
    """

    dual: Float[np.ndarray, "n K"]
    means: Float[np.ndarray, " n"]
    ridge: float
    tried: tuple[Trial, ...]
    convergence: Convergence


def fit_by_gradients(
    data: KernelData,
    net: Architecture,
    kernel: KernelName,
    declared: float | None,
    centred: bool,
    options: ConjugateGradients,
    progress: Callable[[int], None] | None,
    cluster: Cluster | None = None,
) -> Fit:
    """Fit a kernel regression by conjugate gradients.

    Parameters
    ----------
    data : KernelData
        Samples, targets and ridges.
    net : Architecture
        The network.
    kernel : {"ck", "ntk"}
        Which kernel.
    declared : float or None
        The NTK's diagonal, where it is declared.
    centred : bool
        Whether an intercept is fitted.
    options : ConjugateGradients
        Settings.
    progress : callable or None
        Called with the number of entries of the kernel that are kept since the last call.
    cluster : Cluster, optional
        What a Ray cluster needs, whose workers are to hold the blocks. None for this process.

    Returns
    -------
    Fit
        The coefficients and how they were found.

    Raises
    ------
    ConvergenceError
        If the residual that was asked for is not reached.
    ValueError
        If the kernel's diagonal is infinite, or a checkpoint is of another regression.
    """
    given = data.ridge is not None
    order = _order(len(data.x), not given, options.seed)

    def opened() -> AbstractContextManager[TrainingKernel]:
        # samples in their order are not copied, and others are forgotten where the kernel has its own
        problem = data.x if given else data.x[order], net, kernel, data.tau0, declared, options
        return open_kernel(*problem) if cluster is None else open_on_ray(*problem, cluster.of(data, order, given))

    with opened() as held:
        held.compute(progress)
        classes = None if data.targets.index is None else data.targets.index[order]
        system = kernel_system(held, net, data.tau0, classes, centred, options)
        regression = _Regression(held, system, data, order, options, _checkpoint(held, data, centred, options))
        return regression.fit()


@contextmanager
def open_kernel(
    x: np.ndarray,
    net: Architecture,
    kernel: KernelName,
    tau0: float,
    declared: float | None,
    options: ConjugateGradients,
) -> Iterator[HeldKernel]:
    """Yield a kernel between samples whose blocks are kept as they have room; a folder is locked meanwhile.

    Raises
    ------
    ValueError
        If the kernel's diagonal is infinite, or a folder holds blocks of something else.
    """
    folder = None if options.folder is None else Path(options.folder)
    n, p = x.shape
    # features, columns and factors of preconditioners, and blocks of vectors
    beside = 8 * n * (2 * min(p, FEATURES) + 4 * options.count(n) + 200) + 4 * x.nbytes
    plan = plan_kernel(
        n, keep=options.keep, folder=folder, memory=options.memory, beside=beside, precision=options.precision
    )
    options.tell(str(plan))
    with float64():
        problem = KernelProblem.of(x, net, None, tau0, declared)
    del x  # which the problem has a copy of
    if folder is None:
        yield _held(problem, kernel, plan, _blocks(plan))
        return
    with locked(folder, 0):
        blocks = _blocks(plan)
        if plan.place == "disk":
            blocks = DiskBlocks.open(folder, plan, kernel_identity(problem) | {"kernel": kernel})
        yield _held(problem, kernel, plan, blocks)


def _blocks(plan: KernelPlan) -> Blocks:
    """Return what keeps the blocks of a plan that has no files."""
    return {"device": MemoryBlocks, "memory": MemoryBlocks}.get(plan.place, NoBlocks)()


def _held(problem: KernelProblem, kernel: KernelName, plan: KernelPlan, blocks: Blocks) -> HeldKernel:
    held = HeldKernel(problem, kernel, plan, blocks)
    check_diagonal(held.diagonal())
    return held


def _order(n: int, split: bool, seed: int) -> np.ndarray:
    """Return an order of the samples in which those that are held out are the last."""
    return np.random.default_rng(seed).permutation(n) if split else np.arange(n)


def kernel_system(
    held: TrainingKernel,
    net: Architecture,
    tau0: float,
    classes: np.ndarray | None,
    centred: bool,
    options: ConjugateGradients,
) -> KernelSystem:
    """Return the system of a regression, with the preconditioner that it begins with.

    Parameters
    ----------
    held : HeldKernel or RayKernel
        The kernel.
    net : Architecture
        The network.
    tau0 : float
        Root mean square norm of a sample.
    classes : ndarray of shape (n,) or None
        Classes whose second moments the equivalent kernel tells apart.
    centred : bool
        Whether there is an intercept.
    options : ConjugateGradients
        Settings.

    Returns
    -------
    KernelSystem
        The system.
    """
    x, kept = np.asarray(held.problem.x), held.plan.place != "nowhere"
    width, work = feature_work(x, classes)
    free = options.preconditioner == "auto" and kept
    # features of very many coordinates would be a matrix as large as the kernel
    known = x.shape[1] <= FEATURES
    choice = Preconditioners(
        held,
        (lambda: equivalent_features(x, classes, net, tau0, held.kernel)) if known else (lambda: np.zeros((len(x), 0))),
        width if known else 0,
        work if known else 0.0,
        options,
        READ * SPEED[held.plan.place] / (len(held.workers.shares) if isinstance(held, RayKernel) else 1),
        COPIED if held.plan.place == "memory" and held.plan.dtype == "float64" else COMPUTED,
        (("cholesky", "equivalent", "combined") if known else ("cholesky",)) if free else (),
    )
    if not free:
        choice.settle("combined" if options.preconditioner == "auto" else options.preconditioner)
    return KernelSystem(held, centred, choice, rounding=eigenvalue_rounding(float(np.mean(held.diagonal())), len(x)))


def _checkpoint(held: TrainingKernel, data: KernelData, centred: bool, options: ConjugateGradients) -> Checkpoint:
    settings = {
        key: value
        for key, value in asdict(options).items()
        if key in ("tolerance", "preconditioner", "pivots", "held_out", "seed", "precision")
    }
    identity = kernel_identity(held.problem) | {
        "kernel": held.kernel,
        "targets": array_digest(data.targets.values),
        "intercept": centred,
        "ridge": data.ridge if data.ridge is not None else [float(each) for each in data.ridges],
        "settings": settings,
        "solver": source_digest(*CODE),
    }
    return Checkpoint(None if options.folder is None else Path(options.folder), identity)


def _settled(tried: list[Trial]) -> bool:
    """Return whether the last ridges have not lowered the error of those before."""
    before, last = tried[:-PATIENCE], tried[-PATIENCE:]
    if not before:
        return False
    return lowest_error(last).squared_error > (1 - LOWER) * lowest_error(before).squared_error


class _Regression:
    """A regression on samples in some order."""

    def __init__(
        self,
        held: TrainingKernel,
        system: KernelSystem,
        data: KernelData,
        order: np.ndarray,
        options: ConjugateGradients,
        checkpoint: Checkpoint,
    ) -> None:
        self.held, self.system, self.data, self.order = held, system, data, order
        self.options, self.checkpoint = options, checkpoint
        self.target = data.targets.values[order]
        self.state: GradientState = checkpoint.load()

    def fit(self) -> Fit:
        """Return the solution at the ridge, which is chosen first where it is not given."""
        ridge, start, trials = self.data.ridge, None, []
        if ridge is None:
            trials, best = self._path()
            start = np.zeros_like(self.target)
            start[: len(best)] = best - best.mean(axis=0) if self.system.centred else best
        while True:
            left = [trial for trial in trials if trial.ridge > self.state.refused]
            chosen = lowest_error(left).ridge if ridge is None else ridge
            self.options.tell(f"ridge {chosen:.4g}: all {len(self.target):,} samples")
            try:
                solution = self._solve(self.system, self.target, chosen, self.options.tolerance, start)
                break
            except IndefiniteError as error:
                if all(trial.ridge <= chosen for trial in left):
                    raise
                self._refuse(chosen, f"the ridge {chosen:.4g} is too small for all samples: {error}")
        self.checkpoint.remove()
        return self._result(solution, chosen)

    def _refuse(self, ridge: float, why: str) -> None:
        """Take neither this ridge nor smaller ones, now or after an interruption."""
        state = self.state
        state.refused, state.iteration, state.steps, state.errors = ridge, {}, 0, []
        self.checkpoint.save(state)
        if self.options.log is None:
            warnings.warn(why, stacklevel=5)
        self.options.tell(f"  {why}")

    def _solve(
        self, system: KernelSystem, target: np.ndarray, ridge: float, tolerance: float, start: np.ndarray | None
    ) -> Solution:
        solver, state = GradientSolver(system, target, ridge, self.options, tolerance), self.state
        if state.choice:
            system.choice.restore(state.choice)
        if state.iteration:
            solution, residual, directions = (state.iteration[name] for name in ARRAYS)
            state.iteration = {}
            solver.resume(solution, residual, directions, state.steps, state.errors)
            self.options.tell(f"  going on from iteration {state.steps} of an earlier run")
        else:
            solver.begin(start)
        solution = solver.solve(lambda solver: self.checkpoint.step(state, solver))
        self.options.tell(
            f"  residual {solution.error:.1e} after {solution.iterations} iterations, preconditioner {solution.name}"
        )
        state.choice, state.iteration, state.steps = system.choice.known, {}, 0
        return solution

    def _path(self) -> tuple[list[Trial], np.ndarray]:
        """Try ridges from the largest on, each from the solution before; return errors and the best solution."""
        state, n = self.state, len(self.target)
        m = n - max(1, min(HELD_OUT, round(self.options.held_out * n)))
        part = LeadingPart(self.held, m)
        system = replace(self.system, kernel=part, products=0)
        target = self.target[:m] - self.target[:m].mean(axis=0) if self.system.centred else self.target[:m]
        grid = self._grid()
        for ridge in grid[len(state.tried) :]:
            if _settled(state.tried) or ridge <= state.refused:
                break
            # more ridges, and all samples at the best one
            system.ahead = min(PATIENCE, len(grid) - len(state.tried) - 1) + 1
            self.options.tell(f"ridge {ridge:.4g}: {m:,} of {n:,} samples")
            try:
                found = self._solve(system, target, ridge, max(self.options.tolerance, COMPARED), state.dual)
            except IndefiniteError as error:
                if not state.tried:
                    raise
                self._refuse(ridge, f"ridges of {ridge:.4g} and less are not tried: {error}")
                break
            trial = self._judge(part, found, ridge)
            self.options.tell(f"  mean squared error {trial.squared_error:.4f} on samples that were held out")
            state.tried, state.dual = [*state.tried, trial], found.dual
            if lowest_error(state.tried) is trial:
                state.best = found.dual
            self.checkpoint.save(state)
        self.system.products += system.products
        if state.best is None:
            raise ValueError("no ridge was tried: give ridges=.")
        return state.tried, state.best

    def _grid(self) -> list[float]:
        """Return the ridges, the largest first."""
        # of a centred kernel where an intercept is fitted
        trace, n = float(self.held.diagonal().sum() - self._means.sum()), len(self.target)
        unit = max(trace / n, np.finfo(float).tiny)
        return sorted((unit * each for each in self.data.ridges), reverse=True)

    def _judge(self, part: LeadingPart, found: Solution, ridge: float) -> Trial:
        """Return the error on the samples that were held out, from one product."""
        scores = part.both(found.dual)
        if self.system.centred:
            scores += np.mean(self.target[: part.n] - scores[: part.n], axis=0)
        rows = slice(part.n, None)
        errors = self.target[rows] - scores[rows]
        index = self.data.targets.index
        accuracy = None
        if index is not None:
            accuracy = float(
                np.mean(np.argmax(scores[rows] + self.data.targets.mean, axis=1) == index[self.order][rows])
            )
        return Trial(float(ridge), float(np.mean(np.sum(errors**2, axis=1))), accuracy)

    def _result(self, solution: Solution, ridge: float) -> Fit:
        n, back = len(self.target), np.argsort(self.order)
        convergence = Convergence(
            iterations=solution.iterations,
            residual=solution.error,
            sampled_residual=self._sampled(solution.dual, ridge),
            tolerance=self.options.tolerance,
            preconditioner=solution.name,
            rank=self.system.rank,
            race=solution.race,
            plan=self.held.plan,
            products=self.system.products,
        )
        self.options.tell(
            f"relative residual {convergence.residual:.1e}, on {min(SAMPLED, n)} rows of the kernel in float64 "
            f"{convergence.sampled_residual:.1e}"
        )
        return Fit(solution.dual[back], self._means[back], float(ridge), tuple(self.state.tried), convergence)

    def _sampled(self, dual: np.ndarray, ridge: float) -> float:
        """Return the relative residual on some samples, from rows of the kernel that are computed anew."""
        n = len(dual)
        index = np.sort(np.random.default_rng(self.options.seed + 1).choice(n, min(SAMPLED, n), replace=False))
        residual = self.target[index] - self.held.computed_columns(index).T @ dual - ridge * dual[index]
        # what an intercept leaves to every sample alike; target and dual have mean 0 then
        residual += self._means @ dual
        # of targets whose few samples happen to be small, the norm that as many samples have on average
        scale = np.linalg.norm(self.target, axis=0) * np.sqrt(len(index) / n)
        norms = np.linalg.norm(residual, axis=0)
        return float(np.max(np.divide(norms, scale, out=np.zeros_like(norms), where=scale > 0), initial=0.0))

    @cached_property
    def _means(self) -> Float[np.ndarray, " n"]:
        """Means of the kernel's columns for a regression with an intercept, 0 otherwise."""
        n = len(self.target)
        return self.held.product(np.ones((n, 1)))[:, 0] / n if self.system.centred else np.zeros(n)
