r"""Posterior variances of the Gaussian process whose posterior mean a kernel regression is.

With covariance K and noise of variance λ the variance at a new sample x is

$$v(x) = k(x, x) - k(x, X)(K + \lambda I)^{-1}k(X, x),$$

and with an intercept that has no prior, $(1 - 1^\top(K + \lambda I)^{-1}k(X, x))^2 / 1^\top(K + \lambda I)^{-1}1$ more
(Rasmussen and Williams 2006, section 2.7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk._utils.memory import check_room
from hntk.kernels.held_kernel import HeldKernel, KernelName, rectangle, square, with_declared
from hntk.readouts.gradient_options import ConjugateGradients
from hntk.readouts.kernel_gradients import kernel_system, open_kernel
from hntk.readouts.kernel_ridge import ridge_solver
from hntk.readouts.kernel_system import GradientSolver
from hntk.theory.architecture import Architecture

Block = Float[np.ndarray, "n k"]
# new samples whose systems are solved at a time
SAMPLES = 64


def posterior_variances(
    x: Float[np.ndarray, "n p"],
    new: Float[np.ndarray, "m p"],
    net: Architecture,
    kernel: KernelName,
    tau0: float,
    declared: float | None,
    ridge: float,
    centred: bool,
    options: ConjugateGradients | None,
) -> Float[np.ndarray, " m"]:
    """Return the variances at new samples, by conjugate gradients or, without settings for them, directly.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Training samples.
    new : ndarray of shape (m, p)
        New samples.
    net : Architecture
        The network.
    kernel : {"ck", "ntk"}
        Which kernel.
    tau0 : float
        Root mean square norm of a training sample.
    declared : float or None
        The NTK's diagonal, where it is declared.
    ridge : float
        Ridge λ.
    centred : bool
        Whether there is an intercept.
    options : ConjugateGradients or None
        Settings; None for a Cholesky factor.

    Returns
    -------
    ndarray of shape (m,)
        Variances, at least 0.
    """
    with open_kernel(x, net, kernel, tau0, declared, options or ConjugateGradients(log=None)) as held:
        blocks = -(-len(new) // SAMPLES)
        solve = _by_factor(held, ridge) if options is None else _by_gradients(held, net, tau0, ridge, options, blocks)
        ones = solve(np.ones((held.n, 1))) if centred else None
        parts = [_variances(held, part, solve, ones) for part in _parts(new)]
    return np.concatenate(parts)


def _parts(new: Float[np.ndarray, "m p"]) -> Iterator[Float[np.ndarray, "s p"]]:
    for start in range(0, len(new), SAMPLES):
        yield new[start : start + SAMPLES]


def _variances(
    held: HeldKernel, new: Float[np.ndarray, "s p"], solve: Callable[[Block], Block], ones: Block | None
) -> Float[np.ndarray, " s"]:
    with float64():
        samples = held.problem.checked_samples(np.asarray(new, np.float64))  # type: ignore[arg-type]
        own = np.asarray(getattr(samples, held.kernel))
        across = with_declared(rectangle(held.problem, held.kernel, held.samples, samples), held.problem)
    solved = solve(across)
    variances = own - np.einsum("ij,ij->j", across, solved)
    if ones is not None:
        variances += (1 - solved.sum(axis=0)) ** 2 / ones.sum()
    return np.maximum(variances, 0.0)


def _by_factor(held: HeldKernel, ridge: float) -> Callable[[Block], Block]:
    check_room(
        24 * held.n**2,
        f"the exact kernel of {held.n:,} samples and its factor",
        "Give solver=hntk.ConjugateGradients(), which takes less.",
    )
    return ridge_solver(square(held.problem, held.kernel), ridge)


def _by_gradients(
    held: HeldKernel, net: Architecture, tau0: float, ridge: float, options: ConjugateGradients, ahead: int
) -> Callable[[Block], Block]:
    held.compute()
    system = kernel_system(held, net, tau0, None, False, options)
    system.ahead = ahead

    def solve(block: Block) -> Block:
        solver = GradientSolver(system, block, ridge, options, options.tolerance)
        solver.begin()
        found = solver.solve().dual
        system.ahead = max(0, system.ahead - 1)
        return found

    return solve
