"""Random classifiers whose neurons have their own thresholds, on pixels, averaged ones or coordinates, with scores."""

from __future__ import annotations

import numpy as np

import hntk
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.weights.weight_matrix import Weights
from tests.support.orthogonal import random_blocks
from tests.support.random_classifiers import Sample, random_weights

# Images, and the cells that they are averaged over.
SHAPES = [
    ((6, 7), (4, 5)),
    ((8, 8), (4, 4)),
    ((5, 9), (5, 3)),
    ((28, 28), (16, 16)),
    ((3, 4), (3, 4)),
    ((40, 1), (9, 1)),
    ((19, 19), (2, 2)),
]


def neuron_sample(seed: int, *, orthogonal: bool = False) -> Sample:
    """Return the classifier of a seed, samples and their scores, computed directly in whole numbers."""
    rng = np.random.default_rng([seed, 26])
    kind = ("pooled", "pixels", "centred", "rounded")[seed % 4]
    shape, cells = SHAPES[rng.integers(len(SHAPES))]
    count = int(np.prod(cells)) if kind == "pooled" else int(rng.choice([5, 33, 64, 300]))
    inputs, raw, values = _inputs(rng, kind, shape, cells, count)
    widths = [count, *rng.choice([1, 3, 33, 70], rng.integers(1, 4)).tolist()]
    weights, steps = [], []
    bias = rng.integers(-500, 500, widths[1]).astype(np.int32) if rng.random() < 0.5 else None
    for number, sizes in enumerate(zip(widths[1:], widths[:-1], strict=True)):
        # only the first layer's inputs have an order
        weights.append(_weights(rng, sizes, (None, "random", "none")[orthogonal * (1 + (number > 0))]))
        sums = values @ np.asarray(weights[-1].values, np.int64).T
        if number == 0 and bias is not None:
            sums = sums + bias
        steps.append(_steps(rng, sums))
        thresholds = np.atleast_2d(np.asarray(steps[-1].thresholds, np.int64))
        reached = (sums[:, :, None] >= thresholds).sum(axis=2)
        values = np.asarray(steps[-1].levels)[reached]
    network = IntegerNetwork(inputs, tuple(weights), tuple(steps), bias, 1.0, (0.0,) * len(steps))
    readout = rng.integers(-127, 128, (3, widths[-1])).astype(np.int8)
    scores = values @ readout.T.astype(np.int64)
    # so that every class has samples
    offset = -np.median(scores, axis=0).astype(np.int32)
    made = hntk.IntegerClassifier(network, readout, offset, np.arange(3), 1.0)
    return Sample(made, raw, scores + offset)


def _inputs(
    rng: np.random.Generator, kind: str, shape: tuple[int, int], cells: tuple[int, int], count: int
) -> tuple[Pixels | PooledPixels | Rounded, np.ndarray, np.ndarray]:
    """Return an input, raw samples and what they become."""
    if kind == "rounded":
        raw = rng.normal(size=(12, count)).astype(np.float32)
        inputs = Rounded(np.zeros(count, np.float32), 16.0, 127)
        return inputs, raw, np.clip(np.rint(raw * 16), -127, 127).astype(np.int64)
    if kind != "pooled":
        raw = rng.integers(0, 256, (12, count)).astype(np.uint8)
        centre = rng.integers(0, 256, count).astype(np.uint8) if kind == "centred" else None
        return Pixels(1, centre), raw, raw.astype(np.int64) - (0 if centre is None else centre)
    raw = rng.integers(0, 256, (12, int(np.prod(shape)))).astype(np.uint8)
    # every pixel as so many equal parts that cells are made of whole ones
    fine = raw.reshape(12, *shape).astype(np.int64).repeat(cells[0], axis=1).repeat(cells[1], axis=2)
    sums = fine.reshape(12, cells[0], shape[0], cells[1], shape[1]).sum(axis=(2, 4))
    area = shape[0] * shape[1]
    return PooledPixels(shape, cells), raw, ((2 * sums + area) // (2 * area)).reshape(12, -1)


def _weights(rng: np.random.Generator, sizes: tuple[int, int], order: str | None) -> Weights:
    """Draw explicit weights, or orthogonal blocks whose inputs have an order."""
    if order is not None:
        return random_blocks(int(rng.integers(99)), sizes, int(rng.choice([1, 2, 4])), order)
    return random_weights(rng, sizes, float(rng.choice([0.0, 0.4, 0.9])))


def _steps(rng: np.random.Generator, sums: np.ndarray) -> NeuronSteps | Steps:
    """Draw thresholds among the sums of each neuron; some are equal, and some beyond every sum."""
    count = int(rng.choice([1, 1, 3, 3, 7, 15, 40]))
    levels = rng.permutation(count + 1) - count // 2 if rng.random() < 0.5 else np.arange(count + 1)
    if rng.random() < 0.2:
        levels = levels * 300
    levels = tuple(levels.tolist())
    if rng.random() < 0.2:
        return Steps(tuple(np.sort(rng.choice(sums.ravel(), count)).tolist()), levels)
    rows = [rng.choice(column, count) + rng.integers(0, 2, count) for column in sums.T]
    thresholds = np.sort(np.stack(rows), axis=1)
    if rng.random() < 0.3:
        thresholds = thresholds // 4 * 4
    if rng.random() < 0.5:
        thresholds[rng.integers(len(thresholds)), -1] = 2**31 - 1
        thresholds[rng.integers(len(thresholds)), 0] = 1 - 2**31
    return NeuronSteps(thresholds.astype(np.int32), levels)
