r"""What weights, biases, normalisation and a residual branch do to both kernels in one layer, entry by entry.

An activation meets pre-activations with the kernels

$$\Sigma = \sigma_w^2\,n(K) + \sigma_b^2,\qquad \Pi = \sigma_w^2\,n(\Theta) + \sigma_b^2,$$

where n is the identity, or a normalisation (:mod:`hntk.theory.architecture`):
$n(K)_{ij} = (K_{ij} - \mu_i\mu_j) / \sqrt{(K_{ii} - \mu_i^2)(K_{jj} - \mu_j^2)}$, and Θ with these means and factors.
What the activation makes of them, $K'$ and $\Theta' = K' + \Pi \circ \dot K$, are the kernels of the next state. A
residual branch adds to the state before it: $K + \rho^2K'$ and $\Theta + \rho^2(K' + \Theta')$, as its outer weights
are trained as well. An implicit layer meets its own output and the data, $\Sigma = \sigma_w^2K + \sigma_x^2XX^\top +
\sigma_b^2$ (:mod:`hntk.kernels.implicit`).

What a layer does not have is None here. It is then no part of the compiled program, and networks that differ in numbers
alone share one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.theory.architecture import Architecture, Normalize

# both kernels of some pairs of samples
Pair = tuple[Array, Array]


class Squares(NamedTuple):
    """Squared scales of one layer; None for unit weights, for no biases and for no residual branch.

    Attributes
    ----------
    weights, biases, branch : Array or None
        σ_w², σ_b² and ρ².
    data : Array or None
        σ_x² of an implicit layer; None for unit weights on the data, and for other layers.
    """

    weights: Float[Array, ""] | None
    biases: Float[Array, ""] | None
    branch: Float[Array, ""] | None
    data: Float[Array, ""] | None = None


class Norm(NamedTuple):
    """What a normalisation needs to know of each sample; samples are the last axis.

    Attributes
    ----------
    factor : Array
        σ_w/√(K_ii − μ_i²).
    mean : Array or None
        μ_i, the mean over the width; None where nothing is subtracted.
    """

    factor: Float[Array, "*samples"]
    mean: Float[Array, "*samples"] | None


def squares_of(net: Architecture, dtype: Any) -> list[Squares]:
    """Return the squared scales of all layers as arrays."""

    def square(number: float, absent: float) -> Array | None:
        return None if number == absent else jnp.asarray(number * number, dtype)

    data = square(net.input_std, 1.0)
    return [
        Squares(square(s.weight_std, 1.0), square(s.bias_std, 0.0), square(s.residual, 0.0), data) for s in net.scales
    ]


def norm_of(
    kind: Normalize | None, squares: Squares, ck: Float[Array, " n"], mean: Float[Array, " n"] | None
) -> Norm | None:
    """Return a layer's normalisation from the diagonal of K and the means; None where there is none."""
    if kind is None:
        return None
    mean = mean if kind == "layer" else None
    weights = jnp.ones((), ck.dtype) if squares.weights is None else squares.weights
    return Norm(jnp.sqrt(weights / (ck if mean is None else ck - mean * mean)), mean)


def affine(squares: Squares, kernel: Array) -> Array:
    """Return σ_w² kernel + σ_b²."""
    scaled = weighted(squares, kernel)
    return scaled if squares.biases is None else scaled + squares.biases


def weighted(squares: Squares, kernel: Array) -> Array:
    """Return σ_w² kernel."""
    return kernel if squares.weights is None else squares.weights * kernel


def injected(squares: Squares, gram: Array) -> Array:
    """Return σ_x² gram + σ_b², which an implicit layer meets at every iteration."""
    scaled = gram if squares.data is None else squares.data * gram
    return scaled if squares.biases is None else scaled + squares.biases


def inputs(squares: Squares, left: Norm | None, right: Norm | None, ck: Array, ntk: Array) -> Pair:
    """Return Σ and Π from K and Θ."""
    if left is None or right is None:
        return affine(squares, ck), affine(squares, ntk)
    factor = left.factor * right.factor
    shift = jnp.zeros((), factor.dtype) if squares.biases is None else squares.biases
    if left.mean is not None and right.mean is not None:
        shift = shift - left.mean * right.mean * factor
    return ck * factor + shift, add_product(shift, ntk, factor)


def behind(squares: Squares, before: Pair, value: Array, ntk: Array) -> Pair:
    """Return the kernels of the state behind a layer from those before it, and from K' and Θ'."""
    if squares.branch is None:
        return value, ntk
    return before[0] + squares.branch * value, before[1] + squares.branch * (value + ntk)


@jax.custom_jvp
def add_product(term: Array, ntk: Array, factor: Array) -> Array:
    """Return term + Θ factor, whose derivative is 0 where it is infinite, as on a jump's diagonal."""
    return term + ntk * factor


@add_product.defjvp
def _add_product_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    following = add_product(*primals)
    finite = jnp.isfinite(following)
    _, ntk, factor = (jnp.where(finite, value, 0.0) for value in primals)
    by_term, by_ntk, by_factor = (jnp.where(finite, tangent, 0.0) for tangent in tangents)
    return following, by_term + by_ntk * factor + ntk * by_factor
