"""Networks whose weights are drawn from a law."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from hntk._utils.arguments import as_count, as_key, as_scale, as_widths
from hntk._utils.rows import as_samples, rms_norm
from hntk.networks.layer_parts import UNIT, check_branch_widths
from hntk.networks.network import Network
from hntk.theory.architecture import Architecture, ArchitectureLike, as_architecture
from hntk.theory.coefficients import centres_at
from hntk.weights.laws import WeightLaw, weight_law
from hntk.weights.weight_matrix import Weights

# Number of the key that biases and branches are drawn from; the weights have the first ones, up to the depth.
OTHER_KEY = 2**31


def draw_network(
    activations: ArchitectureLike,
    widths: Sequence[int],
    inputs: int,
    *,
    tau0: float,
    law: str | WeightLaw = "gaussian",
    key: Array,
) -> Network:
    """Draw a network whose weights follow a law.

    Parameters
    ----------
    activations : Architecture or sequence of str or Activation
        The network, or one activation a layer.
    widths : sequence of int or int
        One width a layer; one number is the width of all.
    inputs : int
        Dimension p of a sample.
    tau0 : float
        Data scale τ_0, at which the activations of a centred network are centred.
    law : str or WeightLaw
        A weight law or its name. Outer matrices of residual branches follow it too; biases are Gaussian, so that
        pre-activations are.
    key : JAX random key
        Decides the weights. A network's weights are those of the plain network of its activations.

    Returns
    -------
    Network
        The network, with a Gaussian readout at initialisation.

    Raises
    ------
    ValueError
        If counts do not fit, a width is not a positive whole number, a residual branch is between different widths, or
        the key is no random key.
    MemoryError
        If the weights do not fit into memory; raised before they are drawn.

    Examples
    --------
    >>> import jax, hntk
    >>> hntk.draw_network(["relu", "erf"], 64, 20, tau0=1.0, law="ternary", key=jax.random.key(0))
    Network(20 -> 64 -> 64, ternary weights, activations relu, erf)
    >>> he = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.1, centred=False)
    >>> hntk.draw_network(he, 64, 20, tau0=1.0, key=jax.random.key(0))
    Network(20 -> 64 -> 64, float32 weights, activations relu, weight_std=1.41421, bias_std=0.1)
    """
    net = as_architecture(activations)
    shape = as_widths(widths, net.depth)
    law = weight_law(law)
    fan_in = (as_count(inputs, "inputs"), *shape[:-1])
    sizes = list(zip(shape, fan_in, strict=True))
    added = [_branch_size(number, *size, net) for number, size in enumerate(sizes, 1)]
    law.check_room([*sizes, *(size for size in added if size is not None)])
    centres = centres_at(net, tau0)
    *keys, readout_key = jax.random.split(as_key(key), net.depth + 1)
    laws = (law, *[law.behind_a_layer] * (net.depth - 1))
    weights = tuple(each.draw(k, size) for each, k, size in zip(laws, keys, sizes, strict=True))
    readout = jax.random.normal(readout_key, (shape[-1],), dtype=jnp.float32)
    if net.normalize is None and set(net.scales) == {UNIT}:
        return Network(weights, net.layers, centres, readout, law)
    bias_key, branch_key = jax.random.split(jax.random.fold_in(as_key(key), OTHER_KEY))
    return Network(
        weights, net.layers, centres, readout, law, scales=net.scales, normalize=net.normalize,
        biases=_draw_biases(net, shape, bias_key), branches=_draw_branches(law, added, branch_key),
    )  # fmt: skip


def _branch_size(number: int, width: int, before: int, net: Architecture) -> tuple[int, int] | None:
    """Return the shape of a layer's outer matrix; None without a branch."""
    if not net.scales[number - 1].residual:
        return None
    check_branch_widths(number, before, width)
    return width, width


def _draw_biases(net: Architecture, widths: Sequence[int], key: Array) -> tuple[Array | None, ...]:
    keys = jax.random.split(key, net.depth)
    return tuple(
        jax.random.normal(k, (width,), dtype=jnp.float32) if scale.bias_std else None
        for k, width, scale in zip(keys, widths, net.scales, strict=True)
    )


def _draw_branches(law: WeightLaw, sizes: Sequence[tuple[int, int] | None], key: Array) -> tuple[Weights | None, ...]:
    keys = jax.random.split(key, len(sizes))
    # the outer matrices see the outputs of random layers
    return tuple(
        None if size is None else law.behind_a_layer.draw(k, size) for k, size in zip(keys, sizes, strict=True)
    )


def dense(
    activations: ArchitectureLike,
    widths: Sequence[int],
    x: object,
    *,
    key: Array,
    law: str | WeightLaw = "gaussian",
    tau0: float | None = None,
) -> Network:
    """Draw the original network for data, whose dimension and scale it takes.

    Parameters
    ----------
    activations : Architecture or sequence of str or Activation
        The network, or one activation a layer.
    widths : sequence of int or int
        One width a layer; one number is the width of all.
    x : (n, p) array
        Samples.
    key : JAX random key
        Decides the weights.
    law : str or WeightLaw
        A weight law or its name.
    tau0 : float, optional
        Data scale τ_0; by default the root mean square norm of the samples.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ValueError
        If the data, the widths or the law do not fit, or a residual branch is between different widths.
    MemoryError
        If the weights do not fit into memory; raised before they are drawn.

    Examples
    --------
    >>> import jax, hntk
    >>> x = jax.random.normal(jax.random.key(0), (8, 20)) / 20**0.5
    >>> hntk.dense(["relu"] * 2, [64, 32], x, key=jax.random.key(1)).features(x).shape
    (8, 32)
    """
    samples = as_samples(x)
    scale = rms_norm(samples) if tau0 is None else as_scale(tau0)
    return draw_network(activations, widths, samples.shape[1], tau0=scale, law=law, key=key)
