"""Equivalent kernels between training samples, as what they are to a regression: an operator, or features."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.rows import each_block, row_blocks
from hntk.readouts.quadratic_forms import QuadraticForms
from hntk.theory.architecture import Architecture
from hntk.theory.centred_layers import centred_coefficients
from hntk.theory.coefficients import kernel_weights
from hntk.theory.expansion import expansions
from hntk.theory.low_rank_operator import StructuredKernel

# second moments of the classes of more bytes count as those of one class
MOMENTS = 2**29
# multiplications within a product of matrices that take as long as an entry of a class's matrix for a form
MATRIX = 40


def equivalent_weights(
    net: Architecture, tau0: float, kernel: str, declared: float | None
) -> tuple[tuple[float, float, float], float]:
    """Return (c_1, c_2, c_3) and the kernel's diagonal, less what all samples have in common."""
    if declared is not None and not net.is_plain:
        declared -= expansions(net, tau0).ntk[-1].c
    return kernel_weights(centred_coefficients(net, tau0), kernel, declared)


def equivalent_operator(
    x: Real[np.ndarray, "n p"],
    index: Int[np.ndarray, " n"],
    forms: QuadraticForms,
    weights: tuple[float, ...],
    diagonal: float,
) -> StructuredKernel:
    """Return the kernel between training samples, whose diagonal is ``diagonal``."""
    c1, c2, c3 = weights
    factor = np.concatenate([part for _, part in each_block(x, forms, index)])
    core = np.diag([c3] * (factor.shape[1] - 1) + [c2])
    return StructuredKernel(x, c1, factor, core, diagonal - forms.tau0**2 * c1)


def equivalent_features(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"] | None, net: Architecture, tau0: float, kernel: str
) -> Float[np.ndarray, "n q"]:
    """Return features whose Gram matrix is the equivalent kernel less its multiple of the identity.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Training samples.
    index : ndarray of shape (n,), optional
        Classes 0 … K − 1, whose second moments the kernel tells apart; None for one class. Classes of fewer than 2
        samples, or of more moments than memory is meant for, count as one as well.
    net : Architecture
        The network.
    tau0 : float
        Root mean square norm of a sample.
    kernel : {"ck", "ntk"}
        Which kernel.

    Returns
    -------
    ndarray of shape (n, q)
        √c_1 x, the forms, and for a network that is not plain the constant that all pairs of samples have in common.
    """
    (c1, c2, c3), _ = equivalent_weights(net, tau0, kernel, 1.0)
    parts = [np.sqrt(max(c1, 0.0)) * np.asarray(x, np.float64)]
    if not net.is_plain:
        both = expansions(net, tau0)
        common = (both.ck if kernel == "ck" else both.ntk)[-1].c
        parts.append(np.full((len(x), 1), np.sqrt(max(common, 0.0))))
    if len(x) > 1:
        classes = _classes(x, index)
        forms = QuadraticForms.of(x, classes, tau0)
        values = np.concatenate([forms(x[rows], classes[rows]) for rows in row_blocks(x)])
        weights = [c3] * (values.shape[1] - 1) + [c2]
        parts.append(values * np.sqrt(np.maximum(weights, 0.0)))
    return np.hstack(parts)


def feature_work(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"] | None) -> tuple[int, float]:
    """Return the number of features, for as many forms as classes, and the multiplications that making them takes."""
    (n, p), classes = x.shape, int(_classes(x, index).max(initial=0)) + 1
    # second moments, the forms of all samples, and matrices that each class has for all forms
    return p + classes + 2, n * p**2 * (classes + 0.5) + MATRIX * classes**2 * p**2


def _classes(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"] | None) -> Int[np.ndarray, " n"]:
    if index is None or np.min(np.bincount(index)) < 2 or 8 * (index.max() + 1) * x.shape[1] ** 2 > MOMENTS:
        return np.zeros(len(x), int)
    return index
