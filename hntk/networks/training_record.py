"""Records of how a network of few levels was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hntk.files.limits import LAYERS, shorten
from hntk.files.reader import FieldReader


@dataclass(frozen=True)
class Candidate:
    """A network that was trained for a short time, to choose one of several that fit into a budget of bytes.

    Attributes
    ----------
    widths : tuple of int
        Width of each hidden layer.
    levels : tuple of int
        Number of levels of each layer.
    sparsity : tuple of float
        Share of zeros of each layer's weights.
    pooled : tuple of int
        Height and width to which images were averaged; empty if they were not.
    table_bytes : int
        Bytes of the smallest tables of its C program.
    epochs : int
        Epochs that it was trained for.
    validation : float
        Its accuracy then on samples that were left out of training, or the error of a regressor.
    """

    widths: tuple[int, ...]
    levels: tuple[int, ...]
    sparsity: tuple[float, ...]
    pooled: tuple[int, ...]
    table_bytes: int
    epochs: int
    validation: float

    def __str__(self) -> str:
        cells = f"{' x '.join(map(str, self.pooled))} cells, " if self.pooled else ""
        zeros = ", ".join(f"{share:.0%}" for share in self.sparsity)
        return (
            f"{cells}widths {'-'.join(map(str, self.widths))}, {'-'.join(map(str, self.levels))} levels, "
            f"zeros {zeros}: {self.table_bytes:,} bytes, validation {self.validation:.4g} after {self.epochs:,} "
            f"epoch{'' if self.epochs == 1 else 's'}"
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the candidate as a table for a file; what there is none of is left out."""
        return {name: value for name, value in asdict(self).items() if value != ()}

    @classmethod
    def from_fields(cls, fields: FieldReader) -> Candidate:
        """Read a candidate from a file's table.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a part is missing or not of its type, or more layers are described than a file may have.
        """
        return cls(
            tuple(fields.counts("widths")),
            _read_levels(fields),
            _read_shares(fields),
            fields.shape("pooled") if "pooled" in fields else (),
            fields.count("table_bytes"),
            fields.count("epochs"),
            fields.number("validation"),
        )


@dataclass(frozen=True)
class TrainingRecord:
    """How a network of whole numbers was trained.

    Attributes
    ----------
    start : str
        What training started from, such as ``"match"``.
    epochs : int
        Epochs that were run.
    best_epoch : int
        Epoch whose parameters were kept, from 1; 0 if they are those of the start.
    validation : float or None
        Accuracy of these parameters on samples that were left out of training, or the error of a regressor; None if no
        samples were left out.
    samples : int
        Number of samples that training saw.
    sparsity : tuple of float
        Share of zeros of each layer's weights; empty if it is not recorded.
    levels : tuple of int
        Number of levels of each layer; empty if it is not recorded.
    augmentation : str or None
        Parameters of the augmentation in words; None without one.
    teacher : str or None
        Whose scores training followed; None without a teacher.
    candidates : tuple of Candidate
        Short trainings that this network was chosen by; empty if it was not chosen.
    """

    start: str
    epochs: int
    best_epoch: int
    validation: float | None
    samples: int
    sparsity: tuple[float, ...] = ()
    levels: tuple[int, ...] = ()
    augmentation: str | None = None
    teacher: str | None = None
    candidates: tuple[Candidate, ...] = ()

    def __str__(self) -> str:
        kept = f"epoch {self.best_epoch} of {self.epochs:,} kept" if self.best_epoch else "the start kept"
        parts = [f"from {self.start} on {self.samples:,} samples", kept]
        parts += [f"{'-'.join(map(str, self.levels))} levels"] if self.levels else []
        parts += [] if self.validation is None else [f"validation {self.validation:.4g}"]
        parts += [] if self.augmentation is None else [f"augmentation {self.augmentation}"]
        parts += [] if self.teacher is None else [f"teacher {self.teacher}"]
        parts += [f"chosen by {len(self.candidates)} short trainings"] if self.candidates else []
        return ", ".join(parts)

    def to_metadata(self) -> dict[str, Any]:
        """Return the record as a table for a file; what there is none of is left out."""
        table = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        if self.candidates:
            table["candidates"] = [candidate.to_metadata() for candidate in self.candidates]
        return table

    @classmethod
    def from_fields(cls, fields: FieldReader) -> TrainingRecord:
        """Read the record from a file's table.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a part is missing or not of its type, the best epoch is not among those that were run, or more layers are
            described than a file may have.
        """
        epochs, best = fields.whole_number("epochs"), fields.whole_number("best_epoch")
        if best > epochs:
            raise ValueError(f"the best epoch is {shorten(best)} of {shorten(epochs)}")
        return cls(
            fields.text("start"),
            epochs,
            best,
            fields.number("validation") if "validation" in fields else None,
            fields.count("samples"),
            _read_shares(fields) if "sparsity" in fields else (),
            _read_levels(fields) if "levels" in fields else (),
            fields.text("augmentation") if "augmentation" in fields else None,
            fields.text("teacher") if "teacher" in fields else None,
            tuple(map(Candidate.from_fields, fields.subtables("candidates"))) if "candidates" in fields else (),
        )


def _read_shares(fields: FieldReader) -> tuple[float, ...]:
    """Return the shares of zeros, from 0 to 1."""
    shares = tuple(fields.numbers("sparsity", most=LAYERS))
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares of zeros are from 0 to 1, not {shorten(shares)}")
    return shares


def _read_levels(fields: FieldReader) -> tuple[int, ...]:
    """Return the numbers of levels."""
    levels = tuple(fields.counts("levels"))
    if len(levels) > LAYERS:
        raise ValueError(f"there are levels of {len(levels):,} layers, and a file has {LAYERS:,} at most")
    return levels
