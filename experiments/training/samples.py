"""Raw samples of a data set: those to train on, those to choose by, and those to test on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.from_config import raw_dataset
from hntk._utils.labels import as_labels
from hntk.readouts.answers import draw_validation

# Every seed has the same validation samples, so that their accuracies can be compared in pairs.
SPLIT_SEED = 0


class SplitSamples(NamedTuple):
    """Raw samples, bytes for images, and their labels; ``shape`` is that of an image, or None."""

    x: np.ndarray
    y: np.ndarray
    x_held: np.ndarray
    y_held: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, int] | None


def dataset_of(cfg: Config) -> hntk.Dataset:
    """Return the data set, whose test samples no choice is made by."""
    return raw_dataset(cfg.data)


def image_shape(data: hntk.Dataset) -> tuple[int, int] | None:
    """Return height and width of the images of bytes that samples are; None if they are none."""
    if not data.pixels or data.image_shape is None or len(data.image_shape) != 2:
        return None
    height, width = data.image_shape
    return height, width


def split_samples(cfg: Config, data: hntk.Dataset) -> SplitSamples:
    """Return the raw samples, a share of every class of the training ones held out.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1.
    """
    share = float(cfg.experiment.validation)
    if not 0 < share < 1:
        raise ValueError(f"experiment.validation must be between 0 and 1, got {share:g}: .1 holds out a tenth.")
    return split(data, share)


def split(data: hntk.Dataset, share: float) -> SplitSamples:
    """Return the raw samples of a data set, so large a share of every class of the training ones held out."""
    raw = data.raw(data.x_train)
    held = draw_validation(as_labels(data.y_train, len(raw))[1], share, SPLIT_SEED)
    return SplitSamples(
        raw[~held], data.y_train[~held], raw[held], data.y_train[held], data.raw(data.x_test), data.y_test,
        image_shape(data),
    )  # fmt: skip
