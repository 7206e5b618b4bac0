"""Forward passes in batches, each layer in the fastest of four ways.

* **dense**: a product in float32.
* **transform**: a Walsh–Hadamard transform, for orthogonal blocks of some size; whatever the way of the others.
* **planes**: a product on bit planes (:mod:`hntk.weights.bit_products`), on a CPU, for ternary weights that are
  multiplied with values of few levels.
* **sparse**: a product with the non-zero weights alone, on a CPU, where nearly all weights are zero. A product of
  compressed rows is slower a weight than a dense one, and overtakes it somewhere above ε = .9.

Sums of whole numbers below 2²⁴ are exact in float32 in any order, so that networks of whole numbers give the same in
all ways, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache, partial
from math import prod
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import Array
from jaxtyping import Float

from hntk._utils.pytree import is_traced, known_numbers
from hntk.networks.layers import Elementwise, Layer, Pass, Step
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.networks.row_normalization import unit_columns_on_host
from hntk.weights.bit_planes import Code
from hntk.weights.weight_matrix import WeightMatrix, Weights

# Share of zeros above which a matrix counts as nearly empty.
LEAST_ZEROS = 0.95
# Sample columns per sparse product; more would not fit the cache.
COLUMNS = 128
# Rows per batch on bit planes; more would not fit the cache.
ROWS = 512
# Up to so many rows, reading the weights takes the time, not arithmetic.
FEW_ROWS = 16
BATCH = 2048


class Forward:
    """Layers that are ready to run; what is prepared or compiled for them is kept.

    Parameters
    ----------
    steps : sequence of Step
        The layers.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def batches(
        self, x: Float[Array, "n p"], batch: int = BATCH, layers: ReadLayers = "last"
    ) -> Iterator[Float[Array, "batch width"]]:
        """Yield h_L in float32, or (h_1, …, h_L) side by side, a batch of rows at a time."""
        traced = is_traced(x) or self._is_traced
        way = "dense" if traced else self.way(min(batch, x.shape[0]))
        size = min(batch, ROWS) if way == "planes" else batch
        run = self._runner(way, layers)
        for start in range(0, x.shape[0], size):
            yield run(x[start : start + size].astype(jnp.float32))

    def way(self, rows: int) -> Literal["dense", "planes", "sparse"]:
        """Return the fastest way for so many rows on this machine."""
        if jax.default_backend() != "cpu":
            return "dense"
        coded = any(step.code is not None and not step.transforms for step in self.steps)
        if coded and rows <= FEW_ROWS:
            return "planes"
        if self._nearly_empty:
            return "sparse"
        return "planes" if coded and self._planes_per_weight < affordable_planes() else "dense"

    def _runner(self, way: Literal["dense", "planes", "sparse"], layers: ReadLayers) -> Callable[[Array], Array]:
        if way == "sparse":
            return partial(self._sparse, layers=layers)
        prepared = self._planes if way == "planes" else self._dense
        return prepared.every_layer if layers == "all" else prepared

    @property
    def _is_traced(self) -> bool:
        return is_traced([(step.matrices, step.bias, step.shift, step.function) for step in self.steps])

    @cached_property
    def _nearly_empty(self) -> bool:
        steps = (*self.steps, *(step.branch for step in self.steps if step.branch is not None))
        return not any(step.transforms for step in steps) and is_sparse([step.weights for step in steps])

    @cached_property
    def _planes_per_weight(self) -> float:
        # Transforms take as long either way.
        steps = [step for step in self.steps if not step.transforms]
        sizes = [prod(step.weights.shape) for step in steps]
        planes = [0 if step.code is None else len(step.code.jumps) for step in steps]
        return sum(n * t for n, t in zip(sizes, planes, strict=True)) / sum(sizes)

    @cached_property
    def _dense(self) -> Pass:
        return self._prepared([None] * len(self.steps))

    @cached_property
    def _planes(self) -> Pass:
        return self._prepared([step.code for step in self.steps])

    def _prepared(self, codes: Sequence[Code | None]) -> Pass:
        """Return a pass on the planes of each layer's code, or on numbers without one."""
        pairs = list(zip(self.steps, codes, strict=True))
        if self._is_traced:
            return Pass(tuple(Layer.of(step, code) for step, code in pairs), (1,) * len(pairs))
        # The pass is kept, and must hold no tracer of a transformation that may be running.
        with known_numbers():
            return Pass.of([Layer.of(step, code) for step, code in pairs])

    @cached_property
    def _compressed_rows(self) -> list[list[scipy.sparse.csr_array]]:
        rows = scipy.sparse.csr_array
        return [[rows(np.asarray(w.values, np.float32)) for w in step.matrices] for step in self.steps]

    @cached_property
    def _functions(self) -> list[Elementwise]:
        return [Elementwise.of(step.function, jnp.float32).traced(jnp.float32).of_columns for step in self.steps]

    def _sparse(self, x: Array, layers: ReadLayers = "last") -> Array:
        """Run all layers on columns of samples, on all cores."""
        rows = np.asarray(x)
        ends = np.cumsum(read_widths([step.weights.shape[0] for step in self.steps], layers))
        out = np.empty((len(rows), ends[-1]), np.float32)
        parts = list(zip(self._compressed_rows, self.steps, self._functions, strict=True))

        def run_columns(begin: int) -> None:
            h = rows[begin : begin + COLUMNS].T
            for number, (matrices, step, function) in enumerate(parts, len(ends) - len(parts)):
                h = _sparse_layer(matrices, step, function, np.ascontiguousarray(h))
                if number >= 0:
                    out[begin : begin + COLUMNS, ends[number] - len(h) : ends[number]] = h.T

        # SciPy works on one core, and releases Python's lock meanwhile.
        with ThreadPoolExecutor() as pool:
            list(pool.map(run_columns, range(0, len(rows), COLUMNS)))
        return jnp.asarray(out)


