"""Bytes of the tables of a C program: of a trained network, and of one that is not trained yet.

Before a training its tables are those of random weights, with the sums that these have over a few samples. A trained
network's differ from them by a few per cent: its weights are not spread evenly over a matrix, and its thresholds are
further apart. So they are measured again while it is trained; see :mod:`hntk.training.byte_limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from hntk.deploy.c_choice import choose_layouts
from hntk.deploy.c_tables import NetworkTables
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.training.few_level_layers import FewLevelLayer, Parameters
from hntk.training.folding import folded_network
from hntk.training.samples import TrainingData
from hntk.training.sparse_weights import DENSEST
from hntk.training.starts import StartProblem, first_thresholds, uniform_layers

# Samples over which the sums of a network that is not trained are standardised.
SAMPLES = 256
# Fewest weights of a neuron that are not 0, in the mean.
SPARSEST = 2.0
# Densities are searched for until they are known as well as this, relatively.
PRECISION = 2e-3


def table_bytes(program: IntegerClassifier | IntegerRegressor) -> int:
    """Return the bytes of flash of a program's smallest tables, as :func:`hntk.deploy.to_c` counts them.

    A regressor's tables are those of a classifier with a score for each target.
    """
    if not isinstance(program, IntegerClassifier):
        program = _as_classifier(program.network, np.asarray(program.readout), np.asarray(program.offset))
    return NetworkTables.of(program, choose_layouts(program.network, "smallest")).table_bytes


def drawn_bytes(problem: StartProblem) -> int:
    """Return the bytes of flash of a network with random weights of the widths, levels and sparsity of a training.

    The same problem gives the same bytes.
    """
    data, rng = _few(problem.data), np.random.default_rng(0)
    layers = [
        {
            "weights": rng.standard_normal((d, before), np.float32),
            "thresholds": np.tile(numbers, (d, 1)),
        }
        for before, d, numbers in zip(_fan_in(problem), problem.widths, first_thresholds(problem), strict=True)
    ]
    return network_bytes({"layers": layers}, uniform_layers(problem), data)


def network_bytes(parameters: Parameters, layers: Sequence[FewLevelLayer], data: TrainingData) -> int:
    """Return the bytes of flash of the program that hidden layers would give.

    Parameters
    ----------
    parameters : dict
        Parameters of one member, of which those of the hidden layers are read: whatever the readout is, its largest
        number is that of its type.
    layers : sequence of FewLevelLayer
        What is fixed about each layer.
    data : TrainingData
        Samples over which sums are standardised. With few of them thresholds can be others than with all, which changes
        the bytes only where they need another type.

    Returns
    -------
    int
        Bytes of the tables.
    """
    network = folded_network(parameters, layers, data)
    wide = data.classes is None and data.outputs > 1
    dtype = np.int16 if wide else np.int8
    readout = np.full((data.outputs, network.widths[-1]), np.iinfo(dtype).max, dtype)
    return table_bytes(_as_classifier(network, readout, np.zeros(data.outputs, np.int32)))


def with_density(problem: StartProblem, scale: float, ratio: Sequence[float]) -> StartProblem:
    """Return a training with densities, shares of weights that are not 0, of ``scale`` times each layer's ratio.

    No layer is denser than 2/3, or has fewer than 2 weights a neuron that are not 0.
    """
    least = (min(SPARSEST / before, DENSEST) for before in _fan_in(problem))
    densities = (float(np.clip(scale * part, low, DENSEST)) for part, low in zip(ratio, least, strict=True))
    return replace(problem, sparsity=tuple(1 - density for density in densities))


def filled(problem: StartProblem, limit: float, ratio: Sequence[float]) -> StartProblem | None:
    """Return a training with the largest densities in a ratio whose tables are within a limit.

    Parameters
    ----------
    problem : StartProblem
        A training, whose sparsity is replaced.
    limit : float
        Largest number of bytes of the tables.
    ratio : sequence of float
        Density of each layer, up to a factor.

    Returns
    -------
    StartProblem or None
        The training, or None if the tables of the sparsest layers are too large.
    """
    low = min(SPARSEST / (before * part) for before, part in zip(_fan_in(problem), ratio, strict=True))
    high = DENSEST / min(ratio)
    if drawn_bytes(with_density(problem, high, ratio)) <= limit:
        return with_density(problem, high, ratio)
    if drawn_bytes(with_density(problem, low, ratio)) > limit:
        return None
    while high > low * (1 + PRECISION):
        middle = sqrt(low * high)
        fits = drawn_bytes(with_density(problem, middle, ratio)) <= limit
        low, high = (middle, high) if fits else (low, middle)
    return with_density(problem, low, ratio)


def _fan_in(problem: StartProblem) -> tuple[int, ...]:
    return (problem.data.inputs_width, *problem.widths[:-1])


def _few(data: TrainingData) -> TrainingData:
    """Return few training samples, evenly spread over all."""
    n = len(data.training.targets)
    return data.subset(np.linspace(0, n - 1, min(n, SAMPLES)).astype(int))


def _as_classifier(network, readout: np.ndarray, offset: np.ndarray) -> IntegerClassifier:
    return IntegerClassifier(network, readout, offset, np.arange(offset.size), 1.0)
