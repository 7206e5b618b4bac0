r"""A pass through layers whose weights are packed, and unpacked where they are multiplied.

Ternary weights are stored as two bits each, those of ±1 as one bit: the encodings ``bits2`` and ``signs`` of
:mod:`hntk.weights.encodings`. A ternary weight is $b_0 - 2 b_1$ for its two bits, with $b_0 = 1$ where $b_1$ is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num, UInt8

from hntk.networks.layers import Layer, Pass, Step
from hntk.networks.read_layers import ReadLayers
from hntk.weights.encodings import pack
from hntk.weights.weight_matrix import WeightMatrix, Weights

# Encoding and bits of a stored weight, by its kind; all others are stored as they are.
BITS = {"ternary": ("bits2", 2), "sign": ("signs", 1)}


def packed_pass(steps: Sequence[Step], layers: ReadLayers) -> Callable[[Array], Float[Array, "n width"]]:
    """Return the pass through layers whose weights are unpacked where they are used."""
    made = [_packed_layer(step) for step in steps]

    def run(h: Array) -> Array:
        unpacked = Pass(tuple(unpack() for unpack in made), (1,) * len(made))
        return (unpacked.every_layer if layers == "all" else unpacked)(h.astype(jnp.float32))

    return run


def _packed_layer(step: Step) -> Callable[[], Layer]:
    """Return what gives a layer whose explicit weights are traced operations on packed ones."""
    layer = Layer.of(step, None)
    explicit = _packed(step.weights) if isinstance(layer.weights, jax.Array) else None
    branch, outer = layer.branch, None
    if branch is not None and step.branch is not None and isinstance(branch.weights, jax.Array):
        outer = _packed(step.branch.weights)

    def unpack() -> Layer:
        made = layer if explicit is None else replace(layer, weights=explicit())
        return made if branch is None or outer is None else replace(made, branch=replace(branch, weights=outer()))

    return unpack


def _packed(matrix: Weights) -> Callable[[], Float[Array, "d p"]]:
    """Return what gives a matrix in float32 as traced operations on its packed values."""
    values = np.asarray(matrix.values)
    if matrix.kind not in BITS:
        stored = values.astype(np.int8 if matrix.kind == "int8" else np.float32)
        return lambda: _as_stored(stored).astype(jnp.float32)
    encoding, bits = BITS[matrix.kind]
    packed = pack(WeightMatrix(values, 1.0, matrix.kind), encoding).values  # type: ignore[arg-type]

    def unpack() -> Array:
        codes = _codes(_as_stored(packed), bits, values.size)
        # 0, 1 and 3 stand for 0, +1 and −1; of one bit 1 stands for −1
        signs = (codes & 1) - (codes & 2) if bits == 2 else 1 - 2 * codes
        return signs.reshape(values.shape).astype(jnp.float32)

    return unpack


def _as_stored(values: np.ndarray) -> Array:
    """Return known numbers that a compiler does not compute with beforehand, so that it keeps them packed."""
    return jax.lax.optimization_barrier(jnp.asarray(values, values.dtype))


def _codes(packed: UInt8[Array, " bytes"], bits: int, count: int) -> Num[Array, " count"]:
    """Return groups of bits as whole numbers, the lowest bits of a byte first."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[:, None] >> places) & np.uint8(2**bits - 1)
    return codes.reshape(-1)[:count].astype(jnp.int8)
