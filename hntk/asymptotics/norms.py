r"""What the norms of the samples do to a kernel: in the limit, and to an exact kernel of finite size.

Norms concentrate: $\|x_i\|^2 = \tau_0^2 + \varepsilon_i$ with $\varepsilon_i = O(p^{-1/2})$. In the limit only
$c_2\varepsilon_i\varepsilon_j$ is left of that, a direction of its own. An exact kernel of finite size depends on them
in two more ways, which are of the same order and outweigh everything else that the limit leaves out:

* its diagonal is $k(\|x_i\|^2)$, which the limit takes to be $k(\tau_0^2) + c_1\varepsilon_i$;
* the coefficient of $x_i^\top x_j$ is $c_1$ at these norms, and $z_i$ itself is longer or shorter.

So $z_i = \sqrt{G_i}z_i^\circ$ with $z_i^\circ$ of fixed length and $G_i = \|z_i\|^2/\mathrm{tr}\,C_a$ of mean 1 and variance
$v_a/(p\theta_a^2)$, $\theta_a = \mathrm{tr}\,C_a/p$, is given the gamma law (exact for $C_a \propto I$, where $pG_i$ is a
chi square of p degrees of freedom), and with $\varepsilon = \theta_aG + \|\mu_a\|^2/p - \tau_0^2$

$$w = G\,c_1(\tau_0^2+\varepsilon)/c_1,\qquad
h = k(\tau_0^2 + \varepsilon) - c_1(\tau_0^2+\varepsilon)\,(\tau_0^2 + \varepsilon) - c_2\varepsilon^2 - c_3T_{aa}/p - \gamma$$

in :mod:`hntk.asymptotics.resolvent`, where the last terms of h are what the other parts of the equivalent have on the
diagonal and the kernel has not. Beside it, $c_3(x_i^\top x_j)^2$ is not quite its mean. With $G = M^\top M$ its mean is
$c_3(T_{ab} + G_{ab}^2/p + (\mu_a^\top C_b\mu_a + \mu_b^\top C_a\mu_b)/p)/p$; it follows $x_i^\top x_j$ about
$G_{ab}/p$ with the slope $2c_3G_{ab}/p$, so that of $c_1 + 2c_3G_{ab}/p \approx c_1u_au_b$ (the best product) the u
weight Z and J as well; and its entries vary about all that like independent ones of variance $2c_3^2T_{ab}^2/p^2$:
$N_{ab} = 2c_3^2T_{ab}^2/p$. That a kernel matrix has the spectrum of a Gram matrix plus such noise is due to Cheng and
Singer (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

from hntk.asymptotics.coefficients import KernelCoefficients
from hntk.asymptotics.law import MixtureLaw
from hntk.asymptotics.resolvent import Diagonal


@dataclass(frozen=True)
class Norms:
    """Norms of the samples, on q points for every class, and what of the kernel follows from them.

    Attributes
    ----------
    diagonal : W and H.
    deviations : (K, q) √p ε.
    lifts : (K, q) what multiplies √c1 μ_a: the square root of c1 at the sample's norm, by c1.
    """

    diagonal: Diagonal
    deviations: Float[np.ndarray, "K q"]
    lifts: Float[np.ndarray, "K q"]

    @staticmethod
    def limit(law: MixtureLaw) -> Norms:
        """t_a ± √v_a: mean and variance are all that counts."""
        spread = np.sqrt(law.v)[:, None] * np.array([-1.0, 1.0])
        ones = np.ones_like(spread)
        return Norms(Diagonal(ones / 2, ones, 0 * ones), law.t[:, None] + spread, ones)

    @staticmethod
    def finite(law: MixtureLaw, kernel: KernelCoefficients, count: int) -> Norms:
        """Of p coordinates, on so many points.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        if kernel.norms_seen is None:
            raise ValueError(
                "finite sizes are about how a kernel depends on ‖x‖², which coefficients do not tell: give the "
                "activations, or kernel_coefficients of them."
            )
        traces, p = law.traces, law.dimension
        shapes = [p * theta**2 / v if v > 0 else np.inf for theta, v in zip(traces, law.v, strict=True)]
        points, shares = (np.array(part) for part in zip(*(gamma_points(s, count) for s in shapes), strict=True))
        squares = traces[:, None] * points + np.diag(law.gram)[:, None] / p
        seen = np.array([[kernel.norms_seen.at(float(square)) for square in row] for row in squares])
        level, gram = seen[..., 0], seen[..., 1]
        deviations = squares - kernel.scale
        relative = gram / kernel.gram if kernel.gram > 0 else np.ones_like(gram)
        raised = cross_weights(law, kernel) ** 2
        weights = points * relative * raised[:, None]
        own = kernel.gram * weights * traces[:, None] + kernel.norms * deviations**2
        own += relative * (np.diag(class_products(law, kernel)) / p)[:, None]
        shifts = level - own - kernel.shift
        lifts = np.sqrt(relative * raised[:, None])
        return Norms(Diagonal(shares, weights, shifts), np.sqrt(p) * deviations, lifts)


def quadratic_noise(law: MixtureLaw, quadratic: float) -> Float[np.ndarray, "K K"]:
    """N."""
    return 2 * quadratic**2 * law.overlaps**2 / law.dimension


def class_products(law: MixtureLaw, kernel: KernelCoefficients) -> Float[np.ndarray, "K K"]:
    """p times the mean of c1 x_iᵀx_j + c3 (x_iᵀx_j)², i in class a and j in class b."""
    forms = np.einsum("baa->ab", law.algebra.covariance_forms(law.algebra.one))
    squares = law.overlaps + (law.gram**2 + forms + forms.T) / law.dimension
    return kernel.gram * law.gram + kernel.quadratic * squares


def cross_weights(law: MixtureLaw, kernel: KernelCoefficients) -> Float[np.ndarray, " K"]:
    """u."""
    if kernel.gram == 0:
        return np.ones(law.classes)
    slopes = 1 + 2 * kernel.quadratic / (kernel.gram * law.dimension) * law.gram
    root = np.sqrt(law.proportions)
    values, vectors = np.linalg.eigh(root[:, None] * slopes * root)
    return np.abs(np.sqrt(values[-1]) * vectors[:, -1] / root)


def gamma_points(shape: float, count: int) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Points and probabilities of Gauss' quadrature for the gamma law of mean 1 and variance 1/shape.

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
    points, vectors = eigh_tridiagonal(2 * orders + shape, np.sqrt(orders[1:] * (orders[1:] + shape - 1)))
    return points / shape, vectors[0] ** 2
