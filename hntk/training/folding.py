r"""Trained parameters as a program of whole numbers.

A neuron with the sum u has reached the threshold t on standardised sums where u ≥ m + s t, that is
$u \ge \lceil m + s t\rceil$ for whole u. Mean m and deviation s are those of its sums over the training samples,
computed exactly, layer by layer, with the folded layers before. So nothing is rounded but the offsets of the readout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_network import EXACT, LIMIT, IntegerNetwork
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.integer_steps import NeuronSteps
from hntk.networks.spaced_steps import SpacedSteps
from hntk.networks.training_record import TrainingRecord
from hntk.training.byte_distances import COARSE_MULTIPLIER, spread_thresholds
from hntk.training.few_level_layers import FewLevelLayer, Parameters, threshold_values
from hntk.training.forward_pass import LEAST_VARIANCE, eight_bits
from hntk.training.samples import TrainingData
from hntk.training.sparse_weights import ternary_values
from hntk.weights.weight_matrix import WeightMatrix

# Samples whose sums are computed at a time.
BLOCK = 4096


class ExactStatistics(NamedTuple):
    """Mean and variance of whole sums, in float64 from exact whole numbers."""

    mean: Float[np.ndarray, " d"]
    variance: Float[np.ndarray, " d"]

    @staticmethod
    def of(weights: Int[np.ndarray, "d p"], h: Int[np.ndarray, "n p"]) -> ExactStatistics:
        """Return the statistics of the sums of samples.

        Sums and squares are added as whole numbers of any size, and divided once.
        """
        first, second = np.zeros((2, len(weights)), dtype=object)
        for sums in whole_sums(weights, h):
            first += sums.sum(axis=0)
            second += np.square(sums).sum(axis=0)
        n = len(h)
        spread = n * second - first * first
        return ExactStatistics((first / n).astype(float), (spread / (n * n)).astype(float))


def whole_sums(weights: Int[np.ndarray, "d p"], h: Int[np.ndarray, "n p"]) -> Iterator[Int[np.ndarray, "batch d"]]:
    """Yield the sums of samples as int64, some samples at a time; float32 is exact below 2²⁴."""
    columns = weights.T.astype(np.float32)
    for start in range(0, len(h), BLOCK):
        yield (h[start : start + BLOCK].astype(np.float32) @ columns).astype(np.int64)


def folded_network(parameters: Parameters, layers: Sequence[FewLevelLayer], data: TrainingData) -> IntegerNetwork:
    """Return the hidden layers in whole numbers.

    Parameters
    ----------
    parameters : dict
        Trained parameters of one member, see :func:`forward_pass.forward`.
    layers : sequence of FewLevelLayer
        What is fixed about each layer.
    data : TrainingData
        Samples, over whose training part sums are standardised.

    Returns
    -------
    IntegerNetwork
        The layers, with thresholds of each neuron.

    Raises
    ------
    ValueError
        If sums could pass 2²⁴.
    """
    h, matrices, steps = data.training.whole, [], []
    most = max(-data.inputs.least, data.inputs.most)
    for layer, part in zip(layers, parameters["layers"], strict=True):
        values = ternary_values(np.asarray(part["weights"]), layer.sparsity)
        known = threshold_values(np.asarray(part["thresholds"]), layer)
        staircase = whole_staircase(ExactStatistics.of(values, h), known, layer, largest_sum(values, most))
        matrices.append(WeightMatrix(jnp.asarray(values), 1.0, "ternary"))
        steps.append(staircase)
        h, most = reached_levels(values, np.asarray(staircase.thresholds), layer.levels, h), staircase.most
    unit = layers[-1].unit
    network = IntegerNetwork(data.inputs, tuple(matrices), tuple(steps), None, unit, (0.0,) * len(layers))
    if max(network.largest_sums) > EXACT:
        raise ValueError(f"sums could reach {max(network.largest_sums):,}, above 2**24: give smaller widths.")
    return network


def whole_staircase(
    statistics: ExactStatistics, thresholds: Float[np.ndarray, "d T"], layer: FewLevelLayer, bound: int
) -> NeuronSteps | SpacedSteps:
    """Return the staircase of sums u that has reached the threshold t where u ≥ m + s t.

    Parameters
    ----------
    statistics : ExactStatistics
        Mean m and variance s² of the sums of each neuron.
    thresholds : (d, T) array
        Thresholds t of each neuron, ascending.
    layer : FewLevelLayer
        What is fixed about the layer.
    bound : int
        Largest magnitude of a sum.

    Returns
    -------
    NeuronSteps or SpacedSteps
        Thresholds ⌈m + s t⌉; those that are spaced equally, to the rounding of :meth:`SpacedSteps.of`.
    """
    deviation = np.sqrt(statistics.variance + LEAST_VARIANCE)
    reached = statistics.mean[:, None] + deviation[:, None] * thresholds
    if layer.spaced:
        distance = reached[:, 1] - reached[:, 0] if reached.shape[1] > 1 else deviation
        if not layer.coarse:
            return SpacedSteps.of(reached[:, 0], distance, layer.levels, bound)
        first, distance = spread_thresholds(reached[:, 0], distance, statistics.mean, len(layer.levels), bound)
        return SpacedSteps.of(first, distance, layer.levels, bound, COARSE_MULTIPLIER)
    return NeuronSteps(np.clip(np.ceil(reached), -LIMIT, LIMIT).astype(np.int32), layer.levels)


def largest_sum(weights: Int[np.ndarray, "d p"], most: int) -> int:
    """Return the largest magnitude of a sum of inputs up to a magnitude."""
    return int(np.abs(weights).sum(axis=1, dtype=np.int64).max()) * most


def reached_levels(
    weights: Int[np.ndarray, "d p"], thresholds: Int[np.ndarray, "d T"], levels: Sequence[int], h: np.ndarray
) -> Int[np.ndarray, "n d"]:
    """Return the levels of samples after a layer, in as few bits as they need."""
    known = np.asarray(levels, np.min_scalar_type(min(min(levels), -1 - max(levels))))
    blocks = []
    for sums in whole_sums(weights, h):
        cells = np.zeros(sums.shape, np.min_scalar_type(thresholds.shape[1]))
        for threshold in thresholds.T:
            cells += sums >= threshold
        blocks.append(known[cells])
    return np.concatenate(blocks)


class WholeReadout(NamedTuple):
    """Readout in whole numbers, offsets in units of scores, and that unit."""

    weights: Int[np.ndarray, "K d"]
    offset: Int[np.ndarray, " K"]
    unit: float


def whole_readout(
    readout: Float[np.ndarray, "K d"],
    offset: Float[np.ndarray, " K"],
    level_unit: float,
    most: int,
    dtype: type[np.int8 | np.int16] = np.int8,
) -> WholeReadout:
    """Return a readout of levels in whole numbers.

    Parameters
    ----------
    readout, offset : arrays
        Trained readout.
    level_unit : float
        What one level counts for the readout.
    most : int
        Largest magnitude of a level.
    dtype : type
        ``np.int8`` or ``np.int16``, whose largest number the largest weight becomes.

    Returns
    -------
    WholeReadout
        The readout.

    Raises
    ------
    ValueError
        If a score could leave 32 bits.
    """
    step = np.float32(np.abs(readout).max()) / np.float32(np.iinfo(dtype).max) or np.float32(1.0)
    weights, unit = np.rint(np.asarray(readout, np.float32) / step).astype(dtype), float(step) * level_unit
    whole = np.rint(np.asarray(offset, np.float64) / unit)
    if float((np.abs(weights.astype(np.int64)).sum(axis=1) * most + np.abs(whole)).max()) > LIMIT:
        raise ValueError(
            "a score could leave 32 bits, since offsets are far larger than what the network adds: train longer, or "
            "give targets of a smaller mean."
        )
    return WholeReadout(weights, whole.astype(np.int32), unit)


def folded(
    parameters: Parameters, layers: Sequence[FewLevelLayer], data: TrainingData, record: TrainingRecord
) -> IntegerClassifier | IntegerRegressor:
    """Return trained parameters as a classifier, or a regressor, of whole numbers.

    Parameters
    ----------
    parameters : dict
        Trained parameters of one member.
    layers : sequence of FewLevelLayer
        What is fixed about each layer.
    data : TrainingData
        Samples that it was trained on.
    record : TrainingRecord
        How it was trained. What the program itself shows is filled in: the share of zeros and the number of levels of
        each layer, and its accuracy on the validation samples, or the root mean square error of a regressor.

    Returns
    -------
    IntegerClassifier or IntegerRegressor
        The program of whole numbers.

    Raises
    ------
    ValueError
        If sums or scores could leave the numbers in which they are exact.
    """
    network = folded_network(parameters, layers, data)
    readout, offset = (np.asarray(parameters[name], np.float64) for name in ("readout", "offset"))
    most, held = max(map(abs, layers[-1].levels)), data.held
    shares = tuple(float(np.mean(np.asarray(w.values) == 0)) for w in network.weights)
    known = replace(record, sparsity=shares, levels=tuple(len(layer.levels) for layer in layers))
    if data.classes is not None:
        whole = whole_readout(readout, offset, network.unit, most)
        classifier = IntegerClassifier(network, whole.weights, whole.offset, data.classes, whole.unit)
        right = classifier.accuracy(held.raw, data.classes[held.targets]) if len(held.targets) else None
        return replace(classifier, training=replace(known, validation=right))
    assert data.spread is not None
    assert data.centre is not None
    # Targets of different sizes share one unit, in which 16 bits tell the steps apart that were trained.
    dtype = np.int8 if len(data.spread) == 1 else np.int16
    rows = np.asarray(eight_bits(jnp.asarray(readout, jnp.float32)), np.float64) * data.spread[:, None]
    offset = offset * data.spread + data.centre
    regressor = IntegerRegressor(network, *whole_readout(rows, offset, network.unit, most, dtype))
    error = None
    if len(held.targets):
        true = held.targets * data.spread + data.centre
        error = float(np.sqrt(np.mean(np.square(regressor.predict(held.raw).reshape(true.shape) - true))))
    return replace(regressor, training=replace(known, validation=error))
