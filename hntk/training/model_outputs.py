"""Columns of a model's outputs in the order of the classes of a training."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from hntk.training.samples import TrainingData


def class_columns(classes: object, data: TrainingData, what: str) -> Int[np.ndarray, " K"]:
    """Return the column of a model's outputs for every output of a training.

    Parameters
    ----------
    classes : array or None
        The model's labels in the order of its outputs, as many as it has; None if it does not say.
    data : TrainingData
        Samples and classes of the training.
    what : str
        What the model is, at the beginning of a message.

    Returns
    -------
    (K,) array of int
        Columns: those of the labels, or 0, …, K − 1 for targets of a regression and where labels are not known.

    Raises
    ------
    ValueError
        If the model lacks a class, or has another number of outputs for a regression.
    """
    order = np.arange(data.outputs)
    if classes is None:
        return order
    known = np.asarray(classes)
    if data.classes is None:
        if known.size != data.outputs:
            raise ValueError(
                f"{what} has {known.size} outputs, but y has {data.outputs} targets: give a model of those."
            )
        return order
    position = {label: number for number, label in enumerate(known.tolist())}
    missing = [label for label in data.classes.tolist() if label not in position]
    if missing:
        raise ValueError(
            f"{what} does not know the classes {missing[:4]} of y; it has {known[:8].tolist()}: give a model of the "
            "same labels, such as hntk.from_model(model, classes=...)."
        )
    return np.array([position[label] for label in data.classes.tolist()])
