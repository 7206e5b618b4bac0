"""Teachers: outputs of another model that a network is trained to follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import brief, finite_array
from hntk.training.samples import TrainingData


class TeacherSignal(NamedTuple):
    """Outputs of a teacher, as the loss takes them.

    Attributes
    ----------
    logits : (n, K) array or None
        Outputs for the training samples, where they are known beforehand.
    live : callable or None
        Maps raw samples of a batch to (batch, K) outputs inside a compiled step, where they are not.
    name : str or None
        What the teacher is, for the record; None without one.
    """

    logits: Float[np.ndarray, "n K"] | None = None
    live: Callable | None = None
    name: str | None = None


def teacher_signal(teacher: Any, data: TrainingData, *, augmented: bool) -> TeacherSignal:
    """Return what a training learns of its teacher.

    Parameters
    ----------
    teacher : array or None
        Logits of all samples that were given, one column for each class in sorted order, or outputs in the units of
        the targets; None for no teacher.
    data : TrainingData
        Samples of the training.
    augmented : bool
        Whether samples are augmented.

    Returns
    -------
    TeacherSignal
        Its outputs; those of a regression are standardised like its targets.

    Raises
    ------
    ValueError
        If there is not one row a sample and one column an output.
    """
    if teacher is None:
        return TeacherSignal()
    given = finite_array(teacher, "teacher")
    if given.ndim != 2 or given.shape[1] != data.outputs or given.shape[0] <= data.kept.max():
        raise ValueError(
            f"teacher must have one row for each row of x and {data.outputs} columns, one for each class or target; "
            f"got {brief(teacher)}: give logits in the order of the sorted labels."
        )
    logits = given[data.kept]
    if data.centre is not None:
        logits = (logits - data.centre) / data.spread
    return TeacherSignal(logits.astype(np.float32), name="logits")
