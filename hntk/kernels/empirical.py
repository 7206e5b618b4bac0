r"""Kernels of one network with its weights, drawn or trained.

With forward features $A_l$ and backward features $B_l$ (:mod:`hntk.kernels.backpropagation`), the NTK of a plain
fully-connected network is $A_LA_L^\top + \sum_l (A_{l-1}A_{l-1}^\top) \circ (B_lB_l^\top)$. With biases, scales and a
normalisation the first factor is $\sigma_w^2NN^\top + \sigma_b^2$, N being the normalised features, and a residual
branch adds $\rho^2(FF^\top) \circ (RR^\top)$ for its outer weights, which multiply F and whose products have the
gradients R. No Jacobian is formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_choice
from hntk._utils.memory import check_room
from hntk.activations import SurrogateLike
from hntk.kernels.backpropagation import forward, walk
from hntk.kernels.exact import Engine
from hntk.kernels.gradient_products import Gradient, add_products
from hntk.kernels.kernel_memory import check_memory
from hntk.kernels.network_function import neural_tangents_of_outputs
from hntk.kernels.network_outputs import Output, Parameterization, outputs_of, samples_of
from hntk.kernels.problem import Kernels
from hntk.kernels.surrogate_gradients import surrogate_gradients_kernel
from hntk.networks.float_readout import FloatReadout
from hntk.networks.network import Network


def empirical_kernels(
    network: Network | FloatReadout,
    x: object,
    *,
    x2: object | None = None,
    output: object = None,
    parameterization: Parameterization = "ntk",
    engine: Engine = "native",
    surrogate: SurrogateLike | Sequence[SurrogateLike | None] | None = None,
    bandwidth: float | None = None,
) -> Kernels:
    """Return the conjugate kernel and the NTK of one network with its weights, readout included.

    Trained are all weights, biases, outer weights of residual branches and the readout. With
    ``parameterization="ntk"`` the gradient is by those of variance 1, so that at infinite width the NTK is that of
    :func:`exact_kernels`. With ``"standard"`` it is by the products that the network multiplies with, such as σ_w W/√d
    and σ_b b, which frameworks store: the NTK is then J Jᵀ with the Jacobian J of such a model by its own parameters,
    and grows with the width.

    Both kernels take the memory of the results, and of one layer's forward and backward features. The derivative of a
    staircase is zero almost everywhere, so no gradient passes it: the NTK of a network with jumps counts the layers
    above its last jump only, and equals the conjugate kernel where every layer is a staircase.

    Parameters
    ----------
    network : Network, Classifier or Regressor
        Network, drawn or trained, whose output is its readout at initialisation; or a classifier, whose NTK is the mean
        over its outputs. With a readout of all layers the conjugate kernel is K_1 + … + K_L.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    x2 : array_like, optional
        (m, p) further samples, for kernels between ``x`` and ``x2``. By default ``x`` itself.
    output : object, optional
        The class of a classifier whose output is meant. By default the mean over all.
    parameterization : {"ntk", "standard"}
        By which parameters gradients are. A classifier's offset is one of them in ``"standard"``, and adds 1 to every
        entry. It is none in ``"ntk"``, as the theory's readout has no bias.
    engine : {"native", "neural_tangents"}
        What computes the kernels. ``"neural_tangents"`` differentiates the network as a function of its parameters,
        and contracts Jacobians of a few samples at a time: slower, for comparison.
    surrogate : str, Activation, Surrogate or sequence of them, optional
        What the backward pass has in the place of derivatives of staircases, see :func:`hntk.surrogate`. The NTK is
        then an estimate of that of training with this straight-through estimator: entry (i, j) says how the output of
        sample i changes by a small step on sample j. Of a step, a staircase's true derivative is a sum of delta
        functions; of their mean over neurons only an estimate can be had, with Gaussians in their place. At infinite
        width it is the NTK of :func:`exact_kernels` with this surrogate. All forward and backward features are in
        memory at a time.
    bandwidth : float, optional
        Width of these Gaussians, in units of the root mean square of a layer's pre-activations. The estimate is off by
        the order of its square, and scatters with a variance inverse to it and to the width d. By default 1.06 d^−0.2,
        the rule for estimates of densities.

    Returns
    -------
    Kernels
        Conjugate kernel ``ck`` and NTK ``ntk``, each (n, n) or (n, m), in the precision of ``x``. The conjugate kernel
        is the same in both parameterizations.

    Raises
    ------
    ValueError
        If ``x`` does not fit the network, there is no such output, parameterization or engine, or the readout at
        initialisation was not kept.
    ImportError
        If neural-tangents is asked for and not installed. The message names the extra.
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
    outputs = outputs_of(network, output, parameterization)
    samples, split = _samples(outputs[0].network, x, x2)
    shape = _shape(samples, split)
    check_memory(shape, np.dtype(samples.dtype))
    by_neural_tangents = as_choice(engine, "engine", get_args(Engine)) == "neural_tangents"
    if surrogate is not None or bandwidth is not None:
        return _with_surrogate(outputs, samples, split, surrogate, bandwidth, by_neural_tangents)
    if by_neural_tangents:
        return neural_tangents_of_outputs(outputs, samples, split)
    depth = len(outputs[0].network.weights)
    kernels = {"ck": jnp.zeros(shape, samples.dtype)}

    def visit(first: bool, layer: int, gradient: Gradient) -> None:
        if layer < depth:
            kernels["ntk"] = add_products(kernels["ntk"], gradient, split, 1 / len(outputs))
        elif first:  # all outputs read the same features
            kernels["ck"] = add_products(kernels["ck"], Gradient(gradient.a), split)
            if outputs[0].standard:
                before = kernels["ntk"] if "ntk" in kernels else jnp.zeros(shape, samples.dtype)
                kernels["ntk"] = add_products(before, gradient, split)
            else:
                kernels["ntk"] = kernels["ck"] + 0

    for number, one in enumerate(outputs):
        walk(one, samples, partial(visit, number == 0))
    return Kernels(**kernels)


