"""The baseline of shipped classifiers: dense ReLU networks of 8-bit weights and activations, computed in whole numbers.

It is quantised as usual (Jacob et al., 2018): weights by a scale per layer, biases in 32 bits, and sums brought to the
next layer's 8 bits by a product and a shift. Activations are not negative, so that they have no zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np
from jaxtyping import Float, Int

LARGEST_WEIGHT, LARGEST_VALUE = 127, 255
# Weights and bias of each layer, of shapes (d, p) and (d,); the last layer's outputs are scores.
FloatLayers = Sequence[tuple[Float[np.ndarray, "d p"], Float[np.ndarray, " d"]]]


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """A dense layer.

    Attributes
    ----------
    weights : (d, p) array of int8
        Weights from -127 to 127.
    bias : (d,) array of int32
        What sums start from.
    multiplier, shift : int
        Sums s become s · multiplier / 2^shift, rounded, from 0 to 255; 0 in the last layer, whose sums are scores.
    """

    weights: Int[np.ndarray, "d p"]
    bias: Int[np.ndarray, " d"]
    multiplier: int = 0
    shift: int = 0

    def sums(self, values: Int[np.ndarray, "n p"]) -> Int[np.ndarray, "n d"]:
        """Return the sums of each sample."""
        # exact in float64, whose products are fast: sums stay far below 2^53
        return (values.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64) + self.bias

    def __call__(self, values: Int[np.ndarray, "n p"]) -> Int[np.ndarray, "n d"]:
        """Return the next layer's values."""
        scaled = (np.maximum(self.sums(values), 0) * self.multiplier + (1 << (self.shift - 1))) >> self.shift
        return np.minimum(scaled, LARGEST_VALUE)


@dataclass(frozen=True, eq=False)
class Int8Network:
    """A dense network of 8 bits.

    Attributes
    ----------
    layers : tuple of Int8Layer
        Hidden layers, and the one whose sums are scores.
    classes : (K,) array
        Labels in the order of the scores.
    inputs : Pixels or PooledPixels
        What raw bytes become before the first layer.
    """

    layers: tuple[Int8Layer, ...]
    classes: np.ndarray
    inputs: Any

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of values that each layer reads, and of classes."""
        return (*(layer.weights.shape[1] for layer in self.layers), len(self.classes))

    def scores(self, raw: Int[np.ndarray, "n q"]) -> Int[np.ndarray, "n K"]:
        """Return the whole scores of raw samples."""
        values = np.asarray(self.inputs(raw)).astype(np.int64)
        for layer in self.layers[:-1]:
            values = layer(values)
        return self.layers[-1].sums(values)

    def predict(self, raw: Int[np.ndarray, "n q"]) -> np.ndarray:
        """Return the label of the largest score of each sample, the first of equals."""
        return self.classes[np.argmax(self.scores(raw), axis=1)]


def quantised(layers: FloatLayers, values: Int[np.ndarray, "n p"], classes: np.ndarray, inputs: Any) -> Int8Network:
    """Return a trained float network in 8 bits.

    Parameters
    ----------
    layers : sequence of (weights, bias)
        A ReLU network that reads bytes, in units of a byte.
    values : (n, p) array
        Inputs of the first layer for training samples. The largest activation of a layer on them becomes 255.
    classes : (K,) array
        Labels.
    inputs : Pixels or PooledPixels
        What raw bytes become before the first layer.

    Returns
    -------
    Int8Network
        The network in whole numbers.
    """
    made, unit, activations = [], 1.0, values.astype(np.float32)
    for number, (weights, bias) in enumerate(layers, 1):
        scale = float(np.abs(weights).max()) / LARGEST_WEIGHT
        whole = np.rint(weights / scale).astype(np.int8)
        start = np.rint(bias / (scale * unit)).astype(np.int32)
        if number == len(layers):
            made.append(Int8Layer(whole, start))
            break
        activations = np.maximum(activations @ weights.T.astype(np.float32) + bias.astype(np.float32), 0)
        following = float(activations.max()) / LARGEST_VALUE
        made.append(Int8Layer(whole, start, *as_multiplier(scale * unit / following)))
        unit = following
    return Int8Network(tuple(made), classes, inputs)


def as_multiplier(factor: float) -> tuple[int, int]:
    """Return a multiplier of 31 bits and a shift: multiplier / 2^shift is the factor to 1 part in 2³⁰.

    Raises
    ------
    ValueError
        If the factor is not between 2⁻³⁰ and 1.
    """
    if not 2.0**-30 < factor < 1:
        raise ValueError(f"a layer's sums would be multiplied by {factor:.3g}: train the network with a smaller scale.")
    mantissa, exponent = frexp(factor)
    whole = round(mantissa * 2**31)
    return (whole, 31 - exponent) if whole < 2**31 else (2**30, 30 - exponent)
