r"""Gradients of an output by every layer's parameters, layer by layer and a batch of samples at a time.

$A_l = h_l/\sqrt{d_l}$ is the input of layer l + 1 ($A_0 = x$), and $B_l$ the gradient of the output by layer l's
preactivation: $B_L = \sigma_L' \circ w/\sqrt{d_L}$ and $B_{l-1} = \sigma_{l-1}' \circ B_lW_l/\sqrt{d_{l-1}}$ in a plain
network. The gradient by $W_l$ is then $B_l^\top A_{l-1}$, one outer product a sample. A readout of all layers adds its
weights $w_l/\sqrt{d_l}$ to what reaches each layer, and its own gradient is $(A_1, …, A_L)$ side by side. What scales,
biases, branches and normalisation change in a layer stands in :mod:`hntk.kernels.layer_passes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.kernels.gradient_products import Gradient
from hntk.kernels.layer_passes import Forwards, HiddenPass, down, hidden_passes, into_branch, row_sizes, units
from hntk.kernels.network_outputs import Output, read_features
from hntk.networks.network import Network

# samples that pass through the network at a time
BATCH = 1024


def forward(network: Network, x: Float[Array, "n p"], depth: int) -> Float[Array, "n width"]:
    """Return A_l at l = ``depth``; of other layers one batch is in memory at a time."""
    if depth == 0:
        return x
    layers = hidden_passes(network)[:depth]
    features = jnp.empty((x.shape[0], layers[-1].weights.shape[0]), x.dtype)
    for start in range(0, x.shape[0], BATCH):
        a = x[start : start + BATCH]
        for layer in layers:
            a = layer.programs.forward(layer.arrays, a)
        # work that is queued but not done holds memory
        features = _put(features, a, start).block_until_ready()
    return features


def walk(output: Output, x: Float[Array, "n p"], visit: Callable[[int, Gradient], None]) -> None:
    """Call ``visit`` with the gradients by all parameters of the output, from the readout's to the first layer's.

    Parameters
    ----------
    output : Output
        The output.
    x : (n, p) array
        Samples.
    visit : callable
        Function of the number of layers below the parameters, L for the readout, and a :class:`Gradient`. A residual
        layer has two: the outer weights' and the inner ones'.

    Notes
    -----
    Two arrays of n rows are in memory at a time, with a normalisation or a residual branch three. With few samples all
    are kept, which saves another pass through the network for every layer.
    """
    layers = hidden_passes(output.network)
    if x.shape[0] <= BATCH:
        _, gradients = next(batches(output, x))
        for depth, gradient in reversed(gradients):
            visit(depth, gradient)
        return
    read = range(len(layers) if output.layers == "last" else 1, len(layers) + 1)
    for gradient in _readout(output, [forward(output.network, x, depth) for depth in read]):
        visit(len(layers), gradient)
        del gradient
    reached = output.added(len(layers), x.dtype)
    for depth in reversed(range(len(layers))):
        assert reached is not None
        reached = _walk_layer(output, x, layers[depth], depth, reached, partial(visit, depth))


def _walk_layer(
    output: Output, x: Array, layer: HiddenPass, depth: int, reached: Array, visit: Callable[[Gradient], None]
) -> Array | None:
    """Visit one layer's gradients, and return R of the layer below, in the memory of this layer's; None below all."""
    width, before = layer.weights.shape
    a, size, skipped = forward(output.network, x, depth), None, None
    if layer.normalize is not None:
        size = row_sizes(a, layer.normalize)
        # the samples' own memory is not to be written to
        a = _by_batches(partial(units, kind=layer.normalize), [a], before, 0 if depth else None)
    if layer.branch is not None:
        skipped = reached = jnp.broadcast_to(reached, (x.shape[0], width))
        inner = _by_batches(partial(layer.programs.inner, layer.arrays), [a], width)
        visit(_by_branch(output, layer, inner, reached))
        del inner
    over = 0 if skipped is None else None
    b = _by_batches(partial(layer.programs.local, layer.arrays), [reached, a], width, over)
    del reached
    visit(_by_weights(output, layer, depth, a, b))
    if depth == 0:
        return None
    a = None if size is None else a
    program = partial(down, layer.normalize, layer.arrays, output.added(depth, x.dtype))
    return _by_batches(program, [b, skipped, a, size], before, 0)


def batches(output: Output, x: Float[Array, "n p"]) -> Iterator[tuple[int, list[tuple[int, Gradient]]]]:
    """Yield the first row, and what :func:`walk` visits from the first layer to the readout, of every batch."""
    layers = hidden_passes(output.network)
    for start in range(0, x.shape[0], BATCH):
        a, passed = [x[start : start + BATCH]], []
        for layer in layers:
            passed.append(layer.programs.both(layer.arrays, a[-1]))
            a.append(passed[-1].state)
        yield start, [*_hidden(output, layers, a, passed), *((len(layers), g) for g in _readout(output, a[1:]))]


def _hidden(
    output: Output, layers: Sequence[HiddenPass], states: Sequence[Array], passed: Sequence[Forwards]
) -> list[tuple[int, Gradient]]:
    """Return the gradients of a batch by the parameters of hidden layers, first layer first."""
    dtype, gradients = states[0].dtype, []
    reached = output.added(len(layers), dtype)
    for depth in reversed(range(len(layers))):
        layer, done = layers[depth], passed[depth]
        assert reached is not None
        b = (reached if done.inner is None else into_branch(layer.arrays, reached)) * done.slope
        if done.inner is not None:
            reached = jnp.broadcast_to(reached, b.shape)
            gradients.append((depth, _by_branch(output, layer, done.inner, reached)))
        a = states[depth] if done.unit is None else done.unit
        gradients.append((depth, _by_weights(output, layer, depth, a, b)))
        if depth:
            skipped = None if done.inner is None else reached
            added = output.added(depth, dtype)
            reached = down(layer.normalize, layer.arrays, added, b, skipped, done.unit, done.size)
    return gradients[::-1]


def _by_weights(output: Output, layer: HiddenPass, depth: int, a: Array, b: Array) -> Gradient:
    """Return the gradients by a layer's weights and biases."""
    biased = layer.bias is not None
    if output.standard:
        # where it is not normalised the first layer multiplies x = h_0/√p
        fan_in = layer.weights.shape[1] if depth or layer.normalize else 1
        return Gradient(a, b, float(fan_in), 1.0 if biased else None)
    weight_std, bias_std, _ = layer.scales
    return Gradient(a, b, None if weight_std == 1 else weight_std**2, bias_std**2 if biased else None)