def _with_surrogate(
    outputs: list[Output],
    samples: Array,
    split: int | None,
    surrogate: object,
    bandwidth: float | None,
    by_neural_tangents: bool,
) -> Kernels:
    """Return the conjugate kernel, and the NTK of training with surrogates."""
    if surrogate is None:
        raise ValueError("bandwidth= is for kernels of surrogates: give surrogate= too, or leave it out.")
    if by_neural_tangents:
        raise ValueError("engine='neural_tangents' has no surrogates: leave engine out where surrogate= is given.")
    rows, columns = (samples, samples) if split is None else (samples[:split], samples[split:])
    ntk = surrogate_gradients_kernel(outputs, rows, columns, surrogate, bandwidth)
    return Kernels(_readout_kernel(outputs[0], samples, split), ntk)


def _readout_kernel(output: Output, samples: Array, split: int | None) -> Array:
    """Return the conjugate kernel of what the readout reads."""
    last = len(output.network.weights)
    kernel = jnp.zeros(_shape(samples, split), samples.dtype)
    for depth in range(1 if output.layers == "all" else last, last + 1):
        kernel = add_products(kernel, Gradient(forward(output.network, samples, depth)), split)
    return kernel


def empirical_parts(
    network: Network | FloatReadout,
    x: object,
    *,
    x2: object | None = None,
    output: object = None,
    parameterization: Parameterization = "ntk",
) -> tuple[Float[Array, "n m"], ...]:
    """Return what the parameters of each layer contribute to the NTK of :func:`empirical_kernels`, which is their sum.

    A layer's parameters are its weights, its biases, and the outer weights of its residual branch.

    Parameters
    ----------
    network : Network, Classifier or Regressor
        Network, drawn or trained, or a classifier.
    x : array_like
        (n, p) samples, normalised as the network takes them.
    x2 : array_like, optional
        (m, p) further samples. By default ``x`` itself.
    output : object, optional
        The class of a classifier whose output is meant. By default the mean over all.
    parameterization : {"ntk", "standard"}
        By which parameters gradients are, as in :func:`empirical_kernels`.

    Returns
    -------
    tuple of Array
        L + 1 matrices, each (n, n) or (n, m): first layer first, readout last.

    Raises
    ------
    ValueError
        If ``x`` does not fit the network, there is no such output or parameterization, or the readout at initialisation
        was not kept.
    MemoryError
        If the matrices do not fit into memory.
    """
    outputs = outputs_of(network, output, parameterization)
    samples, split = _samples(outputs[0].network, x, x2)
    (n, m), count = _shape(samples, split), len(outputs[0].network.weights) + 1
    check_room(
        n * m * (count + 1) * samples.dtype.itemsize,
        f"{count} parts of shape {(n, m)}",
        "Give fewer samples; hntk.empirical_kernels keeps their sum alone.",
    )
    parts = [jnp.zeros((n, m), samples.dtype) for _ in range(count)]

    def visit(layer: int, gradient: Gradient) -> None:
        parts[layer] = add_products(parts[layer], gradient, split, 1 / len(outputs))

    for one in outputs:
        walk(one, samples, visit)
    return tuple(parts)


def _samples(network: Network, x: object, x2: object | None) -> tuple[Array, int | None]:
    """Return all samples in one array, and where the second set begins."""
    first = samples_of(network, x)
    if x2 is None:
        return first, None
    return jnp.concatenate([first, samples_of(network, x2).astype(first.dtype)]), first.shape[0]


def _shape(samples: Array, split: int | None) -> tuple[int, int]:
    n = samples.shape[0]
    return (n, n) if split is None else (split, n - split)
