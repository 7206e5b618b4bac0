r"""The law of a Gaussian mixture, as far as limits of spectra and of learning depend on it.

Class a of K has mean $\mu_a$, covariance $C_a$ and the share $\pi_a$ of the samples $x_i = (\mu_a + z_i)/\sqrt p$,
where $z_i \sim N(0, C_a)$.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative
from hntk._utils.arrays import check_result, finite_array
from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.covariances import CommutingCovariances, GeneralCovariances, covariance_algebra
from hntk.asymptotics.pairwise_covariances import PairwiseCovariances
from hntk.data.class_parameters import as_covariance, as_means, as_proportions, check_semidefinite


@array_dataclass(static=("dimension",))
class MixtureLaw(Copyable):
    """A mixture of K classes in p dimensions.

    :meth:`of` makes one from means and covariances, and :func:`hntk.asymptotics.estimate_law` from labelled samples.

    Attributes
    ----------
    dimension : int
        The number of coordinates p.
    proportions : array, shape (K,)
        The classes' shares π_a; they sum to 1.
    algebra : CommutingCovariances, GeneralCovariances or PairwiseCovariances
        Class covariances and means: eigenvalues where the covariances commute, else matrices; pairwise in the bulk of a
        kernel at finite size.
    measured_overlaps : array, shape (K, K), or None
        Measured traces tr(C_a C_b)/p, which replace those of ``algebra``; None if they were not measured.
    measured_norms : array, shape (K,), or None
        Measured variances of √p ‖x_i − μ_a/√p‖², which replace those of Gaussian samples; None if not measured.
    means : array, shape (K, p), or None
        The class means, where they are known in coordinates.
    covariances : tuple of array, or None
        The class covariances, where they are known in coordinates: numbers, (p,) diagonals or (p, p) matrices.
    """

    dimension: int
    proportions: Float[np.ndarray, " K"]
    algebra: CommutingCovariances | GeneralCovariances | PairwiseCovariances
    measured_overlaps: Float[np.ndarray, "K K"] | None = None
    measured_norms: Float[np.ndarray, " K"] | None = None
    means: Float[np.ndarray, "K p"] | None = None
    covariances: tuple[np.ndarray, ...] | None = None

    def __repr__(self) -> str:
        shares = ", ".join(f"{share:.3g}" for share in self.proportions[:8]) + ", …" * (self.classes > 8)
        return f"MixtureLaw({self.classes} classes of shares {shares}; p = {self.dimension}, tau0 = {self.tau0:.4g})"

    @staticmethod
    def of(
        means: object,
        covariances: Sequence[float | np.ndarray] | np.ndarray,
        proportions: Sequence[float] | None = None,
    ) -> MixtureLaw:
        """Return the law that :func:`hntk.gaussian_mixture` draws from.

        Parameters
        ----------
        means : array, shape (K, p)
            Class means μ_a.
        covariances : sequence of K
            Class covariances: a number c for c·I, a (p,) diagonal, or a (p, p) matrix.
        proportions : sequence of K positive floats, optional
            The classes' shares, which are normalised to sum 1. By default all classes have the same share.

        Returns
        -------
        MixtureLaw
            The law.

        Raises
        ------
        ValueError
            If shapes do not fit, something is not finite, or a covariance is not positive semidefinite.

        Examples
        --------
        >>> import numpy as np
        >>> law = MixtureLaw.of(3 * np.eye(2, 100), [1.0, 1.3])
        >>> law.tau0**2, law.t
        (1.15, array([-1.5,  1.5]))
        """
        mu = as_means(means, covariances)
        checked = [_checked_covariance(c, mu.shape[1], a) for a, c in enumerate(covariances)]
        algebra, shares = covariance_algebra(mu, checked), _shares(proportions, len(mu))
        return _checked_law(MixtureLaw(mu.shape[1], shares, algebra, means=mu, covariances=tuple(checked)))

    @staticmethod
    def spectral(
        eigenvalues: object,
        weights: object,
        measures: object,
        dimension: int,
        proportions: Sequence[float] | None = None,
        overlaps: object | None = None,
        norms: object | None = None,
    ) -> MixtureLaw:
        """Return the law of commuting covariances from their spectra, the form in which estimates come.

        Parameters
        ----------
        eigenvalues : array, shape (G,) or (K, G)
            Eigenvalues on a grid of G eigenspaces, common to the classes or by class.
        weights : array, shape (G,)
            Shares of the p dimensions that the eigenspaces take, which are normalised to sum 1.
        measures : array, shape (K, K, G)
            Parts of μ_aᵀμ_b that lie in each eigenspace, symmetric in a and b.
        dimension : int
            The number of coordinates p.
        proportions : sequence of K positive floats, optional
            The classes' shares. By default all classes have the same share.
        overlaps : array, shape (K, K), optional
            The traces T_ab = tr(C_a C_b)/p. By default they follow from the eigenvalues.
        norms : array, shape (K,), optional
            The variances v_a of √p ‖z_i‖²/p. By default they are those of Gaussian samples.

        Returns
        -------
        MixtureLaw
            The law.

        Raises
        ------
        ValueError
            If shapes do not fit, or an eigenvalue, a weight or a variance is negative.
        """
        spectra = _checked_spectra(eigenvalues, weights, measures)
        classes = len(spectra.covariances)
        dimension, shares = as_count(dimension, "dimension"), _shares(proportions, classes)
        pairs = None if overlaps is None else finite_array(overlaps, "overlaps")
        if pairs is not None and pairs.shape != (classes, classes):
            raise ValueError(f"overlaps must be ({classes}, {classes}), got shape {pairs.shape}.")
        variances = None if norms is None else finite_array(norms, "norms")
        if variances is not None and (variances.shape != (classes,) or not np.all(variances >= 0)):
            raise ValueError(f"norms must be {classes} variances, not negative; got {norms!r}.")
        return _checked_law(MixtureLaw(dimension, shares, spectra, pairs, variances))

    @cached_property
    def traces(self) -> Float[np.ndarray, " K"]:
        """The normalised traces tr(C_a)/p."""
        return self.algebra.traces(self.algebra.identity)

    @cached_property
    def overlaps(self) -> Float[np.ndarray, "K K"]:
        """The normalised traces T_ab = tr(C_a C_b)/p of products of two covariances."""
        if self.measured_overlaps is not None:
            return self.measured_overlaps
        return self.algebra.pair_traces(self.algebra.identity, self.algebra.identity)

    @cached_property
    def gram(self) -> Float[np.ndarray, "K K"]:
        """The inner products MᵀM of the class means."""
        return self.algebra.forms(self.algebra.identity)

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return len(self.proportions)

    @property
    def tau0(self) -> float:
        """The data scale τ_0 = √(tr C°/p), where C° is the average covariance."""
        return float(np.sqrt(self.proportions @ self.traces))

    @property
    def t(self) -> Float[np.ndarray, " K"]:
        """The rescaled differences of traces t_a = tr(C_a − C°)/√p."""
        return np.sqrt(self.dimension) * (self.traces - self.proportions @ self.traces)

    @property
    def v(self) -> Float[np.ndarray, " K"]:
        """The variance v_a of ‖z_i‖²/p, times p: 2 tr(C_a²)/p for Gaussian samples."""
        return 2 * np.diag(self.overlaps) if self.measured_norms is None else self.measured_norms

    def with_directions(self, directions: Float[np.ndarray, "J p"]) -> MixtureLaw:
        """Return the law with further vectors beside the class means, as classes of which there are no samples.

        Parameters
        ----------
        directions : array, shape (J, p)
            The vectors.

        Returns
        -------
        MixtureLaw
            The law of K + J classes, of which the last J have the share 0.

        Raises
        ------
        ValueError
            If the law does not know its means and covariances in coordinates.
        """
        if self.means is None or self.covariances is None:
            raise ValueError(
                "this law does not know its samples in coordinates, which linear= needs: make it with "
                "MixtureLaw.of(means, covariances)."
            )
        means = np.concatenate([self.means, directions])
        covariances = (*self.covariances, *[self.covariances[0]] * len(directions))
        shares = np.append(self.proportions, np.zeros(len(directions)))
        algebra = covariance_algebra(means, list(covariances))
        return MixtureLaw(self.dimension, shares, algebra, means=means, covariances=covariances)

    def scaled(self, factor: float) -> MixtureLaw:
        """Return the law of the samples times √factor.

        Parameters
        ----------
        factor : float
            The factor that multiplies covariances and inner products of means.

        Returns
        -------
        MixtureLaw
            The law of the rescaled samples.

        Raises
        ------
        ValueError
            If the factor is negative or not finite.
        """
        factor = as_nonnegative(factor, "factor")
        overlaps = None if self.measured_overlaps is None else self.measured_overlaps * factor**2
        norms = None if self.measured_norms is None else self.measured_norms * factor**2
        return MixtureLaw(self.dimension, self.proportions, self.algebra.scaled(factor), overlaps, norms)


def _checked_law(law: MixtureLaw) -> MixtureLaw:
    """Return the law, or refuse it where its traces or products of means overflow."""
    with np.errstate(all="ignore"):
        sizes = np.concatenate([law.overlaps.ravel(), law.gram.ravel(), law.v])
    check_result(sizes, "a trace or norm of this law")
    return law


def _checked_spectra(eigenvalues: object, weights: object, measures: object) -> CommutingCovariances:
    """Return the spectra as an algebra, or refuse shapes that do not fit and negative numbers."""
    parts, shares = finite_array(measures, "measures"), finite_array(weights, "weights")
    if parts.ndim != 3 or parts.shape != (len(parts), len(parts), shares.size) or shares.ndim != 1:
        raise ValueError(
            f"measures must be (K, K, G) and weights (G,), for one grid of G eigenvalues; got shapes {parts.shape} "
            f"and {shares.shape}."
        )
    values, full = finite_array(eigenvalues, "eigenvalues"), (len(parts), shares.size)
    if values.shape not in ((shares.size,), full) or 0 in parts.shape:
        raise ValueError(f"eigenvalues must be ({shares.size},) or {full}, none empty, got shape {values.shape}.")
    if not (np.all(values >= 0) and np.all(shares >= 0) and 0 < shares.sum() < np.inf):
        raise ValueError("eigenvalues and weights must be finite and not negative: clip what an estimate gives.")
    return CommutingCovariances(np.broadcast_to(values, full).copy(), shares / shares.sum(), parts)


def _shares(proportions: Sequence[float] | None, classes: int) -> Float[np.ndarray, " K"]:
    """Return the classes' shares with sum 1, by default equal ones."""
    shares = as_proportions(proportions, classes)
    return shares / shares.sum()


def _checked_covariance(covariance: object, p: int, a: int) -> np.ndarray:
    """Return class a's covariance as an array, or refuse what is not positive semidefinite."""
    c = as_covariance(covariance, p, a)
    check_semidefinite(c, c if c.ndim < 2 else np.linalg.eigvalsh(c), a)
    return np.maximum(c, 0.0) if c.ndim < 2 else c
