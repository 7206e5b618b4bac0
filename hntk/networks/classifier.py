"""A network with a linear readout."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import finite_array
from hntk._utils.labels import accuracy_score
from hntk.data.normalization import Normalization, prepare_samples
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.networks.storable import Storable


@dataclass(frozen=True)
class Classifier(Storable):
    """A network with a readout: scores = features · weights + offset, and the largest wins.

    Attributes
    ----------
    network : gives the features.
    classes : (K,) labels in the order of the scores.
    weights : (d, K) readout.
    offset : (K,) scores at feature 0.
    normalization : what raw samples go through first, where it is known.
    statistics : of the data the readout was fitted on, where they are known.
    """

    network: Network
    classes: np.ndarray
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    normalization: Normalization | None = field(default=None, kw_only=True)
    statistics: DataStatistics | None = field(default=None, kw_only=True)

    def scores(self, x: object, *, raw: bool = False) -> Float[np.ndarray, "n K"]:
        """Return one score per class, in the order of ``classes``; the largest wins.

        Parameters
        ----------
        x : (n, p) samples, normalised as those that the readout was fitted on; a warning says so where their scale
            is far from those.
        raw : whether they are raw instead, to go through ``normalization`` first.

        Raises
        ------
        ValueError
            If x does not fit the network, or is raw and the normalisation is not known.
        """
        known = None if self.statistics is None else self.statistics.tau0
        samples = prepare_samples(x, self.normalization, known, raw=raw)
        return np.concatenate([self.scores_of(batch) for batch in self.network.feature_batches(samples)])

    def scores_of(self, features: object) -> Float[np.ndarray, "n K"]:
        """The same from (n, d) features of the network.

        Raises
        ------
        ValueError
            If they are not finite, or not of the network's width.
        """
        given = finite_array(features, "features").astype(np.result_type(np.asarray(features), np.float32), copy=False)
        if given.ndim != 2 or given.shape[1] != len(self.weights):
            raise ValueError(f"features must have shape (n, {len(self.weights)}), got {given.shape}.")
        return given @ self.weights.astype(np.float32) + self.offset

    def predict(self, x: object, *, raw: bool = False) -> np.ndarray:
        """Return predicted labels, (n,), of samples as for :meth:`scores`."""
        return self.classes[np.argmax(self.scores(x, raw=raw), axis=1)]

    def accuracy(self, x: object, labels: object, *, raw: bool = False) -> float:
        """Return the share of samples, as for :meth:`scores`, whose label is predicted.

        Raises
        ------
        ValueError
            If x does not fit the network, or there is not one label per row of it.
        """
        return accuracy_score(self.predict(x, raw=raw), labels)
