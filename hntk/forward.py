"""Forward passes in batches: dense, or, for very sparse networks on a CPU, over the weights that are not 0 alone.

A product of compressed rows is slower a weight than a dense one, and overtakes it somewhere above ε = .9. Sums of whole
numbers below 2²⁴ are exact in float32 in whatever order they are taken, so that networks of whole numbers go the same
way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.sparse import csr_array

from hntk.weights import WeightMatrix

LEAST_ZEROS = 0.95
# columns a sparse product: more do not stay in the cache
COLUMNS = 128


@dataclass(frozen=True)
class Step:
    """One layer: function(factor · (W h + bias)).

    Attributes
    ----------
    weights : W, of which the values alone are used.
    factor : of the sums.
    function : elementwise; hashable, so that what is compiled for it is kept.
    bias : (outputs,) or None.
    """

    weights: WeightMatrix
    factor: float
    function: Callable[[Array], Array]
    bias: Float[Array, " outputs"] | None = None


def forward_batches(steps: Sequence[Step], x: Float[Array, "n p"], batch: int) -> Iterator[Float[Array, "batch width"]]:
    """h_L, float32, a batch of rows at a time."""
    if is_sparse([step.weights for step in steps]):
        yield from _sparse_batches(steps, x, batch)
        return
    run = _dense(tuple(step.function for step in steps))
    weights = [step.weights.values for step in steps]
    factors = [jnp.float32(step.factor) for step in steps]
    biases = [step.bias for step in steps]
    for start in range(0, x.shape[0], batch):
        yield run(weights, factors, biases, x[start : start + batch].astype(jnp.float32))


def is_sparse(weights: Sequence[WeightMatrix]) -> bool:
    """Whether working off the weights that are not 0 is the faster way."""
    if jax.default_backend() != "cpu":
        return False
    return all(float(np.mean(np.asarray(w.values) == 0)) >= LEAST_ZEROS for w in weights)


@lru_cache(maxsize=64)
def _dense(functions: tuple[Callable[[Array], Array], ...]):
    @jax.jit
    def run(weights: list[Array], factors: list[Array], biases: list[Array | None], h: Array) -> Array:
        for w, factor, bias, function in zip(weights, factors, biases, functions, strict=True):
            # GPUs round the factors of a product to 10 bits unless told otherwise
            sums = jnp.matmul(h, w.astype(h.dtype).T, precision=jax.lax.Precision.HIGHEST)
            h = function((sums if bias is None else sums + bias) * factor)
        return h

    return run


def _sparse_batches(steps: Sequence[Step], x: Float[Array, "n p"], batch: int) -> Iterator[Float[Array, "batch width"]]:
    rows = [csr_array(np.asarray(step.weights.values, np.float32)) for step in steps]
    for start in range(0, x.shape[0], batch):
        part = np.asarray(x[start : start + batch], np.float32)
        out = np.empty((len(part), steps[-1].weights.shape[0]), np.float32)

        def work(begin: int, part: np.ndarray = part, out: np.ndarray = out) -> None:
            h = part[begin : begin + COLUMNS].T
            for matrix, step in zip(rows, steps, strict=True):
                sums = matrix @ np.ascontiguousarray(h)
                sums = sums if step.bias is None else sums + np.asarray(step.bias)[:, None]
                h = np.asarray(_applied(step.function)(sums, step.factor))
            out[begin : begin + COLUMNS] = h.T

        # SciPy works on one core and lets others work meanwhile
        with ThreadPoolExecutor() as pool:
            list(pool.map(work, range(0, len(part), COLUMNS)))
        yield jnp.asarray(out)


@lru_cache(maxsize=64)
def _applied(function: Callable[[Array], Array]):
    return jax.jit(lambda sums, factor: function(sums * jnp.float32(factor)))
