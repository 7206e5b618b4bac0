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
    """

    network: Network
    samples: Float[Array, "n p"]
    classes: np.ndarray
    index: Int[np.ndarray, " n"]
    features: Float[np.ndarray, "n d"] | None
    normalization: Normalization | None

    @staticmethod
    def of(network: Any, x: object, labels: object, normalization: Any, features: object) -> FitData:
        """Check what a user gives for a readout.

        Raises
        ------
        TypeError
            If ``normalization`` is no :class:`hntk.Normalization`.
        ValueError
            If the parts do not fit together, or only one class occurs.
        """
        as_instance(network, "network", Network, "a network, such as of hntk.dense")
        x, labels, normalization = training_part(x, labels, normalization)
        check_normalization(normalization, network.inputs)
        samples = network.check_inputs(x)
        classes, index = as_labels(labels, samples.shape[0])
        given = None if features is None else _check_features(features, network, index.size)
        return FitData(network, samples, classes, index, given, normalization)

    def described(self) -> dict[str, Any]:
        """Return what a classifier keeps of its training data, as keyword arguments."""
        statistics = DataStatistics.of(np.asarray(self.samples), self.index)
        return {"statistics": statistics, "normalization": self.normalization}


def draw_validation(index: Int[np.ndarray, " n"], share: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Return which samples are for validation: a random share of every class, but never all of one."""
    share = as_share(share, "validation_share")
    rng = np.random.default_rng(as_seed(seed))
    held = np.zeros(index.size, dtype=bool)
    for a in range(int(index.max()) + 1):
        members = rng.permutation(np.flatnonzero(index == a))
        if members.size < 2:
            raise ValueError(
                "choosing the ridge needs at least 2 samples of every class: give ridge= instead, or more samples."
            )
        held[members[: min(max(1, round(share * members.size)), members.size - 1)]] = True
    return held


def _check_features(features: object, network: Network, n: int) -> Float[np.ndarray, "n d"]:
    given = np.asarray(real_array(features, "features"))
    if given.shape != (n, network.widths[-1]):
        raise ValueError(
            f"features must have shape {(n, network.widths[-1])}, as network.features(x) gives; got {given.shape}."
        )
    # Sums of whole numbers would overflow in their own type.
    given = given.astype(np.result_type(given.dtype, np.float32), copy=False)
    check_rows(given, "features", given.dtype)
    return given
