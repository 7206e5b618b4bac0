"""What is exported has to be in order first: programs check nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hntk._utils.labels import label_array
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT, LIMIT, IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.laws import WeightMatrix

VALUES = {"ternary": (-1, 0, 1), "sign": (-1, 1), "int8": tuple(range(-127, 128))}
SMALLEST, LARGEST = (float(v) for v in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
REMEDY = "make the classifier with hntk.to_integers, or load it from a file"


def check_integers(classifier: object) -> np.ndarray:
    """Return the labels of a classifier of whole numbers that can be exported.

    Raises
    ------
    TypeError
        If it is no such classifier.
    ValueError
        If its parts do not fit each other, numbers leave the types they are computed in, or labels are not booleans,
        numbers or Unicode text.
    """
    if not isinstance(classifier, IntegerClassifier):
        raise TypeError(
            f"a classifier of whole numbers is needed, not {type(classifier).__name__}: make one with "
            "hntk.to_integers(classifier, ...)."
        )
    problem = next(_problems(classifier), None)
    if problem:
        raise ValueError(f"{problem}: {REMEDY}.")
    return check_labels(classifier.classes)


def check_labels(classes: object) -> np.ndarray:
    """Return labels of classes, at least one.

    Raises
    ------
    ValueError
        If there is none, or they are not booleans, numbers or Unicode text.
    """
    labels = label_array(classes, name="classes")
    if labels.size == 0:
        raise ValueError("there are no classes to predict: fit the readout on labels.")
    return labels


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder that exists and that files can be made in.

    Raises
    ------
    TypeError
        If it is not a path.
    OSError
        If there is no such folder, or it cannot be written to.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"a folder must be a path, not {type(folder).__name__}: give text or a pathlib.Path.")
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {path}: make it first, with Path(...).mkdir(parents=True).")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder: name one.")
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"files cannot be written to the folder {path}: change its permissions, or name another.")
    return path


def _problems(classifier: IntegerClassifier) -> Iterator[str]:
    """What is wrong; later checks rely on earlier ones."""
    network, width = classifier.network, 0
    if not network.weights or len(network.weights) != len(network.steps):
        yield f"there are {len(network.weights)} weight matrices and {len(network.steps)} staircases"
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True), 1):
        yield from (f"layer {number} {problem}" for problem in (*_of_weights(w, width), *_of_steps(steps)))
        width = w.shape[0]
    yield from _of_inputs(network)
    classes = np.shape(classifier.classes)
    readout, offset = np.asarray(classifier.readout), np.asarray(classifier.offset)
    if len(classes) != 1 or readout.shape != (*classes, width) or offset.shape != classes:
        yield (
            f"classes of shape {classes}, a readout of {readout.shape} and an offset of {offset.shape} do not fit "
            f"{width} neurons"
        )
    if readout.dtype not in (np.int8, np.int16) or not _whole(offset, LIMIT):
        yield f"a readout must be int8 or int16 and an offset of 32 bits, not {readout.dtype} and {offset.dtype}"
    if max(network.largest_sums) > EXACT:
        yield f"sums could reach {max(network.largest_sums):,}, above 2**24"
    if classes[0] and classifier.largest_score > LIMIT:
        yield f"scores could reach {classifier.largest_score:,}, which leaves 32 bits"


def _of_weights(matrix: WeightMatrix, width: int) -> Iterator[str]:
    values = np.asarray(matrix.values)
    if values.ndim != 2 or 0 in values.shape or width not in (0, values.shape[1]):
        yield f"has weights of shape {values.shape}, after {width or 'any number of'} neurons"
    if matrix.kind not in VALUES:
        yield f"has weights of the kind {matrix.kind!r:.40}, which are not whole"
    elif values.dtype.kind not in "iu" or not np.all(np.isin(values, VALUES[matrix.kind])):
        yield f"has values that are no {matrix.kind} weights"


def _of_steps(steps: Steps) -> Iterator[str]:
    thresholds, levels = np.asarray(steps.thresholds), np.asarray(steps.levels)
    if thresholds.ndim != 1 or levels.shape != (thresholds.size + 1,):
        yield f"has thresholds of shape {thresholds.shape} and levels of {levels.shape}"
    elif not _whole(levels, 2**15 - 1) or (thresholds.size and not _whole(thresholds, 2**63 - 1)):
        yield "has thresholds that are not whole, or levels that are not or leave 16 bits"
    elif np.any(thresholds[1:] < thresholds[:-1]):
        yield "has thresholds that do not ascend"


def _of_inputs(network: IntegerNetwork) -> Iterator[str]:
    inputs, (outputs, size) = network.inputs, network.weights[0].shape
    if isinstance(inputs, Pixels):
        if inputs.fine not in (1, 2, 4, 8, 16):
            yield f"pixels in parts of {inputs.fine!r:.40} are not 1, 2, 4, 8 or 16"
    elif isinstance(inputs, Rounded):
        centre, factor = np.asarray(inputs.centre), np.asarray(inputs.factor)
        if centre.shape != (size,) or centre.dtype.kind != "f" or not np.abs(centre).max() <= LARGEST:
            yield f"the input's centre must be {size} numbers of float32's range"
        if factor.shape != () or factor.dtype.kind not in "fiu" or not SMALLEST <= factor <= LARGEST:
            yield f"the input's factor must be positive and of float32's range, not {inputs.factor!r:.40}"
        if not _whole(np.asarray(inputs.most), 2**15 - 1) or inputs.most < 1:
            yield f"the largest coordinate must be from 1 to 32767, not {inputs.most!r:.40}"
    else:
        yield f"the input must be pixels or rounded, not {type(inputs).__name__}"
    if network.bias is not None and (np.shape(network.bias) != (outputs,) or not _whole(network.bias, EXACT)):
        yield f"the bias must be {outputs} whole numbers"


def _whole(values: np.ndarray, most: int) -> bool:
    """Whether these are whole numbers of at most so large a magnitude."""
    given = np.asarray(values)
    return given.dtype.kind in "iu" and all(abs(int(v)) <= most for v in (given.min(initial=0), given.max(initial=0)))
