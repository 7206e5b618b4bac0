"""Scores of networks of few levels while they are trained, and the statistics that sums are standardised by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.training.few_level_layers import (
    FewLevelLayer,
    Parameters,
    ascending,
    spaced_staircase,
    staircase,
    straight_through,
)
from hntk.training.sparse_weights import cut_of, ternary

# Added to the variance of sums, which are whole numbers: a neuron whose sum never changes has z = 0.
LEAST_VARIANCE = 1e-3
# The largest magnitude of a readout weight in the program.
READOUT_MOST = 127


class SumStatistics(NamedTuple):
    """Mean and deviation of the sums of each neuron of a layer."""

    mean: Float[Array, " d"]
    deviation: Float[Array, " d"]

    @staticmethod
    def of(sums: Float[Array, "n d"]) -> SumStatistics:
        """Return the statistics over some samples; no deviation is 0."""
        mean = jnp.mean(sums, axis=0)
        return SumStatistics(mean, jnp.sqrt(jnp.mean(jnp.square(sums - mean), axis=0) + LEAST_VARIANCE))


def forward(
    parameters: Parameters,
    layers: Sequence[FewLevelLayer],
    x: Float[Array, "n p"],
    statistics: Sequence[SumStatistics] | None = None,
) -> tuple[Float[Array, "n K"], tuple[SumStatistics, ...]]:
    """Return the scores of samples, and the statistics by which the sums of each layer were standardised.

    Parameters
    ----------
    parameters : dict
        ``{"layers": [{"weights": (d_l, d_{l-1}), "thresholds": (d_l, T_l)}, …], "readout": (K, d_L), "offset": (K,)}``
        in float32. Spaced thresholds are (d_l, 2) numbers, a and b of each neuron. A layer with a sparsity has its cut
        under ``"cut"``. Where densities follow the bytes of the program, ``"density_scale"`` is what those of all
        layers are multiplied by.
    layers : sequence of FewLevelLayer
        What is fixed about each layer.
    x : (n, p) array of float32
        Whole numbers.
    statistics : sequence of SumStatistics, optional
        Statistics of each layer; by default those of these samples.

    Returns
    -------
    scores : (n, K) array of float32
        Scores with a readout of 8 bits.
    statistics : tuple of SumStatistics
        Statistics of each layer.
    """
    used, h = [], x
    for number, (layer, part) in enumerate(zip(layers, parameters["layers"], strict=True)):
        sums = h @ ternary(part["weights"], cut_of(part, layer)).T
        used.append(SumStatistics.of(sums) if statistics is None else statistics[number])
        z = (sums - used[-1].mean) / used[-1].deviation
        h: Array
        if layer.spaced:
            h = spaced_staircase(z, part["thresholds"], len(layer.levels))
        else:
            h = staircase(z, ascending(part["thresholds"], layer), layer)
    return (h * layers[-1].unit) @ eight_bits(parameters["readout"]).T + parameters["offset"], tuple(used)


def eight_bits(readout: Float[Array, "K d"]) -> Float[Array, "K d"]:
    """Round readout weights to 127 steps of the largest magnitude, with a straight-through gradient."""
    step = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(readout)), jnp.finfo(jnp.float32).tiny)) / READOUT_MOST
    return straight_through(readout, jnp.round(readout / step) * step)
