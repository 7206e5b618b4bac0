r"""Quadrature rules for Gaussian expectations of functions with breakpoints.

In one dimension: Gauss-Legendre panels between the breakpoints, graded towards zero because the scale may be large.
For pairs: a two-dimensional rule in the coordinates

$$u/\tau_1 = a x + b y,\quad \pm v/\tau_2 = a x - b y,\qquad a^2 = (1+|\rho|)/2,\quad b^2 = (1-|\rho|)/2,$$

split where a breakpoint is crossed (in x) and where two such lines meet (in y). The same nodes give E[σ'σ'], the
derivative of E[σσ] by ρ, with the weight $\pm\frac12[(x^2-1)/(1+|\rho|) - (y^2-1)/(1-|\rho|)]/\tau_1\tau_2$.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.devices import exact_product
from hntk.activations.correlation import ratio

# standard deviations that the one-dimensional rule covers
REACH = 12.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
# panel edges in the variable t = τξ: a function that varies on the scale 1 is resolved from 1/32 up to any τ
GRADED = np.concatenate([-(2.0 ** np.arange(-5, 25)), [0.0], 2.0 ** np.arange(-5, 25)])
# panel edges of the rule about many means, in standard deviations and in the variable of the function
MEAN_EDGES = np.linspace(-9.0, 9.0, 19)
NEAR_EDGES = np.concatenate([-(2.0 ** np.arange(-2, 5)), [0.0], 2.0 ** np.arange(-2, 5)])
# means computed at a time, which bounds the memory
MEANS = 1024
# standard deviations and panel edges of the two-dimensional rule
PAIR_REACH = 9.0
PAIR_EDGES = np.linspace(-PAIR_REACH, PAIR_REACH, 7)
# Chebyshev nodes in log var, few at first, and the last coefficients, which must be negligible
CHEBYSHEV = (24, 96)
TAIL = 6
# standard deviation below which Stein's identity for σ' divides roundings by so little that σ' itself is integrated
SMALL = 1e-2
# variances computed at a time, which bounds the memory
ROWS = 16


def gaussian_rule(tau: Array | float, points: tuple[float, ...], xp) -> tuple:
    """Return nodes and weights of E over ξ ~ N(0, 1) for a function of τξ, as arrays of ``xp`` (NumPy or JAX)."""
    fixed = xp.asarray(np.linspace(-REACH, REACH, int(2 * REACH) + 1))
    moving = xp.asarray(np.concatenate([GRADED, points])) / xp.maximum(tau, 1e-30)
    edges = xp.sort(xp.concatenate([fixed, xp.clip(moving, -REACH, REACH)]))
    return gaussian_panels(edges, xp)


def gaussian_panels(edges, xp) -> tuple:
    """Return Gauss-Legendre nodes and weights on every panel, weighted by the Gaussian density.

    Edges ascend along the last axis; the other axes are batches.
    """
    half, middle = xp.diff(edges) / 2, (edges[..., 1:] + edges[..., :-1]) / 2
    flat = (*edges.shape[:-1], -1)
    xi = (middle[..., None] + half[..., None] * xp.asarray(NODES, edges.dtype)).reshape(flat)
    weight = (half[..., None] * xp.asarray(WEIGHTS, edges.dtype)).reshape(flat)
    return xi, weight * xp.exp(-(xi**2) / 2) / math.sqrt(2 * math.pi)


def pair_expectations(function: Callable, points: tuple[float, ...], rho: Array, tau1: Array, tau2: Array) -> tuple:
    """Return (E[σσ], E[σ'σ']) of one Gaussian pair."""
    size = jnp.where(rho < 0, -1.0, 1.0) * rho  # not abs, whose derivative at 0 is 0

    def inner(x: Array, y: Array, u: Array, v: Array) -> tuple[Array, Array]:
        product = function(u) * function(v)
        return product, product * ((x**2 - 1) / (1 + size) - (y**2 - 1) / (1 - size))

    value, by_rho = _pair_integrals(inner, points, rho, tau1, tau2)
    # one division at a time, as the derivative divides by the square
    return value, ratio(ratio(jnp.where(rho < 0, -1.0, 1.0) * by_rho / 2, tau1), tau2)


def near_slope(function: Callable, points: tuple[float, ...], rho: Array, tau1: Array, tau2: Array) -> Array:
    """Return E[σ'σ'] of one Gaussian pair for a function that does not jump, from σ' itself.

    Near ρ = ±1 the rule for E[σσ] divides roundings by 1 − abs(ρ).
    """
    slope = _slope(function)
    return _pair_integrals(lambda x, y, u, v: (slope(u) * slope(v),), points, rho, tau1, tau2)[0]


def _pair_integrals(
    inner: Callable, points: tuple[float, ...], rho: Array, tau1: Array, tau2: Array
) -> tuple[Array, ...]:
    """Return means of functions of x, y, u and v over one Gaussian pair, split where u or v crosses a breakpoint."""
    # for ρ < 0 the second variable is mirrored: breakpoints then move slowly with y, which the outer rule resolves
    mirror = jnp.where(rho < 0, -1.0, 1.0)
    size = mirror * rho
    a, b = jnp.sqrt((1 + size) / 2), jnp.sqrt(jnp.maximum((1 - size) / 2, jnp.finfo(rho.dtype).tiny))
    first, second = jnp.asarray(points, rho.dtype) / tau1, mirror * jnp.asarray(points, rho.dtype) / tau2
    meets = ((first[:, None] - second[None, :]) / (2 * b)).reshape(-1)
    y, weight_y = gaussian_panels(_pair_edges(meets), jnp)

    def over_x(y: Array) -> tuple[Array, ...]:
        crossings = jnp.concatenate([(first - b * y) / a, (second + b * y) / a])
        x, weight_x = gaussian_panels(_pair_edges(crossings), jnp)
        found = inner(x, y, tau1 * (a * x + b * y), mirror * tau2 * (a * x - b * y))
        return tuple(jnp.sum(each * weight_x) for each in found)

    return tuple(weight_y @ each for each in jax.vmap(over_x)(y))


def small_pair_expectations(function: Callable, rho: Array, tau1: Array, tau2: Array) -> tuple:
    """Return (E[σσ], E[σ'σ']) of one Gaussian pair for a smooth function, however small a standard deviation is."""
    return _pair_mean(function, rho, tau1, tau2), _pair_mean(_slope(function), rho, tau1, tau2)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pair_mean(function: Callable, rho: Array, tau1: Array, tau2: Array) -> Array:
    """Return E[σσ]; its derivative by ρ is τ_1 τ_2 E[σ'σ'], by Price's theorem, and no sum in which most cancels."""
    first, second, weight = _pair_nodes(rho)
    return weight @ (function(tau1 * first) * function(tau2 * second)) @ weight


