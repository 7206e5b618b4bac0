r"""Kernels of a network with weights, drawn or trained, layer by layer.

With forward features $A_l$ and backward features $B_l$ (:mod:`hntk.kernels.backpropagation`), the NTK of a
fully-connected network is $A_LA_L^\top + \sum_l (A_{l-1}A_{l-1}^\top) \circ (B_lB_l^\top)$: no Jacobian is formed.
Products with vectors need no matrix either: with $G_l = \sum_i v_i b_{l,i}a_{l-1,i}^\top$, of the shape of the weights,
$(\Theta v)_i = \sum_l b_{l,i}^\top G_l a_{l-1,i}$ and the last layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.checks import as_columns
from hntk._utils.memory import check_room
from hntk.kernels.backpropagation import BATCH, Output, batches, outputs_of, walk
from hntk.kernels.kernel_memory import check_memory
from hntk.kernels.problem import Kernels
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network

TILE = 1024


def empirical_kernels(
    network: Network | Classifier,
    x: object,
    *,
    x2: object | None = None,
    output: object = None,
) -> Kernels:
    """Conjugate kernel and NTK of one network with its weights, readout included.

    Memory is that of the results, plus the features of one layer, forward and backward. A staircase has derivative
    zero almost everywhere, so nothing flows back through it: the NTK of a network with jumps counts the layers above
    its last jump only (all staircases: it is the conjugate kernel).

    Parameters
    ----------
    network : a network, drawn or trained, whose output is its readout at initialisation; or a classifier, whose NTK is
        the mean over its outputs.
    x : (n, p) samples, normalised as the network takes them.
    x2 : (m, p) further samples: kernels between x and x2. By default x itself.
    output : of a classifier, the class whose output is meant.

    Returns
    -------
    Kernels with ``ck`` and ``ntk``, (n, n) or (n, m), in the precision of x.

    Raises
    ------
    ValueError
        If x does not fit the network, there is no such output, or the readout at initialisation was not kept.
    MemoryError
        If the kernels do not fit into memory; :class:`EmpiricalNTK` does without.
    """
    outputs = outputs_of(network, output)
    samples, split = _samples(outputs[0].network, x, x2)
    shape = _shape(samples, split)
    check_memory(shape, np.dtype(samples.dtype))
    depth, found = len(outputs[0].network.weights), {}

    def visit(layer: int, a: Array, b: Array | None) -> None:
        if layer < depth:
            found["ntk"] = _add(found["ntk"], a, b, split, 1 / len(outputs))
        elif not found:
            found["ck"] = _add(jnp.zeros(shape, samples.dtype), a, None, split, 1.0)
            found["ntk"] = found["ck"] + 0

    for one in outputs:
        walk(one, samples, visit)
    return Kernels(**found)


def empirical_parts(
    network: Network | Classifier, x: object, *, x2: object | None = None, output: object = None
) -> tuple[Float[Array, "n m"], ...]:
    """What the weights of each layer contribute to the NTK, first layer first, readout last: L + 1 matrices.

    Parameters, errors : as for :func:`empirical_kernels`, whose ``ntk`` is their sum.
    """
    outputs = outputs_of(network, output)
    samples, split = _samples(outputs[0].network, x, x2)
    (n, m), count = _shape(samples, split), len(outputs[0].network.weights) + 1
    check_room(
        n * m * (count + 1) * samples.dtype.itemsize,
        f"{count} parts of shape {(n, m)}",
        "Give fewer samples; hntk.empirical_kernels keeps their sum alone.",
    )
    parts = [jnp.zeros(_shape(samples, split), samples.dtype) for _ in range(len(outputs[0].network.weights) + 1)]

    def visit(layer: int, a: Array, b: Array | None) -> None:
        parts[layer] = _add(parts[layer], a, b, split, 1 / len(outputs))

    for one in outputs:
        walk(one, samples, visit)
    return tuple(parts)


@dataclass(frozen=True)
class EmpiricalNTK:
    """The NTK of a network on samples, as an operator: no (n, n) matrix.

    Products take two passes through the network and the memory of its weights; the diagonal takes one.

    Attributes
    ----------
    network : as for :func:`empirical_kernels`.
    x : (n, p) samples.
    output : of a classifier, the class whose output is meant; None for the mean over all.

    Raises
    ------
    ValueError
        As :func:`empirical_kernels`, when it is first used.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> net = hntk.dense(["relu"] * 2, [64, 64], x, key=jax.random.key(1))
    >>> ntk = hntk.EmpiricalNTK(net, x)
    >>> bool(jnp.allclose(ntk.matvec(jnp.ones(6)), hntk.empirical_kernels(net, x).ntk.sum(axis=1), rtol=1e-4))
    True
    """

    network: Network | Classifier
    x: object
    output: object = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self._samples.shape[0], self._samples.shape[0]

    def matvec(self, v: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The product with a vector (n,), or a block (n, m) of few columns.

        Raises
        ------
        ValueError
            If v has another number of rows.
        """
        n = self.shape[0]
        given = jnp.asarray(as_columns(v, n, "v"))
        columns = given.reshape(n, -1).astype(self._samples.dtype)
        total = sum(self._product(one, columns) for one in self._outputs)
        return (total / len(self._outputs)).reshape(given.shape)  # type: ignore[union-attr]

    def diagonal(self) -> Float[Array, " n"]:
        """Θ(x_i, x_i) = Σ_l ‖a_{l−1,i}‖² ‖b_{l,i}‖² and the readout's ‖a_{L,i}‖²."""
        found = []
        for one in self._outputs:
            found.append(jnp.concatenate([_norms(a, b) for _, a, b in batches(one, self._samples)]))
        return sum(found[1:], found[0]) / len(found)

    def to_dense(self) -> Float[Array, "n n"]:
        """The matrix."""
        return empirical_kernels(self.network, self.x, output=self.output).ntk

    @cached_property
    def _outputs(self) -> list[Output]:
        return outputs_of(self.network, self.output)

    @cached_property
    def _samples(self) -> Float[Array, "n p"]:
        return self._outputs[0].network.check_inputs(self.x)

    def _product(self, one: Output, v: Float[Array, "n m"]) -> Float[Array, "n m"]:
        gradients = None
        for start, a, b in batches(one, self._samples):
            gradients = _gathered(gradients, a, b, v[start : start + BATCH])
        return jnp.concatenate([_applied(gradients, a, b) for _, a, b in batches(one, self._samples)])


