"""Networks with a linear readout of real-valued targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.data.normalization import Normalization
from hntk.files.reader import FieldReader
from hntk.networks.float_readout import FloatReadout, read_float_readout
from hntk.networks.layer_part_records import TARGETS_VERSION
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.networks.read_layers import ReadLayers
from hntk.networks.summary_table import Summary
from hntk.networks.target_predictor import TargetPredictor, read_targets, targets_text
from hntk.weights.weight_matrix import Weights


@array_dataclass(static=("statistics", "layers"))
class Regressor(FloatReadout, TargetPredictor):
    """A network with a readout of K targets: it predicts features · weights + offset.

    Regressors are pytrees: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take them as arguments.

    Attributes
    ----------
    network : Network
        The network that gives the features.
    weights : (d, K) array
        Weights of the readout; a readout of all layers has d = d_1 + … + d_L.
    offset : (K,) array
        Predictions at feature 0.
    normalization : Normalization or None
        What raw samples go through first; None if it is unknown.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    layers : {"last", "all"}
        Whose features the readout takes: h_L/√d_L, or (h_1/√d_1, …, h_L/√d_L) side by side.
    """

    network: Network
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    normalization: Normalization | None = field(default=None, kw_only=True)
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    layers: ReadLayers = field(default="last", kw_only=True)
    versions: ClassVar[tuple[int, ...]] = (TARGETS_VERSION,)
    # The decorator would write another one.
    __repr__ = FloatReadout.__repr__

    @property
    def predicted(self) -> str:
        """What is predicted, for a representation."""
        return targets_text(np.shape(self.offset)[0])

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        arrays, metadata = self._common_arrays(encoding)
        return arrays, metadata | {"version": TARGETS_VERSION, "targets": np.shape(self.offset)[0]}

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> Regressor:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        return Regressor(**read_float_readout(fields, read_targets(fields), packed_from))

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        return self._summary(encodings, f"predictions: {self.predicted}")
