"""Training data of a readout, checked against its network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.arguments import as_instance
from hntk._utils.arrays import real_array
from hntk._utils.rows import check_rows
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization, check_normalization
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths
from hntk.readouts.answers import Answers


@dataclass(frozen=True, eq=False)
class FitData:
    """What a readout is fitted on.

    Attributes
    ----------
    network : Network
        Network whose features the readout is of.
    samples : array of shape (n, p)
        Training samples.
    answers : Answers
        Labels or targets.
    features : ndarray of shape (n, d) or None
        Features of the samples, where they were given.
    normalization : Normalization or None
        What raw samples go through before they are like the training samples.
    layers : {"last", "all"}
        Whose features are read.
    """

    network: Network
    samples: Float[Array, "n p"]
    answers: Answers
    features: Float[np.ndarray, "n d"] | None
    normalization: Normalization | None
    layers: ReadLayers = "last"

    @staticmethod
    def of(
        network: Any, x: object, labels: object, normalization: Any, features: object, layers: object = "last"
    ) -> FitData:
        """Check what a user gives for a readout.

        Raises
        ------
        TypeError
            If ``normalization`` is no :class:`hntk.Normalization`.
        ValueError
            If the parts do not fit together, only one class occurs, no target varies, or ``layers`` is unknown.
        """
        as_instance(network, "network", Network, "a network, such as of hntk.dense")
        read = as_read_layers(layers)
        x, labels, normalization = training_part(x, labels, normalization)
        check_normalization(normalization, network.inputs)
        samples = network.check_inputs(x)
        answers = Answers.of(labels, samples.shape[0], "labels")
        shape = (samples.shape[0], sum(read_widths(network.widths, read)))
        given = None if features is None else _check_features(features, shape, read)
        return FitData(network, samples, answers, given, normalization, read)

    @cached_property
    def scale(self) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
        """The numbers that targets are standardised by; 0 and 1 for classes."""
        return self.answers.scale()

    def targets(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m K"]:
        """Return what scores of some samples are fitted to, in float32: one-hot rows, or standardised targets."""
        values = self.answers.values[rows]
        if self.answers.classes is not None:
            return np.eye(self.answers.outputs, dtype=np.float32)[values]
        mean, spread = self.scale
        return ((values - mean) / spread).astype(np.float32)

    @property
    def width(self) -> int:
        """Number of features of a sample."""
        return sum(read_widths(self.network.widths, self.layers))

    def described(self) -> dict[str, Any]:
        """Return what a classifier or regressor keeps of its training data, as keyword arguments."""
        statistics = DataStatistics.of(np.asarray(self.samples), self.answers.index)
        return {"statistics": statistics, "normalization": self.normalization, "layers": self.layers}


def _check_features(features: object, shape: tuple[int, int], layers: ReadLayers) -> Float[np.ndarray, "n d"]:
    given = np.asarray(real_array(features, "features"))
    if given.shape != shape:
        call = "network.features(x)" if layers == "last" else 'network.features(x, layers="all")'
        raise ValueError(f"features must have shape {shape}, as {call} gives; got {given.shape}.")
    # Sums of whole numbers would overflow in their own type.
    given = given.astype(np.result_type(given.dtype, np.float32), copy=False)
    check_rows(given, "features", given.dtype)
    return given
