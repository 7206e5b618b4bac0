"""Classifiers of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from hntk._utils.labels import accuracy_score
from hntk._utils.pytree import array_dataclass
from hntk.files.reader import FieldReader
from hntk.networks.class_labels import labels_note, labels_to_metadata, read_labels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout, read_readout
from hntk.networks.provenance import DataStatistics, provenance_notes, provenance_to_metadata, read_statistics
from hntk.networks.read_layers import ReadLayers
from hntk.networks.saveable import SaveableClassifier
from hntk.networks.summary_table import Summary
from hntk.networks.training_record import TrainingRecord
from hntk.weights.weight_matrix import Weights


@array_dataclass(static=("classes", "unit", "statistics", "layers", "shifts", "training"))
class IntegerClassifier(SaveableClassifier, IntegerReadout):
    """A classifier of whole numbers: the largest of ``readout @ levels + offset`` wins, the first of equals.

    A readout of all layers takes their levels side by side, those of layer l times 2^{s_l}.

    Classifiers are pytrees: ``jax.jit`` and ``jax.vmap`` take them as arguments.

    Attributes
    ----------
    network : IntegerNetwork
        The network that gives the levels.
    readout : (K, d) array of int8 or int16
        Weights of the readout. One of all layers has d = d_1 + … + d_L, the first layer first; the factor of each
        layer, which makes levels features, is in them.
    offset : (K,) array of int32
        Scores at levels 0.
    classes : (K,) array
        Labels in the order of the scores.
    unit : float
        A score of the float classifier is about a whole score times this.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    layers : {"last", "all"}
        Whose levels the readout takes.
    shifts : tuple of int
        Shift s_l of each layer that is read, from 0 to 15; empty if all are 0, as those of the last layer alone are.
    training : TrainingRecord or None
        How the network was trained; None if it was not.
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    classes: np.ndarray
    unit: float
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    layers: ReadLayers = field(default="last", kw_only=True)
    shifts: tuple[int, ...] = field(default=(), kw_only=True)
    training: TrainingRecord | None = field(default=None, kw_only=True)
    # The decorator would write another one.
    __repr__ = SaveableClassifier.__repr__

    def predict(self, raw: object) -> np.ndarray:
        """Predict labels of raw samples.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.

        Returns
        -------
        (n,) array
            The label of the largest score of each sample.
        """
        return self.classes[np.argmax(self.scores(raw), axis=1)]

    def accuracy(self, raw: object, labels: object) -> float:
        """Return the share of raw samples whose label is predicted.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.
        labels : (n,) array
            True labels.

        Returns
        -------
        float
            Share from 0 to 1.
        """
        return accuracy_score(self.predict(raw), labels)

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        arrays, metadata = self._common_arrays(encoding)
        return arrays, metadata | labels_to_metadata(self.classes) | provenance_to_metadata(None, self.statistics)

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> IntegerClassifier:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        classes, statistics = read_labels(fields), read_statistics(fields)
        parts = read_readout(fields, classes.size)
        network = IntegerNetwork.from_arrays(fields, packed_from)
        classifier = IntegerClassifier(network, classes=classes, statistics=statistics, **parts)
        classifier._check_read(fields)
        return classifier

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        notes = (*self.network.input_notes(), labels_note(self.classes), *self._read_note())
        notes += provenance_notes(self.network.origin, self.statistics, self.training)
        return Summary((*self.network.layer_summaries(encodings), self._readout_summary()), "whole numbers", notes)
