r"""The law of a Gaussian mixture, as much of it as limits of spectra and of learning depend on.

Class a of K has mean $\mu_a$, covariance $C_a$ and the share $\pi_a$ of the samples $x_i = (\mu_a + z_i)/\sqrt p$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative
from hntk._utils.arrays import brief, check_result, finite_array
from hntk._utils.copies import Copyable
from hntk.asymptotics.covariances import Matrices, Spectral, algebra_of


@dataclass(frozen=True)
class MixtureLaw(Copyable):
    """A K-class mixture in p dimensions; :meth:`of` makes it of means and covariances.

    Attributes
    ----------
    dimension : p.
    proportions : (K,) π_a, summing to 1.
    algebra : the class covariances and means, by eigenvalues where the covariances commute.
    measured_overlaps : (K, K) T_ab where they were measured, and the covariances are less well known than they.
    measured_norms : (K,) v_a where it was measured, as samples need not be Gaussian.
    """

    dimension: int
    proportions: Float[np.ndarray, " K"]
    algebra: Spectral | Matrices
    measured_overlaps: Float[np.ndarray, "K K"] | None = None
    measured_norms: Float[np.ndarray, " K"] | None = None

    @staticmethod
    def of(
        means: object,
        covariances: Sequence[float | np.ndarray] | np.ndarray,
        proportions: Sequence[float] | None = None,
    ) -> MixtureLaw:
        """The law that ``gaussian_mixture`` draws from.

        Parameters
        ----------
        means : (K, p) class means μ_a.
        covariances : K of them: a number c for c·I, a (p,) diagonal, or a (p, p) matrix.
        proportions : K positive numbers, equal by default; they are normalised.

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
        mu = finite_array(means, "means")
        if mu.ndim != 2 or 0 in mu.shape:
            raise ValueError(f"means must be a finite (K, p) array, one row per class; got shape {mu.shape}.")
        if not hasattr(covariances, "__len__") or isinstance(covariances, str | bytes | dict):
            raise ValueError(f"covariances must be a list of one per class, got {brief(covariances)}.")
        if len(covariances) != len(mu):
            raise ValueError(f"{len(mu)} means but {len(covariances)} covariances: give one covariance per class.")
        checked = [_checked(c, mu.shape[1], a) for a, c in enumerate(covariances)]
        return _checked_law(MixtureLaw(mu.shape[1], _shares(proportions, len(mu)), algebra_of(mu, checked)))

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
        """The law known by spectra alone, as estimation gives it.

        Parameters
        ----------
        eigenvalues : (G,) common to the classes, or (K, G).
        weights : (G,) shares of the p eigenvalues; they are normalised.
        measures : (K, K, G) shares of μ_aᵀμ_b by eigenvalue, symmetric in a and b.
        dimension : p.
        proportions : K positive numbers, equal by default.
        overlaps : (K, K) T_ab, by default those of the eigenvalues.
        norms : (K,) v_a, by default that of Gaussian samples.

        Raises
        ------
        ValueError
            If shapes do not fit, or an eigenvalue or a weight is negative.
        """
        parts, w = finite_array(measures, "measures"), finite_array(weights, "weights")
        dimension = as_count(dimension, "dimension")
        if parts.ndim != 3 or parts.shape != (len(parts), len(parts), w.size) or w.ndim != 1:
            raise ValueError(
                f"measures must be (K, K, G) and weights (G,), for one grid of G eigenvalues; got shapes {parts.shape} "
                f"and {w.shape}."
            )
        given = finite_array(eigenvalues, "eigenvalues")
        if given.shape not in ((w.size,), (len(parts), w.size)) or 0 in parts.shape:
            raise ValueError(
                f"eigenvalues must be ({w.size},) or {(len(parts), w.size)}, none empty, got shape {given.shape}."
            )
        values = np.broadcast_to(given, (len(parts), w.size))
        if not (np.all(values >= 0) and np.all(w >= 0) and w.sum() > 0 and np.all(np.isfinite(values))):
            raise ValueError("eigenvalues and weights must be finite and not negative: clip what an estimate gives.")
        shares = _shares(proportions, len(parts))
        measured = None if overlaps is None else finite_array(overlaps, "overlaps")
        if measured is not None and measured.shape != (len(parts), len(parts)):
            raise ValueError(f"overlaps must be ({len(parts)}, {len(parts)}), got shape {measured.shape}.")
        seen = None if norms is None else finite_array(norms, "norms")
        if seen is not None and (seen.shape != (len(parts),) or not np.all(seen >= 0)):
            raise ValueError(f"norms must be {len(parts)} variances, not negative; got {norms!r}.")
        spectra = Spectral(values.copy(), w / w.sum(), parts)
        return _checked_law(MixtureLaw(dimension, shares, spectra, measured, seen))

    @cached_property
    def traces(self) -> Float[np.ndarray, " K"]:
        """tr(C_a)/p."""
        return self.algebra.traces(self.algebra.one)

    @cached_property
    def overlaps(self) -> Float[np.ndarray, "K K"]:
        """T_ab = tr(C_a C_b)/p."""
        if self.measured_overlaps is not None:
            return self.measured_overlaps
        return self.algebra.pair_traces(self.algebra.one, self.algebra.one)

    @cached_property
    def gram(self) -> Float[np.ndarray, "K K"]:
        """MᵀM, the inner products of the means."""
        return self.algebra.forms(self.algebra.one)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.proportions)

    @property
    def tau0(self) -> float:
        """τ_0 = √(tr C°/p), C° the average covariance."""
        return float(np.sqrt(self.proportions @ self.traces))

    @property
    def t(self) -> Float[np.ndarray, " K"]:
        """t_a = tr(C_a − C°)/√p."""
        return np.sqrt(self.dimension) * (self.traces - self.proportions @ self.traces)

    @property
    def v(self) -> Float[np.ndarray, " K"]:
        """v_a: p times the variance of ‖z_i‖²/p, 2 tr(C_a²)/p for Gaussian samples."""
        return 2 * np.diag(self.overlaps) if self.measured_norms is None else self.measured_norms

    def scaled(self, factor: float) -> MixtureLaw:
        """Of √factor times the samples.

        Raises
        ------
        ValueError
            If the factor is negative or not finite.
        """
        factor = as_nonnegative(factor, "factor")
        measured = None if self.measured_overlaps is None else self.measured_overlaps * factor**2
        norms = None if self.measured_norms is None else self.measured_norms * factor**2
        return MixtureLaw(self.dimension, self.proportions, self.algebra.scaled(factor), measured, norms)


