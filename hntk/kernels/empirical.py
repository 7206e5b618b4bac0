r"""Kernels of a drawn network, layer by layer.

With forward features $A_l$ (what layer l+1's weights multiply) and backward features $B_l$ (the gradient by that
layer's preactivation), the NTK of a fully-connected network is $\sum_l (A_lA_l^\top) \circ (B_lB_l^\top)$: no
Jacobian is formed.
"""

from __future__ import annotations

from math import sqrt

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.kernels.exact import Kernels
from hntk.network import Network


def empirical_kernels(network: Network, x: object) -> Kernels:
    """Conjugate kernel and NTK of one draw, readout included.

    A staircase has derivative zero almost everywhere, so nothing flows back through it: the NTK of a network with
    jumps counts the layers above its last jump only (all staircases: it is the conjugate kernel).

    Parameters
    ----------
    network : the drawn network.
    x : (n, p) samples.

    Returns
    -------
    Kernels with ``ck`` and ``ntk``, (n, n) each, in the precision of x.

    Raises
    ------
    ValueError
        If x does not fit the network, or its readout at initialisation was not kept.
    """
    samples = network.check_inputs(x)
    if network.readout is None:
        raise ValueError(
            "the NTK needs the readout at initialisation, which this network does not carry: use the network as drawn, "
            "or dataclasses.replace(network, readout=...) with d_L standard Gaussian numbers."
        )
    forward, slopes = _forward_features(network, samples)
    ck = forward[-1] @ forward[-1].T
    ntk = ck
    backward = jnp.broadcast_to(network.readout.astype(samples.dtype), forward[-1].shape) / sqrt(network.widths[-1])
    for (w, fan_in, _, _), a, slope in reversed(list(zip(network.layers(), forward[:-1], slopes, strict=True))):
        local = backward * slope
        ntk = ntk + (a @ a.T) * (local @ local.T)
        backward = local @ w.dense(samples.dtype) * fan_in
    return Kernels(ck, ntk)


def _forward_features(network: Network, x: Array) -> tuple[list[Float[Array, "n width"]], list[Array]]:
    """A_0 … A_L, each scaled by 1/√width (x itself first), and σ'_l of each layer."""
    scaled, slopes = [x], []
    for w, _, sigma, m in network.layers():
        preactivation = scaled[-1] @ w.dense(x.dtype).T
        value, slope = jax.jvp(sigma, (preactivation,), (jnp.ones_like(preactivation),))
        slopes.append(slope)
        scaled.append((value - m) / sqrt(w.shape[0]))
    return scaled, slopes
