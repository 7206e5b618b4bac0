r"""Layers of ternary weights and few-level activations, as they are trained.

A layer takes the whole numbers h of the one before. Its sums $u = T h$ have weights T in {0, ±1}; they are standardised
over the samples, $z = (u - m)/s$ with the mean m and the deviation s of each neuron; and $h' = q_k$ where k is the
number of the neuron's thresholds $t_1 \le t_2 \le \dots$ that are at most z. So a neuron's scale and bias are part of
its thresholds, and cost nothing in a program of whole numbers: z ≥ t is u ≥ m + s t.

Backwards, T passes the gradient on to the latent weights that it is rounded from (Bengio et al., 2013; Li and Liu,
2016), and the staircase has the derivative $\sum_k (q_k - q_{k-1})\,\varphi((z - t_k)/w_k)/w_k$ with a window φ of
integral 1. For equidistant levels and thresholds and the window 1[|·| < 1/2] that is the clipped straight-through
gradient. A threshold gets minus its own term.

The thresholds of a neuron can also be spaced equally, $t_k = a + (k - 1) e^b$ with learned a and b. Then its level is
$\lfloor (z - a)e^{-b} \rfloor + 1$ within the range of levels, which takes one multiplication for any number of them,
and the straight-through gradient is that of the ramp $(z - a)e^{-b} + 1/2$, clipped to the same range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.activations.surrogates import Surrogate

# Weights below this multiple of the mean magnitude become 0 unless a sparsity is asked for (Li and Liu, 2016).
TERNARY_THRESHOLD = 0.7
# Added to the variance of sums, which are whole numbers: a neuron whose sum never changes has z = 0.
LEAST_VARIANCE = 1e-3
# The logarithm of a cut moves in a step by this times the learning rate, times the relative error in the number of
# weights that are kept. Trained weights gather at the cut: where it moves faster than they do, as at the end of a
# training, it turns many of them on and off in every step.
CUT_SPEED = 3.0
# Levels of a larger deviation would let a step of Adam change scores too much.
LARGEST_DEVIATION = 4.0
# The largest magnitude of a readout weight in the program.
READOUT_MOST = 127

Parameters = dict[str, Any]


@dataclass(frozen=True)
class FewLevelLayer:
    """What is fixed about a layer while it is trained.

    Attributes
    ----------
    levels : tuple of int
        Levels q_0, q_1, …, from below the smallest threshold to above the largest.
    windows : tuple of float
        Width w_k of the window at each threshold, in units of standardised sums.
    sparsity : float or None
        Share of the weights that are 0; None to cut at .7 of the mean magnitude.
    surrogate : Surrogate or None
        Window φ, a function of integral 1; None for 1[|·| < 1/2].
    slope : Surrogate or None
        A function of standardised sums that is the staircase's derivative by them instead of the sum over windows,
        such as the one that a match is calibrated for; None for that sum. Thresholds are trained by windows anyway.
    spaced : bool
        Whether the thresholds of a neuron are spaced equally; levels are 0, 1, … then.
    """

    levels: tuple[int, ...]
    windows: tuple[float, ...]
    sparsity: float | None = None
    surrogate: Surrogate | None = None
    slope: Surrogate | None = None
    spaced: bool = False

    @property
    def jumps(self) -> tuple[int, ...]:
        """Differences q_k − q_{k−1} of neighbouring levels."""
        return tuple(after - before for before, after in zip(self.levels, self.levels[1:], strict=False))

    @property
    def unit(self) -> float:
        """What a readout takes levels times: 1, or what brings their deviation down to 4."""
        return min(1.0, LARGEST_DEVIATION / (float(np.std(self.levels)) or 1.0))

    @property
    def is_uniform(self) -> bool:
        """Whether thresholds may be in any order, because all jumps and windows are alike."""
        return len(set(zip(self.jumps, self.windows, strict=True))) <= 1

    def window(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Return φ(t)."""
        if self.surrogate is None:
            return (jnp.abs(t) < 0.5).astype(t.dtype)
        return self.surrogate(t)


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
        under ``"cut"``.
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


def straight_through(values: Array, rounded: Array) -> Array:
    """Return the rounded values exactly, whose gradient is passed on to the values as they were."""
    return jax.lax.stop_gradient(rounded) + (values - jax.lax.stop_gradient(values))


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
    parts = [
        part if layer.sparsity is None else part | {"cut": jnp.quantile(jnp.abs(part["weights"]), layer.sparsity)}
        for part, layer in zip(parameters["layers"], layers, strict=True)
    ]
    return parameters | {"layers": parts}


