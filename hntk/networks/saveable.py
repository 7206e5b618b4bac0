"""The base of networks and classifiers: they describe themselves to files and to summaries."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hntk._utils.copies import Copyable
from hntk.files.container import check_size, write
from hntk.files.json_text import dumps, loads
from hntk.files.reader import FieldReader
from hntk.networks.class_labels import brief_labels
from hntk.networks.provenance import DataStatistics, MatchRecord
from hntk.networks.read_layers import ReadLayers
from hntk.networks.summary_table import Summary
from hntk.weights.weight_matrix import Weights

VERSION = 1
# Exceptions of reading a table that is not as expected.
READING_ERRORS = (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError)


class Saveable(Copyable, ABC):
    """A network or classifier that is saved, loaded and summarized by what it says of itself.

    Attributes
    ----------
    form : str
        The form that files declare: ``"float"`` or ``"integer"``.
    versions : tuple of int
        Versions of the files that can be read.
    """

    form: ClassVar[str]
    versions: ClassVar[tuple[int, ...]] = (VERSION,)

    @abstractmethod
    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file.

        Parameters
        ----------
        encoding : str, optional
            Encoding of the weights; by default the smallest.

        Returns
        -------
        arrays : dict of str to numpy.ndarray
            Arrays by name.
        metadata : dict
            Tables, lists, text and numbers, as JSON has them.

        Raises
        ------
        ValueError
            If a part cannot be kept in a file.
        """

    @staticmethod
    @abstractmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> Saveable:
        """Return the network or classifier of a file; what is small is checked before matrices are unpacked.

        Parameters
        ----------
        fields : FieldReader
            Metadata and arrays of the file.
        packed_from : sequence of WeightMatrix or OrthogonalMatrix, optional
            The matrices that were packed, when a file is checked before it is written; they are used instead of
            unpacking the bytes.

        Returns
        -------
        Saveable
            The network or classifier.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the file describes none, or one whose numbers would overflow.
        """

    @abstractmethod
    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; ``print`` it for a table.

        Parameters
        ----------
        encodings : sequence of str, optional
            Encoding of every layer's weights, such as a file has; by default the smallest of each.

        Returns
        -------
        Summary
            Layers, totals and notes.
        """

    @property
    @abstractmethod
    def _matrices(self) -> tuple[Weights, ...]:
        """The weights of the hidden layers."""

    @property
    @abstractmethod
    def _kept_exactly(self) -> dict[str, object]:
        """What a file must give back exactly, by a name for messages."""

    def save(self, path: str | os.PathLike[str], *, encoding: str | None = None) -> int:
        """Write a file and return its size; :func:`hntk.save` says more.

        Parameters
        ----------
        path : str or path-like
            Name of the file, which is replaced as a whole or not at all.
        encoding : str, optional
            Encoding of the weights; by default the smallest.

        Returns
        -------
        int
            Bytes of the file.

        Raises
        ------
        ValueError
            If this cannot be saved, or could not be loaded again.
        OSError
            If the file cannot be written.
        """
        try:
            arrays, metadata = self.to_arrays(encoding)
            self._check_reading(arrays, metadata)
        except (*READING_ERRORS, AttributeError) as error:
            raise ValueError(f"this {type(self).__name__} cannot be saved: {error_text(error)}") from error
        return write(Path(path), arrays, metadata)

    def _check_reading(self, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
        """Refuse to write what would be refused when it is read, or would come back as something else."""
        text = dumps(metadata)
        check_size(arrays, text)
        read = self.from_arrays(FieldReader(loads(text), arrays), self._matrices)._kept_exactly
        wrong = [
            name
            for name, value in self._kept_exactly.items()
            if type(value) is not type(read[name]) or value != read[name]
        ]
        if wrong:
            raise ValueError(f"its {', '.join(wrong)} would not come back as they are: make it anew, or leave them out")


class SaveableNetwork(Saveable):
    """A network, whose files keep the record of its match exactly.

    Attributes
    ----------
    weights : tuple of WeightMatrix or OrthogonalMatrix
        Matrices of the hidden layers.
    origin : MatchRecord or None
        How the activations were found.
    """

    weights: tuple[Weights, ...]
    origin: MatchRecord | None

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths (d_1, …, d_L)."""
        return tuple(w.shape[0] for w in self.weights)

    @property
    def matrices(self) -> tuple[Weights, ...]:
        """All weight matrices."""
        return self.weights

    @property
    def layer_steps(self) -> tuple[Any, ...]:
        """The layers as a forward pass takes them, each a :class:`hntk.networks.layers.Step`."""
        return self._forward.steps  # type: ignore[attr-defined]

    @property
    def _matrices(self) -> tuple[Weights, ...]:
        return self.matrices

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {"record of the match (origin)": self.origin}


class SaveableReadout(Saveable):
    """A network with a readout, whose files keep records exactly.

    Attributes
    ----------
    network : SaveableNetwork
        The network.
    layers : {"last", "all"}
        Whose features the readout takes.
    """

    network: Any
    layers: ReadLayers

    @property
    @abstractmethod
    def predicted(self) -> str:
        """What is predicted, for a representation."""

    def __repr__(self) -> str:
        read = "" if self.layers == "last" else ", readout of every layer"
        return f"{type(self).__name__}({self.network!r}, {self.predicted}{read})"

    @property
    def _matrices(self) -> tuple[Weights, ...]:
        return self.network.matrices

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {**self.network._kept_exactly, "layers that are read": self.layers}


class SaveableClassifier(SaveableReadout):
    """A network with a readout of classes, whose files keep labels and records exactly.

    Attributes
    ----------
    classes : (K,) array
        Labels in the order of the scores.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on.
    """

    classes: np.ndarray
    statistics: DataStatistics | None

    @property
    def predicted(self) -> str:
        """What is predicted, for a representation."""
        return brief_labels(self.classes)

    @property
    def _kept_exactly(self) -> dict[str, object]:
        labels = np.asarray(self.classes).tolist()
        return {**super()._kept_exactly, "data statistics": self.statistics, "classes": labels}


def error_text(error: Exception) -> str:
    """Return what an error says; the text of a missing key is the key alone."""
    return f"{error.args[0] if error.args else 'a name'} is missing" if type(error) is KeyError else str(error)


def check_version(fields: FieldReader, needed: int) -> None:
    """Refuse a file whose contents need a later version than its own: readers of that version would misread them."""
    version = fields.table["version"]
    if version < needed:
        raise ValueError(f"it is of version {version}, and holds what only files of version {needed} do")
