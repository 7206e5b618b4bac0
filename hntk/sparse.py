"""Features of very sparse networks, on a CPU: only weights that are not 0 are worked off.

A product of compressed rows is slower a weight than a dense one, and overtakes it somewhere above ε = .9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.sparse import csr_array

from hntk.activations import Activation
from hntk.weights import WeightMatrix

LEAST_ZEROS = 0.95
# columns a product: more do not stay in the cache
COLUMNS = 128


def is_sparse(weights: Sequence[WeightMatrix]) -> bool:
    """Whether this way is the faster one."""
    if jax.default_backend() != "cpu":
        return False
    return all(float(np.mean(np.asarray(w.values) == 0)) >= LEAST_ZEROS for w in weights)


def sparse_feature_batches(
    weights: Sequence[WeightMatrix],
    activations: Sequence[Activation],
    centres: Sequence[float],
    x: Float[Array, "n p"],
    batch: int,
) -> Iterator[Float[Array, "batch width"]]:
    """h_L/√d_L, float32, a batch of rows at a time."""
    rows = [csr_array(np.asarray(w.values, np.float32)) for w in weights]
    fan_in = [1, *(w.shape[0] for w in weights)]
    factors = [w.scale / sqrt(d) for w, d in zip(weights, fan_in, strict=False)]
    for start in range(0, x.shape[0], batch):
        part = np.asarray(x[start : start + batch], np.float32)
        out = np.empty((len(part), fan_in[-1]), np.float32)

        def work(begin: int, part: np.ndarray = part, out: np.ndarray = out) -> None:
            h = part[begin : begin + COLUMNS].T
            for matrix, sigma, centre, factor in zip(rows, activations, centres, factors, strict=True):
                h = np.asarray(_applied(sigma)(matrix @ np.ascontiguousarray(h), factor, centre))
            out[begin : begin + COLUMNS] = h.T

        # SciPy works on one core and lets others work meanwhile
        with ThreadPoolExecutor() as pool:
            list(pool.map(work, range(0, len(part), COLUMNS)))
        yield jnp.asarray(out / np.float32(sqrt(fan_in[-1])))


@lru_cache(maxsize=64)
def _applied(sigma: Activation):
    return jax.jit(lambda z, factor, centre: sigma(z * jnp.float32(factor)) - jnp.float32(centre))