def _samples(network: Network, x: object, x2: object | None) -> tuple[Array, int | None]:
    """All samples in one array, and where the second set begins."""
    first = network.check_inputs(x)
    if x2 is None:
        return first, None
    return jnp.concatenate([first, network.check_inputs(x2).astype(first.dtype)]), first.shape[0]


def _shape(samples: Array, split: int | None) -> tuple[int, int]:
    n = samples.shape[0]
    return (n, n) if split is None else (split, n - split)


def _add(total: Array, a: Array, b: Array | None, split: int | None, weight: float) -> Array:
    """Add (A Aᵀ) ∘ (B Bᵀ) in place, tile by tile, the upper triangle and its mirror image."""
    n, m = total.shape
    for i in range(0, n, TILE):
        for j in range(i if split is None else 0, m, TILE):
            shape, columns = (min(TILE, n - i), min(TILE, m - j)), j + (split or 0)
            tile = _tile(shape, a, b, i, columns, weight)
            total = _added(total, tile, i, j)
            if split is None and i != j:
                total = _added(total, tile.T, j, i)
        # what waits to be computed holds memory
        total.block_until_ready()
    return total


@partial(jax.jit, static_argnums=0)
def _tile(shape: tuple[int, int], a: Array, b: Array | None, i: int, j: int, weight: float) -> Array:
    def product(features: Array) -> Array:
        left = jax.lax.dynamic_slice_in_dim(features, i, shape[0])
        right = jax.lax.dynamic_slice_in_dim(features, j, shape[1])
        return jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)

    tile = product(a) * jnp.asarray(weight, a.dtype)
    return tile if b is None else tile * product(b)


@partial(jax.jit, donate_argnums=0)
def _added(total: Array, tile: Array, i: int, j: int) -> Array:
    # one update a program: two would make XLA copy the whole
    before = jax.lax.dynamic_slice(total, (i, j), tile.shape)
    return jax.lax.dynamic_update_slice(total, before + tile, (i, j))


@jax.jit
def _norms(a: Sequence[Array], b: Sequence[Array]) -> Float[Array, " batch"]:
    squares = [jnp.sum(features**2, axis=1) for features in (*a, *b)]
    depth = len(b)
    hidden = [squares[k] * squares[depth + 1 + k] for k in range(depth)]
    return sum(hidden, squares[depth])


@jax.jit
def _gathered(gradients: list[Array] | None, a: Sequence[Array], b: Sequence[Array], v: Array) -> list[Array]:
    """G_l of every layer, one a column of v, with those of earlier batches."""
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    found = [product("nm,nb,na->mba", v, local, before) for before, local in zip(a[:-1], b, strict=True)]
    found.append(product("nm,na->ma", v, a[-1]))
    return found if gradients is None else [old + new for old, new in zip(gradients, found, strict=True)]


@jax.jit
def _applied(gradients: list[Array], a: Sequence[Array], b: Sequence[Array]) -> Float[Array, "batch m"]:
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    hidden = zip(gradients[:-1], a[:-1], b, strict=True)
    parts = [product("nb,mba,na->nm", local, g, before) for g, before, local in hidden]
    return sum(parts, product("ma,na->nm", gradients[-1], a[-1]))
