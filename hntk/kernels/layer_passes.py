r"""One layer of a network, forwards and backwards on a batch of samples, as programs that JAX compiles.

States are kept as $A_l = h_l/\sqrt{d_l}$, with $A_0 = x$. A layer multiplies $N = n(h)/\sqrt d$, which is A or its rows
divided by their norms, and gives $F = (\sigma(u) - m)/\sqrt{d_l}$, $u = \sigma_wWN + \sigma_bb$. Then

$$A_l = F\quad\text{or, with a residual branch,}\quad A_l = A_{l-1} + \rho\,W_2F/\sqrt{d_l}.$$

Backwards, $R_l$ is the gradient of the output by $h_l$ and $B_l$ that by u. A normalisation turns with the state: the
gradient g by $n(h)$ becomes $(Pg - N\,N^\top g)/\|PA\|$, where P subtracts the mean if it does, and is 1 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk._utils.devices import exact_product
from hntk.activations import Activation
from hntk.networks.layer_parts import UNIT
from hntk.networks.network import Network
from hntk.networks.row_normalization import unit_rows
from hntk.theory.architecture import LayerScales, Normalize
from hntk.weights.weight_matrix import Weights

units = jax.jit(unit_rows, static_argnames="kind")


class Arrays(NamedTuple):
    """Numbers of one layer as its programs take them; None for what it does not have.

    Attributes
    ----------
    values : Array
        (d_l, d_{l−1}) weights W, without their scale.
    scale : float
        Scale of the weights, times σ_w.
    centre : float
        The constant m.
    bias : Array or None
        (d_l,) standard biases b.
    bias_std : float or None
        σ_b.
    branch : Array or None
        (d_l, d_l) outer weights W₂, without their scale.
    branch_scale : float or None
        Scale of the outer weights, times ρ.
    """

    values: Array
    scale: float
    centre: float
    bias: Array | None
    bias_std: float | None
    branch: Array | None
    branch_scale: float | None


class Forwards(NamedTuple):
    """What a layer makes of a state, and what its backward pass needs; None where it is as in a plain layer.

    Attributes
    ----------
    state : Array
        A_l.
    slope : Array
        σ'(u).
    unit : Array or None
        N, where the state is normalised.
    size : Array or None
        Norms ‖PA‖ of the rows, where the state is normalised.
    inner : Array or None
        F, where there is a residual branch.
    """

    state: Float[Array, "n d"]
    slope: Float[Array, "n d"]
    unit: Float[Array, "n before"] | None
    size: Float[Array, " n"] | None
    inner: Float[Array, "n d"] | None


class HiddenPass(NamedTuple):
    """One hidden layer of a network.

    Attributes
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The matrix W.
    activation : Activation
        The function σ.
    centre : float
        The constant m.
    bias : Array or None
        Standard biases b.
    branch : WeightMatrix, OrthogonalMatrix or None
        The matrix W₂ of a residual branch.
    scales : LayerScales
        σ_w, σ_b and ρ.
    normalize : {"rms", "layer"} or None
        Normalisation of what the weights multiply.
    """

    weights: Weights
    activation: Activation
    centre: float
    bias: Array | None
    branch: Weights | None
    scales: LayerScales
    normalize: Normalize | None

    @property
    def arrays(self) -> Arrays:
        """Numbers of the layer; explicit values of orthogonal matrices are computed at each access."""
        w, w2, scales = self.weights, self.branch, self.scales
        bias_std = None if self.bias is None else scales.bias_std
        branch, branch_scale = (None, None) if w2 is None else (w2.values, w2.scale * scales.residual)
        return Arrays(w.values, w.scale * scales.weight_std, self.centre, self.bias, bias_std, branch, branch_scale)

    @property
    def programs(self) -> Programs:
        """The layer's compiled functions."""
        return _programs(self.activation, self.normalize)


def hidden_passes(network: Network) -> list[HiddenPass]:
    """Return the hidden layers of a network, first layer first."""
    absent = (None,) * len(network.weights)
    # standard biases, whose products with σ_b the network keeps in float32
    each = zip(network.layers(), network.biases or absent, network.scales or (UNIT,) * len(absent), strict=True)
    return [
        HiddenPass(layer.weights, layer.activation, layer.centre, bias, layer.branch, scales, layer.normalize)
        for layer, bias, scales in each
    ]


