r"""Staircases: quantised activations with thresholds $s_1 < \dots < s_{N-1}$ and N levels.

Moments are closed forms in $\Phi$ and $\varphi$. The kernel of two staircases is a sum over their jumps $c_k$,

$$\mathrm{Cov}(\sigma(u),\sigma(v)) = \sum_{kl} c_kc_l \int_0^\rho \varphi_2(u_k, w_l; r)\,dr,\qquad
E[\sigma'\sigma'] = \sum_{kl} c_kc_l\,\frac{\varphi_2(u_k, w_l; \rho)}{\tau_1\tau_2},$$

with $u_k = s_k/\tau_1$, $w_l = s_l/\tau_2$ (Drezner and Wesolowsky, 1990). The integral is taken in $y$,
$r = \tanh y$, where the integrand is $\mathrm{sech}(y)\exp(-\frac14(u^2+w^2) - \frac18[(u-w)^2e^{2y} +
(u+w)^2e^{-2y}])/2\pi$: its width in y is of order one for any correlation, so a few panels of Gauss-Legendre nodes
serve up to $\rho \to \pm1$, where closed forms take over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jaxtyping import Float
from scipy.special import ndtr

from hntk.activations.base import Activation, ArrayLike, Moments, matched_pairs
from hntk.activations.mehler import (
    HermiteSide,
    covariance_series,
    derivative_series,
    gaussian_density,
    hermite_functions,
)

SERIES_ORDER = 320
PANEL = 1.5
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


class Cells(NamedTuple):
    """Gaussian integrals over the cells between thresholds ``u`` (in units of τ), each of shape (N,).

    Attributes
    ----------
    probability : P(ξ in cell).
    first : E[ξ; cell] = φ(u_k) − φ(u_{k+1}).
    second : E[ξ² − 1; cell] = u_k φ(u_k) − u_{k+1} φ(u_{k+1}).
    """

    probability: np.ndarray
    first: np.ndarray
    second: np.ndarray


def gaussian_cells(u: Float[np.ndarray, " thresholds"]) -> Cells:
    """Cell integrals of N(0, 1); a tail's probability keeps its relative precision."""
    edges = np.concatenate([[-np.inf], u, [np.inf]])
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    slope = np.where(np.isfinite(edges), edges, 0.0) * density
    low, high = edges[:-1], edges[1:]
    probability = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return Cells(probability, -np.diff(density), -np.diff(slope))


@dataclass(frozen=True)
class Staircase(Activation):
    """σ(t) = levels[k] for thresholds[k−1] ≤ t < thresholds[k]."""

    thresholds: tuple[float, ...]
    levels: tuple[float, ...]
    name: str = "staircase"

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return self.thresholds

    @property
    def has_jumps(self) -> bool:
        return any(self.jumps)

    @property
    def jumps(self) -> tuple[float, ...]:
        """Height of the step at each threshold."""
        return tuple(high - low for low, high in zip(self.levels[:-1], self.levels[1:], strict=True))

    @property
    def level_count(self) -> int:
        """Number of different values, which is what an activation costs: ⌈log2⌉ of it in bits."""
        return len(set(self.levels))

    def __call__(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t)
        dtype = jnp.result_type(t.dtype, jnp.float32)
        total = jnp.full(t.shape, self.levels[0], dtype)
        for threshold, level in zip(self.thresholds, self.levels[1:], strict=True):
            total = jnp.where(t >= jnp.asarray(threshold, dtype), jnp.asarray(level, dtype), total)
        return total

    def _moments(self, tau: float) -> Moments:
        cells = gaussian_cells(np.asarray(self.thresholds) / tau)
        levels = np.asarray(self.levels)
        m = float(levels @ cells.probability)
        squares = (levels - m) ** 2
        return Moments(
            tau,
            mean=m,
            e1=float((levels - m) @ cells.first) / tau,
            e2=float((levels - m) @ cells.second) / tau**2,
            s2=float(squares @ cells.second) / tau**2,
            variance=float(squares @ cells.probability),
            d=float("inf") if self.has_jumps else 0.0,
        )

    def mean_map(self, var: ArrayLike) -> Array:
        return self.levels[0] + jnp.tensordot(jnp.asarray(self.jumps), norm.sf(self._scaled(var)), axes=1)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        rho, same = matched_pairs(cov, var1, var2)
        left, right = self._hermite(var1), self._hermite(var2)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)

        def exact() -> Array:
            return self._over_jumps(step_covariance, var1, var2, inner)

        def with_limits(smooth: Array) -> Array:
            limit = self._over_jumps(_comonotone, var1, var2, rho)
            return jnp.where(jnp.abs(rho) == 1, limit, smooth)

        value = covariance_series(left, right, inner, exact)
        value = jax.lax.cond(jnp.any((jnp.abs(rho) == 1) & ~same), with_limits, lambda smooth: smooth, value)
        return jnp.where(same, left.variance * jnp.ones_like(rho), value)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        rho, _ = matched_pairs(cov, var1, var2)
        scale = jnp.sqrt(var1 * var2)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)

        def exact() -> Array:
            return self._over_jumps(bivariate_density, var1, var2, inner) / scale

        smooth = derivative_series(self._hermite(var1), self._hermite(var2), inner, scale, exact)
        # on the line u = ±v two jumps may meet: no finite number there
        return jnp.where(jnp.abs(rho) == 1, jnp.inf if self.has_jumps else 0.0, smooth)

    def _scaled(self, var: ArrayLike) -> Float[Array, "jumps ..."]:
        """Thresholds in units of the standard deviation."""
        var = jnp.asarray(var)
        return jnp.asarray(self.thresholds).reshape((-1,) + (1,) * var.ndim) / jnp.sqrt(var)

    def _over_jumps(self, pair: Callable, var1: ArrayLike, var2: ArrayLike, rho: Array) -> Array:
        """Σ_kl c_k c_l pair(u_k, w_l, ρ); a loop, so that compilation does not grow with the levels."""
        us, ws, jumps = self._scaled(var1), self._scaled(var2), jnp.asarray(self.jumps)
        count = len(self.jumps)

        def term(i: int, total: Array) -> Array:
            k, j = i // count, i % count
            return total + jumps[k] * jumps[j] * pair(us[k], ws[j], rho)

        return jax.lax.fori_loop(0, count**2, term, jnp.zeros_like(rho))

    def _hermite(self, var: ArrayLike) -> HermiteSide:
        """c_k = Σ_j c_j φ(u_j) h_{k−1}(u_j) / √k, by Stein's identity."""
        var = jnp.asarray(var)
        u = self._scaled(var)
        finite = jnp.clip(u, -40.0, 40.0)  # φ is 0 beyond and h_k must not overflow
        functions = hermite_functions(finite, SERIES_ORDER - 1) * gaussian_density(u)
        coefficients = jnp.einsum("j,kj...->k...", jnp.asarray(self.jumps), functions)
        k = jnp.arange(1, SERIES_ORDER + 1).reshape((-1,) + (1,) * var.ndim)
        mean = self.mean_map(var)
        return HermiteSide(jnp.concatenate([mean[None], coefficients / jnp.sqrt(k)]), self._variance_map(var, mean))

    def _variance_map(self, var: Array, mean: Array) -> Array:
        total = (self.levels[0] - mean) ** 2 * jnp.ones_like(mean)
        for low, high, u in zip(self.levels[:-1], self.levels[1:], self._scaled(var), strict=True):
            total += ((high - mean) ** 2 - (low - mean) ** 2) * norm.sf(u)
        return total


