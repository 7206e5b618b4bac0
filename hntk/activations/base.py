r"""What an activation must know about itself under a Gaussian input.

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
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from hntk._utils.arguments import as_number
from hntk._utils.arrays import brief

ArrayLike = Array | float
# what an activation keeps of samples by their variances: arrays whose last axis is theirs
Side = Any


@dataclass(frozen=True)
class Moments:
    """Gaussian moments of one activation at the scale ``tau`` (all floats, float64 whatever JAX's precision).

    Attributes
    ----------
    tau : the scale: the input is N(0, tau²).
    mean : m = E[σ].
    e1, e2 : E[σ'], E[σ''].
    s2 : E[((σ − m)²)''].
    variance : v = E[(σ − m)²], the squared scale of the next layer.
    d : E[σ'²]; infinite for an activation with a jump.
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
        """(e1 τ, e2 τ², s2 τ²): the moments in units of τ, which is how two scales are compared."""
        return self.e1 * self.tau, self.e2 * self.tau**2, self.s2 * self.tau**2


def _out_of_scale(name: str, tau: float) -> str:
    return f"the moments of {name} overflow at the scale tau = {tau:.3g}: rescale the data to norms about 1."


class PairMaps(NamedTuple):
    """Kernel maps of all pairs of two sets of samples.

    Attributes
    ----------
    covariance : Cov(σ(u), σ(v)).
    derivative : E[σ'(u) σ'(v)].
    certain : where the two may be relied on; None for everywhere.
    """

    covariance: Float[Array, "a b"]
    derivative: Float[Array, "a b"]
    certain: Bool[Array, "a b"] | None = None


class Activation(ABC):
    """A function of one real variable that knows its Gaussian moments and kernel maps.

    Subclasses are frozen dataclasses, hence hashable, and give ``__call__``, ``_moments``, ``mean_map``,
    ``covariance_map`` and ``derivative_map``, which broadcast their arguments against each other. Where these take
    long, ``side`` and ``pairs`` are a faster form for many pairs at a time.
    """

    name: str

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Points where the function or one of its first derivatives jumps, ascending."""
        return ()

    @property
    def has_jumps(self) -> bool:
        """Whether the function itself jumps: then d and the diagonal of its NTK are infinite."""
        return False

    @abstractmethod
    def __call__(self, t: ArrayLike) -> Array:
        """Apply the activation elementwise."""

    def moments(self, tau: float) -> Moments:
        """Gaussian moments at the scale ``tau``.

        Raises
        ------
        ValueError
            If ``tau`` is not a positive finite number, or so large or small that a moment overflows.
        """
        scale = as_number(tau)
        if not (math.isfinite(scale) and scale > 0.0):
            raise ValueError(
                f"tau must be a positive finite number, got {brief(tau)}. It is the root mean square of the layer's "
                "input; a zero comes from constant data or from a layer whose activation is constant."
            )
        with np.errstate(all="ignore"):
            try:
                found = self._moments(scale)
            except (OverflowError, ZeroDivisionError) as error:
                raise ValueError(_out_of_scale(self.name, scale)) from error
        if not all(map(math.isfinite, (found.mean, found.e1, found.e2, found.s2))):
            raise ValueError(_out_of_scale(self.name, scale))
        return found

    @abstractmethod
    def _moments(self, tau: float) -> Moments:
        """Moments at a checked scale."""

    @abstractmethod
    def mean_map(self, var: ArrayLike) -> Array:
        """E[σ(u)] for u ~ N(0, var)."""

    @abstractmethod
    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Cov(σ(u), σ(v)) for (u, v) ~ N(0, [[var1, cov], [cov, var2]])."""

    @abstractmethod
    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """E[σ'(u) σ'(v)] for the same pair; infinite where u = v and the activation jumps."""

    def side(self, var: Float[Array, " n"]) -> Side:
        """What :meth:`pairs` needs to know of samples at these variances; samples are the last axis."""
        return var

    def pairs(self, left: Side, right: Side, cov: Float[Array, "a b"]) -> PairMaps:
        """Both maps of all pairs; ``left`` and ``right`` end in axes (a, 1) and (1, b)."""
        return PairMaps(self.covariance_map(cov, left, right), self.derivative_map(cov, left, right))

    def variance_map(self, var: Float[Array, " n"]) -> Float[Array, " n"]:
        """Var σ(u) for u ~ N(0, var)."""
        return self.covariance_map(var, var, var)

    def slope_map(self, var: Float[Array, " n"]) -> Float[Array, " n"]:
        """E[σ'(u)²]; infinite for an activation that jumps."""
        return self.derivative_map(var, var, var)

    def kernel_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike, mean: ArrayLike = 0.0) -> Array:
        """E[(σ(u) − mean)(σ(v) − mean)]: with one centring constant and per-sample variances."""
        return centred_map(self, cov, var1, var2, mean)


class KernelMaps(Protocol):
    """What a function must give for its centred kernel."""

    def mean_map(self, var: ArrayLike) -> Array: ...

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array: ...


def centred_map(maps: KernelMaps, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike, mean: ArrayLike) -> Array:
    """E[σσ] − m(E[σ(u)] + E[σ(v)]) + m², arranged so that nothing cancels when m is large."""
    return maps.covariance_map(cov, var1, var2) + (maps.mean_map(var1) - mean) * (maps.mean_map(var2) - mean)


def correlation(cov: ArrayLike, scale: ArrayLike) -> Float[Array, "*shape"]:
    """Correlation of a Gaussian pair, clipped to [−1, 1]; 0 where ``scale``, the product of their roots, is 0.

    Values within 32 roundings of ±1 become ±1: kernels of functions with kinks and jumps behave like √(1 − ρ) there,
    which turns one rounding of a diagonal entry into an error of 1e-8.
    """
    scale = jnp.asarray(scale)
    rho = jnp.where(scale > 0, cov / jnp.where(scale > 0, scale, 1.0), 0.0)
    snap = 1.0 - 32 * jnp.finfo(rho.dtype).eps
    return jnp.where(jnp.abs(rho) >= snap, jnp.sign(rho), rho)


def _arcsin_polynomial() -> Float[np.ndarray, " terms"]:
    """Of arcsin(s)/s in s² ≤ 1/4, highest order first; what it misses is below rounding."""
    nodes = (1 - np.cos(np.pi * (np.arange(ARCSIN_TERMS) + 0.5) / ARCSIN_TERMS)) / 8
    values = np.arcsin(np.sqrt(nodes)) / np.sqrt(nodes)
    fitted = np.polynomial.Chebyshev.fit(nodes, values, ARCSIN_TERMS - 1, domain=[0, 0.25])
    return fitted.convert(kind=np.polynomial.Polynomial).coef[::-1]


ARCSIN_TERMS = 15
ARCSIN = _arcsin_polynomial()


@jax.custom_jvp
def arcsin(rho: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The arcsine on [−1, 1], in operations that processors do on many numbers at a time.

    Beyond ½ by arcsin ρ = π/2 − 2 arcsin √((1 − ρ)/2).
    """
    size = jnp.abs(rho)
    small = size < 0.5
    square = jnp.where(small, size * size, (1 - size) / 2)
    root = jnp.where(small, size, jnp.sqrt(square))
    series = jnp.full_like(rho, ARCSIN[0])
    for coefficient in ARCSIN[1:]:
        series = series * square + jnp.asarray(coefficient, rho.dtype)
    angle = root * series
    return jnp.sign(rho) * jnp.where(small, angle, math.pi / 2 - 2 * angle)


@arcsin.defjvp
def _arcsin_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (rho,), (by_rho,) = primals, tangents
    # at ±1 the slope is infinite; 0 is the mean of both sides where a correlation touches ±1 and turns back
    inside = jnp.abs(rho) < 1
    slope = jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, (1 - rho) * (1 + rho), 1.0)), 0.0)
    return arcsin(rho), by_rho * slope


def matched_pairs(cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> tuple[Array, Array]:
    """Correlations of full shape, and where the two variables are one and the same (ρ = 1, equal variances)."""
    shape = jnp.broadcast_shapes(jnp.shape(cov), jnp.shape(var1), jnp.shape(var2))
    rho = jnp.broadcast_to(correlation(cov, jnp.sqrt(jnp.asarray(var1) * var2)), shape)
    close = jnp.abs(jnp.asarray(var1) - var2) <= 32 * jnp.finfo(rho.dtype).eps * jnp.abs(jnp.asarray(var1))
    return rho, (rho == 1) & close
