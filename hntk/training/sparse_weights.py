"""Which weights of a layer are 0 while it is trained, and in its program.

Latent weights of a magnitude up to a cut become 0; of others the sign is left. Without a sparsity the cut is .7 of the
mean magnitude (Li and Liu, 2016). With one it is a number beside the weights, which follows their quantile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.training.few_level_layers import FewLevelLayer, Parameters, straight_through

# Weights below this multiple of the mean magnitude become 0 unless a sparsity is asked for (Li and Liu, 2016).
TERNARY_THRESHOLD = 0.7
# Largest share of weights that are not 0 of layers whose density is free: with more of them, fewer bits are needed.
DENSEST = 2 / 3
# The name, among the parameters, of what densities are multiplied by where they follow the bytes of the program.
DENSITY_SCALE = "density_scale"
# The logarithm of a cut moves in a step by this times the learning rate, times the relative error in the number of
# weights that are kept. Trained weights gather at the cut: where it moves faster than they do, as at the end of a
# training, it turns many of them on and off in every step.
CUT_SPEED = 3.0


def ternary(weights: Float[Array, "d p"], cut: Float[Array, ""] | float) -> Float[Array, "d p"]:
    """Return weights in {0, ±1} with a straight-through gradient.

    Parameters
    ----------
    weights : (d, p) array
        Latent weights.
    cut : scalar
        Magnitude up to which they become 0.

    Returns
    -------
    (d, p) array
        The signs of the weights whose magnitude is above the cut, 0 elsewhere.
    """
    return straight_through(weights, jnp.where(jnp.abs(weights) > cut, jnp.sign(weights), 0.0))


def cut_of(part: Parameters, layer: FewLevelLayer) -> Float[Array, ""]:
    """Return the magnitude up to which the latent weights of a layer become 0.

    Without a sparsity that is .7 of the mean magnitude. With one it is a number beside the weights that follows them
    (:func:`with_followed_cuts`), since sorting them in every step would take longer than the step; or their quantile.
    """
    size = jnp.abs(part["weights"])
    if layer.sparsity is None:
        return jax.lax.stop_gradient(TERNARY_THRESHOLD * jnp.mean(size))
    return jax.lax.stop_gradient(part["cut"] if "cut" in part else jnp.quantile(size, layer.sparsity))


def with_cuts(parameters: Parameters, layers: Sequence[FewLevelLayer]) -> Parameters:
    """Return parameters with the exact cut beside the weights of each layer that has a sparsity."""
    parts, scale = [], parameters.get(DENSITY_SCALE)
    for part, layer in zip(parameters["layers"], layers, strict=True):
        if layer.sparsity is not None:
            size = jnp.abs(part["weights"])
            zeros = layer.sparsity if scale is None else 1.0 - density(layer, size.size, scale)
            part = part | {"cut": jnp.quantile(size, zeros)}
        parts.append(part)
    return parameters | {"layers": parts}


def with_followed_cuts(
    parameters: Parameters, layers: Sequence[FewLevelLayer], rate: Float[Array, ""] | float
) -> Parameters:
    """Return parameters after a step of a learning rate, whose cuts have moved towards their sparsities.

    The logarithm of a cut moves by three times the rate, times the relative error in the number of weights that are
    kept. So cuts come to rest together with the weights.
    """
    parts, scale = [], parameters.get(DENSITY_SCALE)
    for part, layer in zip(parameters["layers"], layers, strict=True):
        if "cut" in part:
            kept = jnp.mean((jnp.abs(part["weights"]) > part["cut"]).astype(jnp.float32))
            wanted = density(layer, part["weights"].size, scale)
            part = part | {"cut": part["cut"] * jnp.exp(CUT_SPEED * rate * jnp.clip(kept / wanted - 1.0, -1.0, 1.0))}
        parts.append(part)
    return parameters | {"layers": parts}


def density(layer: FewLevelLayer, size: int, scale: Any = None) -> Any:
    """Return the share of weights that a layer with a sparsity keeps.

    Parameters
    ----------
    layer : FewLevelLayer
        The layer.
    size : int
        Number of its weights, of which at least one is kept.
    scale : scalar array of float32, optional
        What its density is multiplied by, as far as at most 2/3 of the weights are kept, or as many as without it.

    Returns
    -------
    float or scalar array of float32
        The share.
    """
    assert layer.sparsity is not None
    usual = max(1.0 - layer.sparsity, 1.0 / size)
    return usual if scale is None else (scale * usual).clip(1.0 / size, max(usual, DENSEST))


def own_layers(parameters: Parameters, layers: Sequence[FewLevelLayer]) -> tuple[FewLevelLayer, ...]:
    """Return the layers of the program of one member: with its own sparsity, where densities follow the bytes.

    There spaced thresholds are coarse too, rather than that single neurons make those of the layer take a byte more.
    """
    if DENSITY_SCALE not in parameters:
        return tuple(layers)
    scale = np.float32(parameters[DENSITY_SCALE])
    return tuple(
        replace(
            layer,
            sparsity=1.0 - float(density(layer, part["weights"].size, scale)),
            coarse=True,
        )
        for layer, part in zip(layers, parameters["layers"], strict=True)
    )


def exact_cut(weights: Float[np.ndarray, "d p"], sparsity: float) -> Any:
    """Return the magnitude up to which weights become 0 in :func:`ternary_values`, if no two are equal."""
    size = np.abs(weights)
    zeros = round(sparsity * size.size)
    return np.partition(size, zeros - 1, axis=None)[zeros - 1] if zeros else size.dtype.type(0)


def ternary_values(weights: Float[np.ndarray, "d p"], sparsity: float | None) -> np.ndarray:
    """Return the weights of a trained layer as int8 in {0, ±1}, with exactly the sparsity that is asked for.

    The share of zeros is the nearest that the number of weights allows. Of equal magnitudes the first become 0.
    """
    latent = np.asarray(weights, np.float64)
    size = np.abs(latent)
    if sparsity is None:
        return (np.sign(latent) * (size > TERNARY_THRESHOLD * size.mean())).astype(np.int8)
    values, cut = np.sign(latent).astype(np.int8), exact_cut(latent, sparsity)
    below = size < cut
    values[below] = 0
    values.flat[np.flatnonzero(size == cut)[: round(sparsity * size.size) - np.count_nonzero(below)]] = 0
    return values
