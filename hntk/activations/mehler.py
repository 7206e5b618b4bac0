r"""Mehler's series: the kernel maps of an activation whose Hermite coefficients are known.

With $h_k$ the orthonormal Hermite polynomials and $c_k(x) = E[\sigma(\sqrt{x}\xi) h_k(\xi)]$,

$$\mathrm{Cov}(\sigma(u), \sigma(v)) = \sum_{k\ge1} c_k(\mathrm{var}_1)c_k(\mathrm{var}_2)\rho^k,\qquad
E[\sigma'\sigma'] = \frac{1}{\tau_1\tau_2}\sum_{k\ge1} k\,c_k(\mathrm{var}_1)c_k(\mathrm{var}_2)\rho^{k-1}.$$

What is cut off after K terms is at most $(K+1)|\rho|^K\sqrt{R_1R_2}$ in either sum (the second up to its prefactor),
where $R = \mathrm{Var}\,\sigma - \sum_{k\le K} c_k^2$. A short series is used while that bound is at rounding level for
every pair, else the whole one while its bound is, and an exact form of the activation's own otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

SHORT = 64


class HermiteSide(NamedTuple):
    """Hermite expansion of an activation at the variances of one side of the kernel.

    Attributes
    ----------
    coefficients : (K + 1, *var.shape): c_0 … c_K.
    variance : (*var.shape): Var σ, exact.
    """

    coefficients: Array
    variance: Array

    @property
    def remainder(self) -> Array:
        """Variance beyond order K."""
        return jnp.clip(self.variance - jnp.sum(self.coefficients[1:] ** 2, axis=0), 0.0)

    def cut(self, order: int) -> HermiteSide:
        """The first orders only."""
        return self._replace(coefficients=self.coefficients[: order + 1])


def hermite_functions(xi: Array, order: int) -> Array:
    """Orthonormal Hermite polynomials h_0 … h_order at ``xi``: (order + 1, *xi.shape)."""

    def step(pair: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        previous, current = pair
        following = (xi * current - jnp.sqrt(k) * previous) / jnp.sqrt(k + 1)
        return (current, following), current

    start = (jnp.zeros_like(xi), jnp.ones_like(xi))
    return jax.lax.scan(step, start, jnp.arange(order + 1, dtype=xi.dtype))[1]


def gaussian_density(u: Array) -> Array:
    """φ(u), which is 0 and not nan at ±∞."""
    return jnp.exp(norm.logpdf(u))


def covariance_series(left: HermiteSide, right: HermiteSide, rho: Array, exact: Callable[[], Array]) -> Array:
    """Σ_k c_k c_k ρ^k where it is certified, else ``exact()``."""

    def series(left: HermiteSide, right: HermiteSide) -> Array:
        return horner(left.coefficients[1:], right.coefficients[1:], rho) * rho

    return _shortest(left, right, rho, series, exact)


def derivative_series(
    left: HermiteSide, right: HermiteSide, rho: Array, scale: Array, exact: Callable[[], Array]
) -> Array:
    """Σ_k k c_k c_k ρ^(k−1) / scale where it is certified, else ``exact()``; ``scale`` is τ_1 τ_2."""

    def series(left: HermiteSide, right: HermiteSide) -> Array:
        k = jnp.arange(1, left.coefficients.shape[0], dtype=rho.dtype)
        weighted = left.coefficients[1:] * k.reshape((-1,) + (1,) * (left.coefficients.ndim - 1))
        return horner(weighted, right.coefficients[1:], rho) / scale

    return _shortest(left, right, rho, series, exact)


def _shortest(
    left: HermiteSide,
    right: HermiteSide,
    rho: Array,
    series: Callable[[HermiteSide, HermiteSide], Array],
    exact: Callable[[], Array],
) -> Array:
    """The short series, the whole one, or ``exact()``: the first that is certified."""

    def whole() -> Array:
        return jax.lax.cond(_certified(left, right, rho), lambda: series(left, right), exact)

    if left.coefficients.shape[0] <= SHORT + 1:
        return whole()
    first, second = left.cut(SHORT), right.cut(SHORT)
    return jax.lax.cond(_certified(first, second, rho), lambda: series(first, second), whole)


def horner(a: Array, b: Array, rho: Array) -> Array:
    """Σ_k a_k b_k ρ^k with k counted from 0."""
    order = a.shape[0]

    def step(i: int, total: Array) -> Array:
        k = order - 1 - i
        return total * rho + a[k] * b[k]

    return jax.lax.fori_loop(0, order, step, jnp.zeros_like(rho))


def _certified(left: HermiteSide, right: HermiteSide, rho: Array) -> Array:
    """Whether no pair's tail exceeds 64 roundings; pairs at ρ = ±1 are the caller's own business."""
    order = left.coefficients.shape[0] - 1
    tail = (order + 1) * jnp.abs(rho) ** order * jnp.sqrt(left.remainder * right.remainder)
    allowed = 64 * jnp.finfo(rho.dtype).eps * jnp.sqrt(left.variance * right.variance)
    return jnp.all((tail <= allowed) | (jnp.abs(rho) == 1))
