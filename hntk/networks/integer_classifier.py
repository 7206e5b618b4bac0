r"""Classifiers of whole numbers.

The score of class k is $\sum_l 2^{s_l} \sum_j R_{kj} q_{lj} + b_k$ over the layers l that are read and their neurons j,
with levels $q_l$, readout weights R and an offset b. A readout of the last layer has one part without a shift. One of
all layers has a part for each, from the first layer to the last; its shifts $s_l$ bring levels that are small numbers
in one layer and large ones in another to one size, so that one unit of the weights serves all. Every partial sum of a
score fits into 32 bits, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from operator import index
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Int32, Int64

from hntk._utils.labels import accuracy_score
from hntk._utils.pytree import array_dataclass, is_traced
from hntk.files.exact_arrays import to_integers_of
from hntk.files.limits import shorten
from hntk.files.reader import FieldReader
from hntk.networks.class_labels import labels_note, labels_to_metadata, read_labels
from hntk.networks.integer_network import LIMIT, IntegerNetwork
from hntk.networks.provenance import DataStatistics, provenance_notes, provenance_to_metadata, read_statistics
from hntk.networks.read_layers import ReadLayers, layers_to_metadata, read_layers, read_note, read_widths
from hntk.networks.saveable import SaveableClassifier
from hntk.networks.summary_table import LayerSummary, Summary
from hntk.weights.weight_matrix import Weights

OFFSET_BYTES = 4
# Levels of 16 bits need no larger shifts.
LARGEST_SHIFT = 15


@array_dataclass(static=("classes", "unit", "statistics", "layers", "shifts"))
class IntegerClassifier(SaveableClassifier):
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
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    classes: np.ndarray
    unit: float
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    layers: ReadLayers = field(default="last", kw_only=True)
    shifts: tuple[int, ...] = field(default=(), kw_only=True)
    form: ClassVar[str] = "integer"
    # The decorator would write another one.
    __repr__ = SaveableClassifier.__repr__

    @property
    def largest_score(self) -> int:
        """A bound of |score|."""
        levels = [steps.most for steps in self.network.steps[-len(self.read_widths) :]]
        sums = np.abs(np.asarray(self.readout, np.int64)) @ (self.factors * np.repeat(levels, self.read_widths))
        return int((sums + np.abs(np.asarray(self.offset, np.int64))).max())

    @property
    def read_widths(self) -> tuple[int, ...]:
        """Widths of the layers that are read; the columns of ``readout`` are in this order."""
        return read_widths(self.network.widths, self.layers)

    @property
    def factors(self) -> Int64[np.ndarray, " d"]:
        """Return 2^{s_l} for every column of ``readout``."""
        shifts = self.shifts or (0,) * len(self.read_widths)
        return np.left_shift(np.int64(1), np.repeat(np.asarray(shifts, np.int64), self.read_widths))

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
        parts = list(self.network.feature_batches(raw, layers=self.layers))
        if is_traced(parts, self.readout, self.offset):
            # No partial sum of a score leaves 32 bits.
            weights = (jnp.asarray(self.readout).astype(jnp.int32) * self.factors.astype(np.int32)).T
            return jnp.concatenate([levels.astype(jnp.int32) @ weights for levels in parts]) + jnp.asarray(self.offset)
        # BLAS in float64 is exact up to 2⁵³.
        readout = (self.readout * self.factors).T.astype(np.float64)
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
        metadata |= {"score_unit": self.unit, **layers_to_metadata(self.layers)}
        if self.shifts:
            metadata["readout_shifts"] = list(map(index, self.shifts))
        dtype = np.int8 if np.asarray(self.readout).dtype == np.int8 else np.int16
        arrays["readout.weights"] = to_integers_of(self.readout, dtype, "readout")
        arrays["readout.offset"] = to_integers_of(self.offset, np.int32, "offset")
        return arrays, metadata

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> IntegerClassifier:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        layers = read_layers(fields)
        widths = read_widths([layer.shape("shape")[0] for layer in fields.subtables("layers")], layers)
        shifts = _read_shifts(fields, len(widths)) if "readout_shifts" in fields else ()
        classes, statistics = read_labels(fields), read_statistics(fields)
        eight_bits = "readout.weights" in fields.arrays and fields.arrays["readout.weights"].dtype == np.int8
        readout = fields.array("readout.weights", np.int8 if eight_bits else np.int16, classes.size, sum(widths))
        offset = fields.array("readout.offset", np.int32, classes.size)
        unit = fields.number("score_unit", positive=True)
        network = IntegerNetwork.from_arrays(fields, packed_from)
        classifier = IntegerClassifier(
            network, readout, offset, classes, unit, statistics=statistics, layers=layers, shifts=shifts
        )
        if classifier.largest_score > LIMIT:
            raise ValueError("scores could leave 32 bits")
        return classifier

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        size = self.readout.itemsize
        readout = LayerSummary.readout(
            self.readout, kind=f"int{8 * size}", weight_bytes=size, offset_bytes=OFFSET_BYTES
        )
        notes = (*self.network.input_notes(), labels_note(self.classes), *read_note(self.network.widths, self.layers))
        notes += provenance_notes(self.network.origin, self.statistics)
        return Summary((*self.network.layer_summaries(encodings), readout), "whole numbers", notes)


def _read_shifts(fields: FieldReader, layers: int) -> tuple[int, ...]:
    """Return the shifts of a file, one for each layer that is read."""
    shifts = fields.table["readout_shifts"]
    whole = isinstance(shifts, list) and all(type(shift) is int and 0 <= shift <= LARGEST_SHIFT for shift in shifts)
    if not whole or len(shifts) != layers:
        raise ValueError(
            f"readout_shifts must be {layers} whole numbers from 0 to {LARGEST_SHIFT}, not {shorten(shifts)}"
        )
    return tuple(shifts)
