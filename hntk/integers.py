r"""Networks of whole numbers: what a microcontroller computes, here and there with the same result, bit for bit.

A layer of ternary weights after a staircase needs no other numbers. With centred levels $a_k - m = u q_k$ for whole
$q_k$, neuron i has reached cell k of the next staircase where

$$\sum_j W_{ij} q_j + b_i \ge T_k, \qquad T_k = \lceil s_k \sqrt{d}/(c u) \rceil,$$

c being the weights' scale and $s_k$ the threshold. The first layer takes pixels as they are, $b_i$ then being what
centring them would add, or samples rounded to multiples of a unit. Scores are whole numbers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Int16, Int32

from hntk.activations import Staircase
from hntk.checks import as_samples
from hntk.classifier import Classifier, Normalization, share_right
from hntk.forward import Step, forward_batches
from hntk.network import BATCH, Network
from hntk.storable import Storable
from hntk.weights import WeightMatrix

LEVEL_BITS, READOUT_BITS, INPUT_BITS = 12, 16, 8
# sums up to here are exact in float32 in any order
EXACT = 2**24
LIMIT = 2**31 - 1
ROUNDING = 1e-6
# parts of a pixel's unit
FINE = 16
WHOLE = ("ternary", "sign", "int8")


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

    def __call__(self, raw: object) -> Float[Array, "n p"]:
        """Whole numbers; halves go to even ones, as in C's ``rintf``."""
        samples = np.asarray(as_samples(raw), np.float32)
        scaled = (samples - self.centre) * np.float32(self.factor)
        return jnp.asarray(np.clip(np.rint(scaled), -self.most, self.most))


@dataclass(frozen=True)
class Steps:
    """A staircase of whole numbers: levels[number of thresholds ≤ S].

    Attributes
    ----------
    thresholds : ascending; equal ones mean that a cell between them is never reached.
    levels : one more.
    """

    thresholds: tuple[int, ...]
    levels: tuple[int, ...]

    def __call__(self, sums: Array) -> Array:
        """Levels of sums, float32."""
        total = jnp.full(sums.shape, self.levels[0], jnp.float32)
        for threshold, level in zip(self.thresholds, self.levels[1:], strict=True):
            total = jnp.where(sums >= threshold, jnp.float32(level), total)
        return total

    @property
    def most(self) -> int:
        """Largest magnitude of a level."""
        return max(abs(level) for level in self.levels)


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
    """

    inputs: Pixels | Rounded
    weights: tuple[WeightMatrix, ...]
    steps: tuple[Steps, ...]
    bias: Int32[np.ndarray, " d"] | None
    unit: float
    rounding: tuple[float, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """(d_1, …, d_L)."""
        return tuple(w.shape[0] for w in self.weights)

    @property
    def largest_sums(self) -> tuple[int, ...]:
        """What no layer's |Σ W v + b| exceeds."""
        values = [max(-self.inputs.least, self.inputs.most), *(s.most for s in self.steps)]
        sums = [_row_weight(w) * v for w, v in zip(self.weights, values, strict=False)]
        return (sums[0] + (0 if self.bias is None else int(np.abs(self.bias).max())), *sums[1:])

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
        biases = [None if self.bias is None else jnp.asarray(self.bias, jnp.float32), *[None] * len(self.steps)]
        steps = [Step(w, 1.0, s, b) for w, s, b in zip(self.weights, self.steps, biases, strict=False)]
        return forward_batches(steps, whole, batch)


