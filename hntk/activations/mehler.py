r"""Mehler's series: the kernel maps of an activation whose Hermite coefficients are known.

With $h_k$ the orthonormal Hermite polynomials and $c_k(x) = E[\sigma(\sqrt{x}\xi) h_k(\xi)]$,

$$\mathrm{Cov}(\sigma(u), \sigma(v)) = \sum_{k\ge1} c_k(\mathrm{var}_1)c_k(\mathrm{var}_2)\rho^k,\qquad
E[\sigma'\sigma'] = \frac{1}{\tau_1\tau_2}\sum_{k\ge1} k\,c_k(\mathrm{var}_1)c_k(\mathrm{var}_2)\rho^{k-1}.$$

Coefficients belong to one sample each, so a pair costs three operations a term for both sums together. The terms after
the K-th add at most $(K+1)|\rho|^K\sqrt{R_1R_2}$ to either sum (to the second up to its prefactor), where
$R = \mathrm{Var}\,\sigma - \sum_{k\le K} c_k^2$. So K terms are accurate up to some $|\rho|$, and cost alone decides
how many to take. Pairs beyond are marked, and the caller computes them by an exact form.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations.base import PairMaps

# terms compiled into one pass over the pairs
BLOCK = 16
# every so manieth row of correlations is used to estimate how many pairs the series leaves over
SAMPLED = 8
# pairs that are computed by the exact form at least, if any are
FEWEST_PAIRS = 32
# roundings that the terms left out may add up to
ALLOWED_ROUNDINGS = 64


class HermiteSide(NamedTuple):
    """Hermite expansion of an activation at the variances of one side of the kernel.

    Attributes
    ----------
    scale : array, shape var.shape
        τ, the standard deviation of the input.
    coefficients : array, shape (K + 1, *var.shape)
        c_0 … c_K.
    variance : array, shape var.shape
        Var σ, exact.
    beyond : array, shape (blocks, *var.shape), or None
        Variance beyond 1, 2, … blocks of orders; None where it was not computed.
    """

    scale: Array
    coefficients: Array
    variance: Array
    beyond: Array | None = None

    def with_remainders(self) -> HermiteSide:
        """Return the expansion with ``beyond``, which :func:`mehler_maps` needs."""
        squares = self.coefficients[1:] ** 2
        by_block = squares.reshape(-1, BLOCK, *squares.shape[1:]).sum(axis=1)
        total = jnp.cumsum(by_block, axis=0)
        rest = jnp.clip(self.variance - total[-1], 0.0)
        # of a rest that may be rounding alone no more is believed than slowly falling terms would leave
        rounding = ALLOWED_ROUNDINGS * jnp.finfo(rest.dtype).eps * self.variance
        rest = jnp.where(rest <= rounding, jnp.minimum(rest, len(by_block) * by_block[-1]), rest)
        later = jnp.cumsum(by_block[::-1], axis=0)[::-1] - by_block
        return self._replace(beyond=later + rest)

    @property
    def greatest_share_beyond(self) -> Float[Array, " blocks"]:
        """The largest of ``beyond`` over all samples, as a share of the sample's variance."""
        assert self.beyond is not None
        share = jnp.where(self.variance > 0, self.beyond / jnp.where(self.variance > 0, self.variance, 1.0), 0.0)
        return jnp.max(share.reshape(share.shape[0], -1), axis=1)


