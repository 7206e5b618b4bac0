r"""Kernel maps of step functions $\sigma = a_0 + \sum_j c_j 1\{t \ge s_j\}$, as functions of arrays.

Thresholds and jumps are data here, not constants of a compiled program: networks of equal depth share one
compilation, whatever their staircases, and kernels can be differentiated by both.

$$\mathrm{Cov}(\sigma(u),\sigma(v)) = \sum_{kl} c_kc_l \int_0^\rho \varphi_2(u_k, w_l; r)\,dr,\qquad
E[\sigma'\sigma'] = \sum_{kl} c_kc_l\,\frac{\varphi_2(u_k, w_l; \rho)}{\tau_1\tau_2},$$

with $u_k = s_k/\tau_1$, $w_l = s_l/\tau_2$ (Drezner and Wesolowsky, 1990). The integral is taken in $y$,
$r = \tanh y$, where the integrand is $\mathrm{sech}(y)\exp(-\frac14(u^2+w^2) - \frac18[(u-w)^2e^{2y} +
(u+w)^2e^{-2y}])/2\pi$: its width in y is of order one for any correlation, so a few panels of Gauss-Legendre nodes
serve up to $\rho \to \pm1$, where closed forms take over. For many pairs at a time there is Mehler's series
(:mod:`hntk.activations.mehler`), and the integral for those it leaves over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jaxtyping import Float

from hntk.activations.base import ArrayLike, PairMaps, matched_pairs
from hntk.activations.mehler import HermiteSide, gaussian_density, hermite_sums, mehler_maps

SERIES_ORDER = 320
PADDING = 8
FAR = 40.0
PANEL = 1.5
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
# of two jumps' integral, in terms of the series
EXACT_COST = 1000.0


class Jumps(NamedTuple):
    """A step function.

    Attributes
    ----------
    first : a_0, the value below all thresholds.
    thresholds : (m,) s_j, finite.
    jumps : (m,) c_j; 0 where there is none, which pads several functions to one shape.
    """

    first: ArrayLike
    thresholds: Float[Array, " m"]
    jumps: Float[Array, " m"]

    def padded(self, size: int) -> Jumps:
        """The same function with ``size`` thresholds."""
        more = (0, size - self.jumps.shape[0])
        return self._replace(thresholds=jnp.pad(self.thresholds, more), jumps=jnp.pad(self.jumps, more))

    def mean_map(self, var: ArrayLike) -> Array:
        """E[σ(u)] for u ~ N(0, var)."""
        return self.first + jnp.tensordot(self.jumps, norm.sf(self._scaled(var)), axes=1)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Cov(σ(u), σ(v))."""
        rho, same = matched_pairs(cov, var1, var2)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)

        def with_limits(smooth: Array) -> Array:
            limit = self._over_jumps(_comonotone, var1, var2, rho)
            return jnp.where(jnp.abs(rho) == 1, limit, smooth)

        value = self._over_jumps(step_covariance, var1, var2, inner)
        value = jax.lax.cond(jnp.any((jnp.abs(rho) == 1) & ~same), with_limits, lambda smooth: smooth, value)
        return jnp.where(same, self.variance_map(var1) * jnp.ones_like(rho), value)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """E[σ'(u) σ'(v)]; infinite where u = v."""
        rho, _ = matched_pairs(cov, var1, var2)
        scale = jnp.maximum(jnp.sqrt(var1 * var2), jnp.finfo(rho.dtype).tiny)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)

        smooth = self._over_jumps(bivariate_density, var1, var2, inner) / scale
        # on the line u = ±v two jumps may meet: no finite number there
        return jnp.where(jnp.abs(rho) == 1, self.slope_map(rho), smooth)

    def side(self, var: Float[Array, " n"]) -> HermiteSide:
        """What :meth:`pairs` needs to know of samples at these variances; samples are the last axis."""
        return self.hermite(var).with_remainders()

    def pairs(self, left: HermiteSide, right: HermiteSide, cov: Float[Array, "a b"]) -> PairMaps:
        """Both maps of all pairs, but for those that the series leaves over."""
        return mehler_maps(left, right, cov, EXACT_COST * jnp.sum(self.jumps != 0) ** 2)

    def slope_map(self, var: ArrayLike) -> Array:
        """E[σ'(u)²]: infinite, or 0 for a constant."""
        return jnp.where(jnp.any(self.jumps != 0), jnp.inf, jnp.zeros_like(jnp.asarray(var)))

    def _scaled(self, var: ArrayLike) -> Float[Array, "jumps ..."]:
        """Thresholds in units of the standard deviation."""
        var = jnp.asarray(var)
        # beyond FAR there is no probability; a variance of 0 puts every threshold there
        tau = jnp.maximum(jnp.sqrt(var), jnp.finfo(var.dtype).tiny)
        return jnp.clip(self.thresholds.reshape((-1,) + (1,) * var.ndim) / tau, -FAR, FAR)

    def _over_jumps(self, pair: Callable, var1: ArrayLike, var2: ArrayLike, rho: Array) -> Array:
        """Σ_kl c_k c_l pair(u_k, w_l, ρ); a loop, so that compilation does not grow with the levels."""
        us, ws, jumps = self._scaled(var1), self._scaled(var2), self.jumps
        count = self.jumps.shape[0]

        def term(i: int, total: Array) -> Array:
            k, j = i // count, i % count
            both = jumps[k] * jumps[j]
            return jax.lax.cond(both != 0, lambda: total + both * pair(us[k], ws[j], rho), lambda: total)

        return jax.lax.fori_loop(0, count**2, term, jnp.zeros_like(rho))

    def hermite(self, var: ArrayLike, order: int = SERIES_ORDER) -> HermiteSide:
        """c_k = Σ_j c_j φ(u_j) h_{k−1}(u_j) / √k, by Stein's identity."""
        var = jnp.asarray(var)
        u = self._scaled(var)
        weights = self.jumps.reshape((-1,) + (1,) * var.ndim) * gaussian_density(u)
        coefficients = hermite_sums(u, weights, order - 1)
        k = jnp.arange(1, order + 1).reshape((-1,) + (1,) * var.ndim)
        mean = self.mean_map(var)[None]
        return HermiteSide(jnp.sqrt(var), jnp.concatenate([mean, coefficients / jnp.sqrt(k)]), self.variance_map(var))

    def variance_map(self, var: ArrayLike) -> Array:
        """Var σ(u)."""
        var, mean = jnp.asarray(var), self.mean_map(var)
        levels = self.first + jnp.concatenate([jnp.zeros(1, self.jumps.dtype), jnp.cumsum(self.jumps)])
        squares = (levels.reshape((-1,) + (1,) * var.ndim) - mean) ** 2
        return squares[0] + jnp.sum((squares[1:] - squares[:-1]) * norm.sf(self._scaled(var)), axis=0)


