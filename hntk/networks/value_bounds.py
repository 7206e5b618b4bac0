r"""Bounds of the numbers in a network, which show that its predictions are finite in float32.

Let a layer compute $h = \sigma(f\,W h') - m$ with $|h'_j| \le B$, and let S be the largest $\sum_j |W_{ij}|$ of a row.
Then no sum exceeds $S B$, in whatever order it is taken, and $|h| \le g(f S B) + |m|$, where g(t) bounds the activation
on [−t, t]. Biases add to what g is given, and a residual branch adds $\rho S_2 |h|/\sqrt d$ to the bound of the state
before it. Normalised values are at most $\sqrt d$. Starting from samples of at most `LARGEST_INPUT`, this bounds every
number of a network whose activations are bounded. With unbounded activations the bound grows by √d a layer, although
the numbers themselves do not: such a network is evaluated on random samples instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk.networks.hidden_layer import HiddenLayer
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.networks.row_normalization import unit_columns_on_host

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
    for layer in layers:
        bound, on_the_way = _bound_behind(layer, bound)
        bounds.append(bound)
        largest = max(largest, bound, *on_the_way)
        if not largest <= LARGEST:
            return inf
    if readout is None:
        return largest
    return max(largest, readout.largest_number(bounds, [layer.weights.shape[0] for layer in layers]))


def _bound_behind(layer: HiddenLayer, given: float) -> tuple[float, list[float]]:
    """Return a bound of the values that the next layer is given, and those of the numbers on the way there."""
    total = given * layer.weights.shape[1] if layer.normalize == "layer" else 0.0
    sums = layer.weights.largest_row_sum * (1.0 if layer.normalize else given)
    z = sums * max(layer.sums_factor, 0.0) + layer.largest_bias
    value = inf if z > LARGEST else layer.activation.bound(z) + abs(layer.centre)
    if layer.branch is None:
        return value, [total, sums, z]
    outer = layer.branch.largest_row_sum * value
    return given * layer.carried + outer * layer.branch_factor, [total, sums, z, value, outer]


def _is_small_on_random_samples(layers: Sequence[HiddenLayer], tau0: float, readout: Readout | None) -> bool:
    """Return whether numbers on random samples leave room for samples `LARGEST_INPUT` times larger."""
    x = np.random.default_rng(0).normal(size=(TRIALS, layers[0].weights.shape[1]))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    h, largest = np.concatenate([x, max(1.0, tau0) * x]).astype(np.float32), 0.0
    values = []
    with np.errstate(all="ignore"):
        for layer in layers:
            h, on_the_way = _values_behind(layer, h)
            values.append(h)
            largest = np.max([largest, *(np.abs(part).max() for part in (h, *on_the_way))])
        scores = h if readout is None else readout.scores(values)
        largest = np.max([largest, np.abs(scores).max()])
    # False for NaN, which np.max keeps.
    return bool(largest <= LARGEST / LARGEST_INPUT)


def _values_behind(layer: HiddenLayer, given: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what the next layer is given, and the numbers on the way there."""
    # Products of NumPy, so that nothing is compiled for a network that may be refused.
    rows = given if layer.normalize is None else unit_columns_on_host(given.T, layer.normalize).T
    sums = layer.weights.product_on_host(rows)
    z = sums * np.float32(layer.sums_factor)
    z = z if layer.bias is None else z + np.asarray(layer.bias)
    f = np.asarray(layer.activation(jnp.asarray(z)) - layer.centre, np.float32)
    if layer.branch is None:
        return f, [sums, z]
    outer = layer.branch.product_on_host(f)
    return given * np.float32(layer.carried) + outer * np.float32(layer.branch_factor), [sums, z, f, outer]
