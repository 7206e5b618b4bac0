"""Activations of hntk as neural-tangents layers, for its kernel function of the same network.

neural-tangents runs the recursion on whole matrices, with the exact form of every activation's maps. hntk's own
recursion (:mod:`hntk.kernels.recursion`) is faster. Use this to continue in neural-tangents, for instance with
``nt.predict``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax import Array

from hntk.activations import Activation
from hntk.kernels._neural_tangents import load
from hntk.theory.architecture import as_activations
from hntk.theory.coefficients import coefficients


def stax_kernel_fn(activations: Sequence[str | Activation], tau0: float) -> Callable[..., Any]:
    """Return neural-tangents' ``kernel_fn`` of a network with these activations.

    The network is Dense, σ_1, Dense, …, σ_L, Dense(1), with unit weight variance and no bias.

    Parameters
    ----------
    activations : sequence of str or Activation
        One activation per layer, first layer first.
    tau0 : float
        Scale at which the activations are centred.

    Returns
    -------
    callable
        ``kernel_fn(x1, x2, get)``. Its inputs are √p·x, because neural-tangents divides by the dimension p.

    Raises
    ------
    ImportError
        If neural-tangents is not installed, or cannot be imported on the installed JAX.
    ValueError
        If an activation or ``tau0`` does not fit.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> hntk.stax_kernel_fn(["relu", "erf"], tau0=1.0)(50**0.5 * x, None, "ntk").shape
    (6, 6)
    """
    layers = as_activations(activations)
    centres = coefficients(layers, tau0).centres
    stax: Any = load().stax
    stack: list[Any] = []
    for layer, centre in zip(layers, centres, strict=True):
        stack += [stax.Dense(1, W_std=1.0, b_std=None), _elementwise(stax, layer, centre)]
    return stax.serial(*stack, stax.Dense(1, W_std=1.0, b_std=None))[2]


def _elementwise(stax: Any, layer: Activation, centre: float) -> Any:
    def kernel(cov: Array, var1: Array, var2: Array) -> Array:
        return layer.kernel_map(cov, var1, var2, centre)

    return stax.Elementwise(nngp_fn=kernel, d_nngp_fn=layer.derivative_map)
