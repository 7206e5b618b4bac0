r"""Forward and backward features of a network, layer by layer and a batch of samples at a time.

$A_l = h_l/\sqrt{d_l}$ is the input of layer l + 1 ($A_0 = x$), and $B_l$ the gradient of the output by layer l's
preactivation: $B_L = \sigma_L' \circ w/\sqrt{d_L}$ and $B_{l-1} = \sigma_{l-1}' \circ B_lW_l/\sqrt{d_{l-1}}$. The
gradient by $W_l$ is then $B_l^\top A_{l-1}$, one outer product a sample. A readout of all layers adds its weights
$w_l/\sqrt{d_l}$ to what reaches each layer, and its own gradient is $(A_1, …, A_L)$ side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from math import sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_instance
from hntk._utils.arrays import brief
from hntk.activations import Activation
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.weights.weight_matrix import Weights

# samples that pass through the network at a time
BATCH = 1024


class Output(NamedTuple):
    """A scalar output of a network: the product of a readout and the features of the layers that it reads."""

    network: Network
    readout: Float[Array, " width"]
    layers: ReadLayers = "last"

    def added(self, layer: int, dtype: jnp.dtype) -> Float[Array, "1 width"] | None:
        """Return w_l/√d_l of a layer, counted from 1; None if it is not read."""
        widths = self.network.widths
        if layer < len(widths) and self.layers == "last":
            return None
        end = sum(read_widths(widths[:layer], self.layers))
        return self.readout[end - widths[layer - 1] : end].astype(dtype)[None, :] / sqrt(widths[layer - 1])

    def read(self, features: Sequence[Array]) -> Array:
        """Return, of A_1 … A_L, what the readout reads."""
        return jnp.concatenate(features, axis=1) if self.layers == "all" else features[-1]


def outputs_of(model: Network | Classifier, output: object = None) -> list[Output]:
    """Return the outputs of a model whose kernels are wanted.

    Parameters
    ----------
    model : Network or Classifier
        Network, whose output is its readout at initialisation; or a classifier, which has one output per class.
    output : object
        The class of a classifier, or None for all of them.

    Returns
    -------
    list of Output
        The outputs.

    Raises
    ------
    ValueError
        If there is no such output.
    """
    as_instance(model, "network", (Network, Classifier), "a network, such as hntk.dense gives, or a classifier")
    if isinstance(model, Classifier):
        chosen = [k for k, known in enumerate(model.classes.tolist()) if output is None or _same(known, output)]
        if not chosen:
            raise ValueError(f"output must be one of the classes {model.classes.tolist()}, got {brief(output)}.")
        return [Output(model.network, jnp.asarray(model.weights[:, k]), model.layers) for k in chosen]
    if output is not None:
        raise ValueError("output= chooses a class of a classifier; this network has one output.")
    if model.readout is None:
        raise ValueError(
            "the NTK needs the readout at initialisation, which this network does not carry: use the network as drawn, "
            "dataclasses.replace(network, readout=...) with d_L standard Gaussian numbers, or a classifier."
        )
    return [Output(model, model.readout)]


def _same(known: object, output: object) -> bool:
    plain = isinstance(output, bool | int | float | str | np.generic)
    return plain and isinstance(output, bool | np.bool_) == isinstance(known, bool) and known == output


def forward(network: Network, x: Float[Array, "n p"], depth: int) -> Float[Array, "n width"]:
    """Return A_l at l = ``depth``; of other layers one batch is in memory at a time."""
    if depth == 0:
        return x
    layers = list(network.layers())[:depth]
    features = jnp.empty((x.shape[0], layers[-1][0].shape[0]), x.dtype)
    for start in range(0, x.shape[0], BATCH):
        h = x[start : start + BATCH]
        for w, _, sigma, m, *_ in layers:
            h = _programs(sigma).forward(h, w.values, w.scale, m)
        # work that is queued but not done holds memory
        features = _put(features, h, start).block_until_ready()
    return features


def walk(output: Output, x: Float[Array, "n p"], visit: Callable[[int, Array, Array | None], None]) -> None:
    """Call ``visit`` with l, A_{l−1} and B_l for every layer, from the readout, whose B is None, to the first layer.

    The readout's A is what it reads: A_L, or A_1 … A_L side by side.

    Two such arrays are in memory at a time. With few samples all are kept, which saves another pass through the network
    for every layer.
    """
    layers = list(output.network.layers())
    if x.shape[0] <= BATCH:
        _, forwards, backwards = next(batches(output, x))
        for depth in reversed(range(len(layers) + 1)):
            visit(depth, forwards[depth], backwards[depth] if depth < len(layers) else None)
        return
    read = range(len(layers) if output.layers == "last" else 1, len(layers) + 1)
    visit(len(layers), output.read([forward(output.network, x, depth) for depth in read]), None)
    b = output.added(len(layers), x.dtype)
    assert b is not None
    for depth, (w, fan_in, sigma, *_) in reversed(list(enumerate(layers))):
        a = forward(output.network, x, depth)
        b = _by_batches(_programs(sigma).local, x, w.shape[0], w, b, a)
        visit(depth, a, b)
        del a
        if depth:
            b = _by_batches(partial(_down, fan_in, output.added(depth, x.dtype)), x, w.shape[1], w, b, None)


def batches(output: Output, x: Float[Array, "n p"]) -> Iterator[tuple[int, list[Array], list[Array]]]:
    """Yield the first row, [A_0 … A_{L−1} and what the readout reads] and [B_1 … B_L] of every batch."""
    network = output.network
    layers = list(network.layers())
    for start in range(0, x.shape[0], BATCH):
        a, slopes = [x[start : start + BATCH]], []
        for w, _, sigma, m, *_ in layers:
            following, slope = _programs(sigma).both(a[-1], w.values, w.scale, m)
            a.append(following)
            slopes.append(slope)
        b = [output.added(len(layers), x.dtype) * slopes[-1]]
        for depth in range(len(layers) - 1, 0, -1):
            w, fan_in, *_ = layers[depth]
            b.append(_down(fan_in, output.added(depth, x.dtype), w.values, w.scale, b[-1], None) * slopes[depth - 1])
        yield start, [*a[:-1], output.read(a[1:])], b[::-1]


def _by_batches(program: Callable, x: Array, width: int, w: Weights, b: Array, a: Array | None) -> Array:
    """Apply a program of (weights, B, A) to batches of rows, in B's memory where it fits; a B of one row serves all."""
    n, in_place = x.shape[0], b.shape == (x.shape[0], width)
    result = b if in_place else jnp.empty((n, width), x.dtype)
    for start in range(0, n, BATCH):
        rows, source = slice(start, start + BATCH), result if in_place else b
        part = program(w.values, w.scale, source if len(source) == 1 else source[rows], None if a is None else a[rows])
        result = _put(result, part, start).block_until_ready()
    return result