@dataclass(frozen=True)
class IntegerClassifier(Storable):
    """A classifier of whole numbers: the largest of ``readout @ levels + offset`` wins, the first of equals.

    Attributes
    ----------
    network : gives the levels.
    readout : (K, d).
    offset : (K,).
    classes : (K,) labels in the order of the scores.
    unit : a score of the float classifier is about a whole one times this.
    """

    network: IntegerNetwork
    readout: Int16[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    classes: np.ndarray
    unit: float

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
        return share_right(self.predict(raw), labels)


def to_integers(
    what: Network | Classifier,
    *,
    x: object = None,
    pixels: bool = False,
    normalization: Normalization | None = None,
    level_bits: int | None = None,
    readout_bits: int = READOUT_BITS,
    input_bits: int = INPUT_BITS,
) -> IntegerNetwork | IntegerClassifier:
    """A network or classifier of staircases and ternary, ±1 or int8 weights, in whole numbers.

    Parameters
    ----------
    what : its levels are rounded to multiples of a unit, where they are none yet (:meth:`Match.on_grid` makes them so
        before a readout is fitted); ``rounding`` of the result says how far.
    x : (n, p) samples as the network takes them, such as those of training: their largest coordinate sets the input's
        unit. Not needed for pixels.
    pixels : whether raw samples are bytes from 0 to 255, which are taken as they are.
    normalization : of raw samples, by default the classifier's.
    level_bits : of a level, sign included, 2 to 16; by default 12, or as many as sums below 2²⁴ leave.
    readout_bits : of a readout weight, 2 to 16; fewer are used where sums would leave 32 bits.
    input_bits : of a rounded coordinate, 2 to 16, where the input is not pixels.

    Raises
    ------
    NotIntegerError
        If an activation is not a staircase, weights are float32, or sums could pass 2²⁴.
    ValueError
        If bits are out of range, pixels have no normalisation, or other samples no x.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> classifier = hntk.fit_ridge(net, data.x, data.labels)
    >>> whole = hntk.to_integers(classifier, x=data.x)
    >>> bool((whole.predict(data.x) == classifier.predict(data.x)).mean() > 0.95), whole.readout.dtype.name
    (True, 'int16')
    """
    for name, bits in (
        ("level_bits", level_bits or LEVEL_BITS),
        ("readout_bits", readout_bits),
        ("input_bits", input_bits),
    ):
        if not 2 <= bits <= 16:
            raise ValueError(f"{name} must be from 2 to 16, got {bits!r}.")
    network = what.network if isinstance(what, Classifier) else what
    known = what.normalization if isinstance(what, Classifier) and normalization is None else normalization
    _check_whole(network)
    inputs, unit = _pixels(network, known) if pixels else _rounded(network, x, known, input_bits)
    bias = _bias(network.weights[0], known, inputs.fine) if isinstance(inputs, Pixels) and known is not None else None
    hidden = _hidden(network, inputs, unit, bias, _level_bits(network) if level_bits is None else level_bits)
    return hidden if not isinstance(what, Classifier) else _classifier(what, hidden, readout_bits)


def round_levels(levels: Float[np.ndarray, " N"], most: int) -> tuple[float, tuple[int, ...], float]:
    """(unit, whole numbers, error): the multiples of one unit, ``most`` at most, that are nearest to levels.

    The error is the largest, relative to the largest level. Of units that leave none the largest is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk.integers import round_levels
    >>> round_levels(np.array([-0.5, 0.25, 1.0]), 127)
    (0.25, (-2, 1, 4), 0.0)
    """
    top = float(np.abs(levels).max()) or 1.0
    units = top / np.arange(1, most + 1)
    whole = np.rint(levels / units[:, None])
    errors = np.abs(whole * units[:, None] - levels).max(axis=1) / top
    # float32 keeps 7 digits
    best = int(np.argmax(errors < ROUNDING)) if errors.min() < ROUNDING else int(np.argmin(errors))
    return float(units[best]), tuple(int(q) for q in whole[best]), float(errors[best])


def _check_whole(network: Network) -> None:
    for number, (w, sigma) in enumerate(zip(network.weights, network.activations, strict=True), 1):
        if not isinstance(sigma, Staircase):
            raise NotIntegerError(
                f"layer {number} has the activation {sigma.name!r}, which is not a staircase: hntk.compress finds one "
                "of a few levels for it."
            )
        if w.kind not in WHOLE:
            raise NotIntegerError(
                f"layer {number} has float32 weights: draw the network with the law 'ternary', 'bernoulli' or "
                "'int8_gaussian'."
            )


def _pixels(network: Network, normalization: Normalization | None) -> tuple[Pixels, float]:
    """Input as it is, and the normalised coordinate that a whole 1 is."""
    if normalization is None:
        raise ValueError("pixels need the normalization= of raw images that the network was made for.")
    # pixels and bias together stay below twice the pixels' largest sum
    room = EXACT // (2 * 255 * max(1, _row_weight(network.weights[0])))
    fine = min(FINE, 2 ** max(0, room.bit_length() - 1))
    return Pixels(fine), 1.0 / (normalization.scale * fine)


def _rounded(network: Network, x: object, normalization: Normalization | None, bits: int) -> tuple[Rounded, float]:
    """The same for input that is rounded."""
    if x is None:
        raise ValueError(
            "give x=, samples as the network takes them, whose largest coordinate sets the unit of the input; or "
            "pixels=True where raw samples are bytes."
        )
    most = 2 ** (bits - 1) - 1
    unit = float(jnp.max(jnp.abs(network.check_inputs(x)))) / most or 1.0
    centre = np.zeros(network.inputs) if normalization is None else normalization.centre
    scale = 1.0 if normalization is None else normalization.scale
    return Rounded(np.asarray(centre, np.float32), float(np.float32(1 / (unit * scale))), most), unit


def _bias(weights: WeightMatrix, normalization: Normalization, fine: int) -> Int32[np.ndarray, " d"]:
    """−W centre: what centring the pixels would add to the sums."""
    centre = normalization.centre.astype(np.float64) * fine
    return -np.rint(np.asarray(weights.values, np.float64) @ centre).astype(np.int32)


def _hidden(
    network: Network, inputs: Pixels | Rounded, unit: float, bias: np.ndarray | None, bits: int
) -> IntegerNetwork:
    steps, rounding = [], []
    for w, factor, sigma, m in network.layers():
        assert isinstance(sigma, Staircase)
        thresholds = np.ceil(np.asarray(sigma.thresholds) / (w.scale * factor * unit))
        unit, levels, error = round_levels(np.asarray(sigma.levels) - m, 2 ** (bits - 1) - 1)
        # no sum is so large: such a threshold is never, or always, reached
        steps.append(Steps(tuple(int(t) for t in np.clip(thresholds, -LIMIT, LIMIT)), levels))
        rounding.append(error)
    weights = tuple(WeightMatrix(w.values, 1.0, w.kind) for w in network.weights)
    found = IntegerNetwork(inputs, weights, tuple(steps), bias, unit / sqrt(network.widths[-1]), tuple(rounding))
    if max(found.largest_sums) > EXACT:
        raise NotIntegerError(
            f"sums could reach {max(found.largest_sums):,}, above 2**24, and not be exact in float32: use fewer "
            "level_bits or input_bits."
        )
    return found


def _classifier(classifier: Classifier, hidden: IntegerNetwork, bits: int) -> IntegerClassifier:
    weights, offset = classifier.weights.T * hidden.unit, classifier.offset
    # the largest score in whole numbers must fit, offsets and rounding included
    largest = float((np.abs(weights).sum(axis=1) * hidden.steps[-1].most + np.abs(offset)).max())
    room = LIMIT - weights.shape[1] * hidden.steps[-1].most - 1
    unit = max(float(np.abs(weights).max()) / (2 ** (bits - 1) - 1), largest / room) or 1.0
    return IntegerClassifier(
        hidden,
        np.rint(weights / unit).astype(np.int16),
        np.rint(offset / unit).astype(np.int32),
        classifier.classes,
        unit,
    )


def _level_bits(network: Network) -> int:
    """As many as the widest sums of levels leave."""
    heaviest = max((_row_weight(w) for w in network.weights[1:]), default=1)
    return max(2, min(LEVEL_BITS, (EXACT // max(1, heaviest)).bit_length()))


def _row_weight(matrix: WeightMatrix) -> int:
    """The largest Σ_j |W_ij|."""
    return int(np.abs(np.asarray(matrix.values, np.int64)).sum(axis=1).max())
