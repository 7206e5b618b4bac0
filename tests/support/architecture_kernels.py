"""Exact kernels of any architecture, by the recursion written out, and how far its expansion is from them."""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse.linalg import eigsh

from hntk.theory.architecture import Architecture
from hntk.theory.expansion import Expansion, centres_of, expansions

# layers after which a network that takes in the data in each has settled
LAYERS = 160


def exact_kernels(net: Architecture, gram: np.ndarray, tau0: float) -> tuple[Array, Array]:
    """Return K_L and Θ_L from K_0; the mean over the width is each sample's own."""
    of_net = _unrolled if net.implicit else _recursion
    return of_net(net, centres_of(net, tau0), jnp.asarray(gram))


@partial(jax.jit, static_argnums=(0, 1))
def _unrolled(net: Architecture, centres: tuple[float, ...], gram: Array) -> tuple[Array, Array]:
    """Return both kernels of an explicit network of many layers, each of which takes in the data again."""
    (layer,), (scale,), (centre,) = net.layers, net.scales, centres
    i = np.diag_indices(len(gram))

    def follow(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        sigma, trained = (
            scale.weight_std**2 * kernel + net.input_std**2 * gram + scale.bias_std**2 for kernel in state
        )
        var, off = jnp.diag(sigma), sigma.at[i].set(0.0)
        own = layer.variance_map(var) + (layer.mean_map(var) - centre) ** 2
        value = layer.kernel_map(off, var[:, None], var[None, :], centre).at[i].set(own)
        slope = layer.derivative_map(off, var[:, None], var[None, :]).at[i].set(layer.slope_map(var))
        return value, value + trained * slope

    return jax.lax.fori_loop(0, LAYERS, follow, (0.0 * gram, 0.0 * gram))


@partial(jax.jit, static_argnums=(0, 1))
def _recursion(net: Architecture, centres: tuple[float, ...], gram: Array) -> tuple[Array, Array]:
    ck = ntk = gram
    mean = jnp.zeros(len(gram))
    i = np.diag_indices(len(gram))
    for layer, scale, centre in zip(net.layers, net.scales, centres, strict=True):
        inputs, trained = ck, ntk
        if net.normalize:
            common = jnp.outer(mean, mean) * (net.normalize == "layer")
            root = jnp.sqrt(jnp.diag(ck - common))
            inputs, trained = ((kernel - common) / jnp.outer(root, root) for kernel in (ck, ntk))
        sigma, trained = (scale.weight_std**2 * kernel + scale.bias_std**2 for kernel in (inputs, trained))
        var = jnp.diag(sigma)
        # a corner of the maps lies on the diagonal, where one function takes over
        off = sigma.at[i].set(0.0)
        own = layer.variance_map(var) + (layer.mean_map(var) - centre) ** 2
        value = layer.kernel_map(off, var[:, None], var[None, :], centre).at[i].set(own)
        slope = layer.derivative_map(off, var[:, None], var[None, :]).at[i].set(layer.slope_map(var))
        total = value + trained * slope
        if scale.residual:
            ck, ntk = ck + scale.residual**2 * value, ntk + scale.residual**2 * (value + total)
        else:
            ck, ntk, mean = value, total, layer.mean_map(var) - centre
    return ck, ntk


class Mixture(NamedTuple):
    """Samples of two classes whose covariances differ in trace and in shape, and what the theory knows of them."""

    x: np.ndarray
    labels: np.ndarray
    tau0: float
    overlaps: np.ndarray


@cache
def mixture(p: int) -> Mixture:
    """Draw 2p samples of two equal classes with means 3e_a."""
    halves = np.arange(p) < p // 2
    variances = np.stack([np.where(halves, 1.7, 0.3), (1 + 3 / np.sqrt(p)) * np.where(halves, 0.3, 1.7)])
    labels = np.arange(2 * p) % 2
    noise = np.random.default_rng(p).standard_normal((2 * p, p)) * np.sqrt(variances[labels])
    x = (noise + 3 * np.eye(2, p)[labels]) / np.sqrt(p)
    return Mixture(x, labels, float(np.sqrt(np.mean(variances))), variances @ variances.T / p)


def equivalent(expansion: Expansion, data: Mixture, without: str = "") -> np.ndarray:
    """Return a XXᵀ + d JTJᵀ/p + e δδᵀ + (q − c − a τ_0²) I, without some of the terms."""
    x, labels, tau0, overlaps = data
    p, delta = x.shape[1], np.sum(x**2, axis=1) - tau0**2
    kernel = expansion.a * (x @ x.T) + (expansion.q - expansion.c - expansion.a * tau0**2) * np.eye(len(x))
    if "d" not in without:
        kernel += expansion.d * overlaps[np.ix_(labels, labels)] / p
    return kernel if "e" in without else kernel + expansion.e * np.outer(delta, delta)


def centred_error(exact: np.ndarray, approximate: np.ndarray) -> float:
    """Return the operator norm of P(exact − approximate)P, P = I − 11ᵀ/n."""
    gap = exact - approximate
    gap = gap - gap.mean(axis=0) - gap.mean(axis=1)[:, None] + gap.mean()
    return float(abs(eigsh(gap, 1, tol=1e-4, v0=np.sin(np.arange(len(gap))), return_eigenvectors=False)[0]))


def errors(net: Architecture, p: int, without: str = "") -> tuple[float, float]:
    """Return the errors of the equivalents of both kernels; an infinite diagonal is left out."""
    data = mixture(p)
    known = expansions(net, data.tau0)
    made = []
    for exact, last in zip(_kernels(net, p), (known.ck[-1], known.ntk[-1]), strict=True):
        if np.isinf(last.q):
            approximate = equivalent(last._replace(q=0.0), data, without)
            exact = np.where(np.eye(len(exact), dtype=bool), approximate + last.c, exact)
        else:
            approximate = equivalent(last, data, without)
        made.append(centred_error(exact, approximate))
    return made[0], made[1]


@cache
def _kernels(net: Architecture, p: int) -> tuple[np.ndarray, np.ndarray]:
    data = mixture(p)
    ck, ntk = exact_kernels(net, data.x @ data.x.T, data.tau0)
    return np.asarray(ck), np.asarray(ntk)
