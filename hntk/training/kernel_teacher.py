r"""Kernel ridge regression with the exact NTK of an infinitely wide ReLU network, as a teacher that is not trained.

It is fitted on at most `FITTED` samples, whose kernel takes 8 n² bytes and an eigendecomposition of O(n³). These
samples are given leave-one-out predictions: at the ridge that predicts well, the regression nearly interpolates them,
and what it would tell of them are their labels. All other samples are predicted as new ones are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.float64 import float64
from hntk._utils.rows import row_blocks
from hntk.kernels import exact_kernels
from hntk.readouts.kernel_ridge import (
    RIDGES,
    CentredTargets,
    DenseKernel,
    KernelRidge,
    highest_accuracy,
    lowest_error,
    try_ridges,
)
from hntk.training.samples import TrainingData

# samples that are fitted on; 10,000 take about 2.5 GB and minutes on a few cores
FITTED = 10_000
LAYERS = ("relu",) * 3
# the regression on 2 samples has no leave-one-out predictions
LEAST = 3
SEED = 0
BLOCK = 2048


class KernelOutputs(NamedTuple):
    """Outputs of the regression for the training samples and the validation samples of a training."""

    training: Float[np.ndarray, "n K"]
    held: Float[np.ndarray, "m K"]


def kernel_outputs(data: TrainingData) -> KernelOutputs:
    """Fit the regression, and predict all samples without having seen them.

    The ridge is chosen by leave-one-out predictions: the most accurate one for classes, the one of the least squared
    error for targets.

    Parameters
    ----------
    data : TrainingData
        Samples.

    Returns
    -------
    KernelOutputs
        For classes, shares that the regression of one-hot rows gives; for a regression, standardised targets.

    Raises
    ------
    MemoryError
        If the kernel does not fit into memory.
    ValueError
        If there are too few samples.
    """
    n = len(data.training.targets)
    if n < LEAST:
        raise ValueError(f"teacher='kernel' needs at least {LEAST} training samples, got {n}: give more.")
    rows = np.sort(np.random.default_rng(SEED).permutation(n)[:FITTED])
    centre, scale = _normalization(data.training.raw)
    targets = _targets(data, rows)
    mean = targets.mean
    x = (data.training.raw[rows] - centre) / scale
    kernel = DenseKernel.of(_ntk(x), centred=True)
    trials = try_ridges(kernel, targets, np.multiply(RIDGES, kernel.mean_eigenvalue).tolist())
    trial = (lowest_error if data.classes is None else highest_accuracy)(trials)
    dual, means = kernel.solve(targets.values, trial.ridge), kernel.column_means
    assert means is not None
    fitted = KernelRidge(dual, mean - means @ dual, trial)
    told = np.empty((n, data.outputs))
    for part, errors in kernel.leave_one_out_grid(targets.values, [trial.ridge]):
        told[rows[part]] = mean + targets.values[part] - errors[0]
    others = np.setdiff1d(np.arange(n), rows)
    told[others] = _predicted(fitted, (data.training.raw[others] - centre) / scale, x)
    return KernelOutputs(told, _predicted(fitted, (data.held.raw - centre) / scale, x))


def _targets(data: TrainingData, rows: Int[np.ndarray, " n"]) -> CentredTargets:
    """Return centred targets; those of a regression are standardised already."""
    given = data.training.targets[rows]
    if data.classes is None:
        mean = given.mean(axis=0, dtype=np.float64)
        return CentredTargets(given - mean, mean, np.ones(len(mean)), None)
    index = np.concatenate([given, np.arange(data.outputs)])
    shares = (np.bincount(index) - 1) / len(rows)
    return CentredTargets(np.eye(data.outputs)[given] - shares, shares, np.ones(data.outputs), given)


def _normalization(raw: Real[np.ndarray, "n p"]) -> tuple[Float[np.ndarray, " p"], float]:
    """Return the mean sample, and the root mean square norm of samples without it."""
    mean = raw.mean(axis=0, dtype=np.float64)
    squares = sum(float(np.sum(np.square(raw[part] - mean))) for part in row_blocks(raw))
    return mean, float(np.sqrt(squares / len(raw)))


def _ntk(x: Float[np.ndarray, "n p"], x2: Float[np.ndarray, "m p"] | None = None) -> Float[np.ndarray, "n m"]:
    with float64():
        return np.array(exact_kernels(x, list(LAYERS), x2=x2, tau0=1.0).ntk)


def _predicted(
    fitted: KernelRidge, x: Float[np.ndarray, "m p"], known: Float[np.ndarray, "n p"]
) -> Float[np.ndarray, "m K"]:
    blocks = [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]
    return np.concatenate([np.empty((0, fitted.dual.shape[1])), *(fitted.scores(_ntk(b, known)) for b in blocks)])
