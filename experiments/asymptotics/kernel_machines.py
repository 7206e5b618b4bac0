"""Simulated kernel machines: exact kernels, trained by ridge regression or by gradient flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

import hntk
from experiments.asymptotics.comparison import Errors
from experiments.asymptotics.training_sets import TrainingSet
from experiments.runner.from_config import Engine
from hntk.asymptotics.kernel_parameters import KernelCoefficients


@dataclass(frozen=True)
class KernelMachine:
    """An exact kernel by its eigenvectors, trained on one-hot labels minus the shares of the classes.

    Attributes
    ----------
    samples : TrainingSet
        Training samples and new ones.
    values : (n,) array
        Eigenvalues of the training samples' kernel.
    vectors : (n, n) array
        Its eigenvectors, one a column.
    across : (m, n) array
        The kernel between new samples and training samples, times the eigenvectors.
    """

    samples: TrainingSet
    values: np.ndarray
    vectors: np.ndarray
    across: np.ndarray

    @staticmethod
    def of(
        samples: TrainingSet,
        layers: list[hntk.Activation],
        kernel: str,
        tau0: float,
        kappa_sq: float | None,
        engine: Engine,
    ) -> KernelMachine:
        """Return the machine of an infinitely wide network; ``kappa_sq`` declares an infinite NTK's diagonal."""
        own = hntk.exact_kernels(samples.x, layers, tau0=tau0, kappa_sq=kappa_sq, engine=engine)
        values, vectors = np.linalg.eigh(np.asarray(getattr(own, kernel)))
        across = hntk.exact_kernels(samples.x_test, layers, x2=samples.x, tau0=tau0, engine=engine)
        return KernelMachine(samples, values, vectors, np.asarray(getattr(across, kernel)) @ vectors)

    def ridge(self, ridge: float) -> Errors:
        """Return the errors of ridge regression, β = (K + λ)⁻¹ y."""
        return self._errors(1 / (self.values + ridge), ridge / (self.values + ridge))

    def flow(self, time: float) -> Errors:
        """Return the errors of gradient flow from 0, β = K⁻¹(1 − exp(−sK)) y."""
        return self._errors(-np.expm1(-time * self.values) / self.values, np.exp(-time * self.values))

    def _errors(self, dual: np.ndarray, residual: np.ndarray) -> Errors:
        """Return the errors of a filter of the labels.

        Parameters
        ----------
        dual, residual : (n,) array
            For every eigenvalue, the factor from a label to the dual coefficient, and to the training residual.
        """
        labels, shares = self.samples.labels, self._shares
        left = self.vectors @ (residual[:, None] * self._targets)
        scores = np.eye(shares.size)[labels] - shares - left
        new = self.across @ (dual[:, None] * self._targets)
        right = np.eye(shares.size)[self.samples.labels_test] - shares
        return Errors(
            float(np.mean(np.sum(left**2, axis=1))),
            float(np.mean(np.argmax(scores + shares, axis=1) != labels)),
            float(np.mean(np.sum((right - new) ** 2, axis=1))),
            float(np.mean(np.argmax(new + shares, axis=1) != self.samples.labels_test)),
        )

    @cached_property
    def _shares(self) -> np.ndarray:
        return np.bincount(self.samples.labels) / self.samples.labels.size

    @cached_property
    def _targets(self) -> np.ndarray:
        """One-hot labels minus shares, in the basis of the eigenvectors."""
        return self.vectors.T @ (np.eye(self._shares.size)[self.samples.labels] - self._shares)


@dataclass(frozen=True)
class TrainedNetwork:
    """An infinitely wide network whose kernel is trained.

    Attributes
    ----------
    layers : list of Activation
        Its activations.
    kernel : {"ck", "ntk"}
        Which kernel.
    tau0 : float
        Scale of the data.
    diagonal : float
        The kernel's diagonal in the limit, which is declared for the NTK of activations with jumps.
    engine : {"native", "neural_tangents"}
        What computes its exact kernels.
    """

    layers: list[hntk.Activation]
    kernel: str
    tau0: float
    diagonal: float
    engine: Engine

    @property
    def declared(self) -> float | None:
        """The diagonal where it must be declared."""
        return self.diagonal if self.kernel == "ntk" and any(a.has_jumps for a in self.layers) else None

    @cached_property
    def coefficients(self) -> KernelCoefficients:
        """The kernel's coefficients, from which theory predicts."""
        return hntk.asymptotics.kernel_coefficients(
            self.layers, self.tau0, kernel=self.kernel, kappa_sq=self.declared  # type: ignore[arg-type]
        )  # fmt: skip

    def machine(self, samples: TrainingSet) -> KernelMachine:
        """Return the exact kernel of one draw."""
        return KernelMachine.of(samples, self.layers, self.kernel, self.tau0, self.declared, self.engine)
