"""Activations known only as a function and its breakpoints.

Moments and kernel maps come from the rules of :mod:`hntk.activations.gaussian_rules`. Stein's identity gives every
derivative, so kinks and jumps are exact. Many pairs at a time go through Mehler's series, and through the
two-dimensional rule where the series is not accurate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import finite_array
from hntk._utils.float64 import float64
from hntk.activations.base import Activation, ArrayLike, Moments, PairMaps
from hntk.activations.correlation import matched_pairs
from hntk.activations.gaussian_rules import (
    REACH,
    ROWS,
    SMALL,
    gaussian_rule,
    linear_slope,
    near_slope,
    over_variances,
    pair_expectations,
    small_pair_expectations,
)
from hntk.activations.mehler import HermiteSide, hermite_sums, mehler_maps

SERIES_ORDER = 128
# pairs computed at a time by the two-dimensional rule, which bounds the memory
PAIR_CHUNK = 64
# distance of correlations from ±1 below which σ' itself is integrated, as Stein's identity divides roundings by it
NEAR = 1e-2
# time of a pair by the two-dimensional rule, in terms of the series
EXACT_COST = 2e5
# relative disagreement of Stein's identity with the derivatives from which on a function is not smooth
STEIN_TOLERANCE = 1e-7


@dataclass(frozen=True)
class QuadratureActivation(Activation):
    """An activation given by a JAX function of an array and the points where it is not smooth.

    Attributes
    ----------
    function : callable
        An elementwise function made of jax.numpy operations.
    points : tuple of float
        Breakpoints, ascending: kinks and jumps.
    name : str
        What reports and files call it.

    Raises
    ------
    ValueError
        If the function is not elementwise, real and finite, or has kinks or jumps that are not among the breakpoints.
    """

    function: Callable[[Array], Array]
    points: tuple[float, ...] = ()
    name: str = "custom"
    _jumps: bool = field(init=False, default=False, compare=False)

    def __post_init__(self) -> None:
        points = finite_array(self.points, "breakpoints")
        if points.ndim != 1:
            raise ValueError(f"breakpoints must be a list of numbers, got {self.points!r}.")
        object.__setattr__(self, "points", tuple(sorted(points.tolist())))
        _check_function(self)
        object.__setattr__(self, "_jumps", _jumps_at(self.function, self.points))

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return self.points

    @property
    def has_jumps(self) -> bool:
        return self._jumps

    def __call__(self, t: ArrayLike) -> Array:
        return self.function(jnp.asarray(t))

    def _moments(self, tau: float) -> Moments:
        xi, weight = gaussian_rule(tau, self.points, np)
        sigma, slope, bend = _derivatives(self.function, tau * xi)
        m = float(weight @ sigma)
        # derivatives of a function do not change with a constant, and centring keeps the digits at small tau
        centred = sigma - m
        variance = float(weight @ centred**2)
        d = math.inf if self._jumps else float(weight @ slope**2)
        if self.points:
            second = weight * (xi**2 - 1)
            e1, e2 = float((weight * xi) @ centred) / tau, float(second @ centred) / tau**2
            return Moments(tau, m, e1, e2, float(second @ centred**2) / tau**2, variance, d)
        s2 = 2 * float(weight @ (slope**2 + centred * bend))
        return Moments(tau, m, float(weight @ slope), float(weight @ bend), s2, variance, d)

    def mean_map(self, var: ArrayLike) -> Array:
        return self._hermite(var, order=1).coefficients[0]

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        var1, var2 = _with_product(var1), _with_product(var2)
        rho, same = matched_pairs(cov, var1, var2)
        smooth = self._pair_rule(rho, var1, var2)[0] - self.mean_map(var1) * self.mean_map(var2)
        return jnp.where(same, self.variance_map(var1) * jnp.ones_like(rho), smooth)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        var1, var2 = _with_product(var1), _with_product(var2)
        rho, same = matched_pairs(cov, var1, var2)
        linear = jnp.abs(rho) == 1
        value = self._near_slope(rho, var1, var2, self._pair_rule(jnp.where(linear, 0.0, rho), var1, var2)[1])
        value = jax.lax.cond(
            jnp.any(linear & ~same),
            lambda found: jnp.where(linear, self._linear_slope(rho, var1, var2), found),
            lambda found: found,
            value,
        )
        return jnp.where(same, self.slope_map(var1) * jnp.ones_like(rho), value)

    def _near_slope(self, rho: Array, var1: ArrayLike, var2: ArrayLike, found: Array) -> Array:
        """Return the derivative map with the pairs near ρ = ±1 replaced by those of another rule; ρ = ±1 stays."""
        if self._jumps:
            return found
        size = jnp.abs(rho)
        near = (size > 1 - NEAR) & (size < 1)

        def replaced(found: Array) -> Array:
            tau1, tau2 = (jnp.broadcast_to(_root(v), rho.shape).reshape(-1) for v in (var1, var2))
            rule = partial(near_slope, self.function, self.points)
            better = _in_chunks(rule, jnp.where(near, rho, 0.0).reshape(-1), tau1, tau2).reshape(rho.shape)
            # its own derivative would miss the jumps of σ'
            return found + jax.lax.stop_gradient(jnp.where(near, better - found, 0.0))

        return jax.lax.cond(jnp.any(near), replaced, lambda found: found, found)

    def _linear_slope(self, rho: Array, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return E[σ'(τ_1 ξ) σ'(±τ_2 ξ)], the derivative map where the two-dimensional rule has no density: ρ = ±1."""
        if self._jumps:
            return jnp.full(rho.shape, jnp.inf)
        tau1, tau2 = (jnp.broadcast_to(_root(v), rho.shape).reshape(-1) for v in (var1, var2))
        pairs = jnp.stack([tau1, jnp.where(rho.reshape(-1) < 0, -1.0, 1.0) * tau2], axis=1)
        slopes = jax.lax.map(lambda pair: linear_slope(self.function, self.points, *pair), pairs, batch_size=ROWS)
        return slopes.reshape(rho.shape)

    def side(self, var: Float[Array, " n"]) -> HermiteSide:
        return self._hermite(var).with_remainders()

    def pairs(self, left: HermiteSide, right: HermiteSide, cov: Float[Array, "a b"]) -> PairMaps:
        return mehler_maps(left, right, cov, EXACT_COST)

    def variance_map(self, var: ArrayLike) -> Array:
        return self._hermite(var, order=1).variance

    def slope_map(self, var: ArrayLike) -> Array:
        if self._jumps:
            return jnp.full(jnp.shape(var), jnp.inf)

        def mean_square_slope(v: Array) -> Array:
            xi, weight = gaussian_rule(_root(v), self.points, jnp)
            return weight @ jax.vmap(jax.grad(self.function))(_root(v) * xi)[:, None] ** 2

        return over_variances(mean_square_slope, jnp.asarray(var).reshape(-1)).reshape(jnp.shape(var))

    def _hermite(self, var: ArrayLike, order: int = SERIES_ORDER) -> HermiteSide:
        var = jnp.asarray(var)

        def expansion(v: Array) -> Array:
            """Return c_0, …, c_order and the variance."""
            xi, weight = gaussian_rule(_root(v), self.points, jnp)
            sigma = self.function(_root(v) * xi)
            mean = weight @ sigma
            higher = hermite_sums(xi, weight * (sigma - mean), order)[1:]
            return jnp.concatenate([mean[None], higher, weight @ (sigma - mean)[:, None] ** 2])

        values = over_variances(expansion, var.reshape(-1))
        return HermiteSide(_root(var), values[:, :-1].T.reshape(-1, *var.shape), values[:, -1].reshape(var.shape))

    def _pair_rule(self, rho: Array, var1: ArrayLike, var2: ArrayLike) -> tuple[Array, Array]:
        """Return (E[σσ], E[σ'σ']) of every pair by the two-dimensional rule, a chunk of pairs at a time."""
        tau1, tau2 = (jnp.broadcast_to(_root(v), rho.shape).reshape(-1) for v in (var1, var2))
        rho_of, shape = rho.reshape(-1), rho.shape
        if self.points:
            values = _in_chunks(partial(pair_expectations, self.function, self.points), rho_of, tau1, tau2)
        else:
            values = self._smooth_rule(rho_of, tau1, tau2)
        return values[0].reshape(shape), values[1].reshape(shape)

    def _smooth_rule(self, rho: Array, tau1: Array, tau2: Array) -> tuple[Array, Array]:
        small = jnp.minimum(tau1, tau2) < SMALL
        others = (jnp.where(small, 1.0, tau) for tau in (tau1, tau2))
        values = _in_chunks(partial(pair_expectations, self.function, ()), rho, *others)

        def with_small() -> tuple[Array, ...]:
            found = _in_chunks(partial(small_pair_expectations, self.function), rho, tau1, tau2)
            return tuple(jnp.where(small, *both) for both in zip(found, values, strict=True))

        return jax.lax.cond(jnp.any(small), with_small, lambda: tuple(values))


