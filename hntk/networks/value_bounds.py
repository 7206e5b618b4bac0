r"""Bounds of the numbers in a network, which show that its predictions are finite in float32.

Let a layer compute $h = \sigma(f\,W h') - m$ with $|h'_j| \le B$, and let S be the largest $\sum_j |W_{ij}|$ of a row.
Then no sum exceeds $S B$, in whatever order it is taken, and $|h| \le g(f S B) + |m|$, where g(t) bounds the activation
on [−t, t]. Starting from samples of at most `LARGEST_INPUT`, this bounds every number of a network whose activations
are bounded. With unbounded activations the bound grows by √d a layer, although the numbers themselves do not: such a
network is evaluated on random samples instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.activations import Activation
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.theory.architecture import Normalize
from hntk.weights.weight_matrix import Weights

# Samples with coordinates of up to this size have finite predictions.
LARGEST_INPUT = 1000.0
# Half of the largest float32 number, so that rounding does not matter.
LARGEST = float(np.finfo(np.float32).max) / 2
# Random samples of each scale on which a network of unbounded activations is evaluated.
TRIALS = 4


class Readout(NamedTuple):
    """A readout of the last layer, or of all layers with their features side by side."""

    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    layers: ReadLayers

    def largest_number(self, bounds: Sequence[float], widths: Sequence[int]) -> float:
        """Return a bound of the scores, given one of every layer's values."""
        read = read_widths(widths, self.layers)
        features = np.repeat(np.asarray(bounds[-len(read) :]) / np.sqrt(read), read)
        offset = np.abs(self.offset)
        return max(float((features @ np.abs(self.weights) + offset).max()), float(offset.max()))

    def scores(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return the scores of (n, d_l) values h_l of every layer."""
        read = values if self.layers == "all" else values[-1:]
        features = np.concatenate([h / sqrt(h.shape[1]) for h in read], axis=1)
        return features @ self.weights.astype(features.dtype) + self.offset


class HiddenLayer(NamedTuple):
    """One hidden layer: f = activation(factor · W n(h') + bias) − centre, and h = f or h = h' + ρ W₂ f/√d.

    Attributes
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The matrix W, whose own scale is in it.
    factor : float
        σ_w/√d with d the layer's inputs. In the first layer, which sees x = h_0/√p, it is σ_w.
    activation : Activation
        The function σ.
    centre : float
        The constant m that is subtracted.
    bias : (d_l,) array or None
        What is added to the pre-activations, σ_b b.
    bias_std : float
        Scale σ_b of the standard biases b.
    branch : WeightMatrix, OrthogonalMatrix or None
        The outer matrix W₂ of a residual branch, whose own scale is in it.
    residual : float
        Factor ρ of the branch.
    normalize : {"rms", "layer"} or None
        The normalisation n of this layer's input. It is "rms" where "layer" was asked for as long as the state carries
        the data, whose features count as centred.
    """

    weights: Weights
    factor: float
    activation: Activation
    centre: float
    bias: Float[np.ndarray | Array, " width"] | None = None
    bias_std: float = 0.0
    branch: Weights | None = None
    residual: float = 0.0
    normalize: Normalize | None = None

    @property
    def branch_factor(self) -> float:
        """Factor ρ/√d_l of the branch's sums, times the matrix's own scale; 0 without a branch."""
        return 0.0 if self.branch is None else self.residual * self.branch.scale / sqrt(self.branch.shape[1])


def check_finite(layers: Sequence[HiddenLayer], tau0: float, readout: Readout | None) -> None:
    """Refuse a network whose predictions overflow float32.

    Parameters
    ----------
    layers : sequence of HiddenLayer
        The hidden layers.
    tau0 : float
        Data scale; 1 if it is unknown.
    readout : Readout, optional
        The readout.

    Raises
    ------
    ValueError
        If numbers leave float32's range on samples with coordinates of at most `LARGEST_INPUT`. Where activations are
        unbounded and this is not known: if numbers exceed the range divided by `LARGEST_INPUT` on random samples of
        norms 1 and τ_0.
    """
    if _largest_number(layers, readout) <= LARGEST:
        return
    bounded = all(isfinite(layer.activation.bound(inf)) for layer in layers)
    if bounded or not _is_small_on_random_samples(layers, tau0, readout):
        raise ValueError(
            "predictions would overflow float32: rescale weights, levels or the readout, so that no layer's sums pass "
            f"{LARGEST:.1e}"
        )


def _largest_number(layers: Sequence[HiddenLayer], readout: Readout | None) -> float:
    """Return a bound of all numbers on the way to a prediction; infinite if the bound itself overflows."""
    bound, bounds, largest = LARGEST_INPUT, [], 0.0
    for weights, factor, sigma, centre, *_ in layers:
        sums = weights.largest_row_sum * bound
        z = sums * max(weights.scale * factor, 0.0)
        bound = inf if z > LARGEST else sigma.bound(z) + abs(centre)
        bounds.append(bound)
        largest = max(largest, sums, z, bound)
        if not largest <= LARGEST:
            return inf
    if readout is None:
        return largest
    return max(largest, readout.largest_number(bounds, [layer.weights.shape[0] for layer in layers]))


def _is_small_on_random_samples(layers: Sequence[HiddenLayer], tau0: float, readout: Readout | None) -> bool:
    """Return whether numbers on random samples leave room for samples `LARGEST_INPUT` times larger."""
    x = np.random.default_rng(0).normal(size=(TRIALS, layers[0].weights.shape[1]))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    h, largest = np.concatenate([x, max(1.0, tau0) * x]).astype(np.float32), 0.0
    values = []
    with np.errstate(all="ignore"):
        for weights, factor, sigma, centre, *_ in layers:
            # Products of NumPy, so that nothing is compiled for a network that may be refused.
            sums = weights.product_on_host(h)
            z = sums * np.float32(weights.scale * factor)
            h = np.asarray(sigma(jnp.asarray(z)) - centre, np.float32)
            values.append(h)
            largest = np.max([largest, *(np.abs(part).max() for part in (sums, z, h))])
        scores = h if readout is None else readout.scores(values)
        largest = np.max([largest, np.abs(scores).max()])
    # False for NaN, which np.max keeps.
    return bool(largest <= LARGEST / LARGEST_INPUT)