def _by_branch(output: Output, layer: HiddenPass, inner: Array, reached: Array) -> Gradient:
    """Return the gradients by the outer weights of a residual branch."""
    return Gradient(inner, reached, float(inner.shape[1]) if output.standard else layer.scales.residual**2)


def _readout(output: Output, features: Sequence[Array]) -> list[Gradient]:
    """Return the gradients by the readout, of the A_l that it reads or all."""
    if not output.standard:
        return [Gradient(read_features(features, output.layers))]
    read = features if output.layers == "all" else features[-1:]
    offsets = [None] * (len(read) - 1) + [1.0 if output.has_offset else None]
    return [Gradient(a, None, float(a.shape[1]), offset) for a, offset in zip(read, offsets, strict=True)]


def _by_batches(
    program: Callable[..., Array], arrays: Sequence[Array | None], width: int, over: int | None = None
) -> Array:
    """Apply a program to batches of rows of arrays; those of one row serve all.

    The result takes the memory of the array of index ``over``, where it has that shape.
    """
    given = list(arrays)
    first = next(a for a in given if a is not None and len(a) > 1)
    shape = (len(first), width)
    taken = given[over] if over is not None else None
    in_place = taken is not None and taken.shape == shape
    result = taken if in_place and taken is not None else jnp.empty(shape, first.dtype)
    for start in range(0, len(first), BATCH):
        if in_place and over is not None:
            given[over] = result
        parts = (a if a is None or len(a) == 1 else a[start : start + BATCH] for a in given)
        result = _put(result, program(*parts), start).block_until_ready()
    return result


@partial(jax.jit, donate_argnums=0)
def _put(whole: Array, part: Array, start: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)
