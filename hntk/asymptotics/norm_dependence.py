r"""The dependence of an exact kernel on the norms of two samples and their inner product.

An exact kernel $f(\|x_i\|^2, \|x_j\|^2, x_i^\top x_j)$ is split into $h(s) + h(s')$ and a rest,
$h(s) = f(s, \tau_0^2, 0) - \frac12f(\tau_0^2, \tau_0^2, 0)$, so that the rest vanishes for orthogonal samples one of
which has the norm τ_0. A plain network has h = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk.kernels.exact import exact_kernels
from hntk.theory.architecture import Architecture
from hntk.theory.coefficients import coefficients, kernel_weights
from hntk.theory.expansion import Expansion, expansions

# Correlations of samples are clipped to this: at 1 the NTK of a network with jumps is infinite.
LARGEST_CORRELATION = 0.95
# Chebyshev nodes from which functions of the norm are interpolated.
NORM_NODES = 12


@dataclass(frozen=True)
class NormDependence:
    """The dependence of an exact kernel on ‖x‖², where its activations are centred, if at all, for samples of norm τ_0.

    Attributes
    ----------
    network : Architecture
        The network.
    centres : tuple of float
        The constant that is subtracted from each activation; zeros for a network that is not centred.
    ntk : bool
        Whether the kernel is the NTK rather than the CK.
    declared_diagonal : float or None
        The NTK's diagonal κ_L² where the user declared one, else None.
    """

    network: Architecture
    centres: tuple[float, ...]
    ntk: bool
    declared_diagonal: float | None = None

    def at(self, square: float) -> tuple[float, float]:
        """Return the diagonal, and the coefficient of x_iᵀx_j, for samples with ‖x_i‖² = ‖x_j‖² = ``square``."""
        name, tau = "ntk" if self.ntk else "ck", float(np.sqrt(square))
        if self.network.is_plain:
            net = coefficients(self.network.layers, tau, centres=self.centres)
            (gram, _, _), level = kernel_weights(net, name, self.declared_diagonal)
            return level, gram
        seen = last_expansion(self.network, tau, name, self.declared_diagonal, self.centres)
        return seen.q, seen.a

    def common(self, square: float, scale: float) -> float:
        """Return h for this norm²; 0 for a plain network."""
        if self.network.is_plain:
            return 0.0
        typical = _exact_kernel(self, scale, scale, (0.0,), scale)[0]
        return float(_exact_kernel(self, square, scale, (0.0,), scale)[0] - typical / 2)

    def orthogonal(self, square: float, scale: float) -> float:
        """Return φ for this norm²: φ² is f − 2h of two orthogonal samples, and its sign that of norm² − τ_0²."""
        value = _exact_kernel(self, square, square, (0.0,), scale)[0] - 2 * self.common(square, scale)
        return float(np.sign(square - scale) * np.sqrt(max(value, 0.0)))

    def across(self, scale: float, products: Float[np.ndarray, ...], square: float) -> Float[np.ndarray, ...]:
        """Return f − 2h of two samples with one norm² and these inner products; correlations are clipped to .95."""
        correlations = np.clip(products.ravel() / square, -LARGEST_CORRELATION, LARGEST_CORRELATION)
        values = _exact_kernel(self, square, square, tuple(map(float, correlations)), scale).reshape(products.shape)
        return values if self.network.is_plain else values - 2 * self.common(square, scale)


# Theory asks for the same values at every ridge and every n.
@lru_cache(maxsize=4096)
def _exact_kernel(
    dependence: NormDependence, square: float, others_square: float, correlations: tuple[float, ...], scale: float
) -> Float[np.ndarray, " m"]:
    """Return the exact kernel of a sample with others of another norm² and these correlations with it."""
    r = np.array(correlations)
    others = np.sqrt(others_square) * np.stack([r, np.sqrt(1 - r**2)], axis=1)
    with float64():
        kernels = exact_kernels(
            np.sqrt(square) * np.eye(1, 2),
            dependence.network,
            x2=others,
            tau0=float(np.sqrt(scale)),
            kappa_sq=dependence.declared_diagonal,
        )
        return np.asarray(kernels.ntk if dependence.ntk else kernels.ck, dtype=float)[0]


def last_expansion(
    network: Architecture, tau: float, kernel: str, declared: float | None, centres: tuple[float, ...]
) -> Expansion:
    """Return the expansion of the last layer's kernel, with the NTK's diagonal where it was declared."""
    last = getattr(expansions(network, tau, centres=centres), kernel)[-1]
    return last if kernel == "ck" or declared is None else last._replace(q=declared)


def interpolated_over_norms(
    squares: Float[np.ndarray, " q"], function: Callable[[float], Float[np.ndarray, " m"]]
) -> Float[np.ndarray, "m q"]:
    """Return a smooth function of norm² at every point; where there are many, interpolated in the logarithm."""
    low, high = np.log([squares.min(), squares.max()])
    if squares.size <= NORM_NODES or high - low < 1e-9:
        return np.array([function(float(s)) for s in squares]).T
    angles = np.pi * (np.arange(NORM_NODES) + 0.5) / NORM_NODES
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    values = np.array([function(float(s)) for s in np.exp(nodes)])
    return scipy.interpolate.barycentric_interpolate(nodes, values, np.log(squares)).T
