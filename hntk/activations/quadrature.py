r"""Activations known only as a function and its breakpoints.

One-dimensional moments: Gauss-Legendre panels between the breakpoints, graded towards zero because the scale may be
large. Stein's identity gives every derivative, so kinks and jumps are exact. Kernels: Mehler's series for many pairs
at a time; for those it leaves over, a two-dimensional rule in the coordinates

$$u/\tau_1 = a x + b y,\quad \pm v/\tau_2 = a x - b y,\qquad a^2 = (1+|\rho|)/2,\quad b^2 = (1-|\rho|)/2,$$

split where a breakpoint is crossed (in x) and where two such lines meet (in y). The same nodes give E[σ'σ'], the
derivative of E[σσ] by ρ, with the weight $\pm\frac12[(x^2-1)/(1+|\rho|) - (y^2-1)/(1-|\rho|)]/\tau_1\tau_2$.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import finite_array
from hntk._utils.float64 import float64
from hntk.activations.base import Activation, ArrayLike, Moments, PairMaps, matched_pairs
from hntk.activations.mehler import HermiteSide, hermite_functions, mehler_maps

SERIES_ORDER = 128
REACH = 12.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
# panels in the variable t = τξ: a function of unit scale is resolved from 1/32 up to any τ
GRADED = np.concatenate([-(2.0 ** np.arange(-5, 25)), [0.0], 2.0 ** np.arange(-5, 25)])
PAIR_REACH = 9.0
PAIR_EDGES = np.linspace(-PAIR_REACH, PAIR_REACH, 7)
PAIR_CHUNK = 64
# variances that are interpolated between, and coefficients that must have vanished
CHEBYSHEV = 96
TAIL = 6
# variances at a time
ROWS = 16
# of a pair by the two-dimensional rule, in terms of the series
EXACT_COST = 2e5


@dataclass(frozen=True)
class QuadratureActivation(Activation):
    """An activation given by a JAX function of an array and the points where it is not smooth.

    Attributes
    ----------
    function : elementwise, made of jax.numpy operations.
    points : breakpoints, ascending: kinks and jumps.
    """

    function: Callable[[Array], Array]
    points: tuple[float, ...] = ()
    name: str = "custom"
    _jumps: bool = field(init=False, default=False, compare=False)

    def __post_init__(self) -> None:
        given = finite_array(self.points, "breakpoints")
        if given.ndim != 1:
            raise ValueError(f"breakpoints must be a list of numbers, got {self.points!r}.")
        points = tuple(sorted(given.tolist()))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "_jumps", _check_function(self))

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple:
        """Go by name where the function itself cannot be pickled."""
        from hntk.activations import activation, activation_names

        if not _can_be_pickled(self.function) and self.name in activation_names() and activation(self.name) == self:
            return activation, (self.name,)
        return super().__reduce_ex__(protocol)

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
        centred = sigma - m
        variance = float(weight @ centred**2)
        d = math.inf if self._jumps else float(weight @ slope**2)
        if self.points:
            # subtracting a constant changes nothing and keeps the digits at small tau
            second = weight * (xi**2 - 1)
            e1 = float((weight * xi) @ centred) / tau
            return Moments(
                tau, m, e1, float(second @ centred) / tau**2, float(second @ centred**2) / tau**2, variance, d
            )
        s2 = 2 * float(weight @ (slope**2 + centred * bend))
        return Moments(tau, m, float(weight @ slope), float(weight @ bend), s2, variance, d)

    def mean_map(self, var: ArrayLike) -> Array:
        return self._hermite(var, order=1).coefficients[0]

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        rho, same = matched_pairs(cov, var1, var2)
        smooth = self._pair_rule(rho, var1, var2)[0] - self.mean_map(var1) * self.mean_map(var2)
        return jnp.where(same, self.variance_map(var1) * jnp.ones_like(rho), smooth)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        rho, same = matched_pairs(cov, var1, var2)
        linear = jnp.abs(rho) == 1
        smooth = self._pair_rule(jnp.where(linear, 0.0, rho), var1, var2)[1]
        value = jax.lax.cond(
            jnp.any(linear & ~same),
            lambda: jnp.where(linear, self._linear_slope(rho, var1, var2), smooth),
            lambda: smooth,
        )
        return jnp.where(same, self.slope_map(var1) * jnp.ones_like(rho), value)

    def _linear_slope(self, rho: Array, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return E[σ'(τ_1 ξ) σ'(±τ_2 ξ)], the derivative map where the two-dimensional rule has no density: ρ = ±1."""
        if self._jumps:
            return jnp.full(rho.shape, jnp.inf)
        slope = jax.vmap(jax.grad(self.function))

        def one(pair: Array) -> Array:
            first, second = jnp.asarray(self.points, rho.dtype) / pair[0], jnp.asarray(self.points, rho.dtype) / pair[1]
            fixed = jnp.asarray(np.linspace(-REACH, REACH, int(2 * REACH) + 1), rho.dtype)
            graded = jnp.asarray(GRADED, rho.dtype) / jnp.max(jnp.abs(pair))
            edges = jnp.concatenate([fixed, *(jnp.clip(moving, -REACH, REACH) for moving in (graded, first, second))])
            xi, weight = _panels(jnp.sort(edges), jnp)
            return weight @ (slope(pair[0] * xi) * slope(pair[1] * xi))

        tau1, tau2 = (jnp.broadcast_to(jnp.sqrt(jnp.asarray(v)), rho.shape).reshape(-1) for v in (var1, var2))
        pairs = jnp.stack([tau1, jnp.where(rho.reshape(-1) < 0, -1.0, 1.0) * tau2], axis=1)
        return jax.lax.map(one, pairs, batch_size=ROWS).reshape(rho.shape)

    def side(self, var: Float[Array, " n"]) -> HermiteSide:
        return self._hermite(var).with_remainders()

    def pairs(self, left: HermiteSide, right: HermiteSide, cov: Float[Array, "a b"]) -> PairMaps:
        return mehler_maps(left, right, cov, EXACT_COST)

    def variance_map(self, var: ArrayLike) -> Array:
        return self._hermite(var, order=1).variance

    def _hermite(self, var: ArrayLike, order: int = SERIES_ORDER) -> HermiteSide:
        var = jnp.asarray(var)

        def one(v: Array) -> Array:
            xi, weight = gaussian_rule(jnp.sqrt(v), self.points, jnp)
            sigma = self.function(jnp.sqrt(v) * xi)
            mean = weight @ sigma
            higher = hermite_functions(xi, order)[1:] @ (weight * (sigma - mean))
            return jnp.concatenate([mean[None], higher, weight @ (sigma - mean)[:, None] ** 2])

        values = _over_variances(one, var.reshape(-1))
        return HermiteSide(jnp.sqrt(var), values[:, :-1].T.reshape(-1, *var.shape), values[:, -1].reshape(var.shape))

    def slope_map(self, var: ArrayLike) -> Array:
        """D = E[σ'²] at each variance."""
        if self._jumps:
            return jnp.full(jnp.shape(var), jnp.inf)

        def one(v: Array) -> Array:
            xi, weight = gaussian_rule(jnp.sqrt(v), self.points, jnp)
            return weight @ jax.vmap(jax.grad(self.function))(jnp.sqrt(v) * xi)[:, None] ** 2

        return _over_variances(one, jnp.asarray(var).reshape(-1)).reshape(jnp.shape(var))

    def _pair_rule(self, rho: Array, var1: ArrayLike, var2: ArrayLike) -> tuple[Array, Array]:
        """(E[σσ], E[σ'σ']) of every pair by the split two-dimensional rule, a chunk of pairs at a time."""
        tau1, tau2 = (jnp.broadcast_to(jnp.sqrt(jnp.asarray(v)), rho.shape).reshape(-1) for v in (var1, var2))
        pairs = jnp.stack([rho.reshape(-1), tau1, tau2], axis=1)
        value, slope = jax.lax.map(lambda q: _one_pair(self.function, self.points, *q), pairs, batch_size=PAIR_CHUNK)
        return value.reshape(rho.shape), slope.reshape(rho.shape)