def with_followed_cuts(
    parameters: Parameters, layers: Sequence[FewLevelLayer], rate: Float[Array, ""] | float
) -> Parameters:
    """Return parameters after a step of a learning rate, whose cuts have moved towards their sparsities.

    The logarithm of a cut moves by three times the rate, times the relative error in the number of weights that are
    kept. So cuts come to rest together with the weights.
    """
    parts = []
    for part, layer in zip(parameters["layers"], layers, strict=True):
        if "cut" in part:
            assert layer.sparsity is not None
            kept = jnp.mean((jnp.abs(part["weights"]) > part["cut"]).astype(jnp.float32))
            wanted = max(1.0 - layer.sparsity, 1.0 / part["weights"].size)
            part = part | {"cut": part["cut"] * jnp.exp(CUT_SPEED * rate * jnp.clip(kept / wanted - 1.0, -1.0, 1.0))}
        parts.append(part)
    return parameters | {"layers": parts}


def ternary_values(weights: Float[np.ndarray, "d p"], sparsity: float | None) -> np.ndarray:
    """Return the weights of a trained layer as int8 in {0, ±1}, with exactly the sparsity that is asked for.

    The share of zeros is the nearest that the number of weights allows. Of equal magnitudes the first become 0.
    """
    latent = np.asarray(weights, np.float64)
    size = np.abs(latent)
    if sparsity is None:
        return (np.sign(latent) * (size > TERNARY_THRESHOLD * size.mean())).astype(np.int8)
    values = np.sign(latent).astype(np.int8)
    values.flat[np.argsort(size, axis=None, kind="stable")[: round(sparsity * size.size)]] = 0
    return values


def eight_bits(readout: Float[Array, "K d"]) -> Float[Array, "K d"]:
    """Round readout weights to 127 steps of the largest magnitude, with a straight-through gradient."""
    step = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(readout)), jnp.finfo(jnp.float32).tiny)) / READOUT_MOST
    return straight_through(readout, jnp.round(readout / step) * step)


def ascending(thresholds: Float[Array, "d T"], layer: FewLevelLayer) -> Float[Array, "d T"]:
    """Return each neuron's thresholds in ascending order, where their order matters."""
    return thresholds if layer.is_uniform else jnp.sort(thresholds, axis=1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def staircase(z: Float[Array, "n d"], thresholds: Float[Array, "d T"], layer: FewLevelLayer) -> Float[Array, "n d"]:
    """Return the level that each standardised sum has reached.

    Parameters
    ----------
    z : (n, d) array
        Standardised sums.
    thresholds : (d, T) array
        Thresholds of each neuron, ascending.
    layer : FewLevelLayer
        Levels and windows.

    Returns
    -------
    (n, d) array
        Levels q_k, with k the number of thresholds that are at most z. The derivatives are those of the module's
        docstring.
    """
    level = jnp.full_like(z, layer.levels[0])
    for k, jump in enumerate(layer.jumps):
        level += jnp.where(z >= thresholds[:, k], jnp.asarray(jump, z.dtype), 0)
    return level


def _staircase_forward(z: Array, thresholds: Array, layer: FewLevelLayer) -> tuple[Array, tuple[Array, Array]]:
    return staircase(z, thresholds, layer), (z, thresholds)


def _staircase_backward(layer: FewLevelLayer, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    z, thresholds = kept
    terms = [
        gradient * (layer.window((z - thresholds[:, k]) / width) * (jump / width))
        for k, (jump, width) in enumerate(zip(layer.jumps, layer.windows, strict=True))
    ]
    own = sum(terms, jnp.zeros_like(z)) if layer.slope is None else gradient * layer.slope(z)
    return own, -jnp.stack([jnp.sum(term, axis=0) for term in terms], axis=1)


staircase.defvjp(_staircase_forward, _staircase_backward)


def spaced_staircase(z: Float[Array, "n d"], thresholds: Float[Array, "d 2"], levels: int) -> Float[Array, "n d"]:
    """Return the level that each standardised sum has reached, of thresholds that are spaced equally.

    Parameters
    ----------
    z : (n, d) array
        Standardised sums.
    thresholds : (d, 2) array
        Smallest threshold a of each neuron, and the logarithm b of the distance of its thresholds.
    levels : int
        Number of levels.

    Returns
    -------
    (n, d) array
        Whole numbers from 0 to ``levels - 1``. The derivatives are those of the module's docstring.
    """
    ramp = (z - thresholds[:, 0]) * jnp.exp(-thresholds[:, 1])
    most = levels - 1.0
    return straight_through(jnp.clip(ramp + 0.5, 0.0, most), jnp.clip(jnp.floor(ramp) + 1.0, 0.0, most))


def threshold_values(thresholds: Float[np.ndarray, "d T"], layer: FewLevelLayer) -> Float[np.ndarray, "d T"]:
    """Return the thresholds of each neuron on standardised sums, in ascending order, in float64."""
    known = np.asarray(thresholds, np.float64)
    if layer.spaced:
        return known[:, :1] + np.exp(known[:, 1:]) * np.arange(len(layer.levels) - 1)
    return np.sort(known, axis=1)