def _checked_law(law: MixtureLaw) -> MixtureLaw:
    with np.errstate(all="ignore"):
        sizes = np.concatenate([law.overlaps.ravel(), law.gram.ravel(), law.v])
    check_result(sizes, "a trace or norm of this law")
    return law


def _shares(proportions: Sequence[float] | None, classes: int) -> Float[np.ndarray, " K"]:
    share = np.ones(classes) if proportions is None else finite_array(proportions, "proportions")
    if share.shape != (classes,) or np.any(share <= 0):
        raise ValueError(f"proportions must be {classes} positive finite numbers, got {proportions!r}.")
    return share / share.sum()


def _checked(covariance: object, p: int, a: int) -> np.ndarray:
    c = finite_array(covariance, f"covariance {a}")
    if c.shape not in ((), (p,), (p, p)):
        raise ValueError(
            f"covariance {a} must be a number, a (p,) diagonal or a (p, p) matrix with p = {p}, all finite; "
            f"got shape {c.shape}."
        )
    values = c if c.ndim < 2 else np.linalg.eigvalsh(c)
    if np.any(values < -1e-10 * np.max(np.abs(values))) or (c.ndim == 2 and not np.allclose(c, c.T)):
        raise ValueError(f"covariance {a} is not symmetric positive semidefinite: take the nearest one that is.")
    return np.maximum(c, 0.0) if c.ndim < 2 else c
