"""What both ways of fitting a program give: the program, the networks it was chosen from, and a prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Real

from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Rounded
from hntk.networks.integer_regressor import IntegerRegressor

Program = IntegerClassifier | IntegerRegressor
# Columns are cut off at so many standard deviations, so that one far sample does not make all others coarse.
FARTHEST = 6.0
# Bytes of a factor of a column in the program's tables.
FACTOR_BYTES = 4


class Candidate(NamedTuple):
    """A network that fits, as a row of the table.

    Attributes
    ----------
    network : str
        What is different about it, in words.
    bytes : int
        Bytes of its tables in the C program.
    predicted : float or None
        Accuracy that theory predicts.
    validation : float
        Accuracy on validation samples, or R² of a regression.
    chosen : bool
        Whether it was chosen.
    """

    network: str
    bytes: int
    predicted: float | None
    validation: float
    chosen: bool


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted program.

    Attributes
    ----------
    program : IntegerClassifier or IntegerRegressor
        Takes raw samples.
    candidates : tuple of Candidate
        Networks that fit and were tried.
    predicted : float or None
        Accuracy that is predicted for new samples, or R².
    predicted_by : str
        What predicts it, in words.
    validation : float or None
        The program's accuracy on validation samples, or R²; None if it has none of its own.
    notes : tuple of str
        What a reader has to know.
    """

    program: Program
    candidates: tuple[Candidate, ...]
    predicted: float | None
    predicted_by: str
    validation: float | None
    notes: tuple[str, ...] = ()


class Standardization(NamedTuple):
    """Mean and standard deviation of each column of the training samples."""

    mean: Real[np.ndarray, " p"]
    deviation: Real[np.ndarray, " p"]

    @classmethod
    def of(cls, x: Real[np.ndarray, "n p"]) -> Standardization:
        """Measure them; a column that does not vary has the deviation 1."""
        numbers = x.astype(np.float64)
        deviation = numbers.std(axis=0)
        # rounding leaves a little of a constant column
        still = deviation <= 1e-12 * np.abs(numbers).max(axis=0)
        return cls(numbers.mean(axis=0), np.where(still, 1.0, deviation))

    def __call__(self, x: Real[np.ndarray, "n p"]) -> Real[np.ndarray, "n p"]:
        """Return standardised samples in float32, cut off at `FARTHEST` deviations."""
        return np.clip((x - self.mean) / self.deviation, -FARTHEST, FARTHEST).astype(np.float32)

    def undone(self, program: Program) -> Program:
        """Return the program of raw samples, from the one of standardised samples."""
        inputs = program.network.inputs
        assert isinstance(inputs, Rounded)
        network = replace(program.network, inputs=inputs.after(self.mean, self.deviation))
        return replace(program, network=network)
