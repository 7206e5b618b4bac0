"""Random classifiers of whole numbers whose layers are orthogonal blocks, with scores from explicit weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import hadamard

import hntk
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT, IntegerNetwork
from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix
from hntk.weights.orthogonal_layout import block_size
from tests.support.random_classifiers import Sample, random_steps

ORDERS = ("none", "random", "generated")
GROUPS = (1, 2, 4, 8)
WIDTHS = (1, 2, 3, 7, 16, 31, 33, 64, 65, 100, 129)


def random_blocks(rng: np.random.Generator, shape: tuple[int, int], groups: int, order: str) -> OrthogonalMatrix:
    """Draw the parts of a matrix, without JAX."""
    size = block_size(shape[1], groups)
    blocks = -(-shape[0] // size)
    generator = None
    places = rng.permutation(size)[: shape[1]].astype(np.int32) if order == "random" else None
    if order == "generated":
        a, b, c, d = rng.integers(0, size, 4).tolist()
        generator = GeneratedOrder((a | 1, c | 1), (b, d))
        places = generator.places(shape[1], size).astype(np.int32)
    signs = rng.choice(np.array([-1, 1], np.int8), (blocks, shape[1]))
    swaps = rng.integers(0, groups, (blocks, size // groups)).astype(np.uint8)
    made = OrthogonalMatrix(signs, swaps, places, shape, groups, 1.0, generator)  # type: ignore[arg-type]
    made.check()
    return made


def explicit(matrix: OrthogonalMatrix) -> np.ndarray:
    """Return the values, row by row, from SciPy's Hadamard matrix."""
    outputs, inputs = matrix.shape
    length, rows, entries = matrix.length, [], hadamard(matrix.length)
    places = np.arange(inputs) if matrix.places is None else np.asarray(matrix.places)
    for block in range(matrix.blocks):
        left = min(outputs - block * matrix.size, matrix.size)
        group = (places // length) ^ np.asarray(matrix.swaps, np.int64)[block, places % length]
        for a in range(matrix.groups):
            # of `left` rows, dealt out to the groups one after the other
            count = len(range(a, left, matrix.groups))
            own = np.where(group == a, np.asarray(matrix.signs, np.int64)[block], 0)
            rows.append(entries[:count, places % length] * own)
    return np.concatenate(rows)


def random_block_sample(seed: int) -> Sample:
    """Return the classifier of a seed: seeds that follow each other have other groups, orders, inputs and readouts."""
    rng = np.random.default_rng([seed, 7])
    groups, order = GROUPS[seed % 4], ORDERS[seed // 4 % 3]
    depth = int(rng.integers(1, 4))
    sides = [int(rng.choice([1, 5, 40, 45, 130])), *rng.choice(WIDTHS, depth).tolist()]
    weights = [
        random_blocks(rng, (d, p), groups if number == 0 or rng.random() < 0.5 else 2, order if number == 0 else "none")
        for number, (p, d) in enumerate(zip(sides[:-1], sides[1:], strict=True))
    ]
    inputs, raw, values = _inputs(rng, sides[0], bool(seed % 2))
    bias = rng.integers(-500, 500, sides[1]).astype(np.int32) if rng.random() < 0.3 else None
    steps, read = [], []
    for number, w in enumerate(weights):
        sums = values @ explicit(w).T + (bias if number == 0 and bias is not None else 0)
        most = min(int(rng.choice([1, 9, 31, 127, 2047, 32767])), EXACT // sides[number + 1])
        levels = int(rng.choice([2, 3, 4, 4, 8, 17, 70]))
        steps.append(random_steps(rng, sums, levels, most))
        values = np.asarray(steps[-1].levels, np.int64)[np.searchsorted(steps[-1].thresholds, sums, side="right")]
        read.append(values)
    network = IntegerNetwork(inputs, tuple(weights), tuple(steps), bias, 1.0, (0.0,) * depth)
    return _with_readout(rng, network, raw, read)


def _inputs(rng: np.random.Generator, p: int, pixels: bool) -> tuple[Pixels | Rounded, np.ndarray, np.ndarray]:
    """Draw an input, samples for it, and what they become."""
    if pixels:
        raw = rng.integers(0, 256, (12, p)).astype(np.uint8)
        raw[:2] = [[0] * p, [255] * p]
        centre = rng.integers(0, 256, p).astype(np.uint8) if rng.random() < 0.7 else None
        fine = int(rng.choice([1, 1, 4]))
        moved = raw.astype(np.int64) - (0 if centre is None else centre.astype(np.int64))
        return Pixels(fine, centre), raw, moved * fine
    most = int(rng.choice([1, 127, 2047]))
    centre, factor = rng.normal(size=p).astype(np.float32), float(np.float32(0.4 * most))
    raw = (centre + rng.normal(size=(12, p))).astype(np.float32)
    scaled = np.rint((raw - centre) * np.float32(factor))
    return Rounded(centre, factor, most), raw, np.clip(scaled, -most, most).astype(np.int64)


def _with_readout(rng: np.random.Generator, network: IntegerNetwork, raw: np.ndarray, read: list[np.ndarray]) -> Sample:
    """Add a readout of the last layer, or of all layers with a shift each."""
    classes, every = int(rng.choice([1, 2, 10])), rng.random() < 0.5
    read = read if every else read[-1:]
    values = np.concatenate(read, axis=1)
    readout = rng.integers(-20, 21, (classes, values.shape[1])).astype(rng.choice([np.int8, np.int16]))
    shifts = tuple(rng.integers(0, 4, len(read)).tolist()) if every else ()
    factors = np.repeat(2 ** np.asarray(shifts or (0,)), [v.shape[1] for v in read])
    offset = rng.integers(-1000, 1000, classes).astype(np.int32)
    made = hntk.IntegerClassifier(network, readout, offset, np.arange(classes), 1.0, layers="all" if every else "last")
    made = replace(made, shifts=shifts)
    return Sample(made, raw, values * factors @ readout.T.astype(np.int64) + offset)
