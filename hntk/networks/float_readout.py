"""What classifiers and regressors in floating point have in common: a network and a readout of its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arrays import finite_array, real_array
from hntk._utils.devices import exact_product
from hntk._utils.pytree import is_traced
from hntk.data.normalization import Normalization, prepare_samples
from hntk.files.exact_arrays import to_float32
from hntk.files.reader import FieldReader
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics, provenance_notes, provenance_to_metadata, read_statistics
from hntk.networks.read_layers import ReadLayers, layers_to_metadata, read_layers, read_note, read_widths
from hntk.networks.saveable import SaveableReadout
from hntk.networks.summary_table import FLOAT_BYTES, LayerSummary, Summary
from hntk.networks.value_bounds import Readout
from hntk.theory.architecture import Architecture
from hntk.weights.weight_matrix import Weights

OFFSET_BYTES = 8


class FloatReadout(SaveableReadout):
    """A network with a readout: scores = features · weights + offset; K is the number of scores.

    Attributes
    ----------
    network : Network
        The network that gives the features.
    weights : (d, K) array
        Weights of the readout; a readout of all layers has d = d_1 + … + d_L.
    offset : (K,) array
        Scores at feature 0.
    normalization : Normalization or None
        What raw samples go through first; None if it is unknown.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    layers : {"last", "all"}
        Whose features the readout takes.
    """

    network: Network
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    normalization: Normalization | None
    statistics: DataStatistics | None
    layers: ReadLayers
    form: ClassVar[str] = Network.form
    versions: ClassVar[tuple[int, ...]] = Network.versions

    @property
    def architecture(self) -> Architecture:
        """What the network of the hidden layers is a draw of."""
        return self.network.architecture

    def scores(self, x: object, *, raw: bool = False) -> Float[np.ndarray | Array, "n K"]:
        """Return the scores of samples: one a class, of which the largest wins, or predicted targets.

        Works under ``jax.jit``, ``jax.vmap`` and ``jax.grad``, where the values of x are not checked and the result is
        an array of JAX.

        Parameters
        ----------
        x : (n, p) array
            Samples, normalised as those that the readout was fitted on. A warning is given if their scale is far from
            those.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        (n, K) array
            Scores.

        Raises
        ------
        ValueError
            If x does not fit the network, or is raw and the normalisation is not known.
        """
        tau0 = None if self.statistics is None else self.statistics.tau0
        samples = prepare_samples(x, self.normalization, tau0, raw=raw)
        parts = [self.scores_of(features) for features in self.network.feature_batches(samples, layers=self.layers)]
        return jnp.concatenate(parts) if is_traced(parts) else np.concatenate(parts)

    def scores_of(self, features: object) -> Float[np.ndarray | Array, "n K"]:
        """Return the scores of features of the network.

        Parameters
        ----------
        features : (n, d) array
            Features of the layers that are read, as :meth:`Network.features` gives.

        Returns
        -------
        (n, K) array
            Scores.

        Raises
        ------
        ValueError
            If features are not finite, or not as many as the readout has weights.
        """
        if is_traced(features, self.weights, self.offset):
            array: Any = jnp.asarray(features)
        else:
            given = real_array(features, "features")
            dtype = np.result_type(given.dtype, np.float32)
            array = finite_array(given, "features").astype(dtype, copy=False)
        if array.ndim != 2 or array.shape[1] != len(self.weights):
            raise ValueError(f"features must have shape (n, {len(self.weights)}), got {array.shape}.")
        if isinstance(array, jax.Array):
            weights = jnp.asarray(self.weights, jnp.float32)
            offset = jnp.asarray(self.offset, jnp.result_type(float))
            return exact_product(array, weights) + offset
        return array @ self.weights.astype(np.float32) + self.offset

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {**super()._kept_exactly, "data statistics": self.statistics}

    def _common_arrays(self, encoding: str | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file, without what is predicted."""
        arrays, metadata = self.network.hidden_to_arrays(encoding)
        metadata |= provenance_to_metadata(None, self.statistics) | layers_to_metadata(self.layers)
        arrays["readout.weights"] = to_float32(self.weights, "the readout's weights")
        arrays["readout.offset"] = np.asarray(self.offset, np.float64)
        if self.normalization is not None:
            more_arrays, more_metadata = _normalization_to_arrays(self.normalization)
            arrays |= more_arrays
            metadata |= more_metadata
        return arrays, metadata

    def _summary(self, encodings: Sequence[str] | None, predicted: str) -> Summary:
        """Return bits, bytes and arithmetic of every layer, with a line on what is predicted."""
        readout = LayerSummary.readout(
            np.asarray(self.weights).T, kind="float32", weight_bytes=FLOAT_BYTES, offset_bytes=OFFSET_BYTES
        )
        notes = [predicted, *read_note(self.network.widths, self.layers)]
        if self.normalization is not None:
            notes.append(f"input: {self.normalization}")
        notes += self.network.notes
        notes += provenance_notes(self.network.origin, self.statistics)
        return Summary((*self.network.layer_summaries(encodings), readout), "float32", tuple(notes))


def read_float_readout(fields: FieldReader, count: int, packed_from: Sequence[Weights] | None) -> dict[str, Any]:
    """Return the parts of a readout with so many scores, by their names; small ones are checked before matrices.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a file describes none.
    """
    shapes = [layer.shape("shape") for layer in fields.subtables("layers")]
    layers, inputs = read_layers(fields), shapes[0][1]
    width = sum(read_widths([outputs for outputs, _ in shapes], layers))
    weights = fields.array("readout.weights", np.float32, width, count).astype(np.float64)
    offset = fields.array("readout.offset", np.float64, count)
    normalization = _read_normalization(fields, inputs) if "scale" in fields else None
    statistics = read_statistics(fields)
    network = Network.hidden_from_arrays(fields, packed_from, Readout(weights, offset, layers))
    return {
        "network": network,
        "weights": weights,
        "offset": offset,
        "normalization": normalization,
        "statistics": statistics,
        "layers": layers,
    }


def _normalization_to_arrays(normalization: Normalization) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and metadata of a normalisation for a file."""
    arrays = {"input.centre": np.asarray(normalization.centre, np.float32)}
    metadata: dict[str, Any] = {"scale": normalization.scale}
    if normalization.whitening is not None:
        arrays["input.whitening"] = np.asarray(normalization.whitening, np.float32)
    if normalization.unit_norm:
        metadata["unit_norm"] = True
    return arrays, metadata


def _read_normalization(fields: FieldReader, size: int) -> Normalization:
    """Read the normalisation of samples of so many coordinates from a file."""
    centre, whitening = fields.array("input.centre", np.float32, size), None
    if "input.whitening" in fields.arrays:
        whitening = fields.array("input.whitening", np.float32, size, size)
    return Normalization(centre, fields.number("scale", positive=True), whitening, unit_norm=fields.flag("unit_norm"))
