"""Networks with a linear readout of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.data.normalization import Normalization
from hntk.files.reader import FieldReader
from hntk.networks.class_labels import labels_note, labels_to_metadata, read_labels
from hntk.networks.float_readout import FloatReadout, read_float_readout
from hntk.networks.label_predictor import LabelPredictor
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.networks.read_layers import ReadLayers
from hntk.networks.saveable import SaveableClassifier
from hntk.networks.summary_table import Summary
from hntk.weights.weight_matrix import Weights


@array_dataclass(static=("classes", "statistics", "layers"))
class Classifier(FloatReadout, LabelPredictor, SaveableClassifier):
    """A network with a readout: scores = features · weights + offset, and the largest score wins.

    Classifiers are pytrees: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take them as arguments.

    Attributes
    ----------
    network : Network
        The network that gives the features.
    classes : (K,) array
        Labels in the order of the scores.
    weights : (d, K) array
        Weights of the readout; a readout of all layers has d = d_1 + … + d_L.
    offset : (K,) array
        Scores at feature 0.
    normalization : Normalization or None
        What raw samples go through first; None if it is unknown.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    layers : {"last", "all"}
        Whose features the readout takes: h_L/√d_L, or (h_1/√d_1, …, h_L/√d_L) side by side.
    """

    network: Network
    classes: np.ndarray
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    normalization: Normalization | None = field(default=None, kw_only=True)
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    layers: ReadLayers = field(default="last", kw_only=True)
    # The decorator would write another one.
    __repr__ = SaveableClassifier.__repr__

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        arrays, metadata = self._common_arrays(encoding)
        return arrays, metadata | labels_to_metadata(self.classes)

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> Classifier:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        classes = read_labels(fields)
        return Classifier(classes=classes, **read_float_readout(fields, classes.size, packed_from))

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        return self._summary(encodings, labels_note(self.classes))
