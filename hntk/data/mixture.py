r"""Gaussian mixtures in the high-dimensional regime: $x_i = (\mu_a + z_i)/\sqrt{p}$, $z_i \sim N(0, C_a)$."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from hntk._utils.arguments import as_count, as_finite, as_key
from hntk._utils.arrays import brief, check_result
from hntk._utils.float64 import float64
from hntk._utils.labels import brief_sizes
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import row_blocks
from hntk.data.class_parameters import as_covariance, as_means, as_proportions, check_semidefinite
from hntk.data.population import Population

# Bytes that drawing takes per number: float64, once as drawn and once in the result.
BYTES = 16
Covariance = float | Float[np.ndarray, " p"] | Float[np.ndarray, "p p"]


@array_dataclass()
class Mixture:
    """Samples of a Gaussian mixture.

    Attributes
    ----------
    x : array of shape (n, p)
        Samples, class after class.
    labels : ndarray of shape (n,)
        Their classes 0 … K − 1.
    population : Population
        The mixture they are drawn from.
    """

    x: Float[Array | np.ndarray, "n p"]
    labels: Int[np.ndarray, " n"]
    population: Population


def gaussian_mixture(
    means: object,
    covariances: Sequence[Covariance],
    n: int,
    *,
    key: Array,
    proportions: Sequence[float] | None = None,
    out: Float[np.ndarray, "n p"] | None = None,
) -> Mixture:
    """Draw n samples, class after class (class sizes are n times the proportions, rounded).

    The draw is in float64, and the same whatever precision JAX is set to; the samples are returned in that precision.

    Parameters
    ----------
    means : array of shape (K, p)
        Class means μ_a, of norm O(1).
    covariances : sequence of float or array
        For each class a number c for c·I, a (p,) diagonal, or a (p, p) matrix; tr(C_a − C_b) = O(√p).
    n : int
        Number of samples.
    key : jax.Array
        Random key.
    proportions : sequence of float, optional
        Positive weights of the classes, equal by default; they are normalised.
    out : ndarray of shape (n, p), optional
        Array of float32 or float64 to draw into some rows at a time, in its precision: a memory map holds more samples
        than memory does. The samples differ from those without it.

    Returns
    -------
    Mixture
        The samples, their classes, and the population.

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, a covariance is not positive semidefinite, a class would be
        empty, or the key is no random key.
    MemoryError
        If the samples do not fit into memory and there is no ``out``, before they are drawn.

    Examples
    --------
    >>> import jax, numpy as np, hntk
    >>> sample = hntk.gaussian_mixture(np.zeros((2, 50)), [1.0, 1.5], n=10, key=jax.random.key(0))
    >>> sample.x.shape, sample.labels.tolist()
    ((10, 50), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    n, key, mu = as_count(n, "n"), as_key(key), as_means(means, covariances)
    p = mu.shape[1]
    if out is None:
        _check_room(n, p)
    else:
        _check_out(out, n, p)
    sizes = _class_sizes(n, proportions, mu.shape[0])
    roots = [_square_root(c, p, a) for a, c in enumerate(covariances)]
    population, labels = _population(mu, covariances, sizes / n), np.repeat(np.arange(len(sizes)), sizes)
    keys = jax.random.split(key, len(sizes))
    if out is not None:
        for a, samples in enumerate(np.split(out, np.cumsum(sizes)[:-1])):
            _draw_into(samples, keys[a], mu[a], roots[a])
        return Mixture(out, labels, population)
    with float64():
        classes = zip(keys, sizes, mu, roots, strict=True)
        drawn = jnp.concatenate([_draw(k, int(size), mean, root, np.float64) for k, size, mean, root in classes])
    x = drawn.astype(jnp.result_type(float))
    check_result(x[-1:], "the draw")
    return Mixture(x, labels, population)


def reference_mixture(
    n: int,
    p: int,
    *,
    key: Array,
    separation: float = 3.0,
    spread: float = 3.0,
    out: Float[np.ndarray, "n p"] | None = None,
) -> Mixture:
    """Draw two equal classes a = 0, 1 with μ_a = separation·e_a and C_a = (1 + spread·a/√p) I.

    The classes differ in mean and in covariance, both at the scale where the kernel just sees it.

    Parameters
    ----------
    n : int
        Number of samples.
    p : int
        Their dimension, at least 2.
    key : jax.Array
        Random key.
    separation : float
        Norm of both class means.
    spread : float
        Difference of the covariances, tr(C_1 − C_0)/√p.
    out : ndarray of shape (n, p), optional
        Array to draw into, see :func:`gaussian_mixture`.

    Returns
    -------
    Mixture
        The samples, their classes, and the population.

    Raises
    ------
    MemoryError
        If the samples do not fit into memory and there is no ``out``.
    ValueError
        If a number or the key does not fit.
    """
    n, p = as_count(n, "n"), as_count(p, "p")
    if p < 2:
        raise ValueError(f"the two class means lie on two axes: p must be at least 2, got {p}.")
    if out is None:
        _check_room(n, p)
    apart, wider = as_finite(separation, "separation"), as_finite(spread, "spread")
    return gaussian_mixture(apart * np.eye(2, p), [1.0, 1.0 + wider / np.sqrt(p)], n, key=key, out=out)


def _check_room(n: int, p: int) -> None:
    check_room(
        BYTES * n * p,
        f"{n:,} samples of dimension {p:,}",
        "Draw fewer, or into a memory map, with out=np.lib.format.open_memmap(path, 'w+', np.float32, (n, p)).",
    )


def _check_out(out: Any, n: int, p: int) -> None:
    description = f"{out.shape} of {out.dtype}" if isinstance(out, np.ndarray) else brief(out)
    if not isinstance(out, np.ndarray) or out.shape != (n, p) or out.dtype not in (np.float32, np.float64):
        raise ValueError(f"out must be a ({n}, {p}) array of float32 or float64, got {description}.")
    if not out.flags.writeable:
        raise ValueError("out cannot be written to: open the memory map with mode 'r+' or 'w+'.")


@partial(jax.jit, static_argnums=(1, 4))
def _draw(key: Array, size: int, mean: ArrayLike, root: ArrayLike, dtype: np.dtype | type) -> Array:
    p = jnp.size(mean)
    z = jax.random.normal(key, (size, p), dtype=dtype)
    factor = jnp.asarray(root, z.dtype)
    coloured = z @ factor if factor.ndim == 2 else z * factor
    return (jnp.asarray(mean, z.dtype) + coloured) / math.sqrt(p)


def _draw_into(samples: np.ndarray, key: Array, mean: np.ndarray, root: np.ndarray) -> None:
    """Draw one class into an array, a block of rows at a time, each with a key of its own."""
    for i, rows in enumerate(row_blocks(samples)):
        block = samples[rows]
        with float64():
            block[:] = _draw(jax.random.fold_in(key, i), len(block), mean, root, samples.dtype)


def _class_sizes(n: int, proportions: Sequence[float] | None, classes: int) -> Int[np.ndarray, " K"]:
    """Return n times the shares, rounded so that they sum to n."""
    share = as_proportions(proportions, classes)
    exact = n * share / share.sum()
    sizes = np.floor(exact).astype(int)
    largest_remainders = np.argsort(sizes - exact, kind="stable")[: n - sizes.sum()]
    sizes[largest_remainders] += 1
    if np.any(sizes == 0):
        raise ValueError(f"n = {n} leaves a class empty ({brief_sizes(sizes)}): increase n or the proportions.")
    return sizes


def _square_root(covariance: Covariance, p: int, a: int) -> np.ndarray:
    """Return the symmetric root of a covariance: a number, its diagonal, or a matrix."""
    c = as_covariance(covariance, p, a)
    values, vectors = (c, None) if c.ndim < 2 else np.linalg.eigh(c)
    check_semidefinite(c, values, a)
    root = np.sqrt(np.clip(values, 0.0, None))
    return root if vectors is None else (vectors * root) @ vectors.T


def _population(mu: np.ndarray, covariances: Sequence[Covariance], proportions: np.ndarray) -> Population:
    p = mu.shape[1]
    full = [np.asarray(c, dtype=float) for c in covariances]
    traces = np.array([np.trace(c) if c.ndim == 2 else np.sum(np.broadcast_to(c, p)) for c in full]) / p
    with np.errstate(all="ignore"):
        overlaps = np.array([[_trace_product(a, b, p) for b in full] for a in full]) / p
        norms = np.sum(mu**2, axis=1)
    check_result(norms, "norms of these means")
    check_result(overlaps, "tr(C_a C_b)/p of these covariances")
    return Population(mu, traces, overlaps, proportions)


def _trace_product(a: np.ndarray, b: np.ndarray, p: int) -> float:
    if a.ndim == 2 and b.ndim == 2:
        return float(np.sum(a * b.T))
    diagonals = [np.diag(c) if c.ndim == 2 else np.broadcast_to(c, p) for c in (a, b)]
    return float(diagonals[0] @ diagonals[1])
