r"""The recursion of the exact kernels, fused over all layers, for a tile of pairs at a time.

$K_0 = \Theta_0 = XX^\top$ (rows are samples), $K_l = E[(\sigma_l(u) - m_l)(\sigma_l(v) - m_l)]$ and $\Theta_l = K_l +
\Theta_{l-1} \circ E[\sigma_l'(u)\sigma_l'(v)]$ over $(u, v) \sim N(0, K_{l-1})$ (theory of Jacot et al., 2018). A pair
needs no other pair, only its two samples: what a sample contributes (its variance at every layer, expansions of the
activations at it) is computed once, and a tile goes through all layers before it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from hntk.activations import Activation, Staircase
from hntk.activations.base import PairMaps, Side
from hntk.activations.step_function import StepFunction, padded_alike

Layer = Activation | StepFunction
Kinds = tuple[Activation | None, ...]


class SampleSet(NamedTuple):
    """What the recursion needs to know of samples, one by one; but for ``x`` they are the last axis.

    Attributes
    ----------
    x : (n, p).
    variances : of the input of each layer, L arrays.
    sides : what each activation keeps at these.
    deviations : E[σ_l(u)] − m_l, L arrays.
    ck, ntk : diagonals of K_L and Θ_L.
    """

    x: Float[Array, "n p"]
    variances: list[Float[Array, " n"]]
    sides: list[Side]
    deviations: list[Float[Array, " n"]]
    ck: Float[Array, " n"]
    ntk: Float[Array, " n"]

    def part(self, start: Array | int, size: int) -> SampleSet:
        """Consecutive samples."""
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        return SampleSet(cut(self.x, axis=0), *jax.tree.map(partial(cut, axis=-1), self[1:]))

    def rows(self, index: Array) -> SampleSet:
        """Chosen samples."""
        return SampleSet(self.x[index], *jax.tree.map(lambda a: a[..., index], self[1:]))


class Tile(NamedTuple):
    """Kernels of pairs, and where they may be relied on (None for everywhere)."""

    ck: Float[Array, "*pairs"]
    ntk: Float[Array, "*pairs"]
    certain: Bool[Array, "*pairs"] | None = None


class Recursion:
    """A network's recursion, compiled once for all staircases and centres.

    Attributes
    ----------
    kinds : activations, with None in the place of staircases; what is compiled depends on them alone.
    network : staircases and centring constants, which are data to it.
    """

    def __init__(self, layers: Sequence[Activation], centres: Sequence[float]) -> None:
        dtype = jnp.result_type(float)
        steps = iter(padded_alike([layer.step_function for layer in layers if isinstance(layer, Staircase)]))
        self.kinds = tuple(None if isinstance(layer, Staircase) else layer for layer in layers)
        self.network = [next(steps) if kind is None else None for kind in self.kinds], jnp.asarray(centres, dtype)

    def samples(self, x: Float[Array, "n p"]) -> SampleSet:
        """What there is to know of each sample."""
        return _programs(self.kinds).samples(self.network, x)

    def tile(self, first: SampleSet, second: SampleSet, corner: tuple[int, int], shape: tuple[int, int]) -> Tile:
        """Consecutive rows and columns of the kernels."""
        return _programs(self.kinds).tile(self.network, first, second, *corner, shape)

    def pairs(self, first: SampleSet, second: SampleSet, i: np.ndarray, j: np.ndarray) -> Tile:
        """Single pairs, by the exact form of every activation."""
        return _programs(self.kinds).pairs(self.network, first, second, i, j)


class _Programs(NamedTuple):
    samples: Any
    tile: Any
    pairs: Any


@functools.lru_cache(maxsize=32)
def _programs(kinds: Kinds) -> _Programs:
    """Compiled for every shape that is asked for."""

    @jax.jit
    def samples(network: Any, x: Array) -> SampleSet:
        return _samples(_layers(kinds, network), network[1], x)

    @partial(jax.jit, static_argnums=5)
    def tile(network: Any, first: SampleSet, second: SampleSet, i: int, j: int, shape: tuple[int, int]) -> Tile:
        return tile_of(kinds, network, first.part(i, shape[0]), second.part(j, shape[1]))

    @jax.jit
    def pairs(network: Any, first: SampleSet, second: SampleSet, i: Array, j: Array) -> Tile:
        return pairs_of(kinds, network, first.rows(i), second.rows(j))

    return _Programs(samples, tile, pairs)


def _layers(kinds: Kinds, network: Any) -> list[Layer]:
    steps: list[StepFunction | None] = network[0]
    return [step if kind is None else kind for kind, step in zip(kinds, steps, strict=True)]  # type: ignore[misc]


def _samples(layers: Sequence[Layer], centres: Array, x: Array) -> SampleSet:
    variance = slope = jnp.sum(x * x, axis=1)
    variances, sides, deviations = [], [], []
    for layer, centre in zip(layers, centres, strict=True):
        variances.append(variance)
        sides.append(layer.side(variance))
        deviations.append(layer.mean_map(variance) - centre)
        following = layer.variance_map(variance) + deviations[-1] ** 2
        slope = following + slope * layer.slope_map(variance)
        variance = following
    return SampleSet(x, variances, sides, deviations, variance, slope)


def tile_of(kinds: Kinds, network: Any, left: SampleSet, right: SampleSet) -> Tile:
    """All pairs of two sets of samples."""
    layers = _layers(kinds, network)
    # GPUs round the factors of a product to 10 bits unless told otherwise
    ck = ntk = jnp.matmul(left.x, right.x.T, precision=jax.lax.Precision.HIGHEST)
    certain = None
    for layer, *rows, a, b in zip(layers, left.sides, right.sides, left.deviations, right.deviations, strict=True):
        maps: PairMaps = layer.pairs(*_crossed(*rows), ck)
        ck = maps.covariance + a[:, None] * b[None, :]
        ntk = ck + ntk * maps.derivative
        if maps.certain is not None:
            certain = maps.certain if certain is None else certain & maps.certain
    return Tile(ck, ntk, certain)


def _crossed(left: Side, right: Side) -> tuple[Side, Side]:
    """Axes (a, 1) and (1, b) in place of (a,) and (b,)."""
    return jax.tree.map(lambda a: a[..., :, None], left), jax.tree.map(lambda b: b[..., None, :], right)


def pairs_of(kinds: Kinds, network: Any, left: SampleSet, right: SampleSet) -> Tile:
    """Single pairs, by the exact form of every activation."""
    ck = ntk = jnp.sum(left.x * right.x, axis=1)
    for k, layer in enumerate(_layers(kinds, network)):
        variances = left.variances[k], right.variances[k]
        slope = layer.derivative_map(ck, *variances)
        ck = layer.covariance_map(ck, *variances) + left.deviations[k] * right.deviations[k]
        ntk = ck + ntk * slope
    return Tile(ck, ntk)
