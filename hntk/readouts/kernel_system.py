r"""The linear system of a kernel regression, $(K + \lambda I)A = Y$, by preconditioned conjugate gradients.

With an intercept that is not penalised the system is $P(K + \lambda I)PA = PY$, $P = I - 11^\top/n$. Its preconditioner
is the inverse of M on vectors of mean 0,

$$M^{-1} - \frac{M^{-1}11^\top M^{-1}}{1^\top M^{-1}1}.$$
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hntk.readouts.gradient_options import ConjugateGradients, Racer
from hntk.solvers.conjugate_gradients import BlockGradients, ConvergenceError, relative_norms
from hntk.solvers.low_rank import LowRank
from hntk.solvers.operators import SymmetricOperator

Block = Float[np.ndarray, "n k"]
# iterations after which the preconditioners that race are compared
RACE = 5
# seconds between two lines about the iterations
PAUSE = 10.0
# times that a residual is computed anew before its difference from the iteration's counts as rounding
RESTARTS = 4
# iterations in a row that bring no lower residual than those before, after which none is expected
STALLED = 200


@dataclass(eq=False)
class KernelSystem:
    """A kernel between training samples, and approximations of it.

    Attributes
    ----------
    kernel : SymmetricOperator
        K.
    centred : bool
        Whether an intercept is fitted too.
    parts : dict of str to LowRank or None
        Approximations by the names of their preconditioners; None for no preconditioner.
    products : int
        Number of products with K so far.
    """

    kernel: SymmetricOperator
    centred: bool
    parts: dict[str, LowRank | None]
    products: int = 0

    def apply(self, block: Block, ridge: float) -> Block:
        """Return (K + λI) times a block, or P(K + λI) times one of mean 0."""
        self.products += 1
        out = self.kernel.product(block)
        return (out - out.mean(axis=0) if self.centred else out) + ridge * block

    def inverse(self, name: str, ridge: float) -> Callable[[Block], Block]:
        """Return a preconditioner at a ridge."""
        part = self.parts[name]
        base = (lambda block: block) if part is None else part.inverse(ridge)
        if not self.centred:
            return base
        ones = base(np.ones((self.kernel.n, 1)))

        def constrained(block: Block) -> Block:
            free = base(block)
            return free - ones * (free.sum(axis=0) / ones.sum())

        return constrained

    def rank(self, name: str) -> int:
        """Return the rank of a preconditioner."""
        part = self.parts[name]
        return 0 if part is None else part.rank


@dataclass(eq=False)
class Solution:
    """A solution of the system at one ridge.

    Attributes
    ----------
    dual : ndarray of shape (n, K)
        A.
    residual : ndarray of shape (n, K)
        Y − (K + λI)A, computed from A.
    error : float
        Its largest relative norm.
    name : str
        The preconditioner.
    iterations : int
        Number of iterations.
    race : tuple of Racer
        The preconditioners that were tried.
    """

    dual: Block
    residual: Block
    error: float
    name: str
    iterations: int
    race: tuple[Racer, ...] = ()


class GradientSolver:
    """Conjugate gradients on a system at one ridge, from a race of preconditioners to a residual that is certain.

    Parameters
    ----------
    system : KernelSystem
        The system.
    target : ndarray of shape (n, K)
        Y; of mean 0 for a system with an intercept.
    ridge : float
        Ridge λ ≥ 0.
    options : ConjugateGradients
        Settings.
    tolerance : float
        Relative residual to reach.
    """

    def __init__(
        self, system: KernelSystem, target: Block, ridge: float, options: ConjugateGradients, tolerance: float
    ) -> None:
        self.system, self.target, self.ridge, self.options = system, target, ridge, options
        self.tolerance = tolerance
        self.methods: dict[str, BlockGradients] = {}
        self.race: tuple[Racer, ...] = ()
        self._told = time.monotonic()

    def begin(self, names: Sequence[str], start: Block | None = None, residual: Block | None = None) -> None:
        """Begin with some preconditioners, at 0 or at a solution, whose residual is computed if it is not given."""
        if start is not None and residual is None:
            residual = self.target - self.system.apply(start, self.ridge)
        for name in names:
            inverse = self.system.inverse(name, self.ridge)
            self.methods[name] = BlockGradients.start(self.target, inverse, start, residual)

    def resume(self, name: str, solution: Block, residual: Block, directions: Block, steps: int) -> None:
        """Go on from the state of an earlier run."""
        inverse = self.system.inverse(name, self.ridge)
        self.methods = {name: BlockGradients(self.target, inverse, solution, residual, directions, steps)}

    def solve(self, saved: Callable[[str, BlockGradients], None] | None = None) -> Solution:
        """Iterate until the residual is reached; ``saved`` gets the state of the leader after every step.

        Raises
        ------
        ConvergenceError
            If the residual is not reached.
        """
        restarts, certain, lowest, at = 0, np.inf, np.inf, 0
        while True:
            name, leader = min(self.methods.items(), key=lambda item: item[1].errors.max(initial=0.0))
            error = float(leader.errors.max(initial=0.0))
            if error < lowest:
                lowest, at = error, leader.steps
            if error <= self.tolerance or not leader.directions.shape[1]:
                residual = self.target - self.system.apply(leader.solution, self.ridge)
                error = float(relative_norms(residual, self.target).max(initial=0.0))
                if error <= self.tolerance:
                    return Solution(leader.solution, residual, error, name, leader.steps, self.race)
                restarts, lowest, before, certain = restarts + 1, error, certain, min(certain, error)
                if restarts > RESTARTS or error > before / 2:
                    raise self._stalled(leader.steps, certain, "which is what rounding leaves")
                leader.restart(residual)
            if leader.steps >= self.options.steps:
                raise self._stalled(leader.steps, lowest, f"after steps={self.options.steps}")
            if leader.steps - at >= STALLED:
                raise self._stalled(leader.steps, lowest, f"which the last {STALLED} did not lower")
            self._step()
            if saved is not None and len(self.methods) == 1:
                saved(*next(iter(self.methods.items())))

    def decide(self, names: Sequence[str]) -> str:
        """Race some preconditioners, keep the one in front, and return its name."""
        self.begin(names)
        while len(self.methods) > 1:
            self._step()
        return next(iter(self.methods))

    def _step(self) -> None:
        """Advance all methods by one product that they share, and end the race."""
        methods = list(self.methods.values())
        together = np.hstack([method.directions for method in methods])
        products = self.system.apply(together, self.ridge)
        ends = np.cumsum([method.directions.shape[1] for method in methods])[:-1]
        for method, part in zip(methods, np.split(products, ends, axis=1), strict=True):
            method.advance(part)
        steps = methods[0].steps
        if len(methods) > 1 and steps >= RACE:
            self._end_race()
        if time.monotonic() - self._told > PAUSE:
            self._told = time.monotonic()
            error = min(float(method.errors.max(initial=0.0)) for method in methods)
            self.options.tell(f"  iteration {steps}: residual {error:.1e}")

    def _end_race(self) -> None:
        errors = {name: float(method.errors.max(initial=0.0)) for name, method in self.methods.items()}
        self.race = tuple(Racer(name, self.system.rank(name), error) for name, error in errors.items())
        first = min(errors, key=lambda name: errors[name])
        told = ", ".join(f"{racer.preconditioner} {racer.residual:.1e}" for racer in self.race)
        self.options.tell(f"  residuals after {RACE} iterations: {told}; going on with {first}")
        self.methods = {first: self.methods[first]}
        # those that lost leave their memory
        self.system.parts = {first: self.system.parts[first]}

    def _stalled(self, steps: int, error: float, reason: str) -> ConvergenceError:
        finer = "" if self.options.precision == "float64" else ", precision='float64' where memory has room for it"
        return ConvergenceError(
            f"conjugate gradients have a relative residual of {error:.1e} after {steps} iterations at the ridge "
            f"{self.ridge:.3g}, {reason}, and not the tolerance {self.tolerance:.1e}. Give a larger ridge, more "
            f"pivots or steps, a larger tolerance{finer}. Samples that occur twice make a kernel singular: they need a "
            "ridge above 0."
        )
