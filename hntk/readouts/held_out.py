r"""Accuracy of kernels on held-out samples, for several kernels on the same samples.

The samples are divided into parts, and each part is predicted by kernel ridge regression on the others, with kernel and
targets centred on them. For the kernel $FF^\top$ of a network's features F this is :func:`hntk.fit_ridge` on the other
parts. The ridge is chosen on the other parts alone, by the share of leave-one-out predictions that are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hntk._utils.labels import brief_sizes
from hntk._utils.pytree import array_dataclass
from hntk.readouts.kernel_ridge import RIDGES, DenseKernel, fit_kernel_ridge, highest_accuracy

PARTS = 4
# Each part then holds two samples of every class.
LEAST_PER_CLASS = 2 * PARTS


@dataclass(frozen=True)
class TaskAccuracy:
    """Accuracy on new samples of a design's network, and of the dense original at infinite width.

    Attributes
    ----------
    predicted, predicted_original : float
        Accuracies by theory, for as many training samples as were fitted on.
    measured, measured_original : float
        Accuracies on held-out samples, each sample once.
    standard_error : float
        Standard error of the difference of the two, which are measured on the same samples.
    ridge : float
        Ridge λ for :func:`hntk.fit_ridge` of the design's network, a median over the parts.
    samples : int
        Number of samples measured on; three quarters of them were fitted on at a time.
    """

    predicted: float
    predicted_original: float
    measured: float
    measured_original: float
    standard_error: float
    ridge: float
    samples: int

    @property
    def loss(self) -> float:
        """Measured loss of accuracy against the original; below 0 where the design is the better of the two."""
        return self.measured_original - self.measured

    def __str__(self) -> str:
        return (
            f"accuracy predicted {self.predicted:.3f} (dense original {self.predicted_original:.3f}), measured on "
            f"{self.samples} held-out samples {self.measured:.3f} ({self.measured_original:.3f}; the difference has "
            f"standard error {self.standard_error:.3f})"
        )


@array_dataclass()
class HeldOut:
    """Which samples were classified correctly while held out.

    Attributes
    ----------
    right : ndarray of shape (n,)
        Whether each sample was.
    ridges : tuple of float
        Ridge chosen for each part.
    """

    right: Bool[np.ndarray, " n"]
    ridges: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Share of samples classified correctly."""
        return float(np.mean(self.right))

    def error_against(self, other: HeldOut) -> float:
        """Return the standard error of the difference of two accuracies on the same samples."""
        difference = self.right.astype(float) - other.right
        return float(np.std(difference, ddof=1) / np.sqrt(difference.size))


def held_out_parts(index: Int[np.ndarray, " n"], seed: int = 0) -> Int[np.ndarray, " n"]:
    """Assign each sample to one of `PARTS` parts, with every class spread evenly over them.

    Raises
    ------
    ValueError
        If a class has too few samples.
    """
    sizes = np.bincount(index)
    if sizes.min() < LEAST_PER_CLASS:
        raise ValueError(
            f"{brief_sizes(sizes)}: to hold samples out, accuracy= needs at least {LEAST_PER_CLASS} of "
            "every class. Drop small classes, give more samples, or plan for error= or memory=."
        )
    rng, parts = np.random.default_rng(seed), np.empty(index.size, int)
    for a in range(sizes.size):
        members = rng.permutation(np.flatnonzero(index == a))
        parts[members] = (np.arange(members.size) + a) % PARTS
    return parts


def held_out_accuracy(
    kernel: Float[np.ndarray, "n n"], index: Int[np.ndarray, " n"], parts: Int[np.ndarray, " n"]
) -> HeldOut:
    """Predict every sample from those of the other parts.

    Parameters
    ----------
    kernel : ndarray of shape (n, n)
        Kernel between all samples.
    index : ndarray of shape (n,)
        Classes 0 … K − 1.
    parts : ndarray of shape (n,)
        Part of each sample, see :func:`held_out_parts`.

    Returns
    -------
    HeldOut
        Which predictions are right, and the ridges.
    """
    right, ridges = np.empty(index.size, bool), []
    for part in range(PARTS):
        held, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        train = DenseKernel.of(kernel[np.ix_(others, others)], centred=True)
        grid = np.multiply(RIDGES, train.mean_eigenvalue).tolist()
        fitted = fit_kernel_ridge(train, index[others], grid, highest_accuracy)
        right[held] = np.argmax(fitted.scores(kernel[np.ix_(held, others)]), axis=1) == index[held]
        ridges.append(fitted.trial.ridge)
    return HeldOut(right, tuple(ridges))
