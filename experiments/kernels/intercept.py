"""Kernels as a regression with an intercept sees them: P K P with P = I − 11ᵀ/n, and the direction 1 that P removes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hntk.spectra.comparison import centred_kernel, off_diagonal


def off_diagonal_behind_intercept(difference: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Return what two kernels P K P differ by but for their diagonals.

    It is P (D − diag D) P, not D − diag D: kernels that a shift δP tells apart differ by −δ/n in every entry off the
    diagonal, and these entries have the eigenvalue −δ.
    """
    return centred_kernel(off_diagonal(difference))


def constant_eigenvalue(kernel: Float[np.ndarray, "n n"]) -> float:
    """Return 1ᵀK1/n, the size of a kernel in the direction that all samples share."""
    return float(kernel.mean()) * len(kernel)