def _sparse_layer(
    matrices: Sequence[scipy.sparse.csr_array], step: Step, function: Elementwise, h: np.ndarray
) -> np.ndarray:
    """Return what the next layer takes, of columns of samples."""
    sums = matrices[0] @ (h if step.normalize is None else unit_columns_on_host(h, step.normalize))
    sums = sums if step.bias is None else sums + np.asarray(step.bias, np.float32)[:, None]
    shift = None if step.shift is None else np.asarray(step.shift)[:, None]
    values = np.asarray(_applied(function, sums, step.factor, shift))
    if step.branch is None:
        return values
    branch, outer = step.branch, matrices[1] @ np.ascontiguousarray(values, np.float32)
    return h * np.float32(branch.carried) + outer * np.float32(branch.factor)


@lru_cache(maxsize=1)
def affordable_planes() -> float:
    """Measure the number of bit planes on which a product takes as long as in float32, on many rows; once a process."""
    size = 1024
    matrix = WeightMatrix(jnp.ones((size, size), jnp.int8), kind="ternary")
    h = jnp.ones((ROWS // 2, size), jnp.float32)
    code = Code.of_levels([-1, 0, 1])
    dense, planes = (
        _shortest_time(Pass.of([Layer.of(Step(matrix, 1.0, _to_float32, None, c), c)]), h) for c in (None, code)
    )
    return len(code.jumps) * dense / planes


def _shortest_time(run: Callable[[Array], Array], h: Array) -> float:
    """Return the shortest of five run times in seconds, after compilation."""
    run(h).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(h).block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times)


def _to_float32(sums: Array) -> Array:
    return sums.astype(jnp.float32)


def is_sparse(weights: Sequence[Weights]) -> bool:
    """Return whether nearly all weights of every layer are 0."""
    return all(w.zeros >= LEAST_ZEROS for w in weights)


@jax.jit
def _applied(function: Elementwise, sums: Array, factor: float, shift: Array | None) -> Array:
    z = sums * jnp.float32(factor)
    return function(z if shift is None else z + shift)
