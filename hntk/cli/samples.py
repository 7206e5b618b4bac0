"""Samples of DATA in the scale of the theory, for the commands that ask about kernels."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from hntk.cli.data_files import DataFile, ReadingOptions, read_data
from hntk.cli.fitted import Standardization
from hntk.data.scaling import scale_samples

NORMALIZATIONS = ("scale", "unit_norm", "whiten", "none")


def reading_options(options: argparse.Namespace) -> ReadingOptions:
    """Return how DATA is read."""
    return ReadingOptions(
        options.label, options.header, getattr(options, "task", "auto"), getattr(options, "test_share", 0.2),
        options.seed,
    )  # fmt: skip


def by_columns(data: DataFile, scale: str) -> bool:
    """Return whether each coordinate is brought to the same size: by default in tables whose numbers are no bytes."""
    return not data.pixels and (scale == "columns" or (scale == "auto" and bool(data.features)))


def samples_of(options: argparse.Namespace) -> tuple[DataFile, np.ndarray]:
    """Return DATA, and its training samples as the theory takes them.

    Raises
    ------
    ValueError
        If DATA does not fit, or quantities are to be predicted, which have no classes.
    """
    data = read_data(options.data, reading_options(options))
    if data.regression:
        raise ValueError(
            f"{options.data} holds quantities, and the theory is about classes: name a column of labels with --label, "
            "or add --task classification."
        )
    x: Any = data.x_train
    if by_columns(data, options.scale):
        x = Standardization.of(x)(x)
    kind = None if options.normalize == "none" else options.normalize
    return data, scale_samples(x, x[:1], kind).x_train
