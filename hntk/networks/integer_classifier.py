"""Classifiers of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Int32

from hntk._utils.labels import accuracy_score
from hntk._utils.pytree import array_dataclass, is_traced
from hntk.files.exact_arrays import to_integers_of
from hntk.files.reader import FieldReader
from hntk.networks.class_labels import labels_note, labels_to_metadata, read_labels
from hntk.networks.integer_network import LIMIT, IntegerNetwork
from hntk.networks.provenance import DataStatistics, provenance_notes, provenance_to_metadata, read_statistics
from hntk.networks.saveable import SaveableClassifier
from hntk.networks.summary_table import LayerSummary, Summary
from hntk.weights.laws import Weights

OFFSET_BYTES = 4


@array_dataclass(static=("classes", "unit", "statistics"))
class IntegerClassifier(SaveableClassifier):
    """A classifier of whole numbers: the largest of ``readout @ levels + offset`` wins, the first of equals.

    Classifiers are pytrees: ``jax.jit`` and ``jax.vmap`` take them as arguments.

    Attributes
    ----------
    network : IntegerNetwork
        The network that gives the levels.
    readout : (K, d) array of int8 or int16
        Weights of the readout.
    offset : (K,) array of int32
        Scores at levels 0.
    classes : (K,) array
        Labels in the order of the scores.
    unit : float
        A score of the float classifier is about a whole score times this.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    classes: np.ndarray
    unit: float
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    form: ClassVar[str] = "integer"
    # The decorator would write another one.
    __repr__ = SaveableClassifier.__repr__

    @property
    def largest_score(self) -> int:
        """A bound of |score|."""
        sums = np.abs(np.asarray(self.readout, np.int64)).sum(axis=1) * self.network.steps[-1].most
        return int((sums + np.abs(np.asarray(self.offset, np.int64))).max())

    def scores(self, raw: object) -> Int[np.ndarray | Array, "n K"]:
        """Compute whole scores of raw samples.

        Works under ``jax.jit`` and ``jax.vmap``, where the values of samples are not checked and the result is an array
        of JAX.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.

        Returns
        -------
        (n, K) array of int64, or of int32 under a transformation
            Scores.

        Raises
        ------
        ValueError
            If the samples do not fit.
        """
        parts = list(self.network.feature_batches(raw))
        if is_traced(parts, self.readout, self.offset):
            # No partial sum of a score leaves 32 bits.
            weights = jnp.asarray(self.readout).astype(jnp.int32).T
            return jnp.concatenate([levels.astype(jnp.int32) @ weights for levels in parts]) + jnp.asarray(self.offset)
        # BLAS in float64 is exact up to 2⁵³.
        readout = self.readout.T.astype(np.float64)
        scores = np.concatenate([np.asarray(levels, np.float64) @ readout for levels in parts])
        return scores.astype(np.int64) + self.offset

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
        arrays, metadata = self.network.to_arrays(encoding)
        metadata |= {**labels_to_metadata(self.classes), **provenance_to_metadata(None, self.statistics)}
        metadata["score_unit"] = self.unit
        dtype = np.int8 if np.asarray(self.readout).dtype == np.int8 else np.int16
        arrays["readout.weights"] = to_integers_of(self.readout, dtype, "readout")
        arrays["readout.offset"] = to_integers_of(self.offset, np.int32, "offset")
        return arrays, metadata

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> IntegerClassifier:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        width = fields.subtables("layers")[-1].shape("shape")[0]
        classes, statistics = read_labels(fields), read_statistics(fields)
        eight_bits = "readout.weights" in fields.arrays and fields.arrays["readout.weights"].dtype == np.int8
        readout = fields.array("readout.weights", np.int8 if eight_bits else np.int16, classes.size, width)
        offset = fields.array("readout.offset", np.int32, classes.size)
        unit = fields.number("score_unit", positive=True)
        network = IntegerNetwork.from_arrays(fields, packed_from)
        classifier = IntegerClassifier(network, readout, offset, classes, unit, statistics=statistics)
        if classifier.largest_score > LIMIT:
            raise ValueError("scores could leave 32 bits")
        return classifier

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        size = self.readout.itemsize
        readout = LayerSummary.readout(
            self.readout, kind=f"int{8 * size}", weight_bytes=size, offset_bytes=OFFSET_BYTES
        )
        notes = (*self.network.input_notes(), labels_note(self.classes))
        notes += provenance_notes(self.network.origin, self.statistics)
        return Summary((*self.network.layer_summaries(encodings), readout), "whole numbers", notes)
