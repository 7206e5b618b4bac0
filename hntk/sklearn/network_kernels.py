"""What estimators by a kernel of a wide network share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from hntk.activations import Activation
from hntk.data.normalization import Normalization
from hntk.data.scaling import Scaling
from hntk.readouts.kernel_regression import KernelName
from hntk.sklearn.answers import new_samples
from hntk.theory.architecture import ArchitectureLike


class NetworkKernel(BaseEstimator):
    """What estimators by a kernel of a wide network take, and how their samples are normalised and predicted."""

    model_: Any

    def __init__(
        self,
        activations: ArchitectureLike | str | Activation = ("relu", "relu"),
        *,
        kernel: KernelName = "ntk",
        ridge: float | None = None,
        kappa_sq: float | None = None,
        normalize: bool | Scaling = True,
    ) -> None:
        self.activations = activations
        self.kernel: KernelName = kernel
        self.ridge = ridge
        self.kappa_sq = kappa_sq
        self.normalize: bool | Scaling = normalize

    def _prepared(self, X: np.ndarray) -> tuple[np.ndarray, Any, dict[str, Any]]:
        """Set the normalisation for raw samples, and return normalised samples, the network and options of the fit."""
        self.normalization_ = Normalization.of(X, self.normalize)
        network = [self.activations] if isinstance(self.activations, str | Activation) else self.activations
        options = {"kernel": self.kernel, "ridge": self.ridge, "kappa_sq": self.kappa_sq}
        return np.asarray(self.normalization_(X)), network, options | {"normalization": self.normalization_}

    def _scores(self, X: Any) -> np.ndarray:
        """Return the scores of raw samples."""
        samples = new_samples(self, X)
        return np.asarray(self.model_.scores(samples, raw=True))