def staircase(thresholds: object, levels: object, name: str = "staircase") -> Staircase:
    """A quantised activation: ``levels[k]`` between ``thresholds[k-1]`` and ``thresholds[k]``.

    Parameters
    ----------
    thresholds : N − 1 finite numbers, strictly ascending.
    levels : N finite numbers, in the order of the cells; values may repeat (σ_T of the paper has levels a, 0, a).

    Raises
    ------
    ValueError
        If the numbers are not finite, not ascending, or their counts do not fit.

    Examples
    --------
    >>> import hntk
    >>> float(hntk.staircase([0.0], [-1.0, 1.0]).moments(1.0).variance)
    1.0
    """
    s, a = (np.asarray(v, dtype=float) for v in (thresholds, levels))
    if s.ndim != 1 or a.ndim != 1 or a.size != s.size + 1 or s.size == 0:
        raise ValueError(
            f"a staircase needs N - 1 >= 1 thresholds and N levels, got shapes {s.shape} and {a.shape}; "
            "for example staircase([0.0], [-1.0, 1.0])."
        )
    if not (np.all(np.isfinite(s)) and np.all(np.isfinite(a))):
        raise ValueError(f"thresholds and levels must be finite, got {s.tolist()} and {a.tolist()}.")
    if np.any(np.diff(s) <= 0):
        raise ValueError(f"thresholds must be strictly ascending, got {s.tolist()}; sort them and merge equal ones.")
    return Staircase(tuple(s.tolist()), tuple(a.tolist()), name)


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
    nodes, weights = jnp.asarray(NODES), jnp.asarray(WEIGHTS)
    upper = jnp.arctanh(rho)
    size, sign = jnp.abs(upper), jnp.sign(rho)
    base, near, far = (u**2 + w**2) / 4, (u - sign * w) ** 2 / 8, (u + sign * w) ** 2 / 8

    def panel(j: Array, total: Array) -> Array:
        low, high = jnp.minimum(j * PANEL, size), jnp.minimum((j + 1) * PANEL, size)

        def node(i: Array, total: Array) -> Array:
            y = (low + high) / 2 + (high - low) / 2 * nodes[i]
            grow = jnp.exp(2 * y)
            # sech y = 2 e^y / (1 + e^2y)
            return total + weights[i] * (high - low) * jnp.exp(y - base - near * grow - far / grow) / (1 + grow)

        return jax.lax.fori_loop(0, NODES.size, node, total)

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
