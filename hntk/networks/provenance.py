"""Where a network comes from: what its files tell besides what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hntk._utils.rows import rms_norm


@dataclass(frozen=True)
class MatchRecord:
    """How the activations of a compressed network were found; see :class:`hntk.Match`.

    Attributes
    ----------
    original : names of the activations they stand for.
    tau0 : data scale.
    method, objective : of the match.
    residuals : relative miss of every coefficient that was asked for.
    identity_shift, relative_shift : δ, and δ/τ_L².
    """

    original: tuple[str, ...]
    tau0: float
    method: str
    objective: str
    residuals: Mapping[str, float]
    identity_shift: float
    relative_shift: float

    def __str__(self) -> str:
        names, miss = ", ".join(dict.fromkeys(self.original)), max(self.residuals.values(), default=0.0)
        # the data objective only starts from the coefficients
        told = f"largest residual {miss:.1e}" if self.objective == "theory" else f"coefficients within {miss:.0%}"
        return (
            f"for {names} at tau_0 = {self.tau0:.4g}, {self.method} match by {self.objective}: {told}, identity shift "
            f"{self.relative_shift:.3g} of tau^2"
        )


@dataclass(frozen=True)
class DataStatistics:
    """What a readout was fitted on.

    Attributes
    ----------
    n, p : samples and their dimension.
    tau0 : root mean square norm of a sample.
    norm_deviation : standard deviation of ‖x‖²/τ_0², which the theory takes to be small.
    class_counts : samples of every class, in the classifier's order.
    """

    n: int
    p: int
    tau0: float
    norm_deviation: float
    class_counts: tuple[int, ...]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n p"], index: Int[np.ndarray, " n"]) -> DataStatistics:
        """From samples and the index of each one's class.

        Raises
        ------
        ValueError
            If all samples are zero.
        """
        tau0, counts = rms_norm(x), np.bincount(index)
        squares = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        return cls(x.shape[0], x.shape[1], tau0, float(np.std(squares) / tau0**2), tuple(counts.tolist()))

    def __str__(self) -> str:
        least, most = min(self.class_counts), max(self.class_counts)
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        return (
            f"fitted on {self.n:,} samples of dimension {self.p}, {each} a class; tau_0 = {self.tau0:.4g}, "
            f"|x|^2 deviating by {self.norm_deviation:.2g}"
        )
