"""The NTK of one network with its weights, as products with vectors, a diagonal and a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import as_columns
from hntk._utils.pytree import array_dataclass
from hntk.kernels.backpropagation import batches
from hntk.kernels.empirical import empirical_kernels
from hntk.kernels.gradient_products import Gradient, apply, gather, squared_norms
from hntk.kernels.network_outputs import Output, Parameterization, outputs_of, samples_of
from hntk.networks.float_readout import FloatReadout
from hntk.networks.network import Network


@array_dataclass(static=("output", "parameterization"))
class EmpiricalNTK:
    """The NTK of one network on samples, as an operator without an (n, n) matrix.

    A product takes two passes through the network, and the memory of its weights. The diagonal takes one pass.

    Attributes
    ----------
    network : Network, Classifier or Regressor
        Network, drawn or trained, whose output is its readout at initialisation; or a classifier.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    output : object
        The class of a classifier whose output is meant, or None for the mean over all.
    parameterization : {"ntk", "standard"}
        By which parameters gradients are, as in :func:`empirical_kernels`.

    Raises
    ------
    ValueError
        If the samples, the output or the parameterization do not fit the network. It is raised when the operator is
        first used.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> net = hntk.dense(["relu"] * 2, [64, 64], x, key=jax.random.key(1))
    >>> ntk = hntk.EmpiricalNTK(net, x)
    >>> bool(jnp.allclose(ntk.matvec(jnp.ones(6)), hntk.empirical_kernels(net, x).ntk.sum(axis=1), rtol=1e-4))
    True
    """

    network: Network | FloatReadout
    x: object
    output: object = None
    parameterization: Parameterization = field(default="ntk", kw_only=True)

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
        """Return Θ(x_i, x_i), the squared norms of the gradients."""
        each = [jnp.concatenate([squared_norms(g) for _, g in self._batches(one)]) for one in self._outputs]
        return sum(each[1:], each[0]) / len(each)

    def to_dense(self) -> Float[Array, "n n"]:
        """Return the matrix."""
        return empirical_kernels(self.network, self.x, output=self.output, parameterization=self.parameterization).ntk

    @cached_property
    def _outputs(self) -> list[Output]:
        return outputs_of(self.network, self.output, self.parameterization)

    @cached_property
    def _samples(self) -> Float[Array, "n p"]:
        return samples_of(self._outputs[0].network, self.x)

    def _product(self, one: Output, v: Float[Array, "n m"]) -> Float[Array, "n m"]:
        gathered = None
        for start, gradients in self._batches(one):
            gathered = gather(gathered, gradients, v[start : start + len(gradients[-1].a)])
        return jnp.concatenate([apply(gathered, gradients) for _, gradients in self._batches(one)])

    def _batches(self, one: Output) -> Iterator[tuple[int, list[Gradient]]]:
        for start, gradients in batches(one, self._samples):
            yield start, [gradient for _, gradient in gradients]
