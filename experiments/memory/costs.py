"""Bytes, operations and memory that a network of the memory experiment takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hntk
from experiments.memory import arms
from experiments.runner import metrics
from experiments.runner.config import Config
from experiments.runner.record import Record


def network_costs(
    cfg: Config, record: Record, classifier: hntk.Classifier | hntk.IntegerClassifier, data: hntk.Dataset
) -> dict[str, Any]:
    """Return bytes by formula and as written, operations, and memory for activations.

    The readout counts as float32 in all operations, as that of every arm does. The file of the last seed is kept if
    settings ask for it.
    """
    path, layers = record.folder / "net.safetensors", classifier.layers
    if isinstance(classifier, hntk.IntegerClassifier):
        whole: Any = classifier
        network = counted_network(classifier)
        formula = hntk.storage(network, len(data.classes), layers)
        rest = arms.whole_number_bytes(network.widths, data.p, len(data.classes), levels_of(classifier))
    else:
        whole = replace(classifier, normalization=data.normalization)
        network = classifier.network
        formula = hntk.storage(network, len(data.classes), layers)
        rest = formula.activations + formula.readout
    size = hntk.save(whole, path)
    cost = hntk.arithmetic(network, len(data.classes), 8 if data.pixels else 32, layers)
    if not cfg.experiment.keep:
        path.unlink()
    return {
        metrics.FILE_BYTES: size,
        metrics.FORMULA_BYTES: formula.hidden + rest,
        "bytes/base3": None if formula.hidden_base3 is None else formula.hidden_base3 + rest,
        "bytes/entropy": None if formula.hidden_entropy is None else formula.hidden_entropy + rest,
        "operations/multiply_accumulates": cost.multiply_accumulates,
        metrics.BIT_OPERATIONS: cost.bit_operations,
        metrics.PLANE_OPERATIONS: cost.plane_operations,
        metrics.ACTIVATION_BYTES: cost.activation_bytes,
        "widths": "-".join(map(str, network.widths)),
    }


def levels_of(classifier: hntk.IntegerClassifier) -> list[int]:
    """Return the number of levels of each layer."""
    return [len(steps.levels) for steps in classifier.network.steps]


def counted_network(classifier: hntk.IntegerClassifier) -> hntk.Network:
    """Return a network of the same weights and numbers of levels, whose operations are counted."""
    staircases = [hntk.staircase(list(range(n - 1)), list(range(n))) for n in levels_of(classifier)]
    return hntk.Network(classifier.network.weights, tuple(staircases), (0.0,) * len(staircases), None, None)
