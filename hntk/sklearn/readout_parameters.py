"""What estimators with a compressed network and a readout share: programs of whole numbers, and files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from hntk.deploy.c import CProgram, to_c
from hntk.deploy.c_choice import Choice
from hntk.deploy.c_values import Layout
from hntk.deploy.rounding import to_integers
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.saving import save
from hntk.sklearn.answers import new_samples
from hntk.sklearn.network_parameters import NetworkParameters


class ReadoutEstimator(NetworkParameters):
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

    def to_c(self, name: str = "hntk_net", *, layouts: Choice | Sequence[Layout] | None = None) -> CProgram:
        """Return a C99 program that takes raw samples and predicts without floating point.

        Parameters
        ----------
        name : str, default="hntk_net"
            An identifier of C: the files' name, and the prefix of what they declare.
        layouts : str or sequence of str, optional
            How weights are stored, see :func:`hntk.deploy.to_c`.

        Returns
        -------
        CProgram
            The program; its method ``write`` writes the files to a folder.

        Raises
        ------
        NotIntegerError
            If sums could pass 2²⁴.
        ValueError
            If samples were whitened or brought to unit norm, or the name or a layout cannot be written in C.
        """
        return to_c(self.to_integers(), name, layouts=layouts)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the network, its readout and its normalisation to a file that :func:`hntk.load` reads.

        The file holds ``model_``, not this estimator's parameters: use pickle or joblib to keep these.

        Parameters
        ----------
        path : str or path-like
            Name of the file, which is replaced as a whole or not at all.

        Returns
        -------
        int
            Bytes of the file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        return save(self.model_, path)
