r"""Kernels of one network with its weights, drawn or trained.

With forward features $A_l$ and backward features $B_l$ (:mod:`hntk.kernels.backpropagation`), the NTK of a
fully-connected network is $A_LA_L^\top + \sum_l (A_{l-1}A_{l-1}^\top) \circ (B_lB_l^\top)$. No Jacobian is formed.
Products with vectors need no (n, n) matrix either: with $G_l = \sum_i v_i b_{l,i}a_{l-1,i}^\top$, of the shape of the
weights, $(\Theta v)_i = \sum_l b_{l,i}^\top G_l a_{l-1,i}$ plus the readout's term.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import as_columns
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk.kernels.backpropagation import BATCH, Output, batches, outputs_of, walk
from hntk.kernels.kernel_memory import check_memory
from hntk.kernels.problem import Kernels
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network

# samples on the side of a tile
TILE = 1024


def empirical_kernels(
    network: Network | Classifier, x: object, *, x2: object | None = None, output: object = None
) -> Kernels:
    """Return the conjugate kernel and the NTK of one network with its weights, readout included.

    They take the memory of the results, and of one layer's forward and backward features. The derivative of a staircase
    is zero almost everywhere, so no gradient passes it: the NTK of a network with jumps counts the layers above its
    last jump only, and equals the conjugate kernel where every layer is a staircase.

    Parameters
    ----------
    network : Network or Classifier
        Network, drawn or trained, whose output is its readout at initialisation; or a classifier, whose NTK is the mean
        over its outputs. With a readout of all layers the conjugate kernel is K_1 + … + K_L.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    x2 : array_like, optional
        (m, p) further samples, for kernels between ``x`` and ``x2``. By default ``x`` itself.
    output : object, optional
        The class of a classifier whose output is meant. By default the mean over all.

    Returns
    -------
    Kernels
        Conjugate kernel ``ck`` and NTK ``ntk``, each (n, n) or (n, m), in the precision of ``x``.

    Raises
    ------
    ValueError
        If ``x`` does not fit the network, there is no such output, or the readout at initialisation was not kept.
    MemoryError
        If the kernels do not fit into memory. :class:`EmpiricalNTK` needs no (n, n) matrix.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> net = hntk.dense(["relu"] * 2, [64, 64], x, key=jax.random.key(1))
    >>> hntk.empirical_kernels(net, x).ntk.shape
    (6, 6)
    """
    outputs = outputs_of(network, output)
    samples, split = _samples(outputs[0].network, x, x2)
    shape = _shape(samples, split)
    check_memory(shape, np.dtype(samples.dtype))
    depth, kernels = len(outputs[0].network.weights), {}

    def visit(layer: int, a: Array, b: Array | None) -> None:
        if layer < depth:
            kernels["ntk"] = _add(kernels["ntk"], a, b, split, 1 / len(outputs))
        elif not kernels:
            kernels["ck"] = _add(jnp.zeros(shape, samples.dtype), a, None, split, 1.0)
            kernels["ntk"] = kernels["ck"] + 0

    for one in outputs:
        walk(one, samples, visit)
    return Kernels(**kernels)


def empirical_parts(
    network: Network | Classifier, x: object, *, x2: object | None = None, output: object = None
) -> tuple[Float[Array, "n m"], ...]:
    """Return what the weights of each layer contribute to the NTK of :func:`empirical_kernels`, which is their sum.

    Parameters
    ----------
    network : Network or Classifier
        Network, drawn or trained, or a classifier.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    x2 : array_like, optional
        (m, p) further samples. By default ``x`` itself.
    output : object, optional
        The class of a classifier whose output is meant. By default the mean over all.

    Returns
    -------
    tuple of Array
        L + 1 matrices, each (n, n) or (n, m): first layer first, readout last.

    Raises
    ------
    ValueError
        If ``x`` does not fit the network, there is no such output, or the readout at initialisation was not kept.
    MemoryError
        If the matrices do not fit into memory.
    """
    outputs = outputs_of(network, output)
    samples, split = _samples(outputs[0].network, x, x2)
    (n, m), count = _shape(samples, split), len(outputs[0].network.weights) + 1
    check_room(
        n * m * (count + 1) * samples.dtype.itemsize,
        f"{count} parts of shape {(n, m)}",
        "Give fewer samples; hntk.empirical_kernels keeps their sum alone.",
    )
    parts = [jnp.zeros((n, m), samples.dtype) for _ in range(count)]

    def visit(layer: int, a: Array, b: Array | None) -> None:
        parts[layer] = _add(parts[layer], a, b, split, 1 / len(outputs))

    for one in outputs:
        walk(one, samples, visit)
    return tuple(parts)


@array_dataclass(static=("output",))
class EmpiricalNTK:
    """The NTK of one network on samples, as an operator without an (n, n) matrix.

    A product takes two passes through the network, and the memory of its weights. The diagonal takes one pass.

    Attributes
    ----------
    network : Network or Classifier
        Network, drawn or trained, whose output is its readout at initialisation; or a classifier.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    output : object
        The class of a classifier whose output is meant, or None for the mean over all.

    Raises
    ------
    ValueError
        If the samples or the output do not fit the network. It is raised when the operator is first used.

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

    def __repr__(self) -> str:
        return f"EmpiricalNTK({type(self.network).__name__}, x of shape {np.shape(self.x)}, output={self.output!r})"  # type: ignore[call-overload]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix, (n, n)."""
        return self._samples.shape[0], self._samples.shape[0]

    def matvec(self, v: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Return the product with a vector (n,), or a block (n, m) of few columns.

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
        """Return Θ(x_i, x_i) = Σ_l ‖a_{l−1,i}‖² ‖b_{l,i}‖² + ‖a_{L,i}‖², the last term being the readout's."""
        each = [jnp.concatenate([_norms(a, b) for _, a, b in batches(one, self._samples)]) for one in self._outputs]
        return sum(each[1:], each[0]) / len(each)

    def to_dense(self) -> Float[Array, "n n"]:
        """Return the matrix."""
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
    """Return all samples in one array, and where the second set begins."""
    first = network.check_inputs(x)
    if x2 is None:
        return first, None
    return jnp.concatenate([first, network.check_inputs(x2).astype(first.dtype)]), first.shape[0]


def _shape(samples: Array, split: int | None) -> tuple[int, int]:
    n = samples.shape[0]
    return (n, n) if split is None else (split, n - split)


def _add(total: Array, a: Array, b: Array | None, split: int | None, weight: float) -> Array:
    """Add (A Aᵀ) ∘ (B Bᵀ) in place, tile by tile; of symmetric kernels the upper triangle and its mirror image."""
    n, m = total.shape
    for i in range(0, n, TILE):
        for j in range(i if split is None else 0, m, TILE):
            shape, columns = (min(TILE, n - i), min(TILE, m - j)), j + (split or 0)
            tile = _tile(shape, a, b, i, columns, weight)
            total = _added(total, tile, i, j)
            if split is None and i != j:
                total = _added(total, tile.T, j, i)
        # work that is queued but not done holds memory
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
    # one update per program: with two, XLA would copy the whole array
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
    """Return G_l of every layer, for each column of v, added to those of earlier batches."""
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    added = [product("nm,nb,na->mba", v, local, before) for before, local in zip(a[:-1], b, strict=True)]
    added.append(product("nm,na->ma", v, a[-1]))
    return added if gradients is None else [old + new for old, new in zip(gradients, added, strict=True)]


@jax.jit
def _applied(gradients: list[Array], a: Sequence[Array], b: Sequence[Array]) -> Float[Array, "batch m"]:
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    hidden = zip(gradients[:-1], a[:-1], b, strict=True)
    parts = [product("nb,mba,na->nm", local, g, before) for g, before, local in hidden]
    return sum(parts, product("ma,na->nm", gradients[-1], a[-1]))
