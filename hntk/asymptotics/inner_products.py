r"""The off-diagonal entries of an exact kernel, as functions of the inner product of two samples.

For samples of norm τ_0 the kernel is a function f of $r = x_i^\top x_j$. The limit keeps only $c_1r$ and the mean of
$c_3r^2$. At finite size more of f counts (docs/theory.md, "Exact kernels at the size they have", 4 and 5). For i in
class a and j in class b, r is nearly Gaussian with mean $\mu_a^\top\mu_b/p$ and variance
$(T_{ab} + (\mu_a^\top C_b\mu_a + \mu_b^\top C_a\mu_b)/p)/p$. In Hermite polynomials of this law, f has

* a mean, written $P_{ab}/p$, which replaces $c_1M^\top M + c_3T$ of the limit;
* a slope $\mathrm Ef'$, by Stein's identity, which is larger within a class, where means agree. For covariances that
  commute it is kept as $c_1q_a^\top q_b$ (:mod:`hntk.asymptotics.pairwise_covariances`). Else it is approximated by the
  nearest product $c_1u_au_b$, so that the factors u can become weights of the samples;
* parts of degrees 2 and 3.

The part of degree k is $q_k(r - \mathrm Er)^k$ up to lower degrees: a Gram matrix of all monomials of degree k of the
$z_i$. Monomials of k different eigendirections are uncorrelated with each other and with all lower degrees. In class a
they have the variance $\gamma = q_kk!\prod\tau/p^{k-1}$ in units of 1/p, where τ are eigenvalues of $C_a$. They are
therefore the coordinates Y of :mod:`hntk.asymptotics.bulk`, in a few groups of similar variance. With many more
monomials than samples, their Gram matrix is a multiple of the identity plus independent entries. A kernel matrix then
has the spectrum of a Gram matrix plus such noise (Cheng and Singer, 2013). Data of a small effective dimension, such as
images, is far from that case.

That P tells the classes apart without noise, as in the limit, assumes that the covariances have small eigenvalues along
the means and along each other's differences.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import Noise
from hntk.asymptotics.covariances import CommutingCovariances
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.norm_dependence import interpolated_over_norms

# Degrees of the Hermite parts that act like noise.
NOISE_DEGREES = (2, 3)
# Nodes of the quadrature over inner products.
HERMITE_NODES = 12
# Parts smaller than this, relative to the slope, do not change with the norm.
NEGLIGIBLE = 1e-6
# Eigenvalues of the matrix of slopes that count, relative to the largest.
SMALL_SLOPE = 1e-3
# The least deviation of inner products, in units of τ_0²/√p: a slope needs some.
LEAST_DEVIATION = 0.1
# Eigenvalues and monomials are grouped by order of magnitude, down to this part of the largest.
EIGENVALUE_GROUPS, MONOMIAL_GROUPS, SMALLEST = 12, 6, 1e-4
# With more than this many monomials a sample, their variances no longer matter: use one group.
NOISE_RATIO = 20


@array_dataclass()
class ProductExpansion:
    """A kernel's expansion in the inner product of two samples, by their classes.

    Attributes
    ----------
    means : array, shape (K, K)
        P, which is p times the mean of the kernel.
    factors : array, shape (K,)
        The factors u: the slopes are c1 u_a u_b.
    parts : array, shape (3, K, K)
        Coefficients of the Hermite polynomials of unit variance, of degrees 1, 2 and 3.
    pairwise : array, shape (K, r), or None
        Vectors q_a, where slopes are c1 q_aᵀq_b instead; ``factors`` are then 1.
    """

    means: Float[np.ndarray, "K K"]
    factors: Float[np.ndarray, " K"]
    parts: Float[np.ndarray, "B K K"]
    pairwise: Float[np.ndarray, "K r"] | None = None

    @staticmethod
    def limit(law: MixtureLaw, kernel: KernelCoefficients) -> ProductExpansion:
        """Return the limit, which has c1 r and the mean of c3 r² alone."""
        means = kernel.gram * law.gram + kernel.quadratic * law.overlaps
        return ProductExpansion(means, np.ones(law.classes), np.zeros((1 + len(NOISE_DEGREES), *means.shape)))

    @staticmethod
    def finite(law: MixtureLaw, kernel: KernelCoefficients, *, pairwise: bool = False) -> ProductExpansion:
        """Return the expansion of the exact kernel at norm τ_0, by Gauss quadrature over r.

        Slopes are pairwise if that is asked for and covariances commute.
        """
        mean, deviation = _product_moments(law)
        constant, *parts = _hermite_parts(kernel, mean, deviation, kernel.scale, (0, 1, *NOISE_DEGREES))
        factors, vectors = np.ones(law.classes), None
        if kernel.gram > 0:
            slopes = parts[0] / deviation / kernel.gram
            if pairwise and isinstance(law.algebra, CommutingCovariances):
                vectors = _root(slopes, law.proportions)
            if vectors is None:
                factors = _nearest_product(slopes, law.proportions)
        return ProductExpansion(law.dimension * constant, factors, np.array(parts), vectors)

    @property
    def own_slopes(self) -> Float[np.ndarray, " K"]:
        """The slopes within each class, in units of c1 and without what weights of the samples add."""
        return np.ones_like(self.factors) if self.pairwise is None else np.sum(self.pairwise**2, axis=1)

    def noise(
        self, law: MixtureLaw, n: int, kernel: KernelCoefficients, squares: Float[np.ndarray, "K q"]
    ) -> Noise | None:
        """Return the parts of degrees 2 and 3 as noise, for norms² on the points ``squares``; None if all vanish."""
        deviation = _product_moments(law)[1]
        relative_sizes = _sizes_by_norm(law, kernel, self.parts, squares)
        pair_shares = np.outer(law.proportions, law.proportions)
        counts, variances, weights = [], [], []
        for part, sizes, k in zip(self.parts[1:], relative_sizes, NOISE_DEGREES, strict=True):
            quotient = float(np.sum(pair_shares * part / deviation**k)) / np.sqrt(scipy.special.factorial(k))
            if quotient <= 0:
                continue
            numbers, products = monomials(*law.algebra.spectra, law.dimension, k, NOISE_RATIO * n)
            counts += list(numbers / law.dimension)
            variances += list(quotient * scipy.special.factorial(k) / law.dimension ** (k - 1) * products)
            weights += [sizes] * len(numbers)
        return Noise(np.array(counts), np.array(variances), np.array(weights)) if counts else None


def monomials(
    eigenvalues: Float[np.ndarray, "K G"], shares: Float[np.ndarray, " G"], p: int, degree: int, most: float
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K"]]:
    """Return how many products of different eigenvalues there are, in groups of similar size.

    Parameters
    ----------
    eigenvalues : array, shape (K, G)
        Eigenvalues by class.
    shares : array, shape (G,)
        Shares of the p dimensions that have them.
    p : int
        The number of dimensions.
    degree : int
        How many different eigenvalues a product has.
    most : float
        The number of products from which they become one group.

    Returns
    -------
    counts : array, shape (B,)
        How many products each group has.
    products : array, shape (B, K)
        The group's typical product, by class. Each group keeps the sum of its products in every class, and the sum of
        squares of the products' mean over the classes.
    """
    counts, values = _grouped(p * shares, eigenvalues.T, EIGENVALUE_GROUPS)
    numbers, products = [], []
    for chosen in combinations_with_replacement(range(len(counts)), degree):
        repeats = np.bincount(chosen, minlength=len(counts))
        ways = [np.prod(np.maximum(counts[g] - np.arange(r), 0.0)) for g, r in enumerate(repeats)]
        numbers.append(np.prod(ways / scipy.special.factorial(repeats)))
        products.append(np.prod(values[list(chosen)], axis=0))
    one_group = _grouped(np.array(numbers), np.array(products), 1)
    if one_group[0].sum() >= most:
        return one_group
    return _grouped(np.array(numbers), np.array(products), MONOMIAL_GROUPS)


def _grouped(
    counts: Float[np.ndarray, " m"], values: Float[np.ndarray, "m K"], groups: int
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K"]]:
    """Return values grouped by the order of magnitude of their mean over the classes, each group as equal values."""
    mean = values.mean(axis=1)
    positive = (counts > 0) & (mean > 0)
    counts, values, mean = counts[positive], values[positive], mean[positive]
    order = np.log(mean.max() / mean) / -np.log(SMALLEST)
    index = np.minimum((groups * order).astype(int), groups - 1)
    first, second = (np.bincount(index, counts * mean**k, groups) for k in (1, 2))
    sums = np.array([np.bincount(index, counts * column, groups) for column in values.T])
    occupied = first > 0
    numbers = first[occupied] ** 2 / second[occupied]
    return numbers, (sums[:, occupied] / numbers).T


def _sizes_by_norm(
    law: MixtureLaw, kernel: KernelCoefficients, parts: Float[np.ndarray, "B K K"], squares: Float[np.ndarray, "K q"]
) -> Float[np.ndarray, "D K q"]:
    """Return the Hermite parts at these norms², relative to the same class' parts at its mean norm²."""
    mean, deviation = _product_moments(law)
    sizes = np.ones((len(NOISE_DEGREES), *squares.shape))
    for a, row in enumerate(squares):
        class_square = law.traces[a] + law.gram[a, a] / law.dimension
        class_mean, class_deviation = mean[a, a] / class_square, deviation[a, a] / class_square

        def at_norm(square: float, m: np.ndarray = class_mean, d: np.ndarray = class_deviation) -> np.ndarray:
            return _hermite_parts(kernel, square * m, square * d, square, (1, *NOISE_DEGREES))[1:]

        typical = parts[:, a, a]
        counts = np.abs(typical[1:]) > NEGLIGIBLE * np.abs(typical[0])
        at_points = interpolated_over_norms(row, at_norm)
        sizes[counts, a] = np.maximum(at_points[counts] / typical[1:][counts, None], 0.0)
    return sizes


