r"""Linear filters of the labels, written as sums of resolvents of the kernel.

Training on targets y gives dual weights $\beta = h(\tilde K)\,y$ and residuals $y - \tilde K\beta = r(\tilde K)\,y$.
Both functions become sums over the same nodes $\zeta_k$:

$$h(\tilde K) = \sum_k\omega_k(\tilde K - \zeta_k)^{-1},\qquad r(\tilde K) = \sum_k\rho_k(\tilde K - \zeta_k)^{-1}.$$

Ridge regression has one node, ζ = −λ, with ω = 1 and ρ = λ. Gradient flow for a time s has the integrals

$$e^{-s\tilde K} = \frac1{2\pi i}\int e^{sw}(w + \tilde K)^{-1}dw,\qquad
\tilde K^{-1}(I - e^{-s\tilde K}) = \frac1{2\pi i}\int\frac{e^{sw}}w(w + \tilde K)^{-1}dw$$

along a hyperbola around the spectrum, which the trapezoidal rule turns into sums. The second contour encloses w = 0 as
well, so a singular $\tilde K$ does no harm. The error falls like $10^{-N}$ with 2N nodes, for every spectrum and every
time at once. Source: Weideman and Trefethen, Parabolic and hyperbolic contours (2007).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from hntk._utils.pytree import array_dataclass

# Below this time, the contour's size, 4.5 N divided by the time, would overflow.
LEAST_TIME = 1e-290
# Weideman and Trefethen's constants for the shape of the hyperbola.
ANGLE, SPACING, SIZE = 1.172104229, 1.081792140, 4.492075287


@array_dataclass()
class LabelFilter:
    """Nodes of a filter, with the weights of its dual weights and of its residuals.

    Attributes
    ----------
    nodes : array, shape (q,)
        The nodes ζ_k.
    dual : array, shape (q,)
        The weights ω_k of the dual weights.
    residual : array, shape (q,)
        The weights ρ_k of the residuals.
    """

    nodes: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]
    dual: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]
    residual: Float[np.ndarray, " q"] | Complex[np.ndarray, " q"]


def ridge_filter(ridge: float) -> LabelFilter:
    """Return the filter of ridge regression, β = (K̃ + λ)⁻¹ y."""
    return LabelFilter(np.array([-float(ridge)]), np.ones(1), np.array([float(ridge)]))


def flow_filter(time: float, half_nodes: int = 13) -> LabelFilter:
    """Return the filter of gradient flow on ½‖y − f‖² for a time s, β = K̃⁻¹(I − exp(−sK̃)) y.

    Parameters
    ----------
    time : float
        The time s > 0, in units of one over the kernel's eigenvalues.
    half_nodes : int, optional
        The number of nodes N in the upper half plane; 13 reach rounding.

    Returns
    -------
    LabelFilter
        The filter, with 2N nodes.

    Raises
    ------
    ValueError
        If the time is so small that the contour's size overflows.
    """
    if time < LEAST_TIME:
        raise ValueError(f"time must be at least {LEAST_TIME:g}, got {time!r}: before training all scores are 0.")
    step = SPACING / half_nodes
    u = (np.arange(-half_nodes, half_nodes) + 0.5) * step
    size = SIZE * half_nodes / time
    w = size * (1 + np.sin(1j * u - ANGLE))
    weights = step / (2j * np.pi) * np.exp(time * w) * 1j * size * np.cos(1j * u - ANGLE)
    return LabelFilter(-w, weights / w, weights)
