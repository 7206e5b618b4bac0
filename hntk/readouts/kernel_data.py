"""Samples, answers and settings of a regression with a kernel, checked alike for exact and equivalent kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from hntk._utils.arguments import as_instance, as_nonnegative, as_positive, as_reals, as_scale
from hntk._utils.rows import as_rows, rms_norm
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization
from hntk.readouts.answers import Answers
from hntk.readouts.kernel_ridge import CentredTargets


@dataclass(frozen=True, eq=False)
class KernelData:
    """What a regression with a kernel is fitted on.

    Attributes
    ----------
    x : array of shape (n, p)
        Training samples, in memory or a memory map.
    answers : Answers
        Labels or targets.
    targets : CentredTargets
        What the regression is fitted to.
    tau0 : float
        Root mean square norm of a sample.
    ridge : float or None
        The ridge λ ≥ 0, where it is given.
    ridges : list of float
        Ridges to choose from, in units of the kernel's mean eigenvalue.
    normalization : Normalization or None
        What raw samples go through first.
    """

    x: Real[np.ndarray, "n p"]
    answers: Answers
    targets: CentredTargets
    tau0: float
    ridge: float | None
    ridges: list[float]
    normalization: Normalization | None

    @staticmethod
    def of(
        x: object,
        y: object,
        *,
        ridge: Any,
        ridges: Sequence[float],
        tau0: Any,
        normalization: Any,
        name: str = "y",
    ) -> KernelData:
        """Check what a user gives; ``name`` is that of y in messages.

        Raises
        ------
        TypeError
            If ``normalization`` is no :class:`hntk.Normalization`.
        ValueError
            If samples, answers or settings do not fit.
        """
        ridge = None if ridge is None else as_nonnegative(ridge, "ridge", "None has it chosen")
        grid = as_reals(ridges, "ridges", as_positive)
        if normalization is not None:
            as_instance(normalization, "normalization", Normalization, "a hntk.Normalization")
        x, y, normalization = training_part(x, y, normalization)
        rows = as_rows(x)
        answers = Answers.of(y, len(rows), name)
        scale = rms_norm(rows) if tau0 is None else as_scale(tau0)
        return KernelData(rows, answers, CentredTargets.of(answers), scale, ridge, list(grid), normalization)


def check_diagonal(diagonal: Float[np.ndarray, " n"]) -> None:
    """Refuse a kernel between training samples whose diagonal is not finite.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not np.all(np.isfinite(diagonal)):
        raise ValueError(
            "the NTK of a network with jumps has an infinite diagonal: declare one with kappa_sq=, or use kernel='ck'."
        )
