r"""What the norms of the samples do to a kernel: in the limit, and to an exact kernel of finite size.

Norms concentrate: $\|x_i\|^2 = \tau_0^2 + \varepsilon_i$ with $\varepsilon_i = O(p^{-1/2})$. In the limit only
$c_2\varepsilon_i\varepsilon_j$ is left of that, a direction of its own. An exact kernel of finite size depends on them
in more ways:

* for orthogonal samples it is a product $\varphi(\|x_i\|^2)\varphi(\|x_j\|^2)$ up to terms of fourth order, of
  which the limit keeps $\varphi = \sqrt{c_2}\,\varepsilon$;
* its diagonal is $k(\|x_i\|^2)$, which the limit takes to be $k(\tau_0^2) + c_1\varepsilon_i$;
* the coefficient of $x_i^\top x_j$ is $c_1$ at these norms, and $z_i$ itself is longer or shorter.

So $z_i = \sqrt{G_i}z_i^\circ$ with $z_i^\circ$ of fixed length. $G_i = \|z_i\|^2/\mathrm{tr}\,C_a$ has mean 1 and
variance $v_a/(p\theta_a^2)$, $\theta_a = \mathrm{tr}\,C_a/p$, and is given the gamma law with these (exact for
$C_a \propto I$, where $pG_i$ is a chi square of p degrees of freedom). With
$\varepsilon = \theta_aG + \|\mu_a\|^2/p - \tau_0^2$ and $\ell = c_1(\tau_0^2 + \varepsilon)/c_1$, in
:mod:`hntk.asymptotics.resolvent`

$$w = \ell\,G\,u_a^2,\qquad h = k(\tau_0^2 + \varepsilon) - c_1w\theta_a - \varphi^2 - \ell P_{aa}/p - \gamma,$$

where the last terms of h are what the other parts of the equivalent have on the diagonal and the kernel has not.

Off its diagonal the kernel is a function f of $r = x_i^\top x_j$, of which the limit keeps $c_1r$ and the mean of
$c_3r^2$. For i in class a and j in class b, r is nearly Gaussian with mean $\mu_a^\top\mu_b/p$ and variance
$(T_{ab} + (\mu_a^\top C_b\mu_a + \mu_b^\top C_a\mu_b)/p)/p$. So f has a mean there, $P_{ab}/p$; by Stein's identity a
slope $\mathrm Ef'$, which is taken to be $c_1u_au_b$ (the best such product, so that the u weight Z and J); and what is
left of it varies like independent entries of variance $N_{ab}/p$. P replaces $c_1M^\top M + c_3T$ in B but for the u.
That a kernel matrix has the spectrum of a Gram matrix plus such noise is due to Cheng and Singer (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

from hntk.asymptotics.coefficients import KernelCoefficients, NormDependence
from hntk.asymptotics.law import MixtureLaw
from hntk.asymptotics.resolvent import Diagonal

# of the quadrature over inner products
PRODUCTS = 12
# a probability that changes no sum: points less likely are moved to where networks were meant to be used
NEVER = 1e-15


@dataclass(frozen=True)
class Norms:
    """Norms of the samples, on q points for every class, and what of the kernel follows from them.

    Attributes
    ----------
    diagonal : W and H.
    weight : of the direction of norms in B: c2, or 1 where deviations have it.
    deviations : (K, q) √p ε, or √p φ.
    lifts : (K, q) what multiplies √c1 μ_a: the square root of c1 at the sample's norm, by c1.
    """

    diagonal: Diagonal
    weight: float
    deviations: Float[np.ndarray, "K q"]
    lifts: Float[np.ndarray, "K q"]

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> Norms:
        """t_a ± √v_a: mean and variance are all that counts."""
        spread = np.sqrt(law.v)[:, None] * np.array([-1.0, 1.0])
        ones = np.ones_like(spread)
        return Norms(Diagonal(ones / 2, ones, 0 * ones), kernel.norms, law.t[:, None] + spread, ones)

    @staticmethod
    def finite(law: MixtureLaw, kernel: KernelCoefficients, products: ClassProducts, count: int) -> Norms:
        """Of p coordinates, on so many points.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        traces, p = law.traces, law.dimension
        shapes = [p * theta**2 / v if v > 0 else np.inf for theta, v in zip(traces, law.v, strict=True)]
        points, shares = (np.array(part) for part in zip(*(gamma_points(s, count) for s in shapes), strict=True))
        squares = traces[:, None] * points + np.diag(law.gram)[:, None] / p
        seen_at = _seen(kernel).at
        seen = np.array([[seen_at(float(square)) for square in row] for row in squares])
        level, gram = seen[..., 0], seen[..., 1]
        orthogonal = np.maximum(_seen(kernel).orthogonal(squares, kernel.scale), 0.0)
        deviations = np.sign(squares - kernel.scale) * np.sqrt(orthogonal)
        relative = gram / kernel.gram if kernel.gram > 0 else np.ones_like(gram)
        raised = products.factors**2
        weights = points * relative * raised[:, None]
        own = kernel.gram * weights * traces[:, None] + orthogonal
        own += relative * (np.diag(products.means) / p)[:, None]
        shifts = level - own - kernel.shift
        lifts = np.sqrt(relative * raised[:, None])
        return Norms(Diagonal(shares, weights, shifts), 1.0, np.sqrt(p) * deviations, lifts)


