"""The exact kernels of one pair of samples, by the recursion written out."""

from __future__ import annotations

from collections.abc import Callable

import jax

import hntk


def kernel_function(names: list, tau0: float) -> Callable:
    """Return K_L and Θ_L of one pair as a function of its inner product and norms²."""
    layers = [hntk.activation(n) for n in names]
    centres = hntk.coefficients(layers, tau0).centres

    def function(c: jax.Array, v1: jax.Array, v2: jax.Array) -> tuple[jax.Array, jax.Array]:
        k, theta, d1, d2 = c, c, v1, v2
        for layer, m in zip(layers, centres, strict=True):
            slope = layer.derivative_map(k, d1, d2)
            k = layer.kernel_map(k, d1, d2, m)
            theta = k + theta * slope
            d1, d2 = layer.kernel_map(d1, d1, d1, m), layer.kernel_map(d2, d2, d2, m)
        return k, theta

    return function
