"""What both ways of fitting a program give: the program, the networks it was chosen from, and a prediction."""

from __future__ import annotations

from collections.abc import Sequence
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
    widths : tuple of int
        Neurons of each hidden layer.
    levels : tuple of int
        Levels of each layer's activation.
    zeros : tuple of float
        Share of zeros of each layer's weights.
    cells : tuple of int
        Height and width to which images are averaged; empty if they are not.
    epochs : int or None
        Epochs for which it was tried; None of drawn layers.
    bytes : int
        Bytes of its tables in the C program.
    predicted : float or None
        Accuracy that theory predicts.
    validation : float
        Accuracy on validation samples, or R² of a regression.
    chosen : bool
        Whether it was chosen.
    """

    widths: tuple[int, ...]
    levels: tuple[int, ...]
    zeros: tuple[float, ...]
    cells: tuple[int, ...]
    epochs: int | None
    bytes: int
    predicted: float | None
    validation: float | None
    chosen: bool


def candidate_columns(candidates: Sequence[Candidate], score: str) -> tuple[list[str], list[list[str]]]:
    """Return the table of networks that fit: headings and rows, without columns that are empty."""
    columns = {
        "neurons": ["-".join(map(str, each.widths)) for each in candidates],
        "levels": ["-".join(map(str, each.levels)) for each in candidates],
        "zeros": [", ".join(f"{share:.0%}" for share in each.zeros) for each in candidates],
        "image": [" x ".join(map(str, each.cells)) for each in candidates],
        "tried for": ["" if each.epochs is None else _epochs(each.epochs) for each in candidates],
        "bytes": [f"{each.bytes:,}" for each in candidates],
        f"predicted {score}": [as_score(each.predicted) for each in candidates],
        f"validation {score}": [as_score(each.validation) for each in candidates],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    return list(shown), [list(row) for row in zip(*shown.values(), strict=True)]


def as_score(value: float | None) -> str:
    """Return an accuracy or R² with four digits; nothing where there is none."""
    return "" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _epochs(count: int) -> str:
    return f"{count:,} epoch{'' if count == 1 else 's'}"


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
    """

    program: Program
    candidates: tuple[Candidate, ...]
    predicted: float | None
    predicted_by: str
    validation: float | None


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
