r"""Networks of whole numbers: what a microcontroller computes, here and there with the same result, bit for bit.

A layer of ternary weights after a staircase needs no other numbers. With centred levels $a_k - m = u q_k$ for whole
$q_k$, neuron i has reached cell k of the next staircase where

$$\sum_j W_{ij} q_j + b_i \ge T_k, \qquad T_k = \lceil s_k \sqrt{d}/(c u) \rceil,$$

c being the weights' scale and $s_k$ the threshold. The first layer takes pixels as they are, $b_i$ then being what
centring them would add, or samples rounded to multiples of a unit. Scores are whole numbers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Int32

from hntk._utils.labels import accuracy_score
from hntk._utils.rows import as_samples
from hntk.networks.forward import BATCH, Forward, Step
from hntk.networks.integer_steps import Steps
from hntk.networks.provenance import DataStatistics, MatchRecord
from hntk.networks.storable import Storable
from hntk.weights.bit_planes import Code
from hntk.weights.laws import WeightMatrix

# sums up to here are exact in float32 in any order
EXACT = 2**24
LIMIT = 2**31 - 1


class NotIntegerError(ValueError):
    """A network that whole numbers cannot stand for."""


@dataclass(frozen=True)
class Pixels:
    """Input that is whole already: bytes from 0 to 255, times ``fine``.

    Attributes
    ----------
    fine : a power of 2, so that what centring the pixels adds to the sums is rounded to 1/fine of a pixel's unit.
    """

    fine: int = 1

    @property
    def least(self) -> int:
        """Of a coordinate."""
        return 0

    @property
    def most(self) -> int:
        """Of a coordinate."""
        return 255 * self.fine

    @property
    def code(self) -> Code:
        """As bit planes."""
        return Code.of_range(self.least, self.most, self.fine)

    def __call__(self, raw: object) -> Float[Array, "n p"]:
        """Whole numbers.

        Raises
        ------
        ValueError
            If they are not whole numbers from 0 to 255.
        """
        samples = as_samples(raw)
        if not bool(jnp.all((samples == jnp.round(samples)) & (samples >= 0) & (samples <= 255))):
            raise ValueError(
                "this network takes pixels as they are, whole numbers from 0 to 255: give the raw images, not "
                "normalised ones."
            )
        return samples.astype(jnp.float32) * self.fine


@dataclass(frozen=True)
class Rounded:
    """Input in multiples of a unit: round((raw − centre) · factor), no further from 0 than ``most``.

    Attributes
    ----------
    centre : (p,) float32.
    factor : float32.
    most : of a coordinate, 127 or 32767.
    """

    centre: Float[np.ndarray, " p"]
    factor: float
    most: int

    @property
    def least(self) -> int:
        """Of a coordinate."""
        return -self.most

    @property
    def code(self) -> Code:
        """As bit planes."""
        return Code.of_range(self.least, self.most)

    def __call__(self, raw: object) -> Float[Array, "n p"]:
        """Whole numbers; halves go to even ones, as in C's ``rintf``."""
        samples = np.asarray(as_samples(raw), np.float32)
        scaled = (samples - self.centre) * np.float32(self.factor)
        return jnp.asarray(np.clip(np.rint(scaled), -self.most, self.most))


@dataclass(frozen=True)
class IntegerNetwork(Storable):
    """Hidden layers of whole numbers.

    Attributes
    ----------
    inputs : what raw samples go through.
    weights : L matrices of whole numbers; their scales are in the thresholds.
    steps : L staircases.
    bias : (d_1,) of the first layer; None where the input is centred.
    unit : a feature of the float network is a level of the last layer times this.
    rounding : of each layer's levels: largest error over largest level.
    origin : how the activations were found, where it is known.
    """

    inputs: Pixels | Rounded
    weights: tuple[WeightMatrix, ...]
    steps: tuple[Steps, ...]
    bias: Int32[np.ndarray, " d"] | None
    unit: float
    rounding: tuple[float, ...]
    origin: MatchRecord | None = field(default=None, kw_only=True)

    @property
    def widths(self) -> tuple[int, ...]:
        """(d_1, …, d_L)."""
        return tuple(w.shape[0] for w in self.weights)

    @property
    def largest_sums(self) -> tuple[int, ...]:
        """What no layer's |Σ W v + b| exceeds."""
        values = [max(-self.inputs.least, self.inputs.most), *(s.most for s in self.steps)]
        sums = [row_weight(w) * v for w, v in zip(self.weights, values, strict=False)]
        return (sums[0] + (0 if self.bias is None else int(np.abs(self.bias).max())), *sums[1:])

    @cached_property
    def reachable(self) -> tuple[Steps, ...]:
        """The staircases without cells that no sum reaches."""
        return tuple(s.within(most) for s, most in zip(self.steps, self.largest_sums, strict=True))

    def feature_batches(self, raw: object, batch: int = BATCH) -> Iterator[Float[Array, "batch width"]]:
        """Levels of the last layer, whole numbers in float32, a batch of samples at a time.

        Raises
        ------
        ValueError
            If the samples do not fit.
        """
        whole = self.inputs(raw)
        if whole.shape[1] != self.weights[0].shape[1]:
            raise ValueError(
                f"samples have {whole.shape[1]} coordinates but the network takes {self.weights[0].shape[1]}."
            )
        return self._forward.batches(whole, batch)

    @cached_property
    def _forward(self) -> Forward:
        biases = [self.bias, *[None] * len(self.steps)]
        values = [self.inputs, *self.reachable]
        return Forward(
            [
                Step(w, 1.0, s, b, v.code if w.kind in ("ternary", "sign") else None)
                for w, s, b, v in zip(self.weights, self.reachable, biases, values, strict=False)
            ]
        )


@dataclass(frozen=True)
class IntegerClassifier(Storable):
    """A classifier of whole numbers: the largest of ``readout @ levels + offset`` wins, the first of equals.

    Attributes
    ----------
    network : gives the levels.
    readout : (K, d), int8 or int16.
    offset : (K,).
    classes : (K,) labels in the order of the scores.
    unit : a score of the float classifier is about a whole one times this.
    statistics : of the data the readout was fitted on, where they are known.
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    classes: np.ndarray
    unit: float
    statistics: DataStatistics | None = field(default=None, kw_only=True)

    @property
    def largest_score(self) -> int:
        """What no |score| exceeds."""
        sums = np.abs(self.readout.astype(np.int64)).sum(axis=1) * self.network.steps[-1].most
        return int((sums + np.abs(self.offset.astype(np.int64))).max())

    def scores(self, raw: object) -> Int[np.ndarray, "n K"]:
        """Whole scores of raw samples.

        Raises
        ------
        ValueError
            If the samples do not fit.
        """
        # BLAS in float64 is exact up to 2⁵³
        weights = self.readout.T.astype(np.float64)
        parts = [np.asarray(levels, np.float64) @ weights for levels in self.network.feature_batches(raw)]
        return np.concatenate(parts).astype(np.int64) + self.offset

    def predict(self, raw: object) -> np.ndarray:
        """Predicted labels, (n,)."""
        return self.classes[np.argmax(self.scores(raw), axis=1)]

    def accuracy(self, raw: object, labels: object) -> float:
        """Share of samples whose label is predicted."""
        return accuracy_score(self.predict(raw), labels)


def row_weight(matrix: WeightMatrix) -> int:
    """The largest Σ_j |W_ij|."""
    return int(np.abs(np.asarray(matrix.values, np.int64)).sum(axis=1).max())
