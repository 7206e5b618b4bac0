"""Accuracy of a network of infinite width: regression with its exact kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import hntk
from experiments.runner.console import say
from experiments.runner.from_config import Engine
from experiments.runner.networks import Network, first_layers, layers_of, name_of
from hntk.readouts.kernel_regression import DIRECT
from hntk.readouts.kernel_ridge import RIDGES, DenseKernel, fit_kernel_ridge, highest_accuracy

# Test samples that are predicted at most.
MOST_TEST = 10_000
# relative residual of conjugate gradients
TOLERANCE = 1e-4


def accuracies_at_infinite_width(
    net: Network, data: hntk.Dataset, samples: int, seed: int, reads: Sequence[str], engine: Engine = "native"
) -> dict[str, float]:
    """Return test accuracies of kernel ridge regression with exact conjugate kernels.

    The kernel of ``"last"`` is K_L, and that of ``"all"``, a readout of all layers, is K_1 + … + K_L.

    The ridge is chosen by leave-one-out accuracy on the training samples. With K_L of more samples than a direct solver
    is for, conjugate gradients choose it by the mean squared error on samples that are held out.

    Parameters
    ----------
    net : Architecture or list of Activation
        The network.
    data : Dataset
        The data set.
    samples : int
        Training samples that are taken. But for K_L alone by the native engine, an n × n matrix of them must fit into
        memory.
    seed : int
        Seed of the choice of these samples.
    reads : sequence of {"last", "all"}
        The readouts that are asked for.
    engine : {"native", "neural_tangents"}
        What computes the kernels.

    Returns
    -------
    dict
        Shares of test samples that are classified correctly, by readout.
    """
    rows = np.random.default_rng(seed).permutation(len(data.x_train))[:samples]
    if len(rows) > DIRECT and list(reads) == ["last"] and engine == "native":
        return {"last": _accuracy_by_gradients(net, data, rows)}
    train, test = data.x_train[rows].astype(np.float64), data.x_test[:MOST_TEST].astype(np.float64)
    index, labels = (np.searchsorted(data.classes, y) for y in (data.y_train[rows], data.y_test[: len(test)]))
    last = _kernels(train, test, net, data.tau0, engine)
    accuracies = {"last": _accuracy(*last, index, labels)} if "last" in reads else {}
    if "all" in reads:
        before = [_kernels(train, test, first_layers(net, k), data.tau0, engine) for k in range(1, len(layers_of(net)))]
        own, across = (np.asarray(sum(kernels)) for kernels in zip(*before, last, strict=True))
        accuracies["all"] = _accuracy(own, across, index, labels)
    return accuracies


def _accuracy_by_gradients(net: Network, data: hntk.Dataset, rows: np.ndarray) -> float:
    """Fit by conjugate gradients, and return the accuracy on test samples."""
    say(f"[bold]exact conjugate kernel of {name_of(net)}, {len(rows):,} samples[/]")
    solver = hntk.ConjugateGradients(tolerance=TOLERANCE, log=lambda line: say(f"  [dim]{line}[/]"))
    fitted = hntk.fit_kernel(
        data.x_train[rows], data.y_train[rows], net, "ck", tau0=data.tau0, intercept=True, solver=solver
    )
    assert isinstance(fitted, hntk.KernelClassifier)
    return fitted.accuracy(data.x_test[:MOST_TEST], data.y_test[:MOST_TEST])


def _accuracy(own: np.ndarray, across: np.ndarray, index: np.ndarray, labels: np.ndarray) -> float:
    """Fit at the ridge of the best leave-one-out accuracy, and return the accuracy on test samples."""
    kernel = DenseKernel.of(np.asarray(own, np.float64), centred=True)
    ridges = [ridge * kernel.mean_eigenvalue for ridge in RIDGES]
    fitted = fit_kernel_ridge(kernel, index, ridges, highest_accuracy)
    return float(np.mean(np.argmax(fitted.scores(across), axis=1) == labels))


def _kernels(
    train: np.ndarray, test: np.ndarray, net: Network, tau0: float, engine: Engine
) -> tuple[np.ndarray, np.ndarray]:
    """Return the conjugate kernels of training samples, and between test and training samples."""
    options: dict[str, Any] = {"tau0": tau0, "kappa_sq": 0.0, "engine": engine}
    own, across = (hntk.exact_kernels(x, net, x2=x2, **options).ck for x, x2 in ((train, None), (test, train)))
    return np.asarray(own), np.asarray(across)
