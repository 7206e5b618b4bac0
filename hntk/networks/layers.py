"""What a forward pass compiles, and the numbers it is compiled for.

Equal layers one after another are one step of a scan, so that a network of many is compiled as fast as one of few:
their thresholds, levels and centres are arrays then, and equal are layers of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from hntk.activations.lookup import COMPARED, lookup
from hntk.weights.bit_planes import Code
from hntk.weights.bit_products import BitMatrix, bit_product
from hntk.weights.laws import WeightMatrix

# whole weights up to here are kept in float32 too, which saves turning them into it for every batch
COPIED = 2**24
# equal layers from which on a scan is compiled in less time
SCANNED = 4


@dataclass(frozen=True)
class Step:
    """One layer: function(factor · (W h + bias)).

    Attributes
    ----------
    weights : W, of which the values alone are used.
    factor : of the sums.
    function : elementwise; hashable, so that what is compiled for it is kept.
    bias : (outputs,) or None.
    code : of what h can be, in a network of whole numbers.
    """

    weights: WeightMatrix
    factor: float
    function: Callable[[Array], Array]
    bias: Float[np.ndarray, " outputs"] | None = None
    code: Code | None = None


@partial(jax.tree_util.register_dataclass, data_fields=["table", "centre"], meta_fields=["function"])
@dataclass(frozen=True)
class Elementwise:
    """A layer's function σ(z) − m.

    Attributes
    ----------
    function : all of it where its numbers are known to the compiler, which makes a pass on bit planes a third faster;
        σ where m is an array; None where σ is a staircase of arrays.
    table : thresholds and levels of the latter.
    centre : m.
    """

    function: Callable[[Array], Array] | None
    table: tuple[Array, Array] | None = None
    centre: Array | None = None

    @classmethod
    def of(cls, function: Callable[[Array], Array], dtype: DTypeLike) -> Elementwise:
        """From a function of sums of a type; many thresholds become arrays."""
        sigma = getattr(function, "sigma", function)
        few = len(getattr(sigma, "thresholds", ())) <= COMPARED
        return cls(function) if few else cls(function).traced(dtype)

    def traced(self, dtype: DTypeLike) -> Elementwise:
        """Return the same function with its numbers as arrays, as far as it is a staircase or has a centre ``m``."""
        if self.function is None:
            return self
        sigma, m = getattr(self.function, "sigma", self.function), getattr(self.function, "m", None)
        centre = self.centre if m is None else jnp.float32(m)
        table = getattr(sigma, "table", None)
        if table is None:
            return Elementwise(sigma, None, centre)
        thresholds, levels = table(dtype)
        return Elementwise(None, (jnp.asarray(thresholds), jnp.asarray(levels)), centre)

    def __call__(self, z: Array) -> Array:
        """Apply it to every element."""
        if self.function is not None:
            values = self.function(z)
        else:
            assert self.table is not None
            values = lookup(*self.table, z)
        return values if self.centre is None else values - self.centre


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights", "factor", "bias", "function"],
    meta_fields=["shape", "borrowed"],
)
@dataclass(frozen=True)
class Layer:
    """A layer that is ready to run.

    Attributes
    ----------
    weights : bit planes with their bias, or W.
    factor, bias : of the sums; of bit planes they are 1 and None.
    function : of them.
    shape : (outputs, inputs).
    borrowed : whether W is the network's own array, and not a copy.
    """

    weights: BitMatrix | Array
    factor: Array
    bias: Array | None
    function: Elementwise
    shape: tuple[int, ...]
    borrowed: bool

    @classmethod
    def of(cls, step: Step, code: Code | None) -> Layer:
        """On the planes of a code, or on numbers."""
        values, shape = step.weights.values, step.weights.shape
        if code is not None:
            planes = BitMatrix.of(step.weights, code, step.bias)
            return cls(planes, jnp.float32(1.0), None, Elementwise.of(step.function, jnp.int32), shape, False)
        borrowed = values.dtype == jnp.float32 or values.size > COPIED
        values = values if borrowed else values.astype(jnp.float32)
        bias = None if step.bias is None else jnp.asarray(step.bias, jnp.float32)
        function = Elementwise.of(step.function, jnp.float32)
        return cls(values, jnp.float32(step.factor), bias, function, shape, borrowed)

    def __call__(self, h: Float[Array, "n p"]) -> Float[Array, "n d"]:
        """What the next layer takes."""
        if isinstance(self.weights, BitMatrix):
            return self.function(bit_product(self.weights, h))
        # GPUs round the factors of a product to 10 bits unless told otherwise
        sums = jnp.matmul(h, self.weights.astype(h.dtype).T, precision=jax.lax.Precision.HIGHEST)
        return self.function((sums if self.bias is None else sums + self.bias) * self.factor)

    def traced(self) -> Layer:
        """Return the same layer with all its numbers as arrays."""
        if isinstance(self.weights, BitMatrix):
            return replace(self, weights=self.weights.traced(), function=self.function.traced(jnp.int32))
        return replace(self, function=self.function.traced(jnp.float32))


@dataclass(frozen=True)
class Pass:
    """A compiled pass through layers.

    Attributes
    ----------
    groups : one layer each, or several equal ones with their arrays stacked.
    counts : of layers in each.
    """

    groups: tuple[Layer, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Pass:
        """From layers in their order."""
        groups, counts = [], []
        both = zip(layers, (layer.traced() for layer in layers), strict=True)
        for _, equal in groupby(both, key=lambda pair: _form(pair[1])):
            found, traced = zip(*equal, strict=True)
            if _can_be_scanned(found):
                groups.append(jax.tree.map(_stacked, *traced))
                counts.append(len(found))
            else:
                groups += found
                counts += [1] * len(found)
        return cls(tuple(groups), tuple(counts))

    def __call__(self, h: Float[Array, "n p"]) -> Float[Array, "n d"]:
        """Features of the last layer."""
        return _run(self.counts, self.groups, h)


def _form(traced: Layer) -> tuple[Any, ...]:
    """Return all that is compiled of a traced layer: layers of equal forms can share it."""
    leaves, structure = jax.tree.flatten(traced)
    return structure, *((leaf.shape, leaf.dtype) for leaf in leaves)


def _stacked(*leaves: Array) -> Array:
    # on the host, where nothing has to be compiled for it
    return jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves]))


def _can_be_scanned(equal: Sequence[Layer]) -> bool:
    """Whether equal layers are many, can follow each other, and need no second copy of much."""
    first, (outputs, inputs) = equal[0], equal[0].shape
    if len(equal) < SCANNED or outputs != inputs or (first.borrowed and len(equal) * inputs**2 > COPIED):
        return False
    # a function of the user's own may give another type than it takes
    row = jax.ShapeDtypeStruct((1, inputs), jnp.float32)
    return jax.eval_shape(lambda h: first(h), row).dtype == jnp.float32


@partial(jax.jit, static_argnums=0)
def _run(counts: tuple[int, ...], groups: tuple[Layer, ...], h: Array) -> Array:
    for count, group in zip(counts, groups, strict=True):
        h = group(h) if count == 1 else jax.lax.scan(lambda v, layer: (layer(v), None), h, group)[0]
    return h
