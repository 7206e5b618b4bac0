"""Our activations as neural-tangents layers: their kernel function of the same network.

neural-tangents runs the recursion on whole matrices, with the exact form of every activation's map; hntk's own
(:mod:`hntk.kernels.recursion`) is faster. Use this to go on in neural-tangents, for instance with ``nt.predict``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax import Array

from hntk.activations import Activation
from hntk.activations.base import centred_map
from hntk.theory.coefficients import as_activations, coefficients


def stax_kernel_fn(activations: Sequence[str | Activation], tau0: float) -> Callable[..., Any]:
    """neural-tangents' ``kernel_fn`` of Dense, σ_1, Dense, …, σ_L, Dense(1), with unit weight variance and no bias.

    Parameters
    ----------
    activations : one per layer.
    tau0 : scale at which they are centred.

    Returns
    -------
    kernel_fn(x1, x2, get), for inputs √p·x: neural-tangents divides by the dimension.

    Raises
    ------
    ImportError
        If neural-tangents cannot be imported on the installed JAX.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> hntk.stax_kernel_fn(["relu", "erf"], tau0=1.0)(50**0.5 * x, None, "ntk").shape
    (6, 6)
    """
    from hntk.kernels._neural_tangents import load

    layers = as_activations(activations)
    centres = coefficients(layers, tau0).centres
    stax: Any = load().stax
    stack: list[Any] = []
    for layer, centre in zip(layers, centres, strict=True):
        stack += [stax.Dense(1, W_std=1.0, b_std=None), _elementwise(stax, layer, centre)]
    return stax.serial(*stack, stax.Dense(1, W_std=1.0, b_std=None))[2]


def _elementwise(stax: Any, layer: Activation, centre: float) -> Any:
    def kernel(cov: Array, var1: Array, var2: Array) -> Array:
        return centred_map(layer, cov, var1, var2, centre)

    return stax.Elementwise(nngp_fn=kernel, d_nngp_fn=layer.derivative_map)