def hermite_sums(xi: Array, weights: Array, order: int) -> Array:
    """Return Σ_j w_j h_k(ξ_j) over the first axis for the orthonormal Hermite polynomials h_0 … h_order.

    The shape is (order + 1, *xi.shape[1:]). No array holds all polynomials, which would take twice the time.
    """

    def step(pair: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        previous, current = pair
        following = (xi * current - jnp.sqrt(k) * previous) / jnp.sqrt(k + 1)
        return (current, following), jnp.sum(weights * current, axis=0)

    start = (jnp.zeros_like(xi), jnp.ones_like(xi))
    return jax.lax.scan(step, start, jnp.arange(order + 1, dtype=xi.dtype))[1]


def mehler_maps(left: HermiteSide, right: HermiteSide, cov: Float[Array, "a b"], exact_cost: Array | float) -> PairMaps:
    """Return both sums for all pairs, with the number of terms that costs least.

    Parameters
    ----------
    left, right : HermiteSide
        Expansions with axes (a, 1) and (1, b) after that of the orders, whose number is a multiple of ``BLOCK``.
    cov : array, shape (a, b)
        Covariances of the pairs.
    exact_cost : array or float
        Time of a pair by the exact form, in terms of the series.
    """
    size = left.scale * right.scale
    rho = jnp.where(size > 0, cov / jnp.where(size > 0, size, 1.0), 0.0)
    limits = _accurate_up_to(left, right)
    blocks = _cheapest(rho, limits, exact_cost)
    certain = jnp.abs(rho) <= limits[blocks - 1]
    total, slope = _horner_blocks(left.coefficients[1:], right.coefficients[1:], jnp.where(certain, rho, 0.0), blocks)
    return PairMaps(rho * total, (total + rho * slope) / jnp.where(size > 0, size, 1.0), certain)


def _accurate_up_to(left: HermiteSide, right: HermiteSide) -> Float[Array, " blocks"]:
    """Return the largest |ρ| for which 1, 2, … blocks of terms leave out no more than a few roundings."""
    remainder = jnp.sqrt(left.greatest_share_beyond * right.greatest_share_beyond)
    allowed = ALLOWED_ROUNDINGS * jnp.finfo(remainder.dtype).eps
    orders = BLOCK * jnp.arange(1, remainder.size + 1)
    tail = (orders + 1) * remainder
    # strictly below 1, where u = v and a jump's derivative map is infinite
    return jnp.clip((allowed / jnp.maximum(tail, jnp.finfo(tail.dtype).tiny)) ** (1 / orders), 0.0, 1 - 1e-6)


def _cheapest(rho: Array, limits: Array, exact_cost: Array | float) -> Array:
    """Return the number of blocks that costs least, counting the pairs left for the exact form."""
    size = jnp.abs(rho)
    left_over = jnp.mean(size[::SAMPLED][None] > limits[:, None, None], axis=(1, 2))
    # the sample may miss the few pairs that one more block would serve
    greatest = jnp.max(jnp.where(size <= limits[-1], size, 0.0))
    fewest = min(FEWEST_PAIRS / rho.size, 1.0)
    left_over = jnp.where(greatest > limits, jnp.maximum(left_over, fewest), left_over)
    return jnp.argmin(BLOCK * jnp.arange(1, limits.size + 1) + exact_cost * left_over) + 1


def _horner_blocks(a: Array, b: Array, rho: Array, blocks: Array) -> tuple[Array, Array]:
    """Return Σ_k a_k b_k ρ^k (k from 0) and its derivative by ρ, a block of terms in each pass over the pairs."""

    def step(i: int, sums: Array) -> Array:
        # one complex array, because XLA would compute the terms once for each array that the loop's body returns
        total, slope = sums.real, sums.imag
        begin = BLOCK * (blocks - 1 - i)
        first, second = (jax.lax.dynamic_slice_in_dim(c, begin, BLOCK) for c in (a, b))
        for k in reversed(range(BLOCK)):
            slope = slope * rho + total
            total = total * rho + first[k] * second[k]
        return jax.lax.complex(total, slope)

    zero = jnp.zeros_like(rho)
    sums = jax.lax.fori_loop(0, blocks, step, jax.lax.complex(zero, zero))
    return sums.real, sums.imag


@jax.custom_vjp
def pair_series(a: Float[Array, "k n"], b: Float[Array, "k m"], rho: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """Return Σ_k a_ki b_kj ρ_ij^k, k from 0; the derivatives need no array larger than ρ."""
    return _horner(a, b, rho)


def _horner(a: Array, b: Array, rho: Array) -> Array:
    order = a.shape[0]

    def step(i: int, total: Array) -> Array:
        k = order - 1 - i
        return total * rho + a[k][:, None] * b[k][None, :]

    return jax.lax.fori_loop(0, order, step, jnp.zeros_like(rho))


def _series_and_inputs(a: Array, b: Array, rho: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return _horner(a, b, rho), (a, b, rho)


def _series_gradient(inputs: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array, Array]:
    """Return the derivatives: Σ_j g_ij b_kj ρ_ij^k by a_ki, alike by b_kj, and Σ_k k a_ki b_kj ρ_ij^(k−1) by ρ_ij."""
    a, b, rho = inputs

    def order(powers: Array, sides: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        return powers * rho, (powers @ sides[1], sides[0] @ powers)

    _, (by_a, by_b) = jax.lax.scan(order, g, (a, b))
    k = jnp.arange(1, a.shape[0], dtype=a.dtype)[:, None]
    return by_a, by_b, g * _horner(k * a[1:], b[1:], rho)


pair_series.defvjp(_series_and_inputs, _series_gradient)
