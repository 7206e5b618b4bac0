r"""How well kernels do a task: accuracy on samples held out, of several kernels on the same samples.

The samples are cut into parts; each is predicted by kernel ridge regression on the others, centred on them, with
targets one-hot. Of a network's features F, with kernel $FF^\top$, this is :func:`hntk.fit_ridge` on the others. The
ridge is chosen on the others alone, by the share of leave-one-out predictions that are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

PARTS = 4
# samples of every class there must be, so that a part holds two of each
LEAST_PER_CLASS = 2 * PARTS
# ridges tried, in units of the kernel's mean eigenvalue
GRID = np.logspace(-4, 3, 29)


@dataclass(frozen=True)
class TaskAccuracy:
    """What share of new samples a design recognises, and the dense original at infinite width.

    Attributes
    ----------
    predicted, predicted_original : by theory, for as many training samples as were fitted on.
    measured, measured_original : on held-out samples, each sample once.
    standard_error : of the difference of the two, which are measured on the same samples.
    ridge : λ that :func:`hntk.fit_ridge` may be given for the design's network, a median over the parts.
    samples : number of samples measured on; three quarters of them were fitted on at a time.
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
        """Measured, of accuracy against the original; below 0 where the design is the better of the two."""
        return self.measured_original - self.measured

    def __str__(self) -> str:
        return (
            f"accuracy predicted {self.predicted:.3f} (dense original {self.predicted_original:.3f}), measured on "
            f"{self.samples} held-out samples {self.measured:.3f} ({self.measured_original:.3f}; the difference has "
            f"standard error {self.standard_error:.3f})"
        )


@dataclass(frozen=True)
class HeldOut:
    """Which samples were recognised while held out.

    Attributes
    ----------
    right : (n,) whether.
    ridges : chosen for each part.
    """

    right: Bool[np.ndarray, " n"]
    ridges: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Share of them."""
        return float(np.mean(self.right))

    def error_against(self, other: HeldOut) -> float:
        """Standard error of the difference of two accuracies on the same samples."""
        difference = self.right.astype(float) - other.right
        return float(np.std(difference, ddof=1) / np.sqrt(difference.size))


def held_out_parts(index: Int[np.ndarray, " n"], seed: int = 0) -> Int[np.ndarray, " n"]:
    """A part for each sample, every class spread evenly over them.

    Raises
    ------
    ValueError
        If a class has too few samples.
    """
    sizes = np.bincount(index)
    if sizes.min() < LEAST_PER_CLASS:
        raise ValueError(
            f"class sizes are {sizes.tolist()}: to hold samples out, accuracy= needs at least {LEAST_PER_CLASS} of "
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
    """Every sample predicted from those of the other parts.

    Parameters
    ----------
    kernel : between all samples.
    index : classes 0 … K − 1.
    parts : of :func:`held_out_parts`.
    """
    right, ridges = np.empty(index.size, bool), []
    for part in range(PARTS):
        held, fitted = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        scores, ridge = _predicted(kernel[np.ix_(fitted, fitted)], kernel[np.ix_(held, fitted)], index[fitted])
        right[held] = np.argmax(scores, axis=1) == index[held]
        ridges.append(ridge)
    return HeldOut(right, tuple(ridges))


def _predicted(
    train: Float[np.ndarray, "n n"], new: Float[np.ndarray, "m n"], index: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "m K"], float]:
    """Scores of new samples, and the ridge."""
    column = train.mean(axis=0)
    centred = train - column - column[:, None] + column.mean()
    shares = np.bincount(index) / index.size
    targets = np.eye(shares.size)[index] - shares
    values, vectors = np.linalg.eigh(centred)
    # a centred kernel of few features has eigenvalues that are 0 up to rounding
    values, coordinates = np.maximum(values, 0.0), vectors.T @ targets
    ridge = _best_ridge(values, vectors, coordinates, targets, index, shares)
    dual = vectors @ (coordinates / (values + ridge)[:, None])
    dual -= dual.mean(axis=0)
    return (new - column) @ dual + shares, ridge


def _best_ridge(
    values: np.ndarray,
    vectors: np.ndarray,
    coordinates: np.ndarray,
    targets: np.ndarray,
    index: np.ndarray,
    shares: np.ndarray,
) -> float:
    """Of most leave-one-out predictions that are right; of equally good ones the largest, as it is the more stable."""
    squares, tried = vectors**2, []
    for ridge in GRID * max(float(values.mean()), np.finfo(float).tiny):
        residual_share = ridge / (values + ridge)
        # the mean is fitted too: it takes 1/n of what every sample leaves
        left = np.maximum(squares @ residual_share - 1 / index.size, np.finfo(float).tiny)
        errors = vectors @ (residual_share[:, None] * coordinates) / left[:, None]
        tried.append((float(np.mean(np.argmax(targets - errors + shares, axis=1) == index)), float(ridge)))
    return max(tried)[1]
