r"""Covariances of two unit steps of a Gaussian pair.

$$\int_0^\rho \varphi_2(u, w; r)\,dr = P(\xi \le u, \eta \le w) - \Phi(u)\Phi(w)$$

(Drezner and Wesolowsky, 1990). The integral is taken in $y$, $r = \tanh y$, where the integrand is
$\mathrm{sech}(y)\exp(-\frac14(u^2+w^2) - \frac18[(u-w)^2e^{2y} + (u+w)^2e^{-2y}])/2\pi$. Its width in y is of order one
for any correlation, so a few panels of Gauss-Legendre nodes serve up to $\rho \to \pm1$; there closed forms take over.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm

# panels of this width in y, with 16 nodes each, give the integral to about 1e-13
PANEL_WIDTH = 1.5
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def comonotone_covariance(u: Array, w: Array, rho: Array) -> Array:
    """Return P(ξ ≤ u, ±ξ ≤ w) − Φ(u)Φ(w), the limits at ρ = ±1."""
    up, down = norm.cdf(jnp.minimum(u, w)), jnp.clip(norm.cdf(u) - norm.sf(w), 0.0)
    return jnp.where(rho > 0, up, down) - norm.cdf(u) * norm.cdf(w)


def bivariate_density(u: Array, w: Array, rho: Array) -> Array:
    """Return φ_2(u, w; ρ), the density of a standard Gaussian pair, for |ρ| < 1."""
    gap = (1 - rho) * (1 + rho)
    exponent = -((u - w) ** 2 / (1 - rho) + (u + w) ** 2 / (1 + rho)) / 4
    return jnp.exp(exponent) / (2 * jnp.pi * jnp.sqrt(gap))


@jax.custom_jvp
def step_covariance(u: Array, w: Array, rho: Array) -> Array:
    """Return P(ξ ≤ u, η ≤ w) − Φ(u)Φ(w) for |ρ| < 1, to about 1e-13."""
    column = (-1,) + (1,) * jnp.broadcast_arrays(u, w, rho)[0].ndim
    nodes, weights = (jnp.asarray(v, rho.dtype).reshape(column) for v in (NODES, WEIGHTS))
    upper = jnp.arctanh(rho)
    size, sign = jnp.abs(upper), jnp.sign(rho)
    base, near, far = (u**2 + w**2) / 4, (u - sign * w) ** 2 / 8, (u + sign * w) ** 2 / 8

    def add_panel(j: Array, total: Array) -> Array:
        low, high = jnp.minimum(j * PANEL_WIDTH, size), jnp.minimum((j + 1) * PANEL_WIDTH, size)
        y = (low + high) / 2 + (high - low) / 2 * nodes
        grow = jnp.exp(2 * y)
        # sech y = 2 e^y / (1 + e^2y)
        integrand = jnp.exp(y - base - near * grow - far / grow) / (1 + grow)
        return total + (high - low) * jnp.sum(weights * integrand, axis=0)

    panels = jnp.ceil(jnp.max(size, initial=0.0) / PANEL_WIDTH).astype(int)
    zero = jnp.zeros(jnp.broadcast_shapes(u.shape, w.shape, rho.shape), rho.dtype)
    return sign * jax.lax.fori_loop(0, panels, add_panel, zero) / (2 * jnp.pi)


@step_covariance.defjvp
def _step_covariance_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (u, w, rho), (du, dw, drho) = primals, tangents
    spread = jnp.sqrt((1 - rho) * (1 + rho))
    by_u = norm.pdf(u) * (norm.cdf((w - rho * u) / spread) - norm.cdf(w))
    by_w = norm.pdf(w) * (norm.cdf((u - rho * w) / spread) - norm.cdf(u))
    return step_covariance(u, w, rho), by_u * du + by_w * dw + bivariate_density(u, w, rho) * drho
