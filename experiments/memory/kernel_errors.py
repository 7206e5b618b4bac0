"""Distance of a drawn network's conjugate kernel from the dense original's at infinite width."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.from_config import activations
from experiments.runner.keys import data_digest
from hntk.activations.fingerprint import fingerprint

# The exact kernel of the last job in this process, by all that decides it.
_KERNELS: dict[tuple[Any, ...], np.ndarray] = {}


def kernel_error(cfg: Config, test_features: np.ndarray, data: hntk.Dataset) -> float:
    """Return the relative operator-norm distance on test samples.

    Diagonals are left out, and the drawn kernel is scaled to be nearest: the ridge absorbs both.
    """
    rows = _rows(len(test_features), cfg.experiment.kernel_samples)
    exact = _exact_kernel(data, activations(cfg.net.activations), rows.size)
    drawn = test_features[rows].astype(np.float64) @ test_features[rows].T.astype(np.float64)
    np.fill_diagonal(drawn, 0.0)
    factor = np.sum(exact * drawn) / np.sum(drawn**2)
    return float(hntk.operator_norm(jnp.asarray(factor * drawn - exact)) / hntk.operator_norm(jnp.asarray(exact)))


def _rows(available: int, wanted: int) -> np.ndarray:
    """Return the test samples that are compared, the same ones for every network."""
    return np.sort(np.random.default_rng(0).choice(available, min(available, wanted), replace=False))


def _exact_kernel(data: hntk.Dataset, layers: list[hntk.Activation], size: int) -> np.ndarray:
    """Return the exact kernel of test samples without its diagonal; it is kept for the next job that needs it."""
    x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    question = (data_digest(data), tuple(map(fingerprint, layers)), size, x64)
    if question not in _KERNELS:
        _KERNELS.clear()
        x = data.x_test[_rows(len(data.x_test), size)].astype(np.float64)
        kernel = np.array(hntk.exact_kernels(x, layers, tau0=data.tau0).ck)
        np.fill_diagonal(kernel, 0.0)
        _KERNELS[question] = kernel
    return _KERNELS[question]
