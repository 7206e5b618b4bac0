"""Samples of a training: raw, as the whole numbers that the program will see, and a part that is held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from hntk._utils.arguments import as_count, as_share
from hntk._utils.arrays import brief
from hntk._utils.labels import label_array
from hntk._utils.rows import as_rows, check_rows, row_blocks
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import EXACT
from hntk.networks.value_bounds import LARGEST, LARGEST_INPUT
from hntk.readouts.answers import Answers

# Largest magnitude of a rounded coordinate.
ROUNDED_MOST = 127
# Rows turned into whole numbers at a time.
BLOCK = 8192
# The same samples are held out whatever the key, so that members of several keys are compared on the same ones.
SPLIT_SEED = 0
Inputs = Pixels | PooledPixels | Rounded


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples and what is to be predicted of them.

    Attributes
    ----------
    raw : (n, p) array of uint8 or float32
        Raw samples.
    whole : (n, d) array of uint8 or int8
        The whole numbers that they become.
    targets : (n,) array of int32 or (n, K) array of float32
        Class indices, or targets of mean 0 and deviation 1.
    """

    raw: Real[np.ndarray, "n p"]
    whole: Int[np.ndarray, "n d"]
    targets: np.ndarray

    def rows(self, chosen: Int[np.ndarray, " m"]) -> Part:
        """Return some of the samples."""
        return Part(self.raw[chosen], self.whole[chosen], self.targets[chosen])


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked samples of a training.

    Attributes
    ----------
    inputs : Pixels, PooledPixels or Rounded
        How raw samples become whole numbers.
    training, held : Part
        Samples to train on, and validation samples, of which there may be none.
    kept : (n,) array of int
        Which of the given samples the training ones are.
    shape : tuple of int or None
        Height and width of the image that a raw sample is; None if it is none.
    classes : (K,) array or None
        Labels in the order of the scores; None for a regression.
    centre, spread : (K,) arrays or None
        Mean and deviation of the targets of a regression.
    """

    inputs: Inputs
    training: Part
    held: Part
    kept: Int[np.ndarray, " n"]
    shape: tuple[int, int] | None
    classes: np.ndarray | None
    centre: Float[np.ndarray, " K"] | None = None
    spread: Float[np.ndarray, " K"] | None = None

    @property
    def inputs_width(self) -> int:
        """Number of whole numbers of a sample."""
        return self.training.whole.shape[1]

    @property
    def outputs(self) -> int:
        """Number K of scores."""
        return self.training.targets.shape[1] if self.classes is None else self.classes.size

    def subset(self, rows: Int[np.ndarray, " m"]) -> TrainingData:
        """Return the data with some of the training samples, and all that are held out."""
        return replace(self, training=self.training.rows(rows), kept=self.kept[rows])


def training_data(
    x: object, y: object, *, shape: object = None, pool: object = None, validation: Any = 0.1
) -> TrainingData:
    """Check samples and what is to be predicted, and hold out a validation part.

    Parameters
    ----------
    x : (n, p) array
        Raw samples: pixels if they are of the type uint8.
    y : (n,) array of labels, or (n,) or (n, K) array of floating-point numbers
        Labels of a classification, or targets of a regression.
    shape, pool : tuple of int, optional
        Height and width of the image, and of what it is pooled to.
    validation : float, pair or None
        Share of every class that is held out; or validation samples and their labels or targets; or None for none.

    Returns
    -------
    TrainingData
        The samples.

    Raises
    ------
    ValueError
        If anything does not fit; the message gives the remedy.
    """
    raw = _raw(x, "x")
    inputs, image = image_inputs(raw, shape, pool)
    answers = Answers.of(y, raw.shape[0])
    if isinstance(validation, tuple | list):
        raw_held, held_values = _given_validation(validation, raw, answers)
        kept = np.arange(raw.shape[0])
    else:
        held = _held_out(answers, validation)
        kept, raw_held, held_values = np.flatnonzero(~held), raw[held], answers.values[held]
    centre, spread = _scale(answers, kept)
    training, held = (
        Part(side, whole_numbers(inputs, side), _targets(values, centre, spread))
        for side, values in ((raw[kept], answers.values[kept]), (raw_held, held_values))
    )
    return TrainingData(inputs, training, held, kept, image, answers.classes, centre, spread)


def _scale(
    answers: Answers, kept: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " K"] | None, Float[np.ndarray, " K"] | None]:
    """Return mean and deviation of the targets of some samples, or None for classes.

    Raises
    ------
    ValueError
        If a target is constant.
    """
    if answers.classes is not None:
        return None, None
    centre, spread = answers.values[kept].mean(axis=0), answers.values[kept].std(axis=0)
    if not np.all((spread > 0) & np.isfinite(spread)):
        raise ValueError("y has a target that is the same for all samples, or overflows: drop or rescale it.")
    return centre, spread


def _targets(values: np.ndarray, centre: np.ndarray | None, spread: np.ndarray | None) -> np.ndarray:
    """Return what the loss compares scores with: class indices, or standardised targets."""
    if centre is None or spread is None:
        return values.astype(np.int32)
    return ((values - centre) / spread).astype(np.float32)


def image_inputs(raw: Real[np.ndarray, "n p"], shape: object, pool: object) -> tuple[Inputs, tuple[int, int] | None]:
    """Return how raw samples become whole numbers, and the height and width of the image that a sample is.

    Raises
    ------
    ValueError
        If samples are no images of that shape, or sums of the first layer could pass 2²⁴.
    """
    p = raw.shape[1]
    if raw.dtype != np.uint8:
        if pool is not None:
            raise ValueError("pool= needs pixels, samples of the type uint8: give the raw bytes of the images.")
        return _rounded(raw), None if shape is None else _image_shape(shape, p)
    image = _image_shape(shape, p) if shape is not None or pool is not None or isqrt(p) ** 2 == p else None
    inputs = Pixels()
    if pool is not None and image is not None:
        pooled = PooledPixels(image, _pair(pool, "pool"))
        if pooled.defect:
            raise ValueError(f"pool does not fit: {pooled.defect}.")
        inputs = Pixels() if pooled.pooled == image else pooled
    width = prod(inputs.pooled) if isinstance(inputs, PooledPixels) else p
    if 255 * width > EXACT:
        raise ValueError(f"sums of {width:,} pixels could pass 2**24: give pool=(height, width) of fewer pixels.")
    return inputs, image


def whole_numbers(inputs: Inputs, raw: Real[np.ndarray, "n p"]) -> Int[np.ndarray, "n d"]:
    """Return what raw samples become, in 8 bits."""
    if isinstance(inputs, Pixels):
        return raw
    dtype = np.int8 if isinstance(inputs, Rounded) else np.uint8
    if not len(raw):
        return np.empty((0, raw.shape[1]), dtype)
    return np.concatenate([np.asarray(inputs(raw[i : i + BLOCK])).astype(dtype) for i in range(0, len(raw), BLOCK)])


def _raw(x: object, name: str) -> Real[np.ndarray, "n p"]:
    """Return samples in the type that the program takes: uint8 as it is, float32 else."""
    rows = as_rows(x, name)
    if rows.dtype == np.uint8:
        return np.ascontiguousarray(rows)
    with np.errstate(over="ignore", under="ignore"):
        single = np.asarray(rows, np.float32)
    check_rows(single, name, np.float32)
    return single


def _rounded(raw: Float[np.ndarray, "n p"]) -> Rounded:
    centre = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
    largest = max(float(np.abs(raw[part] - centre).max()) for part in row_blocks(raw))
    if not largest:
        raise ValueError("x has the same row for all samples: give samples that differ.")
    factor = float(np.float32(ROUNDED_MOST / largest))
    if not np.isfinite(factor) or (float(np.abs(centre).max()) + LARGEST_INPUT) * factor > LARGEST or factor == 0:
        raise ValueError(f"x deviates by up to {largest:.3g} from its mean, which float32 cannot scale: rescale x.")
    if ROUNDED_MOST * raw.shape[1] > EXACT:
        raise ValueError(f"sums of {raw.shape[1]:,} coordinates could pass 2**24: give samples of fewer coordinates.")
    return Rounded(centre, factor, ROUNDED_MOST)


def _pair(value: Any, name: str) -> tuple[int, int]:
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise ValueError(f"{name} must be a pair (height, width) of whole numbers, got {brief(value)}.")
    height, width = (as_count(part, f"every number of {name}") for part in value)
    return height, width


def _image_shape(shape: object, p: int) -> tuple[int, int]:
    if shape is None:
        side = isqrt(p)
        if side * side != p:
            raise ValueError(f"samples of {p} pixels are no square images: give shape=(height, width).")
        return side, side
    height, width = _pair(shape, "shape")
    if height * width != p:
        raise ValueError(f"shape = ({height}, {width}) has {height * width} pixels, but samples have {p}: give theirs.")
    return height, width


def _held_out(answers: Answers, share: Any) -> Bool[np.ndarray, " n"]:
    """Return which samples are for validation: a share of every class, or of all samples of a regression."""
    n = len(answers.values)
    if share is None:
        return np.zeros(n, bool)
    remedy = "give validation=None, or more samples"
    return answers.draw_validation(as_share(share, "validation"), SPLIT_SEED, remedy)


def _given_validation(
    validation: Any, raw: Real[np.ndarray, "n p"], answers: Answers
) -> tuple[Real[np.ndarray, "m p"], np.ndarray]:
    """Check validation samples that are given, with their labels or targets."""
    if len(validation) != 2:
        raise ValueError(f"validation must be a share, or a pair (x, y); got {len(validation)} parts.")
    held = _raw(validation[0], "validation x")
    if held.dtype != raw.dtype or held.shape[1] != raw.shape[1]:
        raise ValueError(
            f"validation samples must be like x, {raw.dtype} with {raw.shape[1]} coordinates; got {held.dtype} with "
            f"{held.shape[1]}."
        )
    if answers.classes is None:
        theirs = Answers.of(validation[1], len(held))
        if theirs.classes is not None or theirs.values.shape[1] != answers.values.shape[1]:
            raise ValueError("validation targets must be floating-point numbers of the shape of y's.")
        return held, theirs.values
    labels = label_array(validation[1], len(held), "validation labels")
    unknown = np.setdiff1d(labels, answers.classes)
    if unknown.size:
        raise ValueError(f"validation has labels {unknown[:4].tolist()} that y does not have: drop those samples.")
    return held, np.searchsorted(answers.classes, labels)
