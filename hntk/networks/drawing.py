"""Networks whose weights are drawn from a law."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from hntk._utils.arguments import as_count, as_key, as_scale, as_widths
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations import Activation
from hntk.networks.network import Network
from hntk.theory.architecture import as_activations
from hntk.theory.coefficients import coefficients
from hntk.weights.laws import WeightLaw, weight_law


def draw_network(
    activations: Sequence[str | Activation],
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
    activations : sequence of str or Activation
        One activation a layer.
    widths : sequence of int or int
        One width a layer; one number is the width of all.
    inputs : int
        Dimension p of a sample.
    tau0 : float
        Data scale τ_0, at which the activations are centred.
    law : str or WeightLaw
        A weight law or its name.
    key : JAX random key
        Decides the weights.

    Returns
    -------
    Network
        The network, with a Gaussian readout at initialisation.

    Raises
    ------
    ValueError
        If counts do not fit, a width is not a positive whole number, or the key is no random key.
    MemoryError
        If the weights do not fit into memory; raised before they are drawn.

    Examples
    --------
    >>> import jax, hntk
    >>> hntk.draw_network(["relu", "erf"], 64, 20, tau0=1.0, law="ternary", key=jax.random.key(0))
    Network(20 -> 64 -> 64, ternary weights, activations relu, erf)
    """
    layers = as_activations(activations)
    shape = as_widths(widths, len(layers))
    law = weight_law(law)
    fan_in = (as_count(inputs, "inputs"), *shape[:-1])
    sizes = list(zip(shape, fan_in, strict=True))
    law.check_room(sizes)
    centres = coefficients(layers, tau0).centres
    *keys, readout_key = jax.random.split(as_key(key), len(layers) + 1)
    laws = (law, *[law.behind_a_layer] * (len(layers) - 1))
    weights = tuple(each.draw(k, size) for each, k, size in zip(laws, keys, sizes, strict=True))
    readout = jax.random.normal(readout_key, (shape[-1],), dtype=jnp.float32)
    return Network(weights, layers, centres, readout, law)


def dense(
    activations: Sequence[str | Activation],
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
    activations : sequence of str or Activation
        One activation a layer.
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
        If the data, the widths or the law do not fit.
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
