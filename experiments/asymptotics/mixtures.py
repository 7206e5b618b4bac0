"""Gaussian mixtures on which theory is compared with simulations: by name, in any dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

import hntk
from experiments.runner.config import DataConfig
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.data.mixture import Covariance

# The Toeplitz covariance has entries CORRELATION^|i−j|.
CORRELATION = 0.4
# Variances of the second of two unequal classes lie within 1 ± SLOPE.
SLOPE = 0.75
CAPTIONS = {
    "identity": "1 class, C = I",
    "scaled": "2 classes, C = I, (1 + {spread:g}/√p) I",
    "structured": "3 classes, C ∝ Toeplitz $.4^{{|i-j|}}$",
    "unequal": "2 classes, C = I, diag(.25…1.75)",
}


@dataclass(frozen=True)
class MixtureModel:
    """A mixture x = (μ_a + z)/√p of equal classes.

    Attributes
    ----------
    means : (K, p) array
        Class means μ_a.
    covariances : sequence of K covariances
        Covariance of z in every class: a number times I, a diagonal, or a matrix.
    """

    means: np.ndarray
    covariances: Sequence[Covariance]

    @cached_property
    def law(self) -> MixtureLaw:
        """The law of the mixture, which is all that theory uses."""
        return MixtureLaw.of(self.means, self.covariances)

    def size(self, ratio: float) -> int:
        """Return the number of samples nearest to ratio·p that divides into equal classes."""
        classes = len(self.means)
        return classes * max(1, round(ratio * self.means.shape[1] / classes))

    def draw(self, n: int, key: jax.Array) -> hntk.Mixture:
        """Draw n samples."""
        return hntk.gaussian_mixture(self.means, self.covariances, n, key=key)


def reference_model(data: DataConfig, p: int) -> MixtureModel:
    """Return the mixture of ``hntk.reference_mixture``: μ_a = separation·e_a and C_a = (1 + spread·a/√p) I."""
    return MixtureModel(data.separation * np.eye(2, p), [1.0, 1.0 + data.spread / np.sqrt(p)])


def opposite_means(separation: float, spread: float, p: int) -> MixtureModel:
    """Return two classes with opposite means ``separation`` apart, and C_a = (1 + spread·a/√p) I."""
    means = np.zeros((2, p))
    means[:, 0] = separation / 2, -separation / 2
    return MixtureModel(means, [1.0, 1.0 + spread / np.sqrt(p)])


def named_model(name: str, data: DataConfig, p: int) -> MixtureModel:
    """Return one of the mixtures in ``CAPTIONS``, with the configuration's separation and spread.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in CAPTIONS:
        raise ValueError(f"unknown mixture {name!r}; known are {', '.join(CAPTIONS)}.")
    if name == "scaled":
        return reference_model(data, p)
    if name == "identity":
        # Two halves of the same law, since equivalent kernels need at least two labels.
        return MixtureModel(np.tile(data.separation * np.eye(1, p), (2, 1)), [1.0, 1.0])
    means = data.separation * np.eye(2 if name == "unequal" else 3, p)
    if name == "unequal":
        variances = np.linspace(1 - SLOPE, 1 + SLOPE, p)
        return MixtureModel(means, [1.0, variances])
    toeplitz = CORRELATION ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    return MixtureModel(means, [(1 + data.spread * a / 2 / np.sqrt(p)) * toeplitz for a in range(3)])
