"""Forward passes in batches, each layer the fastest way there is for it.

* **dense**: a product in float32.
* **planes**: on bit planes (:mod:`hntk.weights.bit_products`), on a CPU, where weights are ternary and what they are
  multiplied with has few levels.
* **sparse**: over the weights that are not 0 alone, on a CPU, where nearly all are. A product of compressed rows is
  slower a weight than a dense one, and overtakes it somewhere above ε = .9.

Sums of whole numbers below 2²⁴ are exact in float32 in whatever order they are taken, so that for networks of whole
numbers all ways give the same, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.sparse import csr_array

from hntk.networks.layers import Elementwise, Layer, Pass, Step
from hntk.weights.bit_planes import Code
from hntk.weights.laws import WeightMatrix

LEAST_ZEROS = 0.95
# columns a sparse product: more do not stay in the cache
COLUMNS = 128
# rows a batch on bit planes, for the same reason
ROWS = 512
# rows so few that moving weights takes the time, not arithmetic
FEW = 16
BATCH = 2048


class Forward:
    """Layers that are ready to run; what is made ready is kept.

    Parameters
    ----------
    steps : the layers.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def batches(self, x: Float[Array, "n p"], batch: int = BATCH) -> Iterator[Float[Array, "batch width"]]:
        """h_L, float32, a batch of rows at a time."""
        way = self.way(min(batch, x.shape[0]))
        size = min(batch, ROWS) if way == "planes" else batch
        for start in range(0, x.shape[0], size):
            part = x[start : start + size]
            if way == "sparse":
                yield self._sparse(part)
            else:
                run = self._planes if way == "planes" else self._dense
                yield run(part.astype(jnp.float32))

    def way(self, rows: int) -> Literal["dense", "planes", "sparse"]:
        """The fastest there is for so many rows on this machine."""
        if jax.default_backend() != "cpu":
            return "dense"
        coded = any(step.code is not None for step in self.steps)
        if coded and rows <= FEW:
            return "planes"
        if self._nearly_empty:
            return "sparse"
        return "planes" if coded and self._planes_a_weight < affordable_planes() else "dense"

    @cached_property
    def _nearly_empty(self) -> bool:
        return is_sparse([step.weights for step in self.steps])

    @cached_property
    def _planes_a_weight(self) -> float:
        sizes = [step.weights.values.size for step in self.steps]
        planes = [0 if step.code is None else len(step.code.jumps) for step in self.steps]
        return sum(n * t for n, t in zip(sizes, planes, strict=True)) / sum(sizes)

    @cached_property
    def _dense(self) -> Pass:
        return self._prepared([None] * len(self.steps))

    @cached_property
    def _planes(self) -> Pass:
        return self._prepared([step.code for step in self.steps])

    def _prepared(self, codes: Sequence[Code | None]) -> Pass:
        return Pass.of([Layer.of(step, code) for step, code in zip(self.steps, codes, strict=True)])

    @cached_property
    def _rows(self) -> list[csr_array]:
        return [csr_array(np.asarray(step.weights.values, np.float32)) for step in self.steps]

    @cached_property
    def _functions(self) -> list[Elementwise]:
        return [Elementwise.of(step.function, jnp.float32).traced(jnp.float32) for step in self.steps]

    def _sparse(self, x: Array) -> Array:
        part = np.asarray(x, np.float32)
        out = np.empty((len(part), self.steps[-1].weights.shape[0]), np.float32)

        def work(begin: int) -> None:
            h = part[begin : begin + COLUMNS].T
            for matrix, step, function in zip(rows, self.steps, functions, strict=True):
                sums = matrix @ np.ascontiguousarray(h)
                sums = sums if step.bias is None else sums + np.asarray(step.bias, np.float32)[:, None]
                h = np.asarray(_applied(function, sums, step.factor))
            out[begin : begin + COLUMNS] = h.T

        rows, functions = self._rows, self._functions
        # SciPy works on one core and lets others work meanwhile
        with ThreadPoolExecutor() as pool:
            list(pool.map(work, range(0, len(part), COLUMNS)))
        return jnp.asarray(out)


@lru_cache(maxsize=1)
def affordable_planes() -> float:
    """Bit planes on which a product takes as long as in float32, on many rows; measured once."""
    size = 1024
    matrix = WeightMatrix(jnp.ones((size, size), jnp.int8), kind="ternary")
    h = jnp.ones((ROWS // 2, size), jnp.float32)
    code = Code.of_levels([-1, 0, 1])
    seconds = []
    for plan in (None, code):
        run = Pass.of([Layer.of(Step(matrix, 1.0, _same, None, plan), plan)])
        run(h).block_until_ready()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run(h).block_until_ready()
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
    return len(code.jumps) * seconds[0] / seconds[1]


def _same(sums: Array) -> Array:
    return sums.astype(jnp.float32)


def is_sparse(weights: Sequence[WeightMatrix]) -> bool:
    """Whether nearly all weights of every layer are 0."""
    return all(float(np.mean(np.asarray(w.values) == 0)) >= LEAST_ZEROS for w in weights)


@jax.jit
def _applied(function: Elementwise, sums: Array, factor: float) -> Array:
    return function(sums * jnp.float32(factor))
