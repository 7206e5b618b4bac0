r"""Kernels that an expansion describes, as structured operators.

With $G_{ij}^2$ replaced by its mean over samples of the two classes, an expansion (:mod:`hntk.theory.expansion`) is

$$\tilde K = c\,11^\top + aXX^\top + b(\delta1^\top + 1\delta^\top) + \tfrac dpJTJ^\top + e\delta\delta^\top
+ f(\delta^{(2)}1^\top + 1\delta^{(2)\top}) + \gamma I,\qquad \gamma = q - c - a\tau_0^2,$$

$\delta_i = \|x_i\|^2 - \tau_0^2$, $\delta^{(2)}_i = \delta_i^2$. As $1 = \sqrt p\,(J/\sqrt p)1$, its low-rank part has
the columns $[J/\sqrt p, \delta, \delta^{(2)}]$.

With $P = I - 11^\top/n$, $g = PX\bar x$ and the mean sample $\bar x$,

$$P\tilde KP = aXX^\top + \tfrac dpPJTJ^\top P + e\,P\delta\delta^\top P - a(g1^\top + 1g^\top)
- \big(a\|\bar x\|^2 + \tfrac\gamma n\big)11^\top + \gamma I,$$

so that samples need not be copied to be centred.

The equivalents of plain networks (:mod:`hntk.theory.equivalents`) have $\psi + Jt/\sqrt p$ in the place of δ. For a
sample of class a, δ is larger by $2z_i^\top\mu_a/p + \|\mu_a\|^2/p$, a vector whose norm vanishes like $p^{-1/2}$.
Beside the vector 1, whose norm is √n, only δ itself is precise enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.arrays import check_result
from hntk._utils.rows import row_blocks
from hntk.theory.expansion import Expansion
from hntk.theory.low_rank_operator import StructuredKernel


class Directions(NamedTuple):
    """Vectors that a kernel has beside the samples.

    Attributes
    ----------
    columns : ndarray of shape (n, k)
        J/√p, δ and δ² as columns of norm 1; for a centred kernel PJ/√p, Pδ, P X x̄ and the vector 1.
    norms : ndarray of shape (k,)
        Norms that these columns had.
    mean : ndarray of shape (p,) or None
        The mean sample x̄ for a centred kernel, P K̃ P; None for others.
    """

    columns: Float[np.ndarray, "n k"]
    norms: Float[np.ndarray, " k"]
    mean: Float[np.ndarray, " p"] | None


def sample_directions(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], tau0: float, *, centre: bool
) -> Directions:
    """Return the vectors of a kernel between samples, which are read in blocks.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Samples in any precision; a memory map is not copied.
    index : ndarray of shape (n,)
        Class of each sample, 0 … K − 1.
    tau0 : float
        Root mean square norm of a sample.
    centre : bool
        Whether the kernel is P K̃ P.

    Returns
    -------
    Directions
        The vectors.

    Raises
    ------
    ValueError
        If squares of norms leave float64.
    """
    with np.errstate(all="ignore"):
        columns, mean = _columns(x, index, tau0, centre=centre)
        norms = np.linalg.norm(columns, axis=0)
    check_result(norms, "the square of a sample's norm")
    columns /= np.where(norms > 0, norms, 1.0)
    return Directions(columns, norms, mean if centre else None)


def _columns(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], tau0: float, *, centre: bool
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " p"]]:
    """Return the vectors as columns, and the mean sample if they are centred."""
    (n, p), classes = x.shape, int(index.max()) + 1
    columns, mean = np.zeros((n, classes + (3 if centre else 2))), np.zeros(p)
    columns[np.arange(n), index] = 1 / np.sqrt(p)
    for part in row_blocks(x):
        block = np.asarray(x[part], np.float64)
        columns[part, classes] = np.einsum("ij,ij->i", block, block) - tau0**2
        mean += block.sum(axis=0) / n if centre else 0.0
    if centre:
        columns[:, -2] = np.concatenate([x[part] @ mean for part in row_blocks(x)])
        columns -= columns.mean(axis=0)
        columns[:, -1] = 1.0
    else:
        columns[:, -1] = columns[:, classes] ** 2
    return columns, mean


def expanded_kernel(
    x: Real[np.ndarray, "n p"],
    expansion: Expansion,
    directions: Directions,
    overlaps: Float[np.ndarray, "K K"],
    tau0: float,
) -> StructuredKernel:
    """Return K̃, or for directions that are centred P K̃ P, whose eigenvalue of the vector 1 is 0.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Samples.
    expansion : Expansion
        Coefficients of the kernel.
    directions : Directions
        What :func:`sample_directions` gives.
    overlaps : ndarray of shape (K, K)
        Overlaps T of the class covariances.
    tau0 : float
        Root mean square norm of a sample.

    Returns
    -------
    StructuredKernel
        The kernel. An infinite q makes its shift infinite.
    """
    (n, p), classes = x.shape, len(overlaps)
    c, a, b, d, e, f, q = expansion[:7]
    shift = q - c - a * tau0**2
    core = np.zeros((directions.norms.size,) * 2)
    core[:classes, :classes] = d * overlaps
    core[classes, classes] = e
    if directions.mean is not None:
        core[-1, -2] = core[-2, -1] = -a
        # without a diagonal nothing of the kernel can be asked for
        core[-1, -1] = -a * float(directions.mean @ directions.mean) - (shift / n if np.isfinite(shift) else 0.0)
    else:
        core[:classes, :classes] += c * p
        core[:classes, classes] = core[classes, :classes] = b * np.sqrt(p)
        core[:classes, -1] = core[-1, :classes] = f * np.sqrt(p)
    return StructuredKernel(x, a, directions.columns, core * np.outer(directions.norms, directions.norms), shift)
