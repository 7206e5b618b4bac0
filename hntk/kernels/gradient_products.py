r"""Products of gradients of an output by groups of parameters, summed without forming a gradient.

The gradient of the output at sample i by a matrix of weights is $b_ia_i^\top$, and by the biases beside it $b_i$. With
their squared scales s and t, the inner products of two samples' gradients are $(s\,a_i^\top a_j + t)\,b_i^\top b_j$.
Products with vectors need no (n, n) matrix: with $G = \sum_i v_ib_ia_i^\top$ and $g = \sum_i v_ib_i$, entry i is
$b_i^\top(s\,Ga_i + t\,g)$.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk._utils.devices import exact_product

# samples on the side of a tile
TILE = 1024


class Gradient(NamedTuple):
    """Gradients of an output by a matrix of weights and the biases beside it, at some samples.

    Attributes
    ----------
    a : (n, d) array
        What the weights multiply.
    b : (n, m) array or None
        Gradients by the products; None for a readout, where they are 1.
    weight : float or None
        Squared scale s of the weights; None for 1.
    offset : float or None
        Squared scale t of the biases; None where there are none.
    """

    a: Float[Array, "n d"]
    b: Float[Array, "n m"] | None = None
    weight: float | None = None
    offset: float | None = None


def add_products(
    total: Float[Array, "n m"], gradient: Gradient, split: int | None, share: float = 1.0
) -> Float[Array, "n m"]:
    """Add inner products of gradients in place, tile by tile.

    Parameters
    ----------
    total : (n, m) array
        What is added to; its memory is taken over.
    gradient : Gradient
        Gradients at all samples.
    split : int or None
        Where the second set of samples begins. None stands for one set; of its symmetric matrix the upper triangle is
        computed, and the mirror image copied.
    share : float
        Factor of what is added.

    Returns
    -------
    (n, m) array
        The sum.
    """
    n, m = total.shape
    a, b, weight, offset = gradient
    scales = share if weight is None else share * weight, None if offset is None else share * offset
    for i in range(0, n, TILE):
        for j in range(i if split is None else 0, m, TILE):
            shape, columns = (min(TILE, n - i), min(TILE, m - j)), j + (split or 0)
            tile = _tile(shape, a, b, i, columns, *scales)
            total = _added(total, tile, i, j)
            if split is None and i != j:
                total = _added(total, tile.T, j, i)
        # work that is queued but not done holds memory
        total.block_until_ready()
    return total


@partial(jax.jit, static_argnums=0)
def _tile(
    shape: tuple[int, int], a: Array, b: Array | None, i: int, j: int, weight: float, offset: float | None
) -> Array:
    def product(features: Array) -> Array:
        left = jax.lax.dynamic_slice_in_dim(features, i, shape[0])
        right = jax.lax.dynamic_slice_in_dim(features, j, shape[1])
        return exact_product(left, right.T)

    tile = product(a) * jnp.asarray(weight, a.dtype)
    tile = tile if offset is None else tile + jnp.asarray(offset, a.dtype)
    return tile if b is None else tile * product(b)


@partial(jax.jit, donate_argnums=0)
def _added(total: Array, tile: Array, i: int, j: int) -> Array:
    # one update per program: with two, XLA would copy the whole array
    before = jax.lax.dynamic_slice(total, (i, j), tile.shape)
    return jax.lax.dynamic_update_slice(total, before + tile, (i, j))


@jax.jit
def squared_norms(gradients: Sequence[Gradient]) -> Float[Array, " n"]:
    """Return the squared norms of the gradients by all parameters; the readout's gradients stand last."""
    squares = [_scaled(jnp.sum(g.a**2, axis=1), g) for g in gradients]
    each = [s if g.b is None else s * jnp.sum(g.b**2, axis=1) for s, g in zip(squares, gradients, strict=True)]
    return sum(each[:-1], each[-1])


def _scaled(product: Array, gradient: Gradient) -> Array:
    scaled = product if gradient.weight is None else jnp.asarray(gradient.weight, product.dtype) * product
    return scaled if gradient.offset is None else scaled + jnp.asarray(gradient.offset, product.dtype)


class Gathered(NamedTuple):
    """Σ_i v_i b_i a_iᵀ for each column of v, and Σ_i v_i b_i where there are biases."""

    weights: Float[Array, "m ..."]
    biases: Float[Array, "m ..."] | None


@jax.jit
def gather(gathered: list[Gathered] | None, gradients: Sequence[Gradient], v: Float[Array, "n m"]) -> list[Gathered]:
    """Return Σ_i v_i ∇_i for each column of v by groups of parameters, added to those of earlier samples."""
    new = [_gathered(gradient, v) for gradient in gradients]
    return new if gathered is None else jax.tree.map(jnp.add, gathered, new)


def _gathered(gradient: Gradient, v: Array) -> Gathered:
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    if gradient.b is None:
        biases = None if gradient.offset is None else jnp.sum(v, axis=0)
        return Gathered(product("nm,na->ma", v, gradient.a), biases)
    biases = None if gradient.offset is None else product("nm,nb->mb", v, gradient.b)
    return Gathered(product("nm,nb,na->mba", v, gradient.b, gradient.a), biases)


@jax.jit
def apply(gathered: list[Gathered], gradients: Sequence[Gradient]) -> Float[Array, "n m"]:
    """Return the inner products of the gradients at some samples with what was gathered; the readout's stand last."""
    parts = [_applied(*each) for each in zip(gathered, gradients, strict=True)]
    return sum(parts[:-1], parts[-1])


def _applied(gathered: Gathered, gradient: Gradient) -> Array:
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    if gradient.b is None:
        value, added = product("ma,na->nm", gathered.weights, gradient.a), gathered.biases
    else:
        value = product("nb,mba,na->nm", gradient.b, gathered.weights, gradient.a)
        added = None if gathered.biases is None else product("nb,mb->nm", gradient.b, gathered.biases)
    if gradient.weight is not None:
        value = value * jnp.asarray(gradient.weight, value.dtype)
    if added is None:
        return value
    return value + jnp.asarray(gradient.offset, value.dtype) * added
