r"""How alike two networks' kernels are beyond the second order, at equal norms.

At equal norms the conjugate kernel is $\tau_L^2F_L(\rho)$ with $F_L = f_L\circ\dots\circ f_1$ and $f_l(\rho) = \sum_k
c_{l,k}^2\rho^k$ of the layer's normalised Hermite coefficients. Matched networks share the first two coefficients of
$F_L$ at δ = 0; among those, the one most alike in the mean square over correlations is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk.activations import Activation, Staircase
from hntk.activations.step_function import StepFunction
from hntk.matching.cell_pattern import CellPattern, StepNetwork, weighted_hermite
from hntk.matching.newton import Residuals

ORDER = 40
# points of a trapezoid rule for the coefficients of activations that are no staircases
FINE = np.linspace(-8.0, 8.0, 4001)
# Gauss-Legendre on [-1, 1]: every correlation counts alike
CORRELATIONS, WEIGHTS = np.polynomial.legendre.leggauss(24)


def correlation_map(activations: Sequence[Activation], tau: Sequence[float]) -> Float[np.ndarray, " rho"]:
    """Return F_L(ρ) of a network at the nodes, its series cut at the same order as the staircases'.

    Parameters
    ----------
    activations : sequence of Activation
        The layers.
    tau : sequence of float
        Their input scales τ_0 … τ_{L−1}.
    """
    rho = CORRELATIONS
    for layer, scale in zip(activations, tau, strict=True):
        squares = _hermite_coefficients(layer, scale) ** 2
        rho = (rho[:, None] ** np.arange(1, ORDER + 1)) @ squares / layer.moments(scale).variance
    return rho


def _hermite_coefficients(layer: Activation, tau: float) -> Float[np.ndarray, " order"]:
    """Return c_1 … c_order of σ(τξ): exact for staircases, to about 1e-3 for other functions with jumps."""
    if isinstance(layer, Staircase):
        pattern, z = CellPattern.of(StepFunction(np.array(layer.thresholds) / tau, np.array(layer.levels)))
        return pattern.hermite(z, ORDER)[0]
    values = np.asarray(layer(jnp.asarray(tau * FINE)), np.float64)
    return weighted_hermite(FINE, ORDER)[1:] @ values * (FINE[1] - FINE[0])


def mismatch_from(target: Float[np.ndarray, " rho"], network: StepNetwork) -> Residuals:
    """Return √w (F̂_L − F_L) at the nodes and its derivatives, as a function of the unknowns of ``network``."""
    root = np.sqrt(WEIGHTS / 2)

    def residuals(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rho, by_unknowns = CORRELATIONS, []
        for pattern, part in zip(network.patterns, network.parts(z), strict=True):
            value, slope, by_z = _layer_map(pattern, part, rho)
            by_unknowns = [slope[:, None] * rows for rows in by_unknowns] + [by_z]
            rho = value
        return root * (rho - target), root[:, None] * np.concatenate(by_unknowns, axis=1)

    return residuals


def _layer_map(pattern: CellPattern, z: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return f(ρ) of one layer, f'(ρ), and ∂f/∂z of shape (ρ, unknowns); f is divided by the variance."""
    c, c_by_z = pattern.hermite(z, ORDER)
    moments, moments_by_z = pattern.moments(z)
    v, v_by_z = moments[3], moments_by_z[3]
    k = np.arange(1, ORDER + 1)
    powers = rho[:, None] ** k
    value = powers @ c**2 / v
    slope = (rho[:, None] ** (k - 1)) @ (k * c**2) / v
    by_z = (powers @ (2 * c[:, None] * c_by_z) - np.outer(value, v_by_z)) / v
    return value, slope, by_z