def _root(var: ArrayLike) -> Array:
    """Return the standard deviation; the root of a variance of 0 has no derivative, so that it counts as the least."""
    return jnp.sqrt(jnp.maximum(jnp.asarray(var), _tiny(var)))


def _with_product(var: ArrayLike) -> Array:
    """Return variances of at least what can be multiplied with another one; smaller ones count as that."""
    return jnp.maximum(jnp.asarray(var), math.sqrt(_tiny(var)))


def _tiny(var: ArrayLike) -> float:
    return float(jnp.finfo(jnp.promote_types(jnp.asarray(var).dtype, jnp.float32)).tiny)


def _in_chunks(rule: Callable, *pairs: Array) -> Any:
    return jax.lax.map(lambda pair: rule(*pair), pairs, batch_size=PAIR_CHUNK)


def _derivatives(function: Callable, t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return σ, σ' and σ'' at the nodes in float64, whatever precision the caller's JAX is set to."""
    with float64():
        nodes = jnp.asarray(t, jnp.float64)
        slope = jax.grad(lambda s: function(s).astype(jnp.float64))
        values = (function(nodes), jax.vmap(slope)(nodes), jax.vmap(jax.grad(slope))(nodes))
    return tuple(np.asarray(v, np.float64) for v in values)


def _check_function(activation: QuadratureActivation) -> None:
    """Refuse a function that is not elementwise and real, or has a kink that was not declared."""
    name, function, points = activation.name, activation.function, activation.points
    xi, weight = gaussian_rule(1.0, points, np)
    try:
        sigma, slope, bend = _derivatives(function, xi)
    except Exception as error:
        raise ValueError(
            f"activation {name!r} must map a jax array to an array of the same shape with jax.numpy operations, "
            f"differentiable between its breakpoints; calling it failed: {error}"
        ) from error
    if sigma.shape != xi.shape or not np.all(np.isfinite(sigma)):
        wrong = f"shape {sigma.shape} for {xi.shape}" if sigma.shape != xi.shape else "NaN or infinite values"
        raise ValueError(
            f"activation {name!r} must return finite values of the input's shape on [-{REACH}, {REACH}], got {wrong}."
        )
    if not points:
        _check_smooth(name, xi, weight, sigma, slope, bend)


def _check_smooth(name: str, xi, weight, sigma, slope, bend) -> None:
    """Refuse a function whose derivatives contradict Stein's identity, as at a kink that was not declared.

    The kinks of an odd function cancel in the identities of σ itself, and do not in that of (σ − m)².
    """
    centred = sigma - weight @ sigma
    variance = weight @ centred**2 + 1e-300
    size = math.sqrt(variance)
    second = weight * (xi**2 - 1)
    gaps = {
        "E[ξσ] and E[σ']": ((weight * xi) @ centred - weight @ slope) / size,
        "E[(ξ² − 1)σ] and E[σ'']": (second @ centred - weight @ bend) / size,
        "E[(ξ² − 1)(σ − m)²] and E[((σ − m)²)'']": (
            second @ centred**2 - 2 * (weight @ (slope**2 + centred * bend))
        ) / variance,
    }  # fmt: skip
    identity, gap = max(gaps.items(), key=lambda each: abs(each[1]))
    if abs(gap) > STEIN_TOLERANCE:
        raise ValueError(
            f"activation {name!r} is not smooth: {identity} differ by {abs(gap):.1e}, in units of its standard "
            "deviation. Declare the points where it has kinks or jumps as breakpoints=[...]."
        )


def _jumps_at(function: Callable, points: tuple[float, ...]) -> bool:
    """Return whether the function has different limits on the two sides of a breakpoint."""
    if not points:
        return False
    b = np.asarray(points)
    step = 1e-9 * np.maximum(1.0, np.abs(b))
    left, _, _ = _derivatives(function, b - step)
    right, _, _ = _derivatives(function, b + step)
    return bool(np.any(np.abs(right - left) > 1e-6 * np.maximum(1.0, np.abs(left) + np.abs(right))))
