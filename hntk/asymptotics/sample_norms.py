r"""The effects of the samples' norms on a kernel: in the limit, and on an exact kernel at finite size.

Norms concentrate: $\|x_i\|^2 = \tau_0^2 + \varepsilon_i$ with $\varepsilon_i = O(p^{-1/2})$. In the limit they leave
only $c_2\varepsilon_i\varepsilon_j$, one direction. An exact kernel at finite size depends on them in more ways:

* Between orthogonal samples it is a product $\varphi(\|x_i\|^2)\varphi(\|x_j\|^2)$ up to terms of fourth order; the
  limit keeps $\varphi = \sqrt{c_2}\,\varepsilon$.
* Its diagonal is $k(\|x_i\|^2)$; the limit has $k(\tau_0^2) + c_1\varepsilon_i$. For a network that is not plain, k and
  $\varphi^2$ are those of the kernel less $h_i + h_j$ (:mod:`hntk.asymptotics.kernel_parameters`).
* The coefficient of $x_i^\top x_j$ is $c_1$ at the samples' norms, and $z_i$ itself is longer or shorter.

So $z_i = \sqrt{G_i}z_i^\circ$, where $z_i^\circ$ has a fixed length. $G_i = \|z_i\|^2/\mathrm{tr}\,C_a$ has mean 1 and
variance $v_a/(p\theta_a^2)$ with $\theta_a = \mathrm{tr}\,C_a/p$. It is taken to follow the gamma law with these
moments, which is exact for $C_a \propto I$, where $pG_i$ is a chi square of p degrees of freedom. With
$\varepsilon = \theta_aG + \|\mu_a\|^2/p - \tau_0^2$ and $\ell = c_1(\tau_0^2 + \varepsilon)/c_1$, the diagonal matrices
W and H of :mod:`hntk.asymptotics.bulk` have the entries

$$w = \ell\,G\,u_a^2,\qquad
h = k(\tau_0^2 + \varepsilon) - c_1w\theta_a - \varphi^2 - \ell P_{aa}/p - \sum_kw_k\gamma_{ka}D_k/p - \gamma.$$

Here u, P and the $Y_k$ are those of :mod:`hntk.asymptotics.inner_products`. The terms that h subtracts are what the
other parts have on the diagonal, and the kernel has not. What is left, $h + \gamma$, belongs to a positive semidefinite
kernel and so is not negative, unless the diagonal was declared. See docs/theory.md, "Exact kernels at the size they
have".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import DiagonalLaw, Noise
from hntk.asymptotics.inner_products import ProductExpansion
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.norm_dependence import interpolated_over_norms

# Gauss points less likely than this change no sum; they are moved to the nearest likelier point.
NEGLIGIBLE_PROBABILITY = 1e-15
# Steps of differences of φ, in units of τ_0².
NORM_STEP = 1e-3
# The probability that dense points leave out on either side.
TAIL_PROBABILITY = 1e-8

# A rule that gives points and probabilities for the gamma law of mean 1 and variance 1/shape.
Quadrature = Callable[[float], tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]]


@array_dataclass()
class NormEffects:
    """The norms of the samples, on q points for every class, and the parts of the kernel that follow from them.

    Attributes
    ----------
    diagonal : DiagonalLaw
        The law of W and H.
    weight : float
        The entry of B for the direction of norms: c2 in the limit, and 1 where ``deviations`` include √c2.
    deviations : array, shape (K, q)
        √p ε in the limit, √p φ at finite size.
    mean_factors : array, shape (K, q)
        The factors of √c1 μ_a: √ℓ times u_a.
    noise : Noise or None
        The parts of the kernel that act like noise.
    common : array, shape (K, q), or None
        The numbers h, where the kernel has 1hᵀ + h1ᵀ, in units of the largest; else None.
    common_unit : float
        That unit.
    tilts : array, shape (1 or 2, K, q), or None
        What the part 2 zᵀμ_a/p of a sample's norm² adds to √p φ, and to h if there is one, in units of √c1 zᵀ times
        √c1 μ_a; None in the limit, where it vanishes.
    """

    diagonal: DiagonalLaw
    weight: float
    deviations: Float[np.ndarray, "K q"]
    mean_factors: Float[np.ndarray, "K q"]
    noise: Noise | None = None
    common: Float[np.ndarray, "K q"] | None = None
    common_unit: float = 1.0
    tilts: Float[np.ndarray, "T K q"] | None = None

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> NormEffects:
        """Return the limit, where only the mean t_a and the variance v_a of √p ε count: two points t_a ± √v_a."""
        spread = np.sqrt(law.v)[:, None] * np.array([-1.0, 1.0])
        ones = np.ones_like(spread)
        diagonal = DiagonalLaw(ones / 2, ones, np.zeros_like(ones))
        deviations = law.t[:, None] + spread
        effects = NormEffects(diagonal, kernel.norms, deviations, ones)
        if kernel.has_common_part:
            # beside the vector 1, the norms of the means count as well
            epsilon = deviations / np.sqrt(law.dimension) + np.diag(law.gram)[:, None] / law.dimension
            common = kernel.constant / 2 + kernel.norm_slope * epsilon + kernel.norm_curvature * epsilon**2
            return effects.with_common(common)
        return effects

    @staticmethod
    def finite(
        law: MixtureLaw, n: int, kernel: KernelCoefficients, products: ProductExpansion, quadrature: Quadrature
    ) -> NormEffects:
        """Return the effects on the exact kernel of n samples, with norms on the points of a quadrature."""
        dependence, p = kernel.exact_dependence(), law.dimension
        points, shares, squares = _norm_points(law, quadrature)

        def at_norm(square: float) -> np.ndarray:
            step = NORM_STEP * kernel.scale
            near = [(dependence.orthogonal(s, kernel.scale), dependence.common(s, kernel.scale))
                    for s in (square, square - step, square + step)]  # fmt: skip
            return np.array([*dependence.at(square), *near[0], *np.subtract(near[2], near[1]) / (2 * step)])

        by_class = np.array([interpolated_over_norms(row, at_norm) for row in squares])
        level, slope, phi, common, phi_slope, common_slope = np.moveaxis(by_class, 1, 0)
        relative_slope = slope / kernel.gram if kernel.gram > 0 else np.ones_like(slope)
        factors_squared = products.factors[:, None] ** 2
        weights = points * relative_slope * factors_squared
        other_parts = kernel.gram * weights * (products.own_slopes * law.traces)[:, None] + phi**2
        other_parts += relative_slope * (np.diag(products.means) / p)[:, None]
        noise = products.noise(law, n, kernel, squares)
        if noise is not None:
            other_parts += noise.diagonal
        remainder = level - 2 * common - other_parts
        if dependence.declared_diagonal is None:
            remainder = np.maximum(remainder, 0.0)
        diagonal = DiagonalLaw(shares, weights, remainder - kernel.shift)
        mean_factors = np.sqrt(relative_slope * factors_squared)
        effects = NormEffects(diagonal, 1.0, np.sqrt(p) * phi, mean_factors, noise)
        slopes = [np.sqrt(p) * phi_slope]
        if kernel.has_common_part:
            effects = effects.with_common(common)
            slopes.append(common_slope / effects.common_unit)
        return replace(effects, tilts=2 / (p * kernel.gram) * np.array(slopes)) if kernel.gram > 0 else effects

    def with_common(self, common: Float[np.ndarray, "K q"]) -> NormEffects:
        """Return the effects with 1hᵀ + h1ᵀ for these h."""
        unit = float(np.max(np.abs(common)))
        return replace(self, common=common / unit, common_unit=unit)


def _norm_points(
    law: MixtureLaw, quadrature: Quadrature
) -> tuple[Float[np.ndarray, "K q"], Float[np.ndarray, "K q"], Float[np.ndarray, "K q"]]:
    """Return points of G in every class, their probabilities, and the norms² ‖x_i‖² at them."""
    p = law.dimension
    shapes = [p * theta**2 / v if v > 0 else np.inf for theta, v in zip(law.traces, law.v, strict=True)]
    points, shares = (np.array(part) for part in zip(*map(quadrature, shapes), strict=True))
    return points, shares, law.traces[:, None] * points + np.diag(law.gram)[:, None] / p


def gauss_points(shape: float, count: int = 9) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Return Gauss' quadrature for the gamma law, for integrands that are smooth on the scale of the law.

    Parameters
    ----------
    shape : float
        The shape of the law, one over its variance; infinite for a constant.
    count : int, optional
        The number of points.

    Returns
    -------
    points : array, shape (count,)
        The points.
    shares : array, shape (count,)
        Their probabilities.

    Raises
    ------
    ValueError
        If the shape is not positive.
    """
    if not shape > 0:
        raise ValueError(f"the shape of a gamma law must be positive, got {shape!r}.")
    if not np.isfinite(shape):
        return np.ones(count), np.full(count, 1 / count)
    orders = np.arange(count)
    # Golub and Welsch: points are eigenvalues of the recurrence of Laguerre polynomials. SciPy's roots_genlaguerre
    # overflows at the shapes of high dimensions.
    points, vectors = scipy.linalg.eigh_tridiagonal(2 * orders + shape, np.sqrt(orders[1:] * (orders[1:] + shape - 1)))
    points, shares = points / shape, vectors[0] ** 2
    likely = points[shares > NEGLIGIBLE_PROBABILITY]
    return np.clip(points, likely[0], likely[-1]), shares


def dense_points(shape: float, count: int = 400) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Return points at equal distances in the logarithm, with probabilities, for integrands that are nearly singular.

    Arguments and errors are those of :func:`gauss_points`.
    """
    if not np.isfinite(shape) or not shape > 0:
        return gauss_points(shape, count)
    low, high = scipy.special.gammaincinv(shape, TAIL_PROBABILITY), scipy.special.gammainccinv(shape, TAIL_PROBABILITY)
    points = np.geomspace(low, high, count) / shape
    log_density = shape * (np.log(points) - points)
    shares = np.exp(log_density - log_density.max())
    return points, shares / shares.sum()
