"""Networks of any architecture, written out layer by layer in float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hntk
from hntk import LayerScales


def states(network: hntk.Network, x: np.ndarray) -> list[np.ndarray]:
    """Return h_1 … h_L of the formulas in :mod:`hntk.theory.architecture`, from what a network stores."""
    depth, p = len(network.weights), x.shape[1]
    biases, branches = network.biases or (None,) * depth, network.branches or (None,) * depth
    h, found, holds_data = p**0.5 * np.asarray(x, np.float64), [], True
    for i, (w, sigma, m) in enumerate(zip(network.weights, network.activations, network.centres, strict=True)):
        scales = network.scales[i] if network.scales else LayerScales(1.0, 0.0, 0.0)
        rows = h
        if network.normalize:
            # data counts as centred
            rows = h - h.mean(1, keepdims=True) if network.normalize == "layer" and not holds_data else h
            rows = rows / np.sqrt((rows**2).mean(1, keepdims=True))
        u = scales.weight_std * rows @ np.asarray(w.dense(), np.float64).T / rows.shape[1] ** 0.5
        bias, branch = biases[i], branches[i]
        u = u if bias is None else u + scales.bias_std * np.asarray(bias, np.float64)
        f = np.asarray(sigma(jnp.asarray(u)), np.float64) - m
        if branch is None:
            h, holds_data = f, False
        else:
            h = h + scales.residual * f @ np.asarray(branch.dense(), np.float64).T / f.shape[1] ** 0.5
        found.append(h)
    return found


def features(network: hntk.Network, x: np.ndarray) -> np.ndarray:
    """Return (h_1/√d_1, …, h_L/√d_L) side by side."""
    return np.concatenate([h / h.shape[1] ** 0.5 for h in states(network, x)], axis=1)
