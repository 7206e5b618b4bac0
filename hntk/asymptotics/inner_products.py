r"""An exact kernel off its diagonal, as a function of the inner product of two samples.

The kernel is a function f of $r = x_i^\top x_j$, of which the limit keeps $c_1r$ and the mean of $c_3r^2$. For i in
class a and j in class b, r is nearly Gaussian with mean $\mu_a^\top\mu_b/p$ and variance
$(T_{ab} + (\mu_a^\top C_b\mu_a + \mu_b^\top C_a\mu_b)/p)/p$. So f has a mean there, $P_{ab}/p$; by Stein's identity a
slope $\mathrm Ef'$, which is taken to be $c_1u_au_b$ (the best such product, so that the u weight Z and J); and Hermite
parts of degree 2 and 3. P replaces $c_1M^\top M + c_3T$ in B but for the u: what it is more than the $c_1u_au_b$ of the
means tells classes apart without noise, as in the limit. That asks the data to have small eigenvalues along its means
and along differences of its covariances, beside these.

The part of degree k is $q_k(r - \mathrm Er)^k$ up to lower degrees, which is a Gram matrix of the monomials of degree k
of $z_i$: those of k different eigendirections are uncorrelated with each other and with all lower degrees, and have in
class a the variance $\gamma = q_kk!\prod\tau/p^{k-1}$ in units of 1/p, τ the eigenvalues of $C_a$. They are the
coordinates Y of :mod:`hntk.asymptotics.resolvent`, in a few groups of similar variance. With $D_k$ of them the part has
$\sum\gamma/p$ on the diagonal. As $D_k/p \to \infty$ it is that diagonal plus independent entries of its variance; that
a kernel matrix has the spectrum of a Gram matrix plus such noise is due to Cheng and Singer (2013). Data of a small
effective dimension, such as images, is not so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float
from scipy.special import factorial

from hntk.asymptotics.kernel_parameters import KernelCoefficients, by_norm
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Noise

# of the quadrature over inner products, and the degrees of the parts that act like noise
NODES, DEGREES = 12, (2, 3)
# the least of these parts that counts beside the slope
SLIGHT = 1e-6
# of products that do not vary, a deviation to find the slope by, in units of τ_0²/√p
POINT = 0.1
# eigenvalues, and groups of monomials, that are told apart, each by a part of the largest
EIGENVALUES, GROUPS, LEAST = 12, 6, 1e-4
# so many times n monomials are noise whatever their variances: one group
MANY = 20


@dataclass(frozen=True)
class ClassProducts:
    """A kernel by the classes of two samples.

    Attributes
    ----------
    means : (K, K) P: p times its mean.
    factors : (K,) u, of which products by pairs are its slopes relative to c1.
    parts : (1 + B, K, K) coefficients of its Hermite polynomials in r, of unit variance, of degrees 1 and DEGREES.
    """

    means: Float[np.ndarray, "K K"]
    factors: Float[np.ndarray, " K"]
    parts: Float[np.ndarray, "B K K"]

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> ClassProducts:
        """c1 r plus the mean of c3 r²."""
        means = kernel.gram * law.gram + kernel.quadratic * law.overlaps
        return ClassProducts(means, np.ones(law.classes), np.zeros((1 + len(DEGREES), *means.shape)))

    @staticmethod
    def finite(law: MixtureLaw, kernel: KernelCoefficients) -> ClassProducts:
        """By Gauss' quadrature over r.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        centre, spread = _inner_products(law)
        mean, *parts = _hermite_parts(kernel, centre, spread, kernel.scale, (0, 1, *DEGREES))
        factors = np.ones(law.classes)
        if kernel.gram > 0:
            factors = _nearest_product(parts[0] / spread / kernel.gram, law.proportions)
        return ClassProducts(law.dimension * mean, factors, np.array(parts))

    def noise(
        self, law: MixtureLaw, n: int, kernel: KernelCoefficients, squares: Float[np.ndarray, "K q"]
    ) -> Noise | None:
        """Of n samples of the law, whose norms² have these values; None where every part vanishes."""
        spread = _inner_products(law)[1]
        sizes = _sizes(law, kernel, self.parts, squares)
        pairs = np.outer(law.proportions, law.proportions)
        counts, variances, weights = [], [], []
        for part, size, k in zip(self.parts[1:], sizes, DEGREES, strict=True):
            quotient = float(np.sum(pairs * part / spread**k)) / np.sqrt(factorial(k))
            if quotient <= 0:
                continue
            many, products = monomials(*law.algebra.spectra, law.dimension, k, MANY * n)
            counts += list(many / law.dimension)
            variances += list(quotient * factorial(k) / law.dimension ** (k - 1) * products)
            weights += [size] * len(many)
        return Noise(np.array(counts), np.array(variances), np.array(weights)) if counts else None