@dataclass(frozen=True)
class ClassProducts:
    """A kernel off its diagonal, by the classes of the two samples, as a function of r = x_iᵀx_j.

    Attributes
    ----------
    means : (K, K) P: p times its mean.
    factors : (K,) u, of which products by pairs are its slopes relative to c1.
    noise : (K, K) N: p times the variance of what is not linear in r.
    """

    means: Float[np.ndarray, "K K"]
    factors: Float[np.ndarray, " K"]
    noise: Float[np.ndarray, "K K"]

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> ClassProducts:
        """c1 r plus the mean of c3 r²."""
        means = kernel.gram * law.gram + kernel.quadratic * law.overlaps
        return ClassProducts(means, np.ones(law.classes), np.zeros_like(means))

    @staticmethod
    def finite(law: MixtureLaw, kernel: KernelCoefficients) -> ClassProducts:
        """By Gauss' quadrature over r."""
        p, forms = law.dimension, np.einsum("baa->ab", law.algebra.covariance_forms(law.algebra.one))
        centre, variance = law.gram / p, (law.overlaps + (forms + forms.T) / p) / p
        nodes, weights = np.polynomial.hermite_e.hermegauss(PRODUCTS)
        weights = weights / weights.sum()
        products = centre[..., None] + np.sqrt(variance)[..., None] * nodes
        values = _seen(kernel).across(kernel.scale, products)
        mean = values @ weights
        apart = values - mean[..., None]
        linear = (apart * nodes) @ weights
        noise = p * np.maximum(apart**2 @ weights - linear**2, 0.0)
        return ClassProducts(p * mean, _factors(law, kernel, linear / np.sqrt(variance)), noise)


def _factors(law: MixtureLaw, kernel: KernelCoefficients, slopes: Float[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """The products nearest to slopes/c1, classes by their shares."""
    if kernel.gram == 0:
        return np.ones(law.classes)
    root = np.sqrt(law.proportions)
    values, vectors = np.linalg.eigh(root[:, None] * slopes / kernel.gram * root)
    return np.abs(np.sqrt(values[-1]) * vectors[:, -1] / root)


def _seen(kernel: KernelCoefficients) -> NormDependence:
    if kernel.norms_seen is None:
        raise ValueError(
            "finite sizes are about the kernel itself, which coefficients do not tell: give the activations, or "
            "kernel_coefficients of them."
        )
    return kernel.norms_seen


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
    points, shares = points / shape, vectors[0] ** 2
    likely = points[shares > NEVER]
    return np.clip(points, likely[0], likely[-1]), shares
