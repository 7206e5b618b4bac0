"""Activations of hntk as neural-tangents layers, for its kernel function of the same network.

neural-tangents runs the recursion on whole matrices, with the exact form of every activation's maps. hntk's own
recursion (:mod:`hntk.kernels.recursion`) is faster. Use this to continue in neural-tangents, for instance with
``nt.predict``, or to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hntk._utils.arrays import check_result
from hntk.activations import Activation
from hntk.kernels._neural_tangents import load
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.theory.architecture import Architecture, ArchitectureLike, LayerScales, as_architecture
from hntk.theory.coefficients import centres_at


def stax_kernel_fn(activations: ArchitectureLike, tau0: float) -> Callable[..., Any]:
    """Return neural-tangents' ``kernel_fn`` of a network.

    A list of activations stands for Dense, σ_1, Dense, …, σ_L, Dense(1), with unit weight variance and no bias. An
    architecture adds ``W_std``, ``b_std`` and residual branches.

    Parameters
    ----------
    activations : Architecture or sequence of str or Activation
        The network; a list of one activation per layer, first layer first, is centred, with unit weights and without
        biases.
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
        If an activation or ``tau0`` does not fit, or the network is normalised.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0)).x
    >>> hntk.stax_kernel_fn(["relu", "erf"], tau0=1.0)(50**0.5 * x, None, "ntk").shape
    (6, 6)
    """
    net = as_architecture(activations)
    return stax_network(net, centres_at(net, tau0))


def stax_network(net: Architecture, centres: Sequence[float] | Array) -> Callable[..., Any]:
    """Return neural-tangents' ``kernel_fn`` of a network with known centring constants.

    Raises
    ------
    ImportError
        If neural-tangents is not installed, or cannot be imported on the installed JAX.
    ValueError
        If the network is normalised.
    """
    if net.normalize:
        raise ValueError(
            f"neural-tangents has no normalize={net.normalize!r}: its LayerNorm stands behind the weights and takes in "
            "the biases. hntk.exact_kernels has it with its own engine."
        )
    stax: Any = load().stax
    layers = zip(net.layers, net.scales, centres, strict=True)
    return stax.serial(*(_layer(stax, *each) for each in layers), stax.Dense(1, W_std=1.0, b_std=None))[2]


def neural_tangents_kernels(problem: KernelProblem) -> Kernels:
    """Return a problem's kernels by neural-tangents, on whole matrices.

    Raises
    ------
    ImportError
        If neural-tangents is not installed, or cannot be imported on the installed JAX.
    ValueError
        If the network is normalised, samples are traced, or the result is not finite.
    """
    if problem.traced:
        raise ValueError(
            "engine='neural_tangents' takes samples that are known, not those that jax.jit, vmap or grad trace: leave "
            "engine out there, or differentiate hntk.stax_kernel_fn."
        )
    kernel_fn = stax_network(problem.network, problem.centres)
    compiled = jax.jit(lambda x, x2: kernel_fn(x, x2, ("nngp", "ntk")))
    width = jnp.sqrt(jnp.asarray(problem.x.shape[1], problem.dtype))
    ck, ntk = compiled(width * problem.x, None if problem.x2 is None else width * problem.x2)
    check_result(ck, "the conjugate kernel")
    if problem.kappa_sq is not None and problem.symmetric:
        ntk = jnp.fill_diagonal(ntk, problem.kappa_sq, inplace=False)
    return Kernels(ck, ntk)


def _layer(stax: Any, activation: Activation, scales: LayerScales, centre: float) -> Any:
    """Return one layer, with the state beside it where it has a residual branch."""
    dense = stax.Dense(1, W_std=scales.weight_std, b_std=scales.bias_std or None)
    layer = stax.serial(dense, _elementwise(stax, activation, centre))
    if not scales.residual:
        return layer
    branch = stax.serial(layer, stax.Dense(1, W_std=scales.residual, b_std=None))
    init_fn, apply_fn, _ = stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), branch), stax.FanInSum())

    # FanInSum's own refuses states that are not Gaussian; outer weights of mean 0 make kernels add all the same
    def kernel_fn(state: Any, **options: Any) -> Any:
        added = branch[2](state, **options)
        sums = {name: _sum(getattr(state, name), getattr(added, name)) for name in ("cov1", "cov2", "nngp", "ntk")}
        return added.replace(**sums)

    return init_fn, apply_fn, kernel_fn


def _sum(first: Array | None, second: Array | None) -> Array | None:
    return None if first is None or second is None else first + second


def _elementwise(stax: Any, layer: Activation, centre: float) -> Any:
    def kernel(cov: Array, var1: Array, var2: Array) -> Array:
        return layer.kernel_map(cov, var1, var2, centre)

    return stax.Elementwise(nngp_fn=kernel, d_nngp_fn=layer.derivative_map)