def _over_variances(one: Callable[[Array], Array], var: Float[Array, " n"]) -> Float[Array, "n outputs"]:
    """A function at every variance; of many by interpolation in log var, where that is exact to rounding.

    Gaussian expectations are analytic in the variance: Chebyshev coefficients fall geometrically, and what the last
    ones are tells what is missed.
    """

    def directly() -> Array:
        return jax.lax.map(one, var, batch_size=ROWS)

    if var.size <= 2 * CHEBYSHEV:
        return directly()
    low, high = jnp.log(jnp.min(var)), jnp.log(jnp.max(var))
    # whole multiples of π/2N, reduced before they are rounded
    angles = np.outer(np.arange(CHEBYSHEV), 2 * np.arange(CHEBYSHEV) + 1) % (4 * CHEBYSHEV) * np.pi / (2 * CHEBYSHEV)
    nodes = np.cos(angles[1])
    values = jax.lax.map(one, jnp.exp((low + high) / 2 + (high - low) / 2 * jnp.asarray(nodes)), batch_size=ROWS)
    weights = np.cos(angles) * np.where(np.arange(CHEBYSHEV) == 0, 1, 2)[:, None] / CHEBYSHEV
    series = jnp.matmul(jnp.asarray(weights, values.dtype), values, precision=jax.lax.Precision.HIGHEST)
    missed = jnp.max(jnp.abs(series[-TAIL:]))

    def interpolated() -> Array:
        where = jnp.where(high > low, (2 * jnp.log(var) - low - high) / jnp.where(high > low, high - low, 1.0), 0.0)
        degrees = jnp.arange(CHEBYSHEV, dtype=var.dtype)
        basis = jnp.cos(degrees * jnp.arccos(jnp.clip(where, -1.0, 1.0))[:, None])
        return jnp.matmul(basis, series, precision=jax.lax.Precision.HIGHEST)

    # anything not finite, as where a variance is 0, is not below
    return jax.lax.cond(missed <= 16 * jnp.finfo(var.dtype).eps * jnp.max(jnp.abs(values)), interpolated, directly)