class _Programs(NamedTuple):
    forward: Callable[..., Array]
    both: Callable[..., tuple[Array, Array]]
    local: Callable[..., Array]


@lru_cache(maxsize=64)
def _programs(sigma: Activation) -> _Programs:
    @jax.jit
    def forward(h: Array, values: Array, scale: float, m: float) -> Array:
        z = _product(h, values.T, scale)
        return (sigma(z) - m).astype(h.dtype) / sqrt(values.shape[0])

    @jax.jit
    def both(h: Array, values: Array, scale: float, m: float) -> tuple[Array, Array]:
        z = _product(h, values.T, scale)
        value, slope = jax.jvp(sigma, (z,), (jnp.ones_like(z),))
        return (value - m).astype(h.dtype) / sqrt(values.shape[0]), slope.astype(h.dtype)

    @jax.jit
    def local(values: Array, scale: float, backward: Array, a: Array) -> Array:
        z = _product(a, values.T, scale)
        return backward * jax.jvp(sigma, (z,), (jnp.ones_like(z),))[1].astype(a.dtype)

    return _Programs(forward, both, local)


@partial(jax.jit, static_argnums=0)
def _down(fan_in: float, added: Array | None, values: Array, scale: float, local: Array, _: None) -> Array:
    reached = _product(local, values, scale * fan_in)
    return reached if added is None else reached + added


def _product(a: Array, values: Array, scale: float) -> Array:
    # GPUs round the factors of a product to 10 bits unless told otherwise
    return jnp.matmul(a, values.astype(a.dtype), precision=jax.lax.Precision.HIGHEST) * jnp.asarray(scale, a.dtype)


@partial(jax.jit, donate_argnums=0)
def _put(whole: Array, part: Array, start: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)