def _product_moments(law: MixtureLaw) -> tuple[Float[np.ndarray, "K K"], Float[np.ndarray, "K K"]]:
    """Return the mean and the standard deviation of x_iᵀx_j, by the classes of i and j."""
    p, forms = law.dimension, np.einsum("baa->ab", law.algebra.covariance_forms(law.algebra.identity))
    variance = (law.overlaps + (forms + forms.T) / p) / p
    return law.gram / p, np.sqrt(np.maximum(variance, (LEAST_DEVIATION * law.tau0**2) ** 2 / p))


def _hermite_parts(
    kernel: KernelCoefficients,
    mean: Float[np.ndarray, ...],
    deviation: Float[np.ndarray, ...],
    square: float,
    degrees: tuple[int, ...],
) -> Float[np.ndarray, "D ..."]:
    """Return the kernel's Hermite coefficients for samples of this norm² and Gaussian inner products."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    products = mean[..., None] + deviation[..., None] * nodes
    values = kernel.exact_dependence().across(kernel.scale, products, square)
    polynomials = np.array([np.polynomial.hermite_e.hermeval(nodes, np.eye(k + 1)[k]) for k in degrees])
    polynomials = polynomials / np.sqrt(scipy.special.factorial(degrees))[:, None]
    return np.moveaxis(values @ (polynomials * weights / weights.sum()).T, -1, 0)


def _root(matrix: Float[np.ndarray, "K K"], proportions: Float[np.ndarray, " K"]) -> Float[np.ndarray, "K r"] | None:
    """Return vectors whose inner products are a matrix but for small eigenvalues; None if it is one product."""
    root = np.sqrt(proportions)
    values, vectors = np.linalg.eigh(root[:, None] * matrix * root)
    large = values > SMALL_SLOPE * values[-1]
    return vectors[:, large] * np.sqrt(values[large]) / root[:, None] if np.sum(large) > 1 else None


def _nearest_product(matrix: Float[np.ndarray, "K K"], proportions: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Return the u whose products u_a u_b are nearest to a matrix, when classes count by their shares."""
    root = np.sqrt(proportions)
    values, vectors = np.linalg.eigh(root[:, None] * matrix * root)
    return np.abs(np.sqrt(values[-1]) * vectors[:, -1] / root)
