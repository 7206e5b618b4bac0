"""Requirements of rounding and export, checked before any work; every message says what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from hntk._utils.arguments import as_count
from hntk._utils.labels import label_array
from hntk.activations import Staircase
from hntk.data.normalization import Normalization
from hntk.networks.classifier import Classifier
from hntk.networks.float_readout import FloatReadout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import EXACT, LIMIT, IntegerNetwork, NotIntegerError
from hntk.networks.integer_readout import LARGEST_SHIFT, IntegerReadout
from hntk.networks.integer_steps import NeuronSteps
from hntk.networks.network import Network
from hntk.networks.read_layers import NAMES, as_read_layers, read_widths
from hntk.networks.spaced_steps import AnySteps, SpacedSteps
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

WHOLE_VALUES = {"ternary": (-1, 0, 1), "sign": (-1, 1), "int8": tuple(range(-127, 128))}
SMALLEST_FLOAT, LARGEST_FLOAT = (float(v) for v in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


def check_bits(**bits: object) -> tuple[int, ...]:
    """Return numbers of bits, each given by the name of its parameter.

    Raises
    ------
    ValueError
        If one is no whole number from 2 to 16.
    """
    return tuple(as_count(count, name, 2, 16) for name, count in bits.items())


def check_staircases(network: object) -> None:
    """Check that this is a float network whose activations are all staircases.

    Raises
    ------
    TypeError
        If it is no float network.
    NotIntegerError
        If an activation is not a staircase of finite numbers, or layers have biases, residual branches or a
        normalisation.
    """
    if isinstance(network, IntegerNetwork | IntegerReadout):
        raise TypeError("this network consists of whole numbers already: use it as it is.")
    if not isinstance(network, Network):
        raise TypeError(
            f"a network or a classifier is needed, not {type(network).__name__}: hntk.compress and hntk.fit_ridge "
            "make them."
        )
    for number, (sigma, m) in enumerate(zip(network.activations, network.centres, strict=True), 1):
        if not isinstance(sigma, Staircase):
            raise NotIntegerError(
                f"layer {number} has the activation {sigma.name!r}, which is not a staircase: hntk.compress finds one "
                "of a few levels for it."
            )
        if not np.all(np.isfinite([*sigma.thresholds, *sigma.levels, m])):
            raise NotIntegerError(f"layer {number} has numbers that are not finite: make it with hntk.staircase.")
    _check_no_parts(network)


def _check_no_parts(network: Network) -> None:
    """Check that layers have no biases, residual branches or normalisation."""
    parts = {"biases": network.biases, "residual branches": network.branches, "a normalisation": network.normalize}
    names = [name for name, part in parts.items() if part is not None]
    if names:
        listed = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
        raise NotIntegerError(
            f"this network has {listed}, which networks of whole numbers do not have: hntk.compress draws a network "
            "without, whose kernels have the same equivalents; or export this one in floats with hntk.deploy.to_onnx."
        )


def check_whole_weights(network: Network) -> None:
    """Check that all weights are whole numbers times a positive scale.

    Raises
    ------
    NotIntegerError
        If weights are float32, or a scale is not positive.
    """
    for number, w in enumerate(network.weights, 1):
        if w.kind not in WHOLE_VALUES:
            raise NotIntegerError(
                f"layer {number} has float32 weights: draw the network with the law 'ternary', 'bernoulli' or "
                "'int8_gaussian'."
            )
        if not 0 < w.scale < np.inf:
            raise NotIntegerError(f"layer {number} has weights of the scale {w.scale!r}: it must be positive.")


def check_affine(normalization: Normalization | None) -> None:
    """Check that a normalisation does no more than subtract a centre and divide by a scale.

    Raises
    ------
    NotIntegerError
        If it also whitens samples or brings them to unit norm.
    """
    if normalization is not None and not normalization.is_affine:
        raise NotIntegerError(
            "a network of whole numbers can subtract a centre and divide by a scale, but cannot whiten samples or "
            "bring them to unit norm. Fit the classifier on data loaded with normalize='scale'."
        )


def check_readout(made: FloatReadout) -> None:
    """Check that a readout fits its network and is finite.

    Raises
    ------
    ValueError
        If it has another shape, or is not finite.
    """
    width = sum(read_widths(made.network.widths, as_read_layers(made.layers)))
    weights, offset = np.asarray(made.weights), np.asarray(made.offset)
    answers, shape = "targets", (width, *offset.shape)
    if isinstance(made, Classifier):
        answers, shape = "classes", (width, *np.shape(made.classes))
    if len(shape) != 2 or 0 in shape or weights.shape != shape or offset.shape != shape[1:]:
        raise ValueError(
            f"a readout of shape {weights.shape} and an offset of {offset.shape} do not fit {shape[0]} features and "
            f"{answers} of shape {shape[1:]}: fit the readout on features of this network."
        )
    if not all(np.abs(values).max() <= LARGEST_FLOAT for values in (weights, offset)):
        raise ValueError("the readout has values that are not finite in float32: fit it again, with a larger ridge.")


def check_labels(classes: object) -> np.ndarray:
    """Return the labels of at least one class.

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
    """Return an existing folder in which files can be made.

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


def check_integers(classifier: object) -> np.ndarray:
    """Return the labels of an integer classifier whose parts fit each other and whose numbers fit their types.

    Raises
    ------
    TypeError
        If it is no such classifier.
    ValueError
        If its parts do not fit each other, a number leaves the type that it is computed in, or labels are not
        booleans, numbers or Unicode text.
    """
    if not isinstance(classifier, IntegerClassifier):
        raise TypeError(
            f"a classifier of whole numbers is needed, not {type(classifier).__name__}: make one with "
            "hntk.to_integers(classifier, ...)."
        )
    check_readout_of_integers(classifier)
    return check_labels(classifier.classes)


def check_readout_of_integers(made: IntegerReadout) -> None:
    """Check that the parts of a classifier or regressor of whole numbers fit each other and their types.

    Raises
    ------
    ValueError
        If they do not.
    """
    defect = next(_defects(made), None)
    if defect:
        raise ValueError(f"{defect}: make the classifier with hntk.to_integers, or load it from a file.")


def _defects(made: IntegerReadout) -> Iterator[str]:
    """Yield what is wrong; each check relies on the ones before it."""
    network, width = made.network, 0
    if not network.weights or len(network.weights) != len(network.steps):
        yield f"there are {len(network.weights)} weight matrices and {len(network.steps)} staircases"
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True), 1):
        yield from (
            f"layer {number} {defect}" for defect in (*_weight_defects(w, width), *_step_defects(steps, w.shape[0]))
        )
        width = w.shape[0]
    yield from _input_defects(network)
    yield from _readout_defects(made)


def _weight_defects(matrix: Weights, inputs: int) -> Iterator[str]:
    """Yield what is wrong with a matrix after a layer of ``inputs`` neurons; 0 if it is the first."""
    if isinstance(matrix, OrthogonalMatrix):
        if matrix.defect:
            yield f"has weights that {matrix.defect}"
        if inputs not in (0, matrix.shape[1]):
            yield f"has weights of shape {matrix.shape}, after {inputs} neurons"
        return
    values = np.asarray(matrix.values)
    if values.ndim != 2 or 0 in values.shape or inputs not in (0, values.shape[1]):
        yield f"has weights of shape {values.shape}, after {inputs or 'any number of'} neurons"
    if matrix.kind not in WHOLE_VALUES:
        yield f"has weights of the kind {matrix.kind!r:.40}, which are not whole"
    elif values.dtype.kind not in "iu" or not np.all(np.isin(values, WHOLE_VALUES[matrix.kind])):
        yield f"has values that are no {matrix.kind} weights"


def _step_defects(steps: AnySteps, width: int) -> Iterator[str]:
    if isinstance(steps, SpacedSteps):
        defect = steps.defect(width)
        if defect:
            yield f"has {defect}"
            return
        steps = steps.neuron_steps
    thresholds, levels = np.asarray(steps.thresholds), np.asarray(steps.levels)
    # Numbers of 32 bits reach from −2³¹.
    outer, most = ((width,), 2**31) if isinstance(steps, NeuronSteps) else ((), 2**63 - 1)
    if thresholds.shape[:-1] != outer or thresholds.ndim == 0 or levels.shape != (thresholds.shape[-1] + 1,):
        yield f"has thresholds of shape {thresholds.shape} and levels of {levels.shape}"
    elif not _are_whole(levels, 2**15 - 1) or (thresholds.size and not _are_whole(thresholds, most)):
        yield "has thresholds that are not whole, or levels that are not or leave 16 bits"
    elif np.any(thresholds[..., 1:] < thresholds[..., :-1]):
        yield "has thresholds that do not ascend"
    elif isinstance(steps, NeuronSteps) and thresholds.max(initial=0) > LIMIT:
        yield "has thresholds that leave 32 bits"


def _input_defects(network: IntegerNetwork) -> Iterator[str]:
    inputs, (outputs, size) = network.inputs, network.weights[0].shape
    if isinstance(inputs, Pixels):
        if inputs.fine not in (1, 2, 4, 8, 16):
            yield f"pixels in parts of {inputs.fine!r:.40} are not 1, 2, 4, 8 or 16"
        if inputs.centre is not None and (np.shape(inputs.centre) != (size,) or not _are_bytes(inputs.centre)):
            yield f"the pixels' centre must be {size} whole numbers from 0 to 255"
    elif isinstance(inputs, PooledPixels):
        if inputs.defect or prod(inputs.pooled) != size:
            yield inputs.defect or f"pixels are averaged over {inputs.pooled} cells, but there are {size} inputs"
    elif isinstance(inputs, Rounded):
        yield from _rounded_defects(inputs, size)
    else:
        yield f"the input must be pixels or rounded, not {type(inputs).__name__}"
    if network.bias is not None and (np.shape(network.bias) != (outputs,) or not _are_whole(network.bias, EXACT)):
        yield f"the bias must be {outputs} whole numbers"


def _rounded_defects(inputs: Rounded, size: int) -> Iterator[str]:
    centre, factor = np.asarray(inputs.centre), np.asarray(inputs.factor)
    if centre.shape != (size,) or centre.dtype.kind != "f" or not np.abs(centre).max() <= LARGEST_FLOAT:
        yield f"the input's centre must be {size} numbers of float32's range"
    if factor.shape not in ((), (size,)) or factor.dtype.kind not in "fiu" or not _are_factors(factor):
        yield f"the input's factor must be positive and of float32's range, not {inputs.factor!r:.40}"
    if not _are_whole(np.asarray(inputs.most), 2**15 - 1) or inputs.most < 1:
        yield f"the largest coordinate must be from 1 to 32767, not {inputs.most!r:.40}"


def _are_factors(factor: np.ndarray) -> bool:
    return bool(np.all((factor >= SMALLEST_FLOAT) & (factor <= LARGEST_FLOAT)))


def _readout_defects(made: IntegerReadout) -> Iterator[str]:
    network, readout, offset = made.network, np.asarray(made.readout), np.asarray(made.offset)
    if made.layers not in NAMES:
        yield f"layers must be one of {', '.join(NAMES)}, not {made.layers!r:.40}"
    width, shifts = sum(made.read_widths), np.asarray(made.shifts)
    if shifts.size and (shifts.shape != (len(made.read_widths),) or not _are_shifts(shifts)):
        yield f"shifts must be one whole number from 0 to {LARGEST_SHIFT} for each layer that is read"
    count, named = _score_count(made)
    if len(count) != 1 or readout.shape != (*count, width) or offset.shape != count:
        yield f"{named}a readout of {readout.shape} and an offset of {offset.shape} do not fit {width} neurons"
    if readout.dtype not in (np.int8, np.int16) or not _are_whole(offset, LIMIT):
        yield f"a readout must be int8 or int16 and an offset of 32 bits, not {readout.dtype} and {offset.dtype}"
    if max(network.largest_sums) > EXACT:
        yield f"sums could reach {max(network.largest_sums):,}, above 2**24"
    elif not network.products_fit:
        yield "products of multipliers and sums could leave 32 bits"
    if count[0] and made.largest_score > LIMIT:
        yield f"scores could reach {made.largest_score:,}, which leaves 32 bits"
    if isinstance(made, IntegerClassifier):
        return
    units = np.asarray(made.unit, np.float64)
    if not count[0] or units.shape not in ((), count) or not np.all((units > 0) & (units < np.inf)):
        yield f"a regressor must have a target and a positive unit, or one each, not {count[0]} and {made.unit!r:.40}"


def _score_count(made: IntegerReadout) -> tuple[tuple[int, ...], str]:
    """Return the shape that the offset must have, and what it is the shape of, for a message."""
    if isinstance(made, IntegerClassifier):
        classes = np.shape(made.classes)
        return classes, f"classes of shape {classes}, "
    return np.shape(made.readout)[:1], ""


def _are_bytes(values: np.ndarray) -> bool:
    return _are_whole(values, 255) and np.asarray(values).min() >= 0


def _are_shifts(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= LARGEST_SHIFT


def _are_whole(values: np.ndarray, most: int) -> bool:
    """Return whether all values are integers of magnitude ``most`` at the largest."""
    array = np.asarray(values)
    return array.dtype.kind in "iu" and all(abs(int(v)) <= most for v in (array.min(initial=0), array.max(initial=0)))
