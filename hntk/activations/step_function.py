r"""Step functions as arrays: Gaussian moments, and kernel maps.

With thresholds $s_j$ and jumps $c_j$, $u_k = s_k/\tau_1$ and $w_l = s_l/\tau_2$,

$$\mathrm{Cov}(\sigma(u),\sigma(v)) = \sum_{kl} c_kc_l \int_0^\rho \varphi_2(u_k, w_l; r)\,dr,\qquad
E[\sigma'\sigma'] = \sum_{kl} c_kc_l\,\frac{\varphi_2(u_k, w_l; \rho)}{\tau_1\tau_2}.$$

Thresholds and levels are leaves of a pytree, not constants of a compiled program: networks of equal depth share one
compilation, and kernels can be differentiated by both. Many pairs at a time go through Mehler's series
(:mod:`hntk.activations.mehler`), and through the integrals (:mod:`hntk.activations.bivariate_steps`) where the series
is not accurate. The moments are computed by NumPy, in float64 whatever JAX's precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.activations.base import ArrayLike, Moments, PairMaps
from hntk.activations.bivariate_steps import bivariate_density, comonotone_covariance, step_covariance
from hntk.activations.correlation import matched_pairs
from hntk.activations.gaussian_cells import gaussian_cells
from hntk.activations.mehler import HermiteSide, hermite_sums, mehler_maps

SERIES_ORDER = 320
# functions are padded to multiples of so many thresholds, so that few shapes are compiled
PADDING = 8
# standard deviations beyond which no probability is left in float64
FAR = 40.0
# time of one pair of jumps by the integral, in terms of the series
EXACT_COST = 3000.0


@array_dataclass()
class StepFunction:
    """A function that is constant between thresholds: ``offset + levels[k]`` on cell k.

    Attributes
    ----------
    thresholds : array, shape (m,)
        Where the function may jump, ascending and finite.
    levels : array, shape (m + 1,)
        Value on each cell, less the offset. Equal neighbours make no jump, which pads several functions to one shape.
    offset : float or array
        Added to all levels. Kept apart, a large one costs the jumps no digits in float32.
    """

    thresholds: Float[Array | np.ndarray, " m"]
    levels: Float[Array | np.ndarray, " m+1"]
    offset: ArrayLike = 0.0

    def moments(self, tau: float = 1.0) -> Moments:
        """Return the Gaussian moments at one scale, in closed form."""
        cells = gaussian_cells(np.asarray(self.thresholds) / tau)
        levels = np.asarray(self.levels)
        mean = float(levels @ cells.probability)
        centred = levels - mean
        squares = centred**2
        return Moments(
            tau,
            mean=float(self.offset) + mean,
            e1=float(centred @ cells.first) / tau,
            e2=float(centred @ cells.second) / tau**2,
            s2=float(squares @ cells.second) / tau**2,
            variance=float(squares @ cells.probability),
            d=float("inf") if np.any(np.diff(levels)) else 0.0,
        )

    @property
    def variance(self) -> float:
        """Variance of the output for an input of variance 1."""
        return self.moments().variance

    @property
    def level_count(self) -> int:
        """Number of different values."""
        return len(set(np.asarray(self.levels).tolist()))

    def normalised(self) -> StepFunction:
        """Return the function with mean 0 and variance 1 at τ = 1, without thresholds where nothing changes."""
        thresholds, levels = np.asarray(self.thresholds), np.asarray(self.levels)
        open_cells = np.concatenate([[True], np.diff(thresholds) > 0, [True]])
        # of thresholds that coincide the last one stays
        u, g = thresholds[open_cells[:-1]], levels[open_cells]
        probability = gaussian_cells(u).probability
        g = g - probability @ g
        changes = np.diff(g) != 0
        return StepFunction(u[changes], np.concatenate([g[:1], g[1:][changes]]) / np.sqrt(probability @ g**2))

    def padded(self, size: int) -> StepFunction:
        """Return the same function with ``size`` thresholds."""
        more = (0, size - self.thresholds.shape[0])
        levels = jnp.pad(jnp.asarray(self.levels), more, mode="edge")
        return StepFunction(jnp.pad(jnp.asarray(self.thresholds), more), levels, self.offset)

    @property
    def jumps(self) -> Float[Array, " m"]:
        """Height of the step at each threshold."""
        return jnp.diff(jnp.asarray(self.levels))

    def mean_map(self, var: ArrayLike) -> Array:
        """Return E[σ(u)] for u ~ N(0, var)."""
        return self.offset + self._mean_less_offset(var)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return Cov(σ(u), σ(v))."""
        rho, same = matched_pairs(cov, var1, var2)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)

        def with_limits(smooth: Array) -> Array:
            limit = self._over_jumps(comonotone_covariance, var1, var2, rho)
            return jnp.where(jnp.abs(rho) == 1, limit, smooth)

        value = self._over_jumps(step_covariance, var1, var2, inner)
        value = jax.lax.cond(jnp.any((jnp.abs(rho) == 1) & ~same), with_limits, lambda smooth: smooth, value)
        return jnp.where(same, self.variance_map(var1) * jnp.ones_like(rho), value)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return E[σ'(u) σ'(v)]; infinite where u = v."""
        rho, _ = matched_pairs(cov, var1, var2)
        scale = jnp.maximum(jnp.sqrt(var1 * var2), jnp.finfo(rho.dtype).tiny)
        inner = jnp.where(jnp.abs(rho) == 1, 0.0, rho)
        smooth = self._over_jumps(bivariate_density, var1, var2, inner) / scale
        # where u = ±v two jumps may coincide, and the value is not finite
        return jnp.where(jnp.abs(rho) == 1, self.slope_map(rho), smooth)

    def side(self, var: Float[Array, " n"]) -> HermiteSide:
        """Return the per-sample quantities that :meth:`pairs` needs; samples are the last axis."""
        return self.hermite(var).with_remainders()

    def pairs(self, left: HermiteSide, right: HermiteSide, cov: Float[Array, "a b"]) -> PairMaps:
        """Return both maps of all pairs, and for which of them the series is accurate."""
        return mehler_maps(left, right, cov, EXACT_COST * jnp.sum(self.jumps != 0) ** 2)

    def slope_map(self, var: ArrayLike) -> Array:
        """Return E[σ'(u)²]: infinite, or 0 for a constant."""
        return jnp.where(jnp.any(self.jumps != 0), jnp.inf, jnp.zeros_like(jnp.asarray(var)))

    def variance_map(self, var: ArrayLike) -> Array:
        """Return Var σ(u)."""
        var, mean = jnp.asarray(var), self._mean_less_offset(var)
        squares = (jnp.asarray(self.levels).reshape((-1,) + (1,) * var.ndim) - mean) ** 2
        return squares[0] + jnp.sum((squares[1:] - squares[:-1]) * norm.sf(self.scaled(var)), axis=0)

    def hermite(self, var: ArrayLike, order: int = SERIES_ORDER) -> HermiteSide:
        """Return the Hermite coefficients, c_k = Σ_j c_j φ(u_j) h_{k−1}(u_j) / √k by Stein's identity."""
        var = jnp.asarray(var)
        u = self.scaled(var)
        weights = self.jumps.reshape((-1,) + (1,) * var.ndim) * norm.pdf(u)
        coefficients = hermite_sums(u, weights, order - 1)
        k = jnp.arange(1, order + 1).reshape((-1,) + (1,) * var.ndim)
        mean = self.mean_map(var)[None]
        return HermiteSide(jnp.sqrt(var), jnp.concatenate([mean, coefficients / jnp.sqrt(k)]), self.variance_map(var))

    def _mean_less_offset(self, var: ArrayLike) -> Array:
        return self.levels[0] + jnp.tensordot(self.jumps, norm.sf(self.scaled(var)), axes=1)

    def scaled(self, var: ArrayLike) -> Float[Array, "jumps ..."]:
        """Return the thresholds in units of the standard deviation."""
        var = jnp.asarray(var)
        # at variance 0 every threshold is far
        tau = jnp.maximum(jnp.sqrt(var), jnp.finfo(var.dtype).tiny)
        return jnp.clip(jnp.asarray(self.thresholds).reshape((-1,) + (1,) * var.ndim) / tau, -FAR, FAR)

    def _over_jumps(self, pair: Callable, var1: ArrayLike, var2: ArrayLike, rho: Array) -> Array:
        """Sum c_k c_l pair(u_k, w_l, ρ) in a loop, so that compilation does not grow with the levels."""
        us, ws, jumps = self.scaled(var1), self.scaled(var2), self.jumps
        count = jumps.shape[0]

        def add_term(i: int, total: Array) -> Array:
            k, j = i // count, i % count
            both = jumps[k] * jumps[j]
            return jax.lax.cond(both != 0, lambda: total + both * pair(us[k], ws[j], rho), lambda: total)

        return jax.lax.fori_loop(0, count**2, add_term, jnp.zeros_like(rho))


def padded_alike(functions: Sequence[StepFunction]) -> list[StepFunction]:
    """Return the functions with one number of thresholds, so that similar networks share a compiled program."""
    most = max((function.thresholds.shape[0] for function in functions), default=0)
    return [function.padded(-(-most // PADDING) * PADDING) for function in functions]