class Programs(NamedTuple):
    """Compiled functions of a layer, whose numbers are their first argument.

    Attributes
    ----------
    forward : callable
        Returns A_l of A_{l−1}.
    both : callable
        Returns :class:`Forwards` of A_{l−1}.
    inner : callable
        Returns F of N.
    local : callable
        Returns B_l of R_l and N.
    """

    forward: Callable[..., Array]
    both: Callable[..., Forwards]
    inner: Callable[..., Array]
    local: Callable[..., Array]


@lru_cache(maxsize=64)
def _programs(sigma: Activation, normalize: Normalize | None) -> Programs:
    def inner(layer: Arrays, unit: Array) -> Array:
        return (sigma(_inputs(layer, unit)) - layer.centre).astype(unit.dtype) / sqrt(layer.values.shape[0])

    @jax.jit
    def forward(layer: Arrays, a: Array) -> Array:
        return _behind(layer, a, inner(layer, a if normalize is None else unit_rows(a, normalize)))

    @jax.jit
    def both(layer: Arrays, a: Array) -> Forwards:
        unit = a if normalize is None else unit_rows(a, normalize)
        u = _inputs(layer, unit)
        value, slope = jax.jvp(sigma, (u,), (jnp.ones_like(u),))
        f = (value - layer.centre).astype(a.dtype) / sqrt(layer.values.shape[0])
        normalised = (None, None) if normalize is None else (unit, row_sizes(a, normalize))
        return Forwards(_behind(layer, a, f), slope.astype(a.dtype), *normalised, None if layer.branch is None else f)

    @jax.jit
    def local(layer: Arrays, reached: Array, unit: Array) -> Array:
        u = _inputs(layer, unit)
        slope = jax.jvp(sigma, (u,), (jnp.ones_like(u),))[1].astype(unit.dtype)
        return into_branch(layer, reached) * slope

    return Programs(forward, both, jax.jit(inner), local)


def _inputs(layer: Arrays, unit: Array) -> Array:
    """Return u."""
    u = _product(unit, layer.values.T, layer.scale)
    return u if layer.bias is None else u + layer.bias.astype(u.dtype) * jnp.asarray(layer.bias_std, u.dtype)


def _behind(layer: Arrays, a: Array, f: Array) -> Array:
    if layer.branch is None:
        return f
    return a + _product(f, layer.branch.T, layer.branch_scale) / sqrt(layer.branch.shape[0])


@jax.jit
def into_branch(layer: Arrays, reached: Array) -> Array:
    """Return the gradient of the output by σ(u): R_l, or what comes of it through the branch."""
    if layer.branch is None:
        return reached
    return _product(reached, layer.branch, layer.branch_scale) / sqrt(layer.branch.shape[0])


@partial(jax.jit, static_argnums=1)
def row_sizes(a: Float[Array, "n d"], kind: Normalize) -> Float[Array, " n"]:
    """Return the norms that a normalisation divides rows by."""
    return jnp.linalg.norm(_moved(a, kind), axis=1)


def _moved(rows: Array, kind: Normalize) -> Array:
    return rows - jnp.mean(rows, axis=1, keepdims=True) if kind == "layer" else rows


@partial(jax.jit, static_argnums=0)
def down(
    kind: Normalize | None,
    layer: Arrays,
    added: Float[Array, "1 before"] | None,
    local: Float[Array, "n d"],
    skipped: Float[Array, "n d"] | None = None,
    unit: Float[Array, "n before"] | None = None,
    size: Float[Array, " n"] | None = None,
) -> Float[Array, "n before"]:
    """Return R_{l−1}.

    Parameters
    ----------
    kind : {"rms", "layer"} or None
        Normalisation of the layer's input.
    layer : Arrays
        The layer.
    added : (1, d_{l−1}) array or None
        What the readout adds to the gradient by h_{l−1}.
    local : (n, d_l) array
        B_l.
    skipped : (n, d_l) array or None
        R_l, where the layer has a residual branch.
    unit, size : array or None
        N and the norms of its rows before, where they are normalised.

    Returns
    -------
    (n, d_{l−1}) array
        The gradient of the output by h_{l−1}.
    """
    reached = _product(local, layer.values, layer.scale * (1 / sqrt(layer.values.shape[1])))
    if kind is not None and unit is not None and size is not None:
        turned = _moved(reached, kind) - unit * jnp.sum(unit * reached, axis=1, keepdims=True)
        # a state of size 0 stays 0
        reached = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0)[:, None] * turned
    for more in (skipped, added):
        reached = reached if more is None else reached + more
    return reached


def _product(a: Array, values: Array, scale: float | None) -> Array:
    return exact_product(a, values.astype(a.dtype)) * jnp.asarray(scale, a.dtype)