def monomials(
    eigenvalues: Float[np.ndarray, "K G"], shares: Float[np.ndarray, " G"], p: int, degree: int, many: float
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K"]]:
    """Numbers of products of different eigenvalues out of p, in groups, and what they are by class.

    Every group keeps the sum of its products, by class, and the sum of their squares, of the classes' mean. If there
    are at least so many of them they are one group.
    """
    counts, values = _grouped(p * shares, eigenvalues.T, EIGENVALUES)
    found, products = [], []
    for chosen in combinations_with_replacement(range(len(counts)), degree):
        repeats = np.bincount(chosen, minlength=len(counts))
        ways = [np.prod(np.maximum(counts[g] - np.arange(r), 0.0)) for g, r in enumerate(repeats)]
        found.append(np.prod(ways / factorial(repeats)))
        products.append(np.prod(values[list(chosen)], axis=0))
    one = _grouped(np.array(found), np.array(products), 1)
    return one if one[0].sum() >= many else _grouped(np.array(found), np.array(products), GROUPS)


def _grouped(
    counts: Float[np.ndarray, " m"], values: Float[np.ndarray, "m K"], groups: int
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K"]]:
    """Numbers whose means over the classes are of one order of magnitude, as fewer that are the same."""
    mean = values.mean(axis=1)
    kept = (counts > 0) & (mean > 0)
    counts, values, mean = counts[kept], values[kept], mean[kept]
    order = np.log(mean.max() / mean) / -np.log(LEAST)
    index = np.minimum((groups * order).astype(int), groups - 1)
    first, second = (np.bincount(index, counts * mean**k, groups) for k in (1, 2))
    sums = np.array([np.bincount(index, counts * own, groups) for own in values.T])
    full = first > 0
    fewer = first[full] ** 2 / second[full]
    return fewer, (sums[:, full] / fewer).T


def _sizes(
    law: MixtureLaw, kernel: KernelCoefficients, parts: Float[np.ndarray, "B K K"], squares: Float[np.ndarray, "K q"]
) -> Float[np.ndarray, "D K q"]:
    """Of the parts at these norms, by what they are at τ_0² for the same products."""
    centre, spread = _inner_products(law)
    out = np.ones((len(DEGREES), *squares.shape))
    for a, row in enumerate(squares):
        own = law.traces[a] + law.gram[a, a] / law.dimension
        own_centre, own_spread = centre[a, a] / own, spread[a, a] / own
        at = parts[:, a, a]
        seen = np.abs(at[1:]) > SLIGHT * np.abs(at[0])
        found = by_norm(row, lambda s, c=own_centre, d=own_spread: _hermite_parts(kernel, s * c, s * d, s)[1:])
        out[seen, a] = np.maximum(found[seen] / at[1:][seen, None], 0.0)
    return out


def _inner_products(law: MixtureLaw) -> tuple[Float[np.ndarray, "K K"], Float[np.ndarray, "K K"]]:
    """Mean and deviation of x_iᵀx_j, by class."""
    p, forms = law.dimension, np.einsum("baa->ab", law.algebra.covariance_forms(law.algebra.one))
    variance = (law.overlaps + (forms + forms.T) / p) / p
    return law.gram / p, np.sqrt(np.maximum(variance, (POINT * law.tau0**2) ** 2 / p))


def _hermite_parts(
    kernel: KernelCoefficients,
    centre: Float[np.ndarray, ...],
    spread: Float[np.ndarray, ...],
    square: float,
    degrees: tuple[int, ...] = (1, *DEGREES),
) -> Float[np.ndarray, "D ..."]:
    """Of the kernel of samples of this norm² whose product is Gaussian, in polynomials of unit variance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    values = kernel.seen.across(kernel.scale, centre[..., None] + spread[..., None] * nodes, square)
    basis = np.array([np.polynomial.hermite_e.hermeval(nodes, np.eye(k + 1)[k]) for k in degrees])
    basis = basis / np.sqrt(factorial(degrees))[:, None]
    return np.moveaxis(values @ (basis * weights / weights.sum()).T, -1, 0)


def _nearest_product(matrix: Float[np.ndarray, "K K"], proportions: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """U of which u_a u_b is nearest to a matrix, classes by their shares."""
    root = np.sqrt(proportions)
    values, vectors = np.linalg.eigh(root[:, None] * matrix * root)
    return np.abs(np.sqrt(values[-1]) * vectors[:, -1] / root)