def of_one_size(steps: Sequence[Jumps]) -> list[Jumps]:
    """The same functions, padded so that networks of about as many levels share a compiled program."""
    most = max((step.jumps.shape[0] for step in steps), default=0)
    return [step.padded(-(-most // PADDING) * PADDING) for step in steps]


def _comonotone(u: Array, w: Array, rho: Array) -> Array:
    """P(ξ ≤ u, ±ξ ≤ w) − Φ(u)Φ(w) at ρ = ±1."""
    up, down = norm.cdf(jnp.minimum(u, w)), jnp.clip(norm.cdf(u) - norm.sf(w), 0.0)
    return jnp.where(rho > 0, up, down) - norm.cdf(u) * norm.cdf(w)


def bivariate_density(u: Array, w: Array, rho: Array) -> Array:
    """φ_2(u, w; ρ), the density of a standard Gaussian pair, for |ρ| < 1."""
    gap = (1 - rho) * (1 + rho)
    exponent = -((u - w) ** 2 / (1 - rho) + (u + w) ** 2 / (1 + rho)) / 4
    return jnp.exp(exponent) / (2 * jnp.pi * jnp.sqrt(gap))


@jax.custom_jvp
def step_covariance(u: Array, w: Array, rho: Array) -> Array:
    """∫_0^ρ φ_2(u, w; r) dr = P(ξ ≤ u, η ≤ w) − Φ(u)Φ(w), for |ρ| < 1; to about 1e-13."""
    column = (-1,) + (1,) * jnp.broadcast_arrays(u, w, rho)[0].ndim
    nodes, weights = (jnp.asarray(v, rho.dtype).reshape(column) for v in (NODES, WEIGHTS))
    upper = jnp.arctanh(rho)
    size, sign = jnp.abs(upper), jnp.sign(rho)
    base, near, far = (u**2 + w**2) / 4, (u - sign * w) ** 2 / 8, (u + sign * w) ** 2 / 8

    def panel(j: Array, total: Array) -> Array:
        low, high = jnp.minimum(j * PANEL, size), jnp.minimum((j + 1) * PANEL, size)
        y = (low + high) / 2 + (high - low) / 2 * nodes
        grow = jnp.exp(2 * y)
        # sech y = 2 e^y / (1 + e^2y)
        integrand = jnp.exp(y - base - near * grow - far / grow) / (1 + grow)
        return total + (high - low) * jnp.sum(weights * integrand, axis=0)

    panels = jnp.ceil(jnp.max(size, initial=0.0) / PANEL).astype(int)
    zero = jnp.zeros(jnp.broadcast_shapes(u.shape, w.shape, rho.shape), rho.dtype)
    return sign * jax.lax.fori_loop(0, panels, panel, zero) / (2 * jnp.pi)


@step_covariance.defjvp
def _step_covariance_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (u, w, rho), (du, dw, drho) = primals, tangents
    spread = jnp.sqrt((1 - rho) * (1 + rho))
    by_u = gaussian_density(u) * (norm.cdf((w - rho * u) / spread) - norm.cdf(w))
    by_w = gaussian_density(w) * (norm.cdf((u - rho * w) / spread) - norm.cdf(u))
    return step_covariance(u, w, rho), by_u * du + by_w * dw + bivariate_density(u, w, rho) * drho
