r"""The linear system of a kernel regression, $(K + \lambda I)A = Y$, by preconditioned conjugate gradients.

With an intercept that is not penalised the system is $P(K + \lambda I)PA = PY$, $P = I - 11^\top/n$. Its preconditioner
is the inverse of M on vectors of mean 0,

$$M^{-1} - \frac{M^{-1}11^\top M^{-1}}{1^\top M^{-1}1}.$$
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from hntk.readouts.gradient_options import ConjugateGradients, Racer
from hntk.readouts.kernel_ridge import DECLARED
from hntk.readouts.preconditioners import Offer, Preconditioners
from hntk.solvers.conjugate_gradients import BlockGradients, ConvergenceError, IndefiniteError, relative_norms
from hntk.solvers.low_rank import LowRank
from hntk.solvers.operators import SymmetricOperator

Block = Float[np.ndarray, "n k"]
# iterations of a preconditioner's trial, and between two questions whether to try another one
RACE = 5
# share of the work that is left which making a preconditioner may cost: they save two thirds of it in the benchmarks
SHARE = 0.25
# seconds between two lines about the iterations
PAUSE = 10.0
# times that a residual is computed anew before its difference from the iteration's counts as rounding
RESTARTS = 4
# iterations in a row that bring no lower residual than those before, after which none is expected
STALLED = 200


@dataclass(eq=False)
class KernelSystem:
    """A kernel between training samples, and what preconditions it.

    Attributes
    ----------
    kernel : SymmetricOperator
        K, the whole or its first rows and columns.
    centred : bool
        Whether an intercept is fitted too.
    choice : Preconditioners
        The preconditioner, of the whole kernel.
    rounding : float
        What rounding may add to an eigenvalue of the kernel.
    ahead : int
        Number of systems that will be solved after this one for sure, with the same preconditioner.
    products : int
        Number of products with K so far.
    """

    kernel: SymmetricOperator
    centred: bool
    choice: Preconditioners
    rounding: float = 0.0
    ahead: int = 0
    products: int = 0

    def apply(self, block: Block, ridge: float) -> Block:
        """Return (K + λI) times a block, or P(K + λI) times one of mean 0."""
        self.products += 1
        out = self.kernel.product(block)
        return (out - out.mean(axis=0) if self.centred else out) + ridge * block

    def inverse(self, ridge: float) -> Callable[[Block], Block]:
        """Return the preconditioner at a ridge."""
        part = self.choice.part
        base = (lambda block: block) if part is None else part.leading(self.kernel.n).inverse(ridge)
        if not self.centred:
            return base
        ones = base(np.ones((self.kernel.n, 1)))

        def constrained(block: Block) -> Block:
            free = base(block)
            return free - ones * (free.sum(axis=0) / ones.sum())

        return constrained

    @property
    def rank(self) -> int:
        """Rank of the preconditioner."""
        return 0 if self.choice.part is None else self.choice.part.rank


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


@dataclass(eq=False)
class Entrant:
    """Conjugate gradients with one preconditioner, between two steps.

    Attributes
    ----------
    method : BlockGradients
        Its state.
    cost : float
        What a step costs.
    errors : list of float
        Largest relative residuals from where it began on.
    """

    method: BlockGradients
    cost: float
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.errors:
            self.errors.append(self.error)

    @property
    def error(self) -> float:
        """Largest relative residual of a side."""
        return float(self.method.errors.max(initial=0.0))

    @property
    def taken(self) -> int:
        """Number of steps since it began."""
        return len(self.errors) - 1

    @property
    def rate(self) -> float:
        """Logarithm by which a step lowers the residual: of the last steps, but half the mean of all at least."""
        logarithms = np.log(np.maximum(self.errors, np.finfo(float).tiny))
        if not self.taken:
            return 0.0
        last = min(2 * RACE, self.taken)
        return float(max(
            (logarithms[-1 - last] - logarithms[-1]) / last, (logarithms[0] - logarithms[-1]) / (2 * self.taken)
        ))  # fmt: skip

    def left(self, tolerance: float, most: int) -> float:
        """Return the number of steps that are left, if the rate stays as it is."""
        gap = np.log(max(self.errors[-1], tolerance) / tolerance)
        return min(float(most), gap / self.rate) if self.rate > 0 else float(most)


@dataclass(eq=False)
class Rest:
    """What goes on if a trial is lost: the preconditioner before, and where its iteration stopped.

    Attributes
    ----------
    name, pivots, part : str, int, LowRank or None
        The preconditioner.
    entrant : Entrant
        Its iteration.
    """

    name: str
    pivots: int
    part: LowRank | None
    entrant: Entrant


class GradientSolver:
    """Conjugate gradients on a system at one ridge, to a residual that is certain.

    They begin with the preconditioner that the system has, which is none at first. After every few iterations the work
    that is left is estimated. Where a share of it pays for another preconditioner, that one is made and tried for a few
    iterations, from the solution so far. The better one for its cost goes on from where it stopped.

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

    entrant: Entrant

    def __init__(
        self, system: KernelSystem, target: Block, ridge: float, options: ConjugateGradients, tolerance: float
    ) -> None:
        self.system, self.target, self.ridge, self.options = system, target, ridge, options
        self.tolerance = tolerance
        self.rest: Rest | None = None
        self._told = time.monotonic()

    @property
    def method(self) -> BlockGradients:
        """The iteration that goes on."""
        return self.entrant.method

    def begin(self, start: Block | None = None) -> None:
        """Begin at 0 or at a solution."""
        residual = None if start is None else self.target - self.system.apply(start, self.ridge)
        self._enter(BlockGradients.start(self.target, self.system.inverse(self.ridge), start, residual))

    def resume(self, solution: Block, residual: Block, directions: Block, steps: int, errors: list[float]) -> None:
        """Go on from the state of an earlier run."""
        inverse = self.system.inverse(self.ridge)
        self._enter(BlockGradients(self.target, inverse, solution, residual, directions, steps), errors)

    def solve(self, saved: Callable[[GradientSolver], None] | None = None) -> Solution:
        """Iterate until the residual is reached; ``saved`` is called after every step that is not part of a trial.

        Raises
        ------
        ConvergenceError
            If the residual is not reached, or the matrix turns out not to be positive definite.
        """
        restarts, certain, lowest, at = 0, np.inf, np.inf, 0
        while True:
            leader, error = self.method, self.entrant.error
            if error < lowest:
                lowest, at = error, leader.steps
            if error <= self.tolerance or not leader.directions.shape[1]:
                residual = self.target - self.system.apply(leader.solution, self.ridge)
                error = float(relative_norms(residual, self.target).max(initial=0.0))
                if error <= self.tolerance:
                    return self._solution(residual, error)
                restarts, lowest, before, certain = restarts + 1, error, certain, min(certain, error)
                if restarts > RESTARTS or error > before / 2:
                    raise self._stalled(leader.steps, certain, "which is what rounding leaves")
                leader.restart(residual)
            if leader.steps >= self.options.steps:
                raise self._stalled(leader.steps, lowest, f"after steps={self.options.steps}")
            if leader.steps - at >= STALLED:
                raise self._stalled(leader.steps, lowest, f"which the last {STALLED} did not lower")
            self._step()
            self._choose()
            if saved is not None and self.rest is None:
                saved(self)

    def _solution(self, residual: Block, error: float) -> Solution:
        if self.rest is not None:
            self._judge()
        choice = self.system.choice
        return Solution(self.method.solution, residual, error, choice.name, self.method.steps, tuple(choice.race))

    def _enter(self, method: BlockGradients, errors: list[float] | None = None) -> None:
        cost = self.system.choice.step_cost(self.target.shape[1])
        self.entrant = Entrant(method, cost, errors or [])

    def _step(self) -> None:
        """Take a step."""
        method = self.method
        method.advance(self.system.apply(method.directions, self.ridge))
        if method.least < -self.system.rounding:
            raise self._indefinite(method.least)
        self.entrant.errors.append(self.entrant.error)
        if time.monotonic() - self._told > PAUSE:
            self._told = time.monotonic()
            self.options.tell(f"  iteration {method.steps}: residual {self.entrant.error:.1e}")

    def _choose(self) -> None:
        """End a trial, or begin one that a share of the work that is left pays for."""
        entrant, choice = self.entrant, self.system.choice
        if entrant.error <= self.tolerance or entrant.taken % RACE:
            return
        if self.rest is not None:
            self._judge()
            return
        left = entrant.left(self.tolerance, self.options.steps)
        offer = choice.offer(SHARE * left * entrant.cost * (1 + self.system.ahead))
        if offer is not None:
            self._try(offer, left)

    def _try(self, offer: Offer, left: float) -> None:
        choice, method = self.system.choice, self.method
        self.options.tell(
            f"  residual {self.entrant.error:.1e} after {method.steps} iterations with preconditioner {choice.name}, "
            f"about {left:.0f} to go: {offer.name} is tried, with {offer.pivots:,} pivots"
        )
        self.rest = Rest(choice.name, choice.pivots, choice.part, self.entrant)
        choice.take(offer.name, offer.pivots)
        choice.asked[offer.name] = offer.pivots
        inverse = self.system.inverse(self.ridge)
        self._enter(BlockGradients.start(self.target, inverse, method.solution, method.residual))
        self.method.steps = method.steps

    def _judge(self) -> None:
        """Keep the entrant, or go back to the one before it where that one lowers the residual more for its cost."""
        rest, entrant, choice = self.rest, self.entrant, self.system.choice
        assert rest is not None
        self.rest = None
        old, new = rest.entrant, entrant
        mean = float(np.log(max(new.errors[0], 1e-300) / max(new.errors[-1], 1e-300)) / max(new.taken, 1))
        for each, name, rank, rate in (
            (old, rest.name, 0 if rest.part is None else rest.part.rank, old.rate),
            (new, choice.name, self.system.rank, mean),
        ):
            choice.race.append(Racer(name, rank, each.errors[-1], float(np.exp(-rate))))
        if new.error > self.tolerance and mean / new.cost < old.rate / old.cost:
            # its steps were taken too
            old.method.steps = new.method.steps
            choice.name, choice.pivots, choice.part = rest.name, rest.pivots, rest.part  # type: ignore[assignment]
            self.entrant = old
        self.options.tell(
            f"  an iteration leaves {np.exp(-old.rate):.2f} of the residual with {rest.name}, {np.exp(-mean):.2f} with "
            f"the one that was tried: going on with {choice.name}"
        )

    def _indefinite(self, least: float) -> IndefiniteError:
        return IndefiniteError(
            f"the kernel is not positive definite with the ridge {self.ridge:.3g}: there is a direction in which their "
            f"sum is {least:.1e}. Give a ridge well above {self.ridge - least:.2g}. {DECLARED}"
        )

    def _stalled(self, steps: int, error: float, reason: str) -> ConvergenceError:
        finer = "" if self.options.precision == "float64" else ", precision='float64' where memory has room for it"
        return ConvergenceError(
            f"conjugate gradients have a relative residual of {error:.1e} after {steps} iterations at the ridge "
            f"{self.ridge:.3g}, {reason}, and not the tolerance {self.tolerance:.1e}. Give a larger ridge, more "
            f"pivots or steps, a larger tolerance{finer}. Samples that occur twice make a kernel singular: they need a "
            "ridge above 0."
        )