def _can_be_pickled(function: Callable) -> bool:
    try:
        pickle.dumps(function)
    except Exception:  # pickle, and what functions are made of, raise many kinds
        return False
    return True


def gaussian_rule(tau: ArrayLike, points: tuple[float, ...], xp) -> tuple:
    """Nodes and weights of E over ξ ~ N(0, 1) for a function of τξ with the given breakpoints."""
    fixed = xp.asarray(np.linspace(-REACH, REACH, int(2 * REACH) + 1))
    moving = xp.asarray(np.concatenate([GRADED, points])) / xp.maximum(tau, 1e-30)
    edges = xp.sort(xp.concatenate([fixed, xp.clip(moving, -REACH, REACH)]))
    return _panels(edges, xp)


def _panels(edges: Array, xp) -> tuple:
    """Gauss-Legendre on every panel, weighted by the Gaussian density."""
    half, middle = xp.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    xi = (middle[:, None] + half[:, None] * xp.asarray(NODES)).reshape(-1)
    weight = (half[:, None] * xp.asarray(WEIGHTS)).reshape(-1)
    return xi, weight * xp.exp(-(xi**2) / 2) / math.sqrt(2 * math.pi)


def _one_pair(function: Callable, points: tuple[float, ...], rho: Array, tau1: Array, tau2: Array) -> tuple:
    # for ρ < 0 the second variable is mirrored: breakpoints then move slowly with y, which the outer rule resolves
    mirror = jnp.where(rho < 0, -1.0, 1.0)
    size = mirror * rho  # not abs, whose derivative at 0 is 0
    a, b = jnp.sqrt((1 + size) / 2), jnp.sqrt(jnp.maximum((1 - size) / 2, jnp.finfo(rho.dtype).tiny))
    first, second = jnp.asarray(points, rho.dtype) / tau1, mirror * jnp.asarray(points, rho.dtype) / tau2
    meets = ((first[:, None] - second[None, :]) / (2 * b)).reshape(-1)
    y, weight_y = _panels(_pair_edges(meets), jnp)

    def inner(y: Array) -> tuple[Array, Array]:
        crossings = jnp.concatenate([(first - b * y) / a, (second + b * y) / a])
        x, weight_x = _panels(_pair_edges(crossings), jnp)
        product = function(tau1 * (a * x + b * y)) * function(mirror * tau2 * (a * x - b * y)) * weight_x
        by_size = (x**2 - 1) / (1 + size) - (y**2 - 1) / (1 - size)
        return jnp.sum(product), mirror * jnp.sum(product * by_size) / 2

    value, by_rho = jax.vmap(inner)(y)
    return weight_y @ value, weight_y @ by_rho / (tau1 * tau2)


def _pair_edges(moving: Array) -> Array:
    return jnp.sort(jnp.concatenate([jnp.asarray(PAIR_EDGES), jnp.clip(moving, -PAIR_REACH, PAIR_REACH)]))


def _derivatives(function: Callable, t: np.ndarray) -> tuple[np.ndarray, ...]:
    """σ, σ' and σ'' at the nodes in float64, whatever precision the caller's JAX is set to."""
    with float64():
        nodes = jnp.asarray(t, jnp.float64)
        slope = jax.grad(lambda s: function(s).astype(jnp.float64))
        values = (function(nodes), jax.vmap(slope)(nodes), jax.vmap(jax.grad(slope))(nodes))
    return tuple(np.asarray(v, np.float64) for v in values)


def _check_function(activation: QuadratureActivation) -> bool:
    """Refuse what is not an elementwise real function or hides a kink; return whether it jumps."""
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
        raise ValueError(
            f"activation {name!r} must return finite values of the input's shape on [-{REACH}, {REACH}], "
            f"got shape {sigma.shape} for {xi.shape}."
        )
    if not points:
        _check_smooth(name, xi, weight, sigma, slope, bend)
    return _find_jumps(function, points)


def _check_smooth(name: str, xi, weight, sigma, slope, bend) -> None:
    """Without breakpoints, Stein's identity and the derivatives must agree; a hidden kink breaks it."""
    centred = sigma - weight @ sigma
    size = math.sqrt(weight @ centred**2) + 1e-300
    gaps = [(weight * xi) @ centred - weight @ slope, (weight * (xi**2 - 1)) @ centred - weight @ bend]
    if max(abs(g) for g in gaps) > 1e-7 * size:
        raise ValueError(
            f"activation {name!r} is not smooth: E[ξσ] and E[σ'] (or their second-order twins) differ by "
            f"{max(abs(g) for g in gaps):.1e}. Declare the points where it has kinks or jumps as breakpoints=[...]."
        )


def _find_jumps(function: Callable, points: tuple[float, ...]) -> bool:
    if not points:
        return False
    b = np.asarray(points)
    step = 1e-9 * np.maximum(1.0, np.abs(b))
    left, _, _ = _derivatives(function, b - step)
    right, _, _ = _derivatives(function, b + step)
    return bool(np.any(np.abs(right - left) > 1e-6 * np.maximum(1.0, np.abs(left) + np.abs(right))))
