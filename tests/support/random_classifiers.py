"""Random classifiers of whole numbers, over everything that can be exported, with their expected predictions."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

import numpy as np

import hntk
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import EXACT, IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.networks.spaced_steps import SpacedSteps
from hntk.weights.weight_matrix import WeightMatrix

ALPHABET = [
    *"ab01789 ?'\"\\/*%:<>=()[]{}#^|~-!,;\n\r\t\a\x01\x1b\x7f\x80\x85\x9f\xa0",
    *"é\u200b\u202e\u2066\u2069\ufeff\u4e2d\U0001f600\U0001f1e9\u0301\U0010ffff\ud7ff",
    "*/", "/*", "//", "%s", "%n", "??/", "<:", "%:", "\\0", "\\x41", "\\u0041", "\"};int x;//", "R\"(", "@name@",
]  # fmt: skip
# Thresholds of all neurons of a layer, up to which they are the neurons' own.
MOST_OWN = 200_000
WIDTHS = [1, 2, 7, 31, 32, 33, 63, 64, 65, 100, 129]


@dataclass(frozen=True)
class Sample:
    """A classifier, samples for it, and their scores in int64."""

    classifier: hntk.IntegerClassifier
    raw: np.ndarray
    scores: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.classifier.classes[np.argmax(self.scores, axis=1)]


def random_labels(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw different labels of a random type."""
    kind = rng.choice(["text", "text", "text", "small", "int64", "uint64", "bool", "float32", "float64"])
    if kind == "bool" and count <= 2:
        return np.array([False, True])[:count]
    draw = {
        "small": lambda: int(rng.integers(-100, 100)),
        "int64": lambda: int(rng.integers(-(2**63), 2**63 - 1, endpoint=True)),
        "uint64": lambda: int(rng.integers(2**62, 2**64 - 1, dtype=np.uint64, endpoint=True)),
        "float32": lambda: float(np.float32(rng.normal() * 10.0 ** rng.integers(-30, 30))),
        "float64": lambda: float(rng.normal() * 10.0 ** rng.integers(-300, 300)),
    }.get(kind, lambda: "".join(rng.choice(ALPHABET, rng.integers(0, 12))))
    extremes = {"int64": [-(2**63), 2**63 - 1, -(2**31)], "uint64": [2**64 - 1, 0], "float64": [5e-324, -0.0]}
    found = dict.fromkeys(extremes.get(kind, []) if rng.random() < 0.5 else [])
    while len(found) < count:
        found.setdefault(draw())
    dtype = {"small": np.int8, "text": None, "bool": None}.get(kind, kind)
    return np.array(list(found)[:count], dtype)


def random_weights(rng: np.random.Generator, shape: tuple[int, int], sparsity: float) -> WeightMatrix:
    """Draw ternary weights; without zeros, mostly ±1 weights."""
    signs = rng.choice(np.array([-1, 1], np.int8), shape)
    if sparsity == 0.0 and rng.random() < 0.7:
        return WeightMatrix(signs, 1.0, "sign")  # type: ignore[arg-type]
    kept = rng.random(shape) >= sparsity
    return WeightMatrix(np.where(kept, signs, 0).astype(np.int8), 1.0, "ternary")  # type: ignore[arg-type]


