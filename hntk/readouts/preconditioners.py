r"""Preconditioners of a kernel regression: how many pivots are worth their cost, and which ones are made.

Costs are counted, and not timed, so that the same regression takes the same preconditioner on every machine. Their unit
is a multiplication within a product of large matrices. A product of the kernel with k columns reads each entry, which
counts as ``READ``, and multiplies it k times:

$$n^2(\mathrm{READ} + k).$$
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hntk.readouts.gradient_options import ConjugateGradients, Preconditioner, Racer
from hntk.solvers.low_rank import LowRank, low_rank
from hntk.solvers.operators import SymmetricOperator

# multiplications that take as long as reading an entry of the kernel, or of a preconditioner's factor, from memory
READ = 5
# those that take as long as an entry of a column, computed or copied from kept blocks, and all that is done with it
COMPUTED, COPIED = 2300, 500
# those that take as long as one of the r³ of eigenvectors between r pivots
EIGENVECTORS = 4
# those that take as long as what does not grow with a preconditioner
MADE = 2e8
# fewest pivots that are worth a preconditioner
FEWEST = 50
# a preconditioner that was tried is tried again with so many times its pivots
MORE = 2


class Offer(NamedTuple):
    """A preconditioner that could be made.

    Attributes
    ----------
    name : str
        Its name.
    pivots : int
        Number of columns of the kernel.
    cost : float
        What making it costs.
    """

    name: Preconditioner
    pivots: int
    cost: float


@dataclass(eq=False)
class Preconditioners:
    """The preconditioner of a system, and those that could take its place.

    Attributes
    ----------
    kernel : SymmetricOperator
        K between all samples.
    make_features : callable
        Returns the features of the equivalent kernel.
    width : int
        Number of these features.
    feature_work : float
        What they cost.
    options : ConjugateGradients
        Settings.
    read : float
        Multiplications that take as long as reading an entry where blocks of the kernel are.
    column : float
        Those that take as long as an entry of a column.
    candidates : sequence of str
        Preconditioners that may be made while the system is solved; none where it was settled before.
    name : str
        The preconditioner.
    pivots : int
        Number of its columns of the kernel.
    part : LowRank or None
        Its approximation of the kernel; None for no preconditioner.
    asked : dict of str to int
        Pivots of those that were tried.
    race : list of Racer
        How they did.
    """

    kernel: SymmetricOperator
    make_features: Callable[[], Float[np.ndarray, "n q"]]
    width: int
    feature_work: float
    options: ConjugateGradients
    read: float = READ
    column: float = COMPUTED
    candidates: Sequence[Preconditioner] = ()
    name: Preconditioner = "none"
    pivots: int = 0
    part: LowRank | None = None
    asked: dict[str, int] = field(default_factory=dict)
    race: list[Racer] = field(default_factory=list)

    @cached_property
    def _features(self) -> Float[np.ndarray, "n q"]:
        return self.make_features()

    def take(self, name: Preconditioner, pivots: int) -> None:
        """Make a preconditioner and put it in the place of the one before."""
        # drawn alike whatever was made before, as a run that goes on makes this one alone
        rng = np.random.default_rng([self.options.seed, pivots])
        self.name, self.pivots, self.part = name, pivots, None
        if name != "none":
            features = self._features if name in ("combined", "equivalent") else None
            self.part = low_rank(self.kernel, features, pivots, rng)

    def settle(self, name: Preconditioner) -> None:
        """Make a preconditioner with as many pivots as were asked for."""
        self.take(name, self.options.count(self.kernel.n) if name in ("combined", "cholesky") else 0)

    @property
    def known(self) -> dict[str, Any]:
        """What a run that goes on needs to know of the choice."""
        return {"name": self.name, "pivots": self.pivots, "asked": self.asked}

    def restore(self, known: dict[str, Any]) -> None:
        """Make the preconditioner of an earlier run."""
        self.asked = dict(known["asked"])
        if (known["name"], known["pivots"]) != (self.name, self.pivots):
            self.take(known["name"], known["pivots"])

    def step_cost(self, columns: int) -> float:
        """Return the cost of an iteration with so many columns."""
        n, rank = self.kernel.n, 0 if self.part is None else self.part.rank
        # a step goes over its directions, products and residuals several times
        vectors = n * columns * (10 * columns + 10 * READ)
        return n**2 * (self.read + columns * min(1.0, self.read / READ)) + 2 * n * rank * (READ + columns) + vectors

    def cost(self, name: Preconditioner, pivots: int) -> float:
        """Return the cost of a preconditioner, and of its inverse at one ridge."""
        n, features, rank = self.kernel.n, 0.0, pivots
        if name in ("combined", "equivalent"):
            rank += self.width
            features = n * self.width * pivots + (0.0 if "_features" in self.__dict__ else self.feature_work)
        drawn = pivots * n * self.column + 3 / 2 * n * pivots**2 + EIGENVECTORS * pivots**3
        return MADE + features + drawn + n * rank**2 / 2

    def offer(self, budget: float) -> Offer | None:
        """Return the cheapest preconditioner that was not tried and that a budget pays for, or None."""
        offers = [offer for name in self.candidates if (offer := self._offer(name, budget)) is not None]
        return min(offers, key=lambda offer: offer.cost, default=None)

    def _offer(self, name: Preconditioner, budget: float) -> Offer | None:
        least = most = 0
        if name != "equivalent":
            most = self.options.count(self.kernel.n)
            least = max(MORE * self.asked.get(name, 0), min(FEWEST, most) if self.options.pivots is None else most)
        elif name in self.asked:
            return None
        if least > most or self.cost(name, least) > budget:
            return None
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if self.cost(name, middle) <= budget else (least, middle)
        pivots = most if self.cost(name, most) <= budget else least
        return Offer(name, pivots, self.cost(name, pivots))
