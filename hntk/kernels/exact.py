r"""Kernels of the infinitely wide network, through neural-tangents.

$K_0 = \Theta_0 = XX^\top$ (rows are samples), $K_l = E[(\sigma_l(u) - m_l)(\sigma_l(v) - m_l)]$ and $\Theta_l = K_l +
\Theta_{l-1} \circ E[\sigma_l'(u)\sigma_l'(v)]$ over $(u, v) \sim N(0, K_{l-1})$. Each activation becomes a
``stax.Elementwise`` layer with our own closed-form maps; neural-tangents runs the recursion.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations import Activation, Staircase
from hntk.activations.base import centred_map
from hntk.activations.jumps import Jumps, of_one_size
from hntk.checks import as_samples, norm_scale
from hntk.coefficients import as_activations, coefficients
from hntk.precision import warn_if_float32


class Kernels(NamedTuple):
    """Conjugate kernel and neural tangent kernel, (n, n) each (or (n, m) between two data sets)."""

    ck: Float[Array, "n m"]
    ntk: Float[Array, "n m"]


def exact_kernels(
    x: object,
    activations: Sequence[str | Activation],
    *,
    x2: object | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
) -> Kernels:
    """K_L and Θ_L at infinite width.

    Parameters
    ----------
    x : (n, p) samples.
    activations : one per layer, names or activations.
    x2 : (m, p) further samples: kernels between x and x2. By default x itself.
    tau0 : scale at which the activations are centred; by default the root mean square norm of x.
    kappa_sq : for a network with jumps, the number to put on the NTK's diagonal, which is infinite otherwise.

    Returns
    -------
    Kernels in the precision JAX is set to (a warning says so if that is float32).

    Raises
    ------
    ValueError
        For data that does not fit.
    ImportError
        If neural-tangents cannot be imported on the installed JAX.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> hntk.exact_kernels(data.x, ["relu", "erf"]).ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    first = as_samples(x)
    second = None if x2 is None else as_samples(x2, "x2")
    if second is not None and second.shape[1] != first.shape[1]:
        raise ValueError(f"x and x2 must have the same number of columns, got {first.shape[1]} and {second.shape[1]}.")
    layers = as_activations(activations)
    centres = coefficients(layers, norm_scale(first) if tau0 is None else tau0).centres
    # neural-tangents divides by the input dimension
    widen = sqrt(first.shape[1])
    dtype = jnp.result_type(float)
    kinds, steps = _split(layers)
    raw = _compiled(kinds)(
        steps,
        jnp.asarray(centres, dtype),
        widen * first.astype(dtype),
        None if second is None else widen * second.astype(dtype),
    )
    ntk = raw.ntk
    if kappa_sq is not None and second is None:
        ntk = jnp.fill_diagonal(ntk, kappa_sq, inplace=False)
    return Kernels(raw.nngp, ntk)


def _split(layers: tuple[Activation, ...]) -> tuple[tuple[Activation | None, ...], list[Jumps | None]]:
    """What is compiled, with None in the place of staircases, and the staircases, which are data to it."""
    steps = iter(of_one_size([layer.step_function for layer in layers if isinstance(layer, Staircase)]))
    kinds = tuple(None if isinstance(layer, Staircase) else layer for layer in layers)
    return kinds, [next(steps) if kind is None else None for kind in kinds]


@functools.lru_cache(maxsize=32)
def _compiled(kinds: tuple[Activation | None, ...]):
    """The kernel function, compiled once for every shape."""

    def kernels(steps: list[Jumps | None], centres: Array, x1: Array, x2: Array | None):
        layers: list[Any] = [kind if step is None else step for kind, step in zip(kinds, steps, strict=True)]
        return _kernel_fn(layers, centres)(x1, x2, get=("nngp", "ntk"))

    return jax.jit(kernels)


def _kernel_fn(layers: Sequence[Activation | Jumps], centres: Array):
    """The kernel function of Dense, σ_1, Dense, …, σ_L, Dense(1) with unit weight variance and no bias."""
    from hntk.neural_tangents_shim import load

    stax = load().stax
    stack = []
    for layer, centre in zip(layers, centres, strict=True):
        stack += [stax.Dense(1, W_std=1.0, b_std=None), _elementwise(stax, layer, centre)]
    return stax.serial(*stack, stax.Dense(1, W_std=1.0, b_std=None))[2]


def _elementwise(stax, layer: Activation | Jumps, centre: Array):
    return stax.Elementwise(
        nngp_fn=_whole_matrix(lambda cov, var1, var2: centred_map(layer, cov, var1, var2, centre)),
        d_nngp_fn=_whole_matrix(layer.derivative_map),
    )


def _whole_matrix(kernel_map):
    """Let a map that broadcasts see whole matrices where neural-tangents applies it pair by pair under vmap.

    Our maps choose between a series and an exact form by looking at all pairs; under a plain vmap both would run.
    """
    mapped = jax.custom_batching.custom_vmap(kernel_map)

    @mapped.def_vmap
    def rule(axis_size: int, in_batched: list[bool], *args: Array) -> tuple[Array, bool]:
        rank = max(jnp.ndim(a) - batched for a, batched in zip(args, in_batched, strict=True))
        aligned = [
            a.reshape(a.shape[0], *(1,) * (rank - a.ndim + 1), *a.shape[1:]) if batched else a
            for a, batched in zip(args, in_batched, strict=True)
        ]
        return mapped(*aligned), True

    return mapped