@_pair_mean.defjvp
def _pair_mean_jvp(function: Callable, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    rho, tau1, tau2 = primals
    first, second, weight = _pair_nodes(rho)
    slope, u, v = _slope(function), tau1 * first, tau2 * second
    by_rho = tau1 * tau2 * _pair_mean(slope, rho, tau1, tau2)
    by_first = weight @ (slope(u) * first * function(v)) @ weight
    by_second = weight @ (function(u) * slope(v) * second) @ weight
    change = by_rho * tangents[0] + by_first * tangents[1] + by_second * tangents[2]
    return _pair_mean(function, *primals), change


def _pair_nodes(rho: Array) -> tuple[Array, Array, Array]:
    """Return u/τ_1 and v/τ_2 at the nodes of the rule, on a grid of x and y, and the weights of either."""
    mirror = jnp.where(rho < 0, -1.0, 1.0)
    x, weight = gaussian_panels(jnp.asarray(PAIR_EDGES, rho.dtype), jnp)
    a, b = jnp.sqrt((1 + mirror * rho) / 2), jnp.sqrt(jnp.maximum((1 - mirror * rho) / 2, jnp.finfo(rho.dtype).tiny))
    return a * x + b * x[:, None], mirror * (a * x - b * x[:, None]), weight


def _slope(function: Callable) -> Callable:
    return lambda t: jax.jvp(function, (t,), (jnp.ones_like(t),))[1]


def linear_slope(function: Callable, points: tuple[float, ...], tau1: Array, tau2: Array) -> Array:
    """Return E[σ'(τ_1 ξ) σ'(τ_2 ξ)], the case ρ = ±1 of a pair, where its density is on a line; τ_2 has ρ's sign."""
    slope = jax.vmap(jax.grad(function))
    dtype = tau1.dtype
    fixed = jnp.asarray(np.linspace(-REACH, REACH, int(2 * REACH) + 1), dtype)
    graded = jnp.asarray(GRADED, dtype) / jnp.maximum(jnp.abs(tau1), jnp.abs(tau2))
    kinks = (jnp.asarray(points, dtype) / tau for tau in (tau1, tau2))
    edges = jnp.concatenate([fixed, *(jnp.clip(moving, -REACH, REACH) for moving in (graded, *kinks))])
    xi, weight = gaussian_panels(jnp.sort(edges), jnp)
    return weight @ (slope(tau1 * xi) * slope(tau2 * xi))


def smoothed_slope(
    function: Callable, points: tuple[float, ...], mean: Float[Array, "*n"], spread: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return E[σ'(mean + √spread ξ)] elementwise, split where σ' may jump."""
    slope = jax.vmap(jax.grad(function))
    mean, spread = jnp.broadcast_arrays(mean, spread)
    moving = jnp.asarray(np.concatenate([NEAR_EDGES, points]), mean.dtype)
    fixed = jnp.asarray(MEAN_EDGES, mean.dtype)

    def one(given: tuple[Array, Array]) -> Array:
        m, root = given[0], jnp.sqrt(jnp.maximum(given[1], jnp.finfo(mean.dtype).tiny))
        edges = jnp.concatenate([fixed, jnp.clip((moving - m) / root, MEAN_EDGES[0], MEAN_EDGES[-1])])
        xi, weight = gaussian_panels(jnp.sort(edges), jnp)
        return weight @ slope(m + root * xi)

    flat = mean.reshape(-1), spread.reshape(-1)
    return jax.lax.map(one, flat, batch_size=MEANS).reshape(mean.shape)


def _pair_edges(moving: Array) -> Array:
    edges = jnp.asarray(PAIR_EDGES, moving.dtype)
    return jnp.sort(jnp.concatenate([edges, jnp.clip(moving, -PAIR_REACH, PAIR_REACH)]))


def over_variances(one: Callable[[Array], Array], var: Float[Array, " n"]) -> Float[Array, "n outputs"]:
    """Apply a function of one variance to many, interpolating in log var where that is exact to rounding.

    Gaussian expectations are analytic in the variance, so Chebyshev coefficients fall geometrically, and the last ones
    estimate the error of the interpolation. Few nodes are enough where variances are alike, as in high dimensions.
    """

    def with_nodes(counts: tuple[int, ...]) -> Array:
        if not counts:
            return jax.lax.map(one, var, batch_size=ROWS)
        interpolated, accurate = _interpolation(one, var, counts[0])
        return jax.lax.cond(accurate, interpolated, lambda: with_nodes(counts[1:]))

    return with_nodes(tuple(count for count in CHEBYSHEV if var.size > 2 * count))


def _interpolation(
    one: Callable[[Array], Array], var: Float[Array, " n"], count: int
) -> tuple[Callable[[], Array], Array]:
    """Return what interpolates between a number of Chebyshev nodes, and whether it is exact to rounding."""
    low, high = jnp.log(jnp.min(var)), jnp.log(jnp.max(var))
    # multiples of π/2N, reduced as integers so that the cosines are exact to rounding
    angles = np.outer(np.arange(count), 2 * np.arange(count) + 1) % (4 * count) * np.pi / (2 * count)
    nodes = np.cos(angles[1])
    values = jax.lax.map(one, jnp.exp((low + high) / 2 + (high - low) / 2 * jnp.asarray(nodes)), batch_size=ROWS)
    weights = np.cos(angles) * np.where(np.arange(count) == 0, 1, 2)[:, None] / count
    series = exact_product(jnp.asarray(weights, values.dtype), values)
    error = jnp.max(jnp.abs(series[-TAIL:]))

    def interpolated() -> Array:
        place = jnp.where(high > low, (2 * jnp.log(var) - low - high) / jnp.where(high > low, high - low, 1.0), 0.0)
        return exact_product(_chebyshev(count, place), series)

    # an error that is not a number, as at a variance of 0, fails this comparison
    return interpolated, error <= 16 * jnp.finfo(var.dtype).eps * jnp.max(jnp.abs(values))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _chebyshev(count: int, place: Float[Array, " n"]) -> Float[Array, "n degrees"]:
    """Return the first Chebyshev polynomials T_0, T_1, … at points of [−1, 1]."""
    degrees = jnp.arange(count, dtype=place.dtype)
    return jnp.cos(degrees * jnp.arccos(jnp.clip(place, -1.0, 1.0))[:, None])


@_chebyshev.defjvp
def _chebyshev_jvp(count: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    # the arccosine has no slope at ±1, where T_k' = k U_{k−1} has one, by U_k = 2x U_{k−1} − U_{k−2}
    (place,), (change,) = primals, tangents

    def following(pair: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        before, now = pair
        return (now, 2 * place * now - before), before

    start = jnp.zeros_like(place), jnp.ones_like(place)
    second = jax.lax.scan(following, start, None, count)[1]
    degrees = jnp.arange(count, dtype=place.dtype)
    return _chebyshev(count, place), (degrees[:, None] * second * change).T
