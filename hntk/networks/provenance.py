"""Records of where a network comes from: the match behind its activations, and the data behind its readout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hntk._utils.rows import rms_norm
from hntk.files.reader import FieldReader
from hntk.networks.training_record import TrainingRecord


@dataclass(frozen=True)
class MatchRecord:
    """Summary of the match that found a compressed network's activations; see :class:`hntk.Match`.

    Attributes
    ----------
    original : tuple of str
        Names of the original activations, one a layer.
    tau0 : float
        Data scale τ_0 of the match.
    method : str
        Method of the match.
    objective : str
        Objective of the match.
    residuals : mapping of str to float
        Relative error of every coefficient that was to be matched.
    identity_shift : float
        Identity shift δ of the conjugate kernel.
    relative_shift : float
        δ/τ_L².
    widths : tuple of int
        Widths of the layers that the data objective was asked for; empty where it was not asked for any.
    law : str
        Law of the weights at these widths; empty like them.
    labels : bool
        Whether the data objective predicted labels.
    settings : str
        What sets the original apart from a centred network with unit weights and nothing else, in words; empty for
        such a network.
    depth : int or None
        Number of layers of the compressed network, where it is not the original's.
    """

    original: tuple[str, ...]
    tau0: float
    method: str
    objective: str
    residuals: Mapping[str, float] = field(hash=False)
    identity_shift: float
    relative_shift: float
    widths: tuple[int, ...] = ()
    law: str = ""
    labels: bool = False
    settings: str = ""
    depth: int | None = None

    def __str__(self) -> str:
        names, largest = ", ".join(dict.fromkeys(self.original)), max(self.residuals.values(), default=0.0)
        # The data objective only starts from the coefficients, and leaves them.
        error = (
            f"largest residual {largest:.1e}" if self.objective == "theory" else f"coefficients within {largest:.0%}"
        )
        drawn = f" at widths {'-'.join(map(str, self.widths))}, {self.law} weights" if self.widths else ""
        followed = f"{self.objective} and labels" if self.labels else self.objective
        names += f" ({self.settings}; behind an intercept)" if self.settings else ""
        names += f", {len(self.original)} layers in {self.depth}" if self.depth else ""
        return (
            f"for {names} at tau_0 = {self.tau0:.4g}, {self.method} match by {followed}{drawn}: {error}, "
            f"identity shift {self.relative_shift:.3g} of tau^2"
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the record as a table for a file.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        numbers = {**self.residuals, "identity_shift": self.identity_shift, "relative_shift": self.relative_shift}
        wrong = [name for name, value in numbers.items() if not np.isfinite(value)]
        if wrong:
            raise ValueError(
                f"the record of the match has values that are not finite ({', '.join(map(str, wrong))}): match again, "
                "or save dataclasses.replace(network, origin=None)."
            )
        left_out = set() if self.widths else {"widths", "law"}
        left_out |= {name for name in ("labels", "settings", "depth") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @classmethod
    def from_fields(cls, fields: FieldReader) -> MatchRecord:
        """Read the record from a file's table."""
        residuals, original = fields.subtable("residuals"), tuple(fields.texts("original"))
        widths = tuple(fields.counts("widths")) if "widths" in fields else ()
        depth = fields.count("depth") if "depth" in fields else None
        if widths and len(widths) != (depth or len(original)):
            raise ValueError(f"the match has {len(widths)} widths for {depth or len(original)} layers")
        return cls(
            original,
            fields.number("tau0", positive=True),
            fields.text("method"),
            fields.text("objective"),
            {name: residuals.number(name) for name in residuals.table},
            fields.number("identity_shift"),
            fields.number("relative_shift"),
            widths,
            fields.text("law") if widths else "",
            fields.flag("labels") if "labels" in fields else False,
            fields.text("settings") if "settings" in fields else "",
            depth,
        )


@dataclass(frozen=True)
class DataStatistics:
    """Summary of the data that a readout was fitted on.

    Attributes
    ----------
    n : int
        Number of samples.
    p : int
        Dimension of a sample.
    tau0 : float
        Root mean square norm τ_0 of the samples.
    norm_deviation : float
        Standard deviation of ‖x‖²/τ_0², which the theory assumes to be small.
    class_counts : tuple of int
        Number of samples of every class, in the classifier's order; empty for a regression.
    """

    n: int
    p: int
    tau0: float
    norm_deviation: float
    class_counts: tuple[int, ...]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n p"], index: Int[np.ndarray, " n"] | None) -> DataStatistics:
        """Compute the statistics of samples.

        Parameters
        ----------
        x : (n, p) array
            Samples.
        index : (n,) array of int or None
            Index of each sample's class; None for a regression.

        Returns
        -------
        DataStatistics
            Their statistics.

        Raises
        ------
        ValueError
            If all samples are zero.
        """
        tau0, counts = rms_norm(x), () if index is None else tuple(np.bincount(index).tolist())
        squares = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        return cls(x.shape[0], x.shape[1], tau0, float(np.std(squares) / tau0**2), counts)

    def __str__(self) -> str:
        each = ""
        if len(self.class_counts):
            least, most = min(self.class_counts), max(self.class_counts)
            each = f", {least:,} a class" if least == most else f", {least:,} to {most:,} a class"
        return (
            f"fitted on {self.n:,} samples of dimension {self.p}{each}; tau_0 = {self.tau0:.4g}, "
            f"|x|^2 deviating by {self.norm_deviation:.2g}"
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the statistics as a table for a file."""
        left_out = set() if len(self.class_counts) else {"class_counts"}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @classmethod
    def from_fields(cls, fields: FieldReader) -> DataStatistics:
        """Read the statistics from a file's table."""
        return cls(
            fields.count("n"),
            fields.count("p"),
            fields.number("tau0", positive=True),
            fields.number("norm_deviation"),
            tuple(fields.counts("class_counts")) if "class_counts" in fields else (),
        )


def read_training(fields: FieldReader) -> TrainingRecord | None:
    """Return the record of the training, if the file has one."""
    return TrainingRecord.from_fields(fields.subtable("training")) if "training" in fields else None


def provenance_to_metadata(origin: MatchRecord | None, statistics: DataStatistics | None = None) -> dict[str, Any]:
    """Return the records that are known, under the names that files have for them."""
    records = {"match": origin, "data": statistics}
    return {name: record.to_metadata() for name, record in records.items() if record is not None}


def read_origin(fields: FieldReader) -> MatchRecord | None:
    """Return the record of the match, if the file has one."""
    return MatchRecord.from_fields(fields.subtable("match")) if "match" in fields else None


def read_statistics(fields: FieldReader) -> DataStatistics | None:
    """Return the statistics of the data, if the file has them."""
    return DataStatistics.from_fields(fields.subtable("data")) if "data" in fields else None


def provenance_notes(
    origin: MatchRecord | None, statistics: DataStatistics | None = None, training: TrainingRecord | None = None
) -> tuple[str, ...]:
    """Return the records that are known as lines of a summary."""
    records = {"activations": origin, "readout": statistics, "trained": training}
    return tuple(f"{name}: {record}" for name, record in records.items() if record is not None)
