"""What a program reaches on test samples, and whether the compiled C program agrees."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Int

from hntk.cli.data_files import DataFile
from hntk.cli.fitted import Program
from hntk.deploy.c import CProgram
from hntk.deploy.compiled import c_library
from hntk.networks.integer_classifier import IntegerClassifier

# Test samples that the compiled program is given.
COMPILED = 1000


@dataclass(frozen=True, eq=False)
class Measured:
    """Accuracy on the test samples, in whole numbers as the exported program computes.

    Attributes
    ----------
    samples : int
        Number of test samples.
    score : float
        Share of right classes; of a regression the coefficient of determination R².
    error : float
        Standard error of the accuracy, as if one more sample had been right and one wrong; of a regression the root
        mean square error.
    confusion : (K, K) array or None
        Numbers of samples by true and predicted class; None for a regression.
    """

    samples: int
    score: float
    error: float
    confusion: Int[np.ndarray, "K K"] | None

    @classmethod
    def of(cls, program: Program, data: DataFile) -> Measured:
        """Predict the test samples, and compare."""
        n = len(data.x_test)
        if not isinstance(program, IntegerClassifier):
            missed = np.asarray(program.predict(data.x_test)) - data.y_test
            return cls(n, program.score(data.x_test, data.y_test), float(np.sqrt(np.mean(missed**2))), None)
        count = len(program.classes)
        true = np.searchsorted(program.classes, data.y_test)
        predicted = np.searchsorted(program.classes, program.predict(data.x_test))
        confusion = np.bincount(true * count + predicted, minlength=count**2).reshape(count, count)
        right = int(np.trace(confusion))
        # with all samples right the plain estimate would be 0
        likely = (right + 1) / (n + 2)
        return cls(n, right / n, sqrt(likely * (1 - likely) / n), confusion)

    def __str__(self) -> str:
        if self.confusion is None:
            return f"{self.score:.4f} on {self.samples:,} test samples, root mean square error {self.error:.4g}"
        return f"{self.score:.4f} ± {self.error:.4f} of {self.samples:,} test samples"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        if self.confusion is None:
            return {"samples": self.samples, "r2": self.score, "rmse": self.error}
        return {"samples": self.samples, "accuracy": self.score, "standard_error": self.error,
                "confusion": self.confusion.tolist()}  # fmt: skip


def agrees(program: Program, c_program: CProgram, data: DataFile) -> int | None:
    """Return the number of test samples of which the compiled C program has the scores that Python has.

    Parameters
    ----------
    program : IntegerClassifier or IntegerRegressor
        The program in Python.
    c_program : CProgram
        The same in C.
    data : DataFile
        The samples, of which the first `COMPILED` are taken.

    Returns
    -------
    int or None
        The number, or None if the program could not be compiled and loaded here.

    Raises
    ------
    RuntimeError
        If scores differ.
    """
    try:
        library = c_library(c_program)
    except OSError:
        # no compiler, or no library may be loaded from the folder of temporary files
        return None
    rows = data.x_test[:COMPILED]
    if not np.array_equal(library.scores(rows), np.asarray(program.scores(rows))):
        raise RuntimeError("the compiled C program has other scores than Python: please report this.")
    return len(rows)
