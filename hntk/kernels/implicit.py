r"""Kernels of implicit networks: fixed points of the recursion, entry by entry.

The pre-activations have the kernel $\Sigma = \sigma_w^2K + \sigma_x^2XX^\top + \sigma_b^2$
(:mod:`hntk.theory.implicit`), so that every entry of K is the root of $k(\Sigma_{ij}) - K_{ij}$, where k is the map of
the layer at the variances of both samples. Its slope $\sigma_w^2\dot K_{ij} - 1$ comes with the maps and is negative:
$|\dot K_{ij}|$ is largest on the diagonal, where it is below $1/\sigma_w^2$ for a network that settles. So each entry
has one root, which Newton's iteration finds. The NTK follows from it,

$$\Theta = K + \frac{\Sigma \circ \dot K}{1 - \sigma_w^2\dot K},$$

the solution of $\Theta = K + (\sigma_w^2\Theta + \sigma_x^2XX^\top + \sigma_b^2) \circ \dot K$.

The iteration ends a few digits early. Two more Newton steps reach rounding, and give the derivatives that the implicit
function theorem gives: each doubles the order to which the root follows the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from hntk.activations import Activation
from hntk.activations.base import PairMaps
from hntk.kernels.layer_scales import Squares, injected, weighted

# steps after which an iteration ends in any case
STEPS = 100
# power of the precision at which it ends, before two last steps
ENOUGH = 0.75
# a change below this share counts as near the fixed point, and steps as long as these slopes ask for are taken
NEAR, FAR_SLOPE, NEAR_SLOPE = 1e-3, 0.9, 0.999


class Fixed(NamedTuple):
    """The fixed point of single samples.

    Attributes
    ----------
    variance : Array
        Q, the variances of the pre-activations.
    ck, ntk : Array
        Diagonals of K and Θ.
    remaining : Array
        σ_w² E[σ'(u)²], the share of a small change of the state that an iteration leaves; below 1 where it settles.
    """

    variance: Float[Array, " n"]
    ck: Float[Array, " n"]
    ntk: Float[Array, " n"]
    remaining: Float[Array, " n"]


class Entries(NamedTuple):
    """Both kernels of some pairs, and where they are accurate (None for everywhere)."""

    ck: Float[Array, "*pairs"]
    ntk: Float[Array, "*pairs"]
    certain: Bool[Array, "*pairs"] | None


def fixed_samples(
    layer: Activation, squares: Squares, square_norms: Float[Array, " n"], centre: Float[Array, ""] | None
) -> Fixed:
    """Return the fixed point of each sample that iterations from z = 0 reach.

    Parameters
    ----------
    layer : Activation
        The layer's activation.
    squares : Squares
        Squared scales of the layer.
    square_norms : Array
        (n,) squared norms of the samples.
    centre : Array or None
        Constant that is subtracted from the activation; None for its mean at each sample's own scale.

    Returns
    -------
    Fixed
        The fixed point; where there is none, its numbers mean nothing.
    """
    data = injected(squares, square_norms)

    def value(state: Array) -> Array:
        variance = weighted(squares, state) + data
        own = layer.variance_map(variance)
        return own if centre is None else own + (layer.mean_map(variance) - centre) ** 2

    def newton(state: Array) -> tuple[Array, Array]:
        after, slope = jax.jvp(value, (state,), (jnp.ones_like(state),))
        gap = after - state
        slope = jnp.minimum(slope, jnp.where(jnp.abs(gap) < NEAR * after, NEAR_SLOPE, FAR_SLOPE))
        return state + gap / (1 - slope), jnp.abs(gap) <= _enough(after) * after

    def proceed(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        return *newton(carry[0]), carry[2] + 1

    start = jnp.zeros_like(square_norms), jnp.zeros(square_norms.shape, bool), jnp.zeros((), int)
    ck = jax.lax.stop_gradient(_until_all(proceed, start))[0]
    ck = newton(newton(ck)[0])[0]
    variance = weighted(squares, ck) + data
    slope = layer.slope_map(variance)
    remaining = weighted(squares, slope)
    return Fixed(variance, ck, ck + variance * slope / (1 - remaining), remaining)


def fixed_pairs(
    maps: Callable[[Array], PairMaps],
    deviation: Float[Array, "*pairs"],
    squares: Squares,
    gram: Float[Array, "*pairs"],
    bound: Float[Array, "*pairs"],
) -> Entries:
    """Return both kernels of pairs.

    Parameters
    ----------
    maps : callable
        The layer's maps E[σσ] − E[σ]E[σ] and E[σ'σ'] as a function of Σ.
    deviation : Array
        (E[σ(u)] − m)(E[σ(v)] − m).
    squares : Squares
        Squared scales of the layer.
    gram : Array
        Inner products of the samples.
    bound : Array
        √(K_ii K_jj), between which and its negative the entry lies.

    Returns
    -------
    Entries
        Both kernels.
    """
    data = injected(squares, gram)

    def newton(ck: Array) -> tuple[Array, Array, PairMaps]:
        layer = maps(weighted(squares, ck) + data)
        gap = layer.covariance + deviation - ck
        slope = weighted(squares, layer.derivative)
        return ck + gap / (1 - slope), gap, layer

    def proceed(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        ck, _, count, low, high = carry
        after, gap, layer = newton(ck)
        # the map falls behind the diagonal, so that the sign of the gap tells on which side the root is
        low, high = jnp.where(gap > 0, ck, low), jnp.where(gap > 0, high, ck)
        inside = (low <= after) & (after <= high)
        # where roundings decide on which side the root is, the bounds mean nothing any more
        settled = jnp.abs(gap) <= _enough(bound) * bound
        if layer.certain is not None:
            settled |= ~layer.certain
        return jnp.where(inside | settled, after, (low + high) / 2), settled, count + 1, low, high

    start = jnp.zeros_like(gram), jnp.zeros(gram.shape, bool), jnp.zeros((), int), -bound, bound
    ck = jax.lax.stop_gradient(_until_all(proceed, jax.lax.stop_gradient(start)))[0]
    ck, gap, _ = newton(newton(ck)[0])
    covariance = weighted(squares, ck) + data
    layer = maps(covariance)
    slope = weighted(squares, layer.derivative)
    certain = None if layer.certain is None else layer.certain & (jnp.abs(gap) <= _enough(bound) * bound)
    return Entries(ck, ck + covariance * layer.derivative / (1 - slope), certain)


def _enough(value: Array) -> float:
    return float(jnp.finfo(value.dtype).eps ** ENOUGH)


def _until_all(proceed: Callable, start: tuple) -> tuple:
    """Repeat a step until all entries of the second part of its result are true, or the third counts too many."""
    return jax.lax.while_loop(lambda carry: ~jnp.all(carry[1]) & (carry[2] < STEPS), proceed, start)
