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

where the last terms of h are what the other parts of the equivalent have on the diagonal and the kernel has not; so
have Y, :mod:`hntk.asymptotics.inner_products`. What is left, $h + \gamma$, is of a positive semidefinite kernel and so
not negative, unless its diagonal was declared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from scipy.special import gammainccinv, gammaincinv

from hntk.asymptotics.inner_products import ClassProducts
from hntk.asymptotics.kernel_parameters import KernelCoefficients, by_norm
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Diagonal, Noise

# points of the two quadratures over norms
SMOOTH, DENSE = 9, 400
# probabilities that change no sum: Gauss' points that are less likely are moved to the likely ones, and dense points
# leave out that much on either side
NEVER, TAIL = 1e-15, 1e-8

# points and probabilities for the gamma law of mean 1 and variance 1/shape
Quadrature = Callable[[float], tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]]


@dataclass(frozen=True)
class Norms:
    """Norms of the samples, on q points for every class, and what of the kernel follows from them.

    Attributes
    ----------
    diagonal : W and H.
    weight : of the direction of norms in B: c2, or 1 where deviations have it.
    deviations : (K, q) √p ε, or √p φ.
    lifts : (K, q) what multiplies √c1 μ_a: the square root of c1 at the sample's norm, by c1.
    noise : what acts like noise; None without.
    """

    diagonal: Diagonal
    weight: float
    deviations: Float[np.ndarray, "K q"]
    lifts: Float[np.ndarray, "K q"]
    noise: Noise | None = None

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> Norms:
        """t_a ± √v_a: mean and variance are all that counts."""
        spread = np.sqrt(law.v)[:, None] * np.array([-1.0, 1.0])
        ones = np.ones_like(spread)
        return Norms(Diagonal(ones / 2, ones, 0 * ones), kernel.norms, law.t[:, None] + spread, ones)

    @staticmethod
    def finite(
        law: MixtureLaw, n: int, kernel: KernelCoefficients, products: ClassProducts, quadrature: Quadrature
    ) -> Norms:
        """Of n samples of p coordinates.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        traces, p = law.traces, law.dimension
        shapes = [p * theta**2 / v if v > 0 else np.inf for theta, v in zip(traces, law.v, strict=True)]
        points, shares = (np.array(part) for part in zip(*map(quadrature, shapes), strict=True))
        squares = traces[:, None] * points + np.diag(law.gram)[:, None] / p

        def find(square: float) -> np.ndarray:
            return np.array([*kernel.seen.at(square), kernel.seen.orthogonal(square, kernel.scale)])

        level, gram, deviations = np.moveaxis(np.array([by_norm(row, find) for row in squares]), 1, 0)
        relative = gram / kernel.gram if kernel.gram > 0 else np.ones_like(gram)
        raised = products.factors**2
        weights = points * relative * raised[:, None]
        own = kernel.gram * weights * traces[:, None] + deviations**2
        own += relative * (np.diag(products.means) / p)[:, None]
        noise = products.noise(law, n, kernel, squares)
        if noise is not None:
            own += noise.diagonal
        left = level - own
        if kernel.seen.level is None:
            left = np.maximum(left, 0.0)
        lifts = np.sqrt(relative * raised[:, None])
        diagonal = Diagonal(shares, weights, left - kernel.shift)
        return Norms(diagonal, 1.0, np.sqrt(p) * deviations, lifts, noise)


def gauss_points(shape: float, count: int = SMOOTH) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Gauss' quadrature, where what is integrated is smooth on the scale of the law.

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


def dense_points(shape: float, count: int = DENSE) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Points at equal distances of their logarithms, for what is nearly singular.

    Raises
    ------
    ValueError
        If the shape is not positive.
    """
    if not np.isfinite(shape) or not shape > 0:
        return gauss_points(shape, count)
    points = np.geomspace(gammaincinv(shape, TAIL), gammainccinv(shape, TAIL), count) / shape
    logarithms = shape * (np.log(points) - points)
    shares = np.exp(logarithms - logarithms.max())
    return points, shares / shares.sum()
