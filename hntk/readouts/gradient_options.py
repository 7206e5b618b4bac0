"""Settings of a kernel regression that is solved by conjugate gradients, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hntk._utils.arguments import as_callback, as_choice, as_count, as_path, as_positive, as_share
from hntk.kernels.kernel_plan import Keep, KernelPlan

Preconditioner = Literal["combined", "cholesky", "equivalent", "none"]
Chosen = Literal["auto", "combined", "cholesky", "equivalent", "none"]


@dataclass(frozen=True)
class ConjugateGradients:
    """How a kernel regression is solved by conjugate gradients, for :func:`hntk.fit_kernel`.

    Attributes
    ----------
    tolerance : float
        Relative residual ‖Y − (K + λI)A‖/‖Y‖ that every target must reach.
    preconditioner : {"auto", "combined", "cholesky", "equivalent", "none"}
        What stands for the kernel's inverse: the equivalent kernel, randomly pivoted columns of the exact one, or both
        combined. "auto" begins with none. Where the iterations that seem to be left cost four times as much as another
        one, that one is made and tried for five iterations, and the better one for its cost goes on. Costs are counted
        and not timed, so that the choice is the same on every machine. Where blocks of the kernel are computed anew for
        every product, "auto" is both combined.
    pivots : int, optional
        Number of columns. By default a quarter of the samples, and 1,500 at most; "auto" takes no more of these than
        the iterations that are left repay.
    keep : {"auto", "device", "memory", "disk", "nowhere"}
        Where blocks of the kernel are kept. "auto" takes a GPU's memory where JAX has one and they fit there, then the
        machine's memory, then the disk where there is a ``folder``, and computes them anew for every iteration
        otherwise.
    precision : {"auto", "float32", "float64"}
        Type that blocks are kept in. "auto" is float64 up to 1 GiB and float32 beyond. Entries are computed in
        float64, and products add up in float64.
    memory : int, optional
        Bytes of memory that the solution may take. By default four fifths of what is free.
    folder : str or Path, optional
        Folder for checkpoints, from which the same call goes on after an interruption, and for blocks on disk.
    steps : int
        Largest number of iterations at one ridge.
    held_out : float
        Share of the samples, up to 5,000, on which a ridge is chosen.
    seed : int
        What draws the pivots and the samples that are held out.
    log : callable or None
        What is called with lines of text about the plan, trials and the iterations. By default they are printed.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> import hntk
    >>> hntk.ConjugateGradients(tolerance=1e-4, preconditioner="combined").steps
    1000
    """

    tolerance: float = 1e-6
    preconditioner: Chosen = "auto"
    pivots: int | None = None
    keep: Keep = "auto"
    precision: Literal["auto", "float32", "float64"] = "auto"
    memory: int | None = None
    folder: str | Path | None = None
    steps: int = 1000
    held_out: float = 0.1
    seed: int = 0
    log: Callable[[str], None] | None = print

    def __post_init__(self) -> None:
        as_choice(self.preconditioner, "preconditioner", get_args(Chosen))
        as_choice(self.keep, "keep", get_args(Keep))
        as_choice(self.precision, "precision", ("auto", "float32", "float64"))
        checked = {
            "tolerance": as_positive(self.tolerance, "tolerance"),
            "held_out": as_share(self.held_out, "held_out"),
            "steps": as_count(self.steps, "steps"),
            "pivots": None if self.pivots is None else as_count(self.pivots, "pivots"),
            "memory": None if self.memory is None else as_count(self.memory, "memory"),
            "seed": as_count(self.seed, "seed", least=0),
            "folder": None if self.folder is None else as_path(self.folder, "folder"),
            "log": as_callback(self.log, "log"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def tell(self, line: str) -> None:
        """Pass a line of text on."""
        if self.log is not None:
            self.log(line)

    def count(self, n: int) -> int:
        """Return the number of pivots for so many samples."""
        return min(n, max(n // 4, 1), 1500) if self.pivots is None else min(self.pivots, n)


@dataclass(frozen=True)
class Racer:
    """How one preconditioner did in a trial.

    Attributes
    ----------
    preconditioner : str
        Its name.
    rank : int
        Rank of its low-rank part.
    residual : float
        Largest relative residual of a target where its iteration stopped. The other one of a trial begins there.
    reduction : float
        What an iteration multiplied that residual by, in the geometric mean.
    """

    preconditioner: str
    rank: int
    residual: float
    reduction: float


@dataclass(frozen=True)
class Convergence:
    """How the system of a kernel regression was solved.

    Attributes
    ----------
    iterations : int
        Iterations at the ridge that was used.
    residual : float
        Largest relative residual of a target, computed anew from the solution.
    sampled_residual : float
        Relative residual on some random samples, from rows of the kernel in float64 that were computed anew: what
        keeping blocks in float32 has cost is in it.
    tolerance : float
        What was asked for.
    preconditioner : str
        The preconditioner that was used.
    rank : int
        Rank of its low-rank part.
    race : tuple of Racer
        Trials of preconditioners, two entries each: the one before, and the one that was tried. Empty without a trial.
    plan : KernelPlan
        Where the kernel's blocks were kept.
    products : int
        Number of products with the kernel, all ridges together.
    """

    iterations: int
    residual: float
    sampled_residual: float
    tolerance: float
    preconditioner: str
    rank: int
    race: tuple[Racer, ...]
    plan: KernelPlan
    products: int
