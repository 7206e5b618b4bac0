"""What estimators with a compressed network and a readout share: the readout's scores and whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from hntk.deploy.rounding import to_integers
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.sklearn.answers import new_samples
from hntk.sklearn.network_parameters import NetworkParameters
from hntk.sklearn.programs import ProgramWriter


class ReadoutEstimator(ProgramWriter, NetworkParameters):
    """A compressed network with a readout, ``model_``, fitted on raw samples."""

    model_: Any
    validation_share: float

    def _draw_network(self, X: np.ndarray, seed: int) -> np.ndarray:
        """Draw the network, and keep what a program of whole numbers needs to know of the samples."""
        samples = super()._draw_network(X, seed)
        self._pixels = X.dtype == np.uint8
        self._largest = float(np.abs(samples).max())
        return samples

    def _scores(self, X: Any) -> np.ndarray:
        """Return the readout's scores, summed in float64: in float32 they depend on how many samples there are."""
        samples = new_samples(self, X)
        batches = self.network_.feature_batches(self.normalization_(samples), layers=self.layers)
        return np.concatenate([self.model_.scores_of(np.asarray(batch, np.float64)) for batch in batches])

    def _readout_options(self, seed: int) -> dict[str, Any]:
        """Return the options that all readouts take."""
        common = {"layers": self.layers, "normalization": self.normalization_, "seed": seed}
        return common | {"validation_share": self.validation_share}

    def to_integers(self) -> IntegerClassifier:
        """Return the network in whole numbers, which predicts what its C program does, bit for bit.

        Returns
        -------
        IntegerClassifier
            The network of whole numbers, which takes raw samples: bytes as they are if it was fitted on an array of
            uint8, and other numbers rounded to 8 bits.

        Raises
        ------
        NotIntegerError
            If sums could pass 2²⁴.
        ValueError
            If samples were whitened or brought to unit norm.
        """
        check_is_fitted(self)
        widest = np.full((1, self.n_features_in_), self._largest)
        integers = to_integers(self.model_, pixels=self._pixels, x=None if self._pixels else widest)
        assert isinstance(integers, IntegerClassifier)
        return integers
