"""Deep equilibrium models of finite width: their fixed points by iteration, their gradients by implicit functions."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk.theory.architecture import Architecture


class Parameters(NamedTuple):
    """Entries of mean 0 and variance 1: weights on the state, on the data, biases and readout."""

    state: Array
    data: Array
    biases: Array
    readout: Array


def drawn(p: int, width: int, seed: int) -> Parameters:
    """Return Gaussian parameters."""
    rng = np.random.default_rng(seed)
    shapes = (width, width), (width, p), (width,), (width,)
    return Parameters(*(jnp.asarray(rng.standard_normal(shape)) for shape in shapes))


def inputs(net: Architecture, parameters: Parameters, z: Array, x: Array) -> Array:
    """Return the pre-activations of states z, one sample a row; x already carries 1/√p."""
    scale = net.scales[0]
    return (
        scale.weight_std * z @ parameters.state.T / z.shape[-1] ** 0.5
        + net.input_std * x @ parameters.data.T
        + scale.bias_std * parameters.biases
    )


def unrolled(net: Architecture, centre: float, parameters: Parameters, x: Array, steps: int) -> Array:
    """Return the states after some iterations from 0."""

    def follow(z: Array, _: None) -> tuple[Array, None]:
        return net.layers[0](inputs(net, parameters, z, x)) - centre, None

    return jax.lax.scan(follow, jnp.zeros((*x.shape[:-1], len(parameters.readout))), None, steps)[0]


@partial(jax.jit, static_argnums=(0, 1, 4))
def kernels(net: Architecture, centre: float, parameters: Parameters, x: Array, steps: int) -> tuple[Array, Array]:
    """Return both kernels of the fixed point.

    With D = diag σ'(u) and M = σ_w A/√m, the fixed point has dz = D(M dz + du) and the output wᵀz/√m has the gradient
    vᵀdu/√m with v = D(w + Mᵀv), where du is what a change of A, B and b adds to the pre-activations.
    """
    width, scale, act = len(parameters.readout), net.scales[0], net.layers[0]
    z = unrolled(net, centre, parameters, x, steps)
    u = inputs(net, parameters, z, x)
    slope = jax.vmap(jax.vmap(jax.grad(lambda t: act(t))))(u)

    def follow(v: Array, _: None) -> tuple[Array, None]:
        return slope * (parameters.readout + scale.weight_std * v @ parameters.state / width**0.5), None

    v = jax.lax.scan(follow, jnp.zeros_like(z), None, steps)[0]
    ck, back = z @ z.T / width, v @ v.T / width
    return ck, ck + back * (scale.weight_std**2 * ck + net.input_std**2 * x @ x.T + scale.bias_std**2)


def differentiated(net: Architecture, centre: float, parameters: Parameters, x: Array, steps: int) -> Array:
    """Return the NTK by automatic differentiation through all iterations."""

    def output(parameters: Parameters, sample: Array) -> Array:
        z = unrolled(net, centre, parameters, sample, steps)
        return parameters.readout @ z / len(z) ** 0.5

    gradients = jax.vmap(jax.grad(output), (None, 0))(parameters, x)
    flat = jnp.concatenate([g.reshape(len(x), -1) for g in gradients], axis=1)
    return flat @ flat.T