def random_steps(rng: np.random.Generator, sums: np.ndarray, levels: int, most: int) -> Steps:
    """Draw thresholds among the sums that occur, some of them equal, never reached or always reached."""
    low, high = int(sums.min()), int(sums.max())
    if rng.random() < 0.8:
        # from one neuron's sums, so that samples lie in different cells
        thresholds = rng.choice(sums[:, rng.integers(sums.shape[1])], levels - 1) + rng.integers(0, 2, levels - 1)
    else:
        thresholds = rng.integers(low, high, levels - 1, endpoint=True)
    if rng.random() < 0.2 and levels > 4:
        thresholds[:2] = [-(2**31), 2**31 - 1]
    if rng.random() < 0.5:
        made = rng.integers(-most, most, levels, endpoint=True)
    else:
        # an arithmetic progression, which needs fewer bit planes than it has ranks
        unit = max(1, 2 * most // max(1, levels - 1))
        made = np.clip(np.arange(levels) * unit - most, -most, most)
    return Steps(tuple(np.sort(thresholds).tolist()), tuple(made.tolist()))


def flat_steps(rng: np.random.Generator) -> Steps:
    """Return an activation of one level, with or without thresholds."""
    level, count = int(rng.integers(-9, 10)), int(rng.integers(0, 4))
    return Steps(tuple(range(count)), (level,) * (count + 1))


def own_steps(rng: np.random.Generator, sums: np.ndarray, shared: Steps) -> NeuronSteps:
    """Draw thresholds of each neuron among its own sums, as many as the shared ones."""
    count, width = len(shared.thresholds), sums.shape[1]
    rows = rng.integers(0, len(sums), (count, width))
    thresholds = np.take_along_axis(sums, rows, axis=0) + rng.integers(0, 2, (count, width))
    extremes = rng.random((count, width)) < rng.choice([0.0, 0.1])
    thresholds[extremes] = rng.choice([-(2**31), 2**31 - 1], int(extremes.sum()))
    return NeuronSteps(np.sort(thresholds, axis=0).T.astype(np.int32), shared.levels)


def spaced_steps(rng: np.random.Generator, sums: np.ndarray, shared: Steps, bound: int) -> SpacedSteps:
    """Draw a first threshold and a distance of each neuron from its own sums, a few of them extreme."""
    width = sums.shape[1]
    first = sums[rng.integers(len(sums)), :] + rng.normal(size=width)
    distance = (np.ptp(sums, axis=0) + 1) / len(shared.levels) * rng.uniform(0.3, 2, width)
    extremes = rng.random(width) < rng.choice([0.0, 0.1])
    first[extremes] = rng.choice([-1e12, 1e12, 0.0], int(extremes.sum()))
    distance[extremes] = rng.choice([1e-3, 1e12], int(extremes.sum()))
    return SpacedSteps.of(first, distance, shared.levels, bound)


def pooled_inputs(rng: np.random.Generator, size: int, rows: int) -> tuple[PooledPixels, np.ndarray]:
    """Draw images whose pixels are averaged over so many cells."""
    height = int(rng.choice([h for h in range(1, size + 1) if size % h == 0]))
    pooled = (height, size // height)
    while True:
        shape = tuple(int(rng.integers(cells, 2 * cells + 3)) for cells in pooled)
        inputs = PooledPixels(shape, pooled)  # type: ignore[arg-type]
        if inputs.defect is None:
            return inputs, rng.integers(0, 256, (rows, inputs.raw_size)).astype(np.uint8)


def random_sample(seed: int, own: bool = False) -> Sample:
    """Return the classifier of a seed; a few in a hundred are wide.

    With ``own``, most staircases have thresholds of each neuron, and pixels are averaged over cells.
    """
    rng, new = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    widths, sparsity = _shape(rng)
    rows = int(rng.choice([1, 5, 20, 20]))
    weights = [random_weights(rng, (d, p), sparsity) for p, d in zip(widths[:-1], widths[1:], strict=True)]
    if rng.random() < 0.05:
        weights[-1] = WeightMatrix(np.zeros(weights[-1].shape, np.int8), 1.0, "ternary")  # type: ignore[arg-type]
    inputs, raw = _inputs(rng, weights[0], rows)
    if own and isinstance(inputs, Pixels):
        inputs, raw = pooled_inputs(new, widths[0], rows)
    bias = None
    if not isinstance(inputs, Rounded):
        bias = rng.integers(-2000, 2000, widths[1]).astype(np.int32)
    # products of floats are exact here, and fast
    values = _whole(inputs, raw)
    steps, largest = [], max(-inputs.least, inputs.most)
    # in a few networks, one layer passes nothing on
    flat = int(rng.integers(len(weights))) if rng.random() < 0.1 else None
    for number, w in enumerate(weights):
        sums = (values @ np.asarray(w.values, np.float64).T).astype(np.int64)
        if number == 0 and bias is not None:
            sums += bias
        following = weights[number + 1].values if number + 1 < len(weights) else np.ones((1, 1))
        heaviest = max(1, int(np.abs(np.asarray(following, np.int64)).sum(axis=1).max()))
        most = min(int(rng.choice([1, 2, 9, 127, 2047, 32767])), EXACT // heaviest)
        levels = int(rng.choice([2, 2, 3, 4, 4, 5, 8, 16, 17, 33, 70, 300, 1000]))
        steps.append(flat_steps(rng) if number == flat else random_steps(rng, sums, levels, max(1, most)))
        if own and sums[0].size * levels < MOST_OWN and new.random() < 0.7:
            bound = int(np.abs(np.asarray(w.values, np.int64)).sum(axis=1).max()) * largest + 2000
            spaced = len(steps[-1].levels) > 1 and new.random() < 0.4
            steps[-1] = spaced_steps(new, sums, steps[-1], bound) if spaced else own_steps(new, sums, steps[-1])
            cells = np.sum(sums[..., None] >= steps[-1].thresholds, axis=-1)
        else:
            cells = np.searchsorted(steps[-1].thresholds, sums, side="right")
        values, largest = np.asarray(steps[-1].levels, np.float64)[cells], steps[-1].most
    network = IntegerNetwork(inputs, tuple(weights), tuple(steps), bias, 1.0, (0.0,) * len(steps))
    return _with_readout(rng, network, raw, values.astype(np.int64))


def _with_readout(rng: np.random.Generator, network: IntegerNetwork, raw: np.ndarray, values: np.ndarray) -> Sample:
    classes = int(rng.choice([1, 2, 2, 3, 10, 40]))
    labels = random_labels(rng, classes)
    room = (2**31 - 1) // 2 // (network.widths[-1] * network.steps[-1].most or 1)
    most = min(room, int(rng.choice([1, 127, 32767])))
    dtype = np.int8 if most <= 127 else np.int16
    readout = rng.integers(-most, most, (len(labels), network.widths[-1]), endpoint=True).astype(dtype)
    scores = values @ readout.T.astype(np.int64)
    # every class for some samples, and equal scores
    offset = -np.sort(scores, axis=0)[rng.integers(0, len(raw), len(labels)), np.arange(len(labels))]
    if rng.random() < 0.1:
        offset = rng.integers(-(2**29), 2**29, len(labels))
    made = hntk.IntegerClassifier(network, readout, offset.astype(np.int32), labels, 1.0)
    return Sample(made, raw, scores + offset)


def _shape(rng: np.random.Generator) -> tuple[list[int], float]:
    """Draw the widths, the input's included, and the share of zeros."""
    if rng.random() < 0.05:
        wide = int(rng.choice([5_000, 20_000, 70_000]))
        return [[wide, 3], [3, wide], [2, wide, 2], [40, 5000, 1]][rng.integers(4)], float(
            rng.choice([0.0, 0.9, 0.999])
        )
    depth = int(rng.choice([1, 1, 2, 2, 3, 3, 5, 30]))
    sparsity = float(rng.choice([0.0, 0.0, 0.3, 0.5, 0.9, 0.99, 0.999]))
    if rng.random() < 0.8:
        # a few weights per row remain
        sparsity = min(sparsity, 0.9)
    if depth > 3:
        # mostly layers of equal width
        width = int(rng.choice([33, 64, 100]))
        return [int(rng.choice(WIDTHS)), *[width] * (depth - 1), int(rng.choice([width, 31]))], sparsity
    return rng.choice(WIDTHS, depth + 1).tolist(), sparsity


def _inputs(rng: np.random.Generator, first: WeightMatrix, rows: int) -> tuple[Pixels | Rounded, np.ndarray]:
    p = first.values.shape[1]
    heaviest = max(1, int(np.abs(np.asarray(first.values, np.int64)).sum(axis=1).max()))
    if rng.random() < 0.5 and 256 * heaviest + 2000 < EXACT:
        fine = int(rng.choice([1, 2, 16]))
        while (256 * fine) * heaviest + 2000 >= EXACT:
            fine //= 2
        return Pixels(fine), rng.integers(0, 256, (rows, p)).astype(np.uint8)
    most = min(int(rng.choice([1, 3, 127, 2047, 32767])), EXACT // heaviest)
    centre, factor = rng.normal(size=p).astype(np.float32), float(np.float32(0.4 * most))
    raw = (centre + rng.normal(size=(rows, p)) * rng.choice([0.1, 1.0, 3.0])).astype(np.float32)
    # multiples of a half, which round to even
    halves = rng.random((rows, p)) < 0.1
    raw[halves] = (centre + rng.integers(-4, 5, (rows, p)).astype(np.float32) / np.float32(2 * factor))[halves]
    return Rounded(centre, factor, most), raw


def _whole(inputs: Pixels | PooledPixels | Rounded, raw: np.ndarray) -> np.ndarray:
    if isinstance(inputs, PooledPixels):
        return _averaged(inputs, raw)
    if isinstance(inputs, Pixels):
        return raw.astype(np.float64) * inputs.fine
    scaled = (raw - inputs.centre) * np.float32(inputs.factor)
    return np.clip(np.rint(scaled), -inputs.most, inputs.most).astype(np.float64)


def _averaged(inputs: PooledPixels, raw: np.ndarray) -> np.ndarray:
    """Cut pixels into parts of which every cell has a whole number, and average these."""
    images = raw.reshape(-1, *inputs.shape).astype(np.int64)
    for axis, (size, cells) in enumerate(zip(inputs.shape, inputs.pooled, strict=True), 1):
        parts = np.repeat(images, cells // gcd(size, cells), axis=axis)
        images = np.add.reduceat(parts, np.arange(cells) * (size // gcd(size, cells)), axis=axis)
    area = prod(size // gcd(size, cells) for size, cells in zip(inputs.shape, inputs.pooled, strict=True))
    return ((2 * images + area) // (2 * area)).reshape(len(raw), -1).astype(np.float64)
