"""Training data of a readout, checked against its network, and its validation part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from hntk._utils.arguments import as_instance, as_seed, as_share
from hntk._utils.arrays import real_array
from hntk._utils.labels import as_labels
from hntk._utils.rows import check_rows
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization, check_normalization
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths


@dataclass(frozen=True, eq=False)
class FitData:
    """What a readout is fitted on.

    Attributes
    ----------
    network : Network
        Network whose features the readout is of.
    samples : array of shape (n, p)
        Training samples.
    classes : ndarray of shape (K,)
        Sorted labels.
    index : ndarray of shape (n,)
        Position of every sample's label in ``classes``.
    features : ndarray of shape (n, d) or None
        Features of the samples, where they were given.
    normalization : Normalization or None
        What raw samples go through before they are like the training samples.
    layers : {"last", "all"}
        Whose features are read.
    """

    network: Network
    samples: Float[Array, "n p"]
    classes: np.ndarray
    index: Int[np.ndarray, " n"]
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
            If the parts do not fit together, only one class occurs, or ``layers`` is unknown.
        """
        as_instance(network, "network", Network, "a network, such as of hntk.dense")
        read = as_read_layers(layers)
        x, labels, normalization = training_part(x, labels, normalization)
        check_normalization(normalization, network.inputs)
        samples = network.check_inputs(x)
        classes, index = as_labels(labels, samples.shape[0])
        shape = (index.size, sum(read_widths(network.widths, read)))
        given = None if features is None else _check_features(features, shape, read)
        return FitData(network, samples, classes, index, given, normalization, read)

    @property
    def width(self) -> int:
        """Number of features of a sample."""
        return sum(read_widths(self.network.widths, self.layers))

    def described(self) -> dict[str, Any]:
        """Return what a classifier keeps of its training data, as keyword arguments."""
        statistics = DataStatistics.of(np.asarray(self.samples), self.index)
        return {"statistics": statistics, "normalization": self.normalization, "layers": self.layers}


def draw_validation(
    index: Int[np.ndarray, " n"], share: float, seed: int, remedy: str = "give ridge= instead, or more samples"
) -> Bool[np.ndarray, " n"]:
    """Return which samples are for validation: a random share of every class, but never all of one.

    Raises
    ------
    ValueError
        If a class has one sample; the message ends with the remedy.
    """
    share = as_share(share, "validation_share")
    rng = np.random.default_rng(as_seed(seed))
    held = np.zeros(index.size, dtype=bool)
    for a in range(int(index.max()) + 1):
        members = rng.permutation(np.flatnonzero(index == a))
        if members.size < 2:
            raise ValueError(f"validation needs at least 2 samples of every class: {remedy}.")
        held[members[: min(max(1, round(share * members.size)), members.size - 1)]] = True
    return held


def _check_features(features: object, shape: tuple[int, int], layers: ReadLayers) -> Float[np.ndarray, "n d"]:
    given = np.asarray(real_array(features, "features"))
    if given.shape != shape:
        call = "network.features(x)" if layers == "last" else 'network.features(x, layers="all")'
        raise ValueError(f"features must have shape {shape}, as {call} gives; got {given.shape}.")
    # Sums of whole numbers would overflow in their own type.
    given = given.astype(np.result_type(given.dtype, np.float32), copy=False)
    check_rows(given, "features", given.dtype)
    return given
