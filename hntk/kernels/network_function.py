r"""A network as a function of its parameters, and the kernels that neural-tangents makes of it.

neural-tangents differentiates the function and contracts Jacobians. hntk's own kernels
(:mod:`hntk.kernels.backpropagation`) form none, and are faster. Use this to compare, or to go on in neural-tangents.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.devices import exact_product
from hntk.kernels._neural_tangents import load
from hntk.kernels.layer_passes import HiddenPass, hidden_passes
from hntk.kernels.network_outputs import Output, read_features
from hntk.kernels.problem import Kernels
from hntk.networks.read_layers import read_widths
from hntk.networks.row_normalization import unit_rows

# bytes of the Jacobian of the samples that are worked on at a time
JACOBIAN = 2**27


class Parameters(NamedTuple):
    """Parameters of an output; None for those that it does not have.

    Attributes
    ----------
    weights : list of Array
        (d_l, d_{l−1}) weights of each layer.
    biases : list of Array or None
        (d_l,) biases.
    branches : list of Array or None
        (d_l, d_l) outer weights of residual branches.
    readout : Array
        Weights of the readout.
    offset : Array or None
        Offset of the output.
    """

    weights: list[Array]
    biases: list[Array | None]
    branches: list[Array | None]
    readout: Float[Array, " width"]
    offset: Float[Array, ""] | None


class Factors(NamedTuple):
    """What a layer multiplies its parameters with: the rest of the products that the network computes.

    Attributes
    ----------
    weights, biases, branch : float
        Factors of W n(h)/√d, of b, and of W₂f/√d.
    """

    weights: float
    biases: float
    branch: float


def parameters_of(output: Output, dtype: Any) -> tuple[Parameters, list[Factors]]:
    """Return an output's parameters in its parameterization, and the factors that they are multiplied with."""
    weights, biases, branches, factors = [], [], [], []
    for depth, layer in enumerate(hidden_passes(output.network)):
        scales, (width, before) = layer.scales, layer.weights.shape
        fan_in = before if depth or layer.normalize else 1
        # factors of the parameters of variance 1, and what is taken from them into the products
        whole = Factors(scales.weight_std, scales.bias_std, scales.residual / sqrt(width))
        left = Factors(sqrt(fan_in), 1.0, 1.0) if output.standard else whole
        taken = [a / b if a else 0.0 for a, b in zip(whole, left, strict=True)]
        weights.append(layer.weights.dense(dtype) * jnp.asarray(taken[0], dtype))
        biases.append(None if layer.bias is None else layer.bias.astype(dtype) * jnp.asarray(taken[1], dtype))
        branches.append(None if layer.branch is None else layer.branch.dense(dtype) * jnp.asarray(taken[2], dtype))
        factors.append(left)
    readout = output.readout.astype(dtype)
    if output.standard:
        readout = readout / _read_sizes(output, dtype)
    # its value has no gradient
    offset = jnp.zeros((), dtype) if output.standard and output.has_offset else None
    return Parameters(weights, biases, branches, readout, offset), factors


def _read_sizes(output: Output, dtype: Any) -> Float[Array, " width"]:
    """Return √d_l for each feature that is read."""
    widths = read_widths(output.network.widths, output.layers)
    return jnp.asarray(np.sqrt(np.repeat(widths, widths)), dtype)


def features_of(
    layers: Sequence[HiddenPass], factors: Sequence[Factors], parameters: Parameters, x: Float[Array, "n p"]
) -> list[Float[Array, "n width"]]:
    """Return A_1 … A_L as a function of the parameters."""
    states = [x]
    for layer, factor, w, b, w2 in zip(layers, factors, *parameters[:3], strict=True):
        unit = states[-1] if layer.normalize is None else unit_rows(states[-1], layer.normalize)
        u = jnp.asarray(factor.weights, x.dtype) * _product(unit, w)
        u = u if b is None else u + jnp.asarray(factor.biases, x.dtype) * b
        f = (layer.activation(u) - layer.centre).astype(x.dtype) / sqrt(w.shape[0])
        states.append(f if w2 is None else states[-1] + jnp.asarray(factor.branch, x.dtype) * _product(f, w2))
    return states[1:]


def _product(a: Array, w: Array) -> Array:
    return exact_product(a, w.T)


def output_function(output: Output, factors: Sequence[Factors]) -> Callable[[Parameters, Array], Array]:
    """Return the function of parameters and samples that gives an output, (n, 1)."""
    layers = hidden_passes(output.network)

    def function(parameters: Parameters, x: Array) -> Array:
        read = read_features(features_of(layers, factors, parameters, x), output.layers)
        read = read * _read_sizes(output, x.dtype) if output.standard else read
        values = exact_product(read, parameters.readout)
        return (values if parameters.offset is None else values + parameters.offset)[:, None]

    return function


def neural_tangents_of_outputs(outputs: Sequence[Output], samples: Float[Array, "n p"], split: int | None) -> Kernels:
    """Return the conjugate kernel and the mean NTK of a network's outputs by neural-tangents.

    Parameters
    ----------
    outputs : sequence of Output
        Outputs of one network.
    samples : (n, p) array
        All samples.
    split : int or None
        Where the second set of samples begins; None for one set.

    Returns
    -------
    Kernels
        Both kernels.

    Raises
    ------
    ImportError
        If neural-tangents is not installed, or cannot be imported on the installed JAX.
    """
    nt: Any = load()
    dtype = samples.dtype
    each = [parameters_of(output, dtype)[0] for output in outputs]
    factors = parameters_of(outputs[0], dtype)[1]
    function = output_function(outputs[0], factors)
    kernel_fn = nt.empirical_ntk_fn(function, vmap_axes=0, implementation=nt.NtkImplementation.JACOBIAN_CONTRACTION)
    program = jax.jit(lambda x1, x2, parameters: kernel_fn(x1, x2, parameters))
    ntk = sum(_in_blocks(program, samples, split, parameters) for parameters in each) / len(each)
    layers = hidden_passes(outputs[0].network)
    features = read_features(features_of(layers, factors, each[0], samples), outputs[0].layers)
    left, right = (features, features) if split is None else (features[:split], features[split:])
    return Kernels(exact_product(left, right.T), jnp.asarray(ntk, dtype))


def _in_blocks(program: Callable[..., Array], samples: Array, split: int | None, parameters: Parameters) -> np.ndarray:
    """Return a kernel by blocks of samples, of one shape, whose Jacobians are small."""
    left, right = (samples, samples) if split is None else (samples[:split], samples[split:])
    each = sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(parameters))
    size = int(np.clip(JACOBIAN // each, 1, max(len(left), len(right))))
    kernel = np.empty((len(left), len(right)), samples.dtype)
    with warnings.catch_warnings():
        # neural-tangents asks NumPy's way for shapes of lists
        warnings.filterwarnings("ignore", r"(size|shape) requires ndarray", DeprecationWarning)
        for i in range(0, len(left), size):
            for j in range(i if split is None else 0, len(right), size):
                block = np.asarray(program(_block(left, i, size), _block(right, j, size), parameters))
                block = block[: len(left) - i, : len(right) - j]
                kernel[i : i + size, j : j + size] = block
                if split is None:
                    kernel[j : j + size, i : i + size] = block.T
    return kernel


def _block(x: Array, start: int, size: int) -> Array:
    """Return rows of x, the last of which fills up what is missing behind the end."""
    return x[np.minimum(np.arange(start, start + size), len(x) - 1)]
