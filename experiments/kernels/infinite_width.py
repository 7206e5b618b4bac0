"""Accuracy of a network of infinite width: regression with its exact kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import hntk
from hntk.readouts.kernel_ridge import RIDGES, DenseKernel, fit_kernel_ridge, highest_accuracy

# Test samples that are predicted at most.
MOST_TEST = 10_000


def accuracies_at_infinite_width(
    layers: Sequence[hntk.Activation], data: hntk.Dataset, samples: int, seed: int
) -> dict[str, float]:
    """Return test accuracies of kernel ridge regression with exact conjugate kernels.

    The kernel of ``"last"`` is K_L, and that of ``"all"``, a readout of all layers, is K_1 + … + K_L.

    The ridge is chosen by leave-one-out accuracy on the training samples.

    Parameters
    ----------
    layers : sequence of Activation
        Activations of the network.
    data : Dataset
        The data set.
    samples : int
        Training samples that are taken; an n × n matrix of them must fit into memory.
    seed : int
        Seed of the choice of these samples.

    Returns
    -------
    dict
        Shares of test samples that are classified correctly, by ``"last"`` and ``"all"``.
    """
    rows = np.random.default_rng(seed).permutation(len(data.x_train))[:samples]
    train, test = data.x_train[rows].astype(np.float64), data.x_test[:MOST_TEST].astype(np.float64)
    index, labels = (np.searchsorted(data.classes, y) for y in (data.y_train[rows], data.y_test[: len(test)]))
    pairs = [
        (_kernel(train, None, layers[:depth], data.tau0), _kernel(test, train, layers[:depth], data.tau0))
        for depth in range(1, len(layers) + 1)
    ]
    own, across = (np.asarray(sum(kernels)) for kernels in zip(*pairs, strict=True))
    return {"last": _accuracy(*pairs[-1], index, labels), "all": _accuracy(own, across, index, labels)}


def _accuracy(own: np.ndarray, across: np.ndarray, index: np.ndarray, labels: np.ndarray) -> float:
    """Fit at the ridge of the best leave-one-out accuracy, and return the accuracy on test samples."""
    kernel = DenseKernel.of(np.asarray(own, np.float64), centred=True)
    ridges = [ridge * kernel.mean_eigenvalue for ridge in RIDGES]
    fitted = fit_kernel_ridge(kernel, index, ridges, highest_accuracy)
    return float(np.mean(np.argmax(fitted.scores(across), axis=1) == labels))


def _kernel(x: np.ndarray, x2: np.ndarray | None, layers: Sequence[hntk.Activation], tau0: float) -> np.ndarray:
    return np.asarray(hntk.exact_kernels(x, layers, x2=x2, tau0=tau0, kappa_sq=0.0).ck)
