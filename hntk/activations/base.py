r"""The interface of an activation: its Gaussian moments and its kernel maps.

An activation enters the high-dimensional theory only through a few Gaussian moments at one scale $\tau$
($\xi \sim N(0, 1)$ throughout),

$$m = E[\sigma(\tau\xi)],\quad e_1 = E[\sigma'(\tau\xi)],\quad e_2 = E[\sigma''(\tau\xi)],\quad
s_2 = E[((\sigma - m)^2)''(\tau\xi)],\quad v = E[(\sigma - m)^2],\quad d = E[\sigma'(\tau\xi)^2],$$

and enters the exact kernels through three maps of the covariance of a Gaussian pair. Derivatives are meant in the
sense of Stein's identity, $E[\sigma'(\tau\xi)] = E[\xi\sigma(\tau\xi)]/\tau$, so that jumps are allowed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from hntk._utils.arguments import as_finite, as_positive
from hntk.activations.gaussian_rules import smoothed_slope
from hntk.activations.smoothing import (
    PairDerivatives,
    common_rule,
    fourth_of_square,
    pair_derivatives,
    smoothed_function,
)

ArrayLike = Array | float
# a pytree that an activation computes once per sample for use in all its pairs; samples are the last axis
Side = Any


@dataclass(frozen=True)
class Moments:
    """Gaussian moments of one activation at one scale, in float64 whatever JAX's precision.

    Attributes
    ----------
    tau : float
        The scale τ: the input is N(0, τ²).
    mean : float
        m = E[σ].
    e1, e2 : float
        E[σ'] and E[σ''].
    s2 : float
        E[((σ − m)²)''].
    variance : float
        v = E[(σ − m)²], the squared scale of the next layer's input.
    d : float
        E[σ'²]; infinite for an activation with a jump.
    """

    tau: float
    mean: float
    e1: float
    e2: float
    s2: float
    variance: float
    d: float

    @property
    def unit_targets(self) -> tuple[float, float, float]:
        """(e1 τ, e2 τ², s2 τ²): the moments in units of τ, in which different scales compare."""
        return self.e1 * self.tau, self.e2 * self.tau**2, self.s2 * self.tau**2


class PairMaps(NamedTuple):
    """Kernel maps of all pairs of two sets of samples.

    Attributes
    ----------
    covariance : array
        Cov(σ(u), σ(v)).
    derivative : array
        E[σ'(u) σ'(v)].
    certain : array or None
        Where both values are accurate; None means everywhere.
    """

    covariance: Float[Array, "a b"]
    derivative: Float[Array, "a b"]
    certain: Bool[Array, "a b"] | None = None


class Activation(ABC):
    """A function of one real variable that knows its Gaussian moments and kernel maps.

    Subclasses are frozen dataclasses, hence hashable. They give ``__call__``, ``_moments``, ``mean_map``,
    ``covariance_map`` and ``derivative_map``; the maps broadcast their arguments against each other. Where these are
    slow, a subclass overrides ``side`` and ``pairs``, which compute all pairs of two sets of samples at once.

    Attributes
    ----------
    name : str
        What reports and files call the activation.
    """

    name: str

    @property
    def parameters(self) -> dict[str, Any] | None:
        """Field names and values that define the function, its name included; None where it is given by code."""
        return None

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Points where the function or one of its first derivatives jumps, ascending."""
        return ()

    @property
    def has_jumps(self) -> bool:
        """Whether the function itself jumps: then d and the diagonal of its NTK are infinite."""
        return False

    @property
    def level_count(self) -> int | None:
        """Number of different values; None for a function of more than a few."""
        return None

    @property
    def table_size(self) -> int:
        """Number of parameters that a network keeps as a table: thresholds and levels."""
        return 0

    def bound(self, t: float) -> float:
        """Return a bound of |σ| on [−t, t], for infinite t as well; infinite where there is none.

        A function that is known only by its values is evaluated at 128 points of [−t, t].
        """
        if not math.isfinite(t):
            return math.inf
        sizes = np.concatenate([[0.0], np.geomspace(1e-3, max(t, 1e-2), 64)])
        points = jnp.asarray(np.concatenate([sizes, -sizes]), jnp.float32)
        values = np.abs(np.asarray(self(points), np.float64))
        return float(values.max()) if np.all(np.isfinite(values)) else math.inf

    @abstractmethod
    def __call__(self, t: ArrayLike) -> Array:
        """Apply the activation elementwise."""

    def moments(self, tau: float) -> Moments:
        """Return the Gaussian moments at one scale.

        Parameters
        ----------
        tau : float
            Standard deviation of the input, positive.

        Returns
        -------
        Moments
            All moments, in float64.

        Raises
        ------
        ValueError
            If ``tau`` is not a positive finite number, or so large or small that a moment overflows.
        """
        source = "the root mean square of the layer's input; a zero comes from constant data or a constant layer"
        scale = as_positive(tau, "tau", source)
        overflow = f"the moments of {self.name} overflow at the scale tau = {scale:.3g}: rescale the data to norms "
        overflow += "about 1."
        with np.errstate(all="ignore"):
            try:
                moments = self._moments(scale)
            except (OverflowError, ZeroDivisionError) as error:
                raise ValueError(overflow) from error
        if not all(map(math.isfinite, (moments.mean, moments.e1, moments.e2, moments.s2))):
            raise ValueError(overflow)
        return moments

    @abstractmethod
    def _moments(self, tau: float) -> Moments:
        """Return the moments at a scale that has been checked."""

    def pair_derivatives(self, variance: float, covariance: float, centre: float = 0.0) -> PairDerivatives:
        """Return the derivatives of the kernel map of σ − centre where both variances are equal.

        Parameters
        ----------
        variance : float
            Q, the variance of both inputs, positive.
        covariance : float
            C, their covariance: at least 0, and smaller than Q.
        centre : float
            Constant that is subtracted from the activation.

        Returns
        -------
        PairDerivatives
            The kernel map and its derivatives at (Q, Q, C), in float64.

        Raises
        ------
        ValueError
            If a number is out of range, or a derivative overflows.
        """
        q, centre = as_positive(variance, "variance"), as_finite(centre, "centre")
        c = as_finite(covariance, "covariance")
        if not 0 <= c < q:
            raise ValueError(
                f"covariance must be at least 0 and smaller than the variance {q:.6g}, got {c:.6g}: give different "
                "samples, and a network that does not map all of them to one point."
            )
        overflow = (
            f"derivatives of the kernel map of {self.name} overflow at the variance {q:.3g}: rescale the data to "
        )
        overflow += "norms about 1."
        with np.errstate(all="ignore"):
            try:
                found = pair_derivatives(self.derivative_means(q, c, centre), self._diagonal(q, centre))
            except (OverflowError, ZeroDivisionError) as error:
                raise ValueError(overflow) from error
        if not all(map(math.isfinite, found[:-1])):
            raise ValueError(overflow)
        return found

    def derivative_means(self, variance: float, covariance: float, centre: float) -> Float[np.ndarray, "6 6"]:
        """Return E[σ^(i)(u) σ^(j)(v)] of σ − centre and its first five derivatives."""
        spread = variance - covariance
        z, weight = common_rule(covariance, spread, self.breakpoints)
        values = self.smoothed(z, spread, centre)
        return values * weight @ values.T

    def smoothed(self, z: Float[np.ndarray, " n"], spread: float, centre: float) -> Float[np.ndarray, "6 n"]:
        """Return E[σ(z + √spread ξ)] − centre and its first five derivatives by z."""
        return smoothed_function(self, self.breakpoints, z, spread, centre)

    def smoothed_slope(self, mean: ArrayLike, spread: ArrayLike) -> Array:
        """Return E[σ'(mean + √spread ξ)] elementwise, for a function that does not jump; σ' itself for no spread."""
        return smoothed_slope(self, self.breakpoints, jnp.asarray(mean), jnp.asarray(spread))

    def fourth_of_square(self, variance: float, centre: float) -> float:
        """Return the mean of the fourth derivative of (σ − centre)² at a variance."""
        return fourth_of_square(self, self.breakpoints, variance, centre)

    def _diagonal(self, variance: float, centre: float) -> tuple[float, float, float, float]:
        """Return g(q) = E[(σ − centre)²], g', g'' and E[σ'²] at a variance."""
        m = self.moments(math.sqrt(variance))
        gap = m.mean - centre
        return m.variance + gap**2, m.s2 / 2 + gap * m.e2, self.fourth_of_square(variance, centre) / 4, m.d

    @abstractmethod
    def mean_map(self, var: ArrayLike) -> Array:
        """Return E[σ(u)] for u ~ N(0, var)."""

    @abstractmethod
    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return Cov(σ(u), σ(v)) for (u, v) ~ N(0, [[var1, cov], [cov, var2]])."""

    @abstractmethod
    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return E[σ'(u) σ'(v)] for such a pair; infinite where u = v and the activation jumps."""

    def side(self, var: Float[Array, " n"]) -> Side:
        """Return the per-sample quantities that :meth:`pairs` needs, for samples of these variances."""
        return var

    def pairs(self, left: Side, right: Side, cov: Float[Array, "a b"]) -> PairMaps:
        """Return both maps of all pairs; ``left`` and ``right`` end in axes (a, 1) and (1, b)."""
        return PairMaps(self.covariance_map(cov, left, right), self.derivative_map(cov, left, right))

    def variance_map(self, var: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return Var σ(u) for u ~ N(0, var)."""
        return self.covariance_map(var, var, var)

    def slope_map(self, var: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return E[σ'(u)²]; infinite for an activation that jumps."""
        return self.derivative_map(var, var, var)

    def kernel_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike, mean: ArrayLike = 0.0) -> Array:
        """Return E[(σ(u) − mean)(σ(v) − mean)]: one centring constant, variances of each sample's own."""
        # nothing cancels when the mean is large
        return self.covariance_map(cov, var1, var2) + (self.mean_map(var1) - mean) * (self.mean_map(var2) - mean)


class ClosedForm(Activation):
    """An activation whose dataclass fields are all its parameters."""

    @property
    def parameters(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
