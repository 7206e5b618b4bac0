"""Layers as a forward pass compiles them.

Consecutive layers of one form become one step of a scan, so that a deep network compiles as fast as a shallow one.
Their thresholds, levels and centres are arrays then, so that layers of equal shapes have one form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from hntk._utils.devices import exact_product
from hntk._utils.pytree import is_traced
from hntk.activations.lookup import COMPARED, lookup
from hntk.networks.integer_steps import NeuronSteps
from hntk.networks.row_normalization import unit_rows
from hntk.networks.spaced_steps import SpacedSteps
from hntk.theory.architecture import Normalize
from hntk.weights.bit_planes import Code
from hntk.weights.bit_products import BitMatrix, bit_product
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

# Whole weights up to so many are kept in float32 as well, which saves converting them for every batch.
COPIED = 2**24
# From so many equal layers on, a scan compiles faster.
SCANNED = 4
# Rows of an orthogonal block from which its transform is faster than the product with the explicit matrix.
TRANSFORMED = 512


@dataclass(frozen=True)
class BranchStep:
    """What a residual branch makes of a layer's values f: carried · h + factor · W₂ f, with the layer's state h.

    Attributes
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The matrix W₂; its own scale is not used.
    factor : float
        What the sums are multiplied with.
    carried : float
        What the state is multiplied with.
    """

    weights: Weights
    factor: float
    carried: float

    @property
    def transforms(self) -> bool:
        """Whether sums are computed by a Walsh–Hadamard transform."""
        return _transforms(self.weights)


@dataclass(frozen=True)
class Step:
    """One layer: function(factor · (W h + bias) + shift), with a normalised h where there is a normalisation.

    Attributes
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The matrix W; its own scale is not used.
    factor : float
        What the sums are multiplied with.
    function : callable
        Function of single numbers; hashable, so that what is compiled for it is kept.
    bias : (outputs,) array or None
        What is added to the sums.
    code : Code or None
        Bit planes of the values that h can have, in a network of whole numbers.
    shift : (outputs,) array or None
        What is added behind the factor, in a network of floats.
    branch : BranchStep or None
        Residual branch.
    normalize : {"rms", "layer"} or None
        Normalisation of h to rows of norm 1.
    """

    weights: Weights
    factor: float
    function: Callable[[Array], Array]
    bias: Float[np.ndarray, " outputs"] | None = None
    code: Code | None = None
    shift: Float[np.ndarray | Array, " outputs"] | None = None
    branch: BranchStep | None = None
    normalize: Normalize | None = None

    @property
    def transforms(self) -> bool:
        """Whether sums are computed by a Walsh–Hadamard transform, for speed, or as explicit values would be large."""
        return _transforms(self.weights)

    @property
    def matrices(self) -> tuple[Weights, ...]:
        """The layer's matrix, and that of a branch."""
        return (self.weights,) if self.branch is None else (self.weights, self.branch.weights)


def _transforms(w: Weights) -> bool:
    return isinstance(w, OrthogonalMatrix) and (w.size >= TRANSFORMED or prod(w.shape) > COPIED)


@partial(jax.tree_util.register_dataclass, data_fields=["table", "centre"], meta_fields=["function"])
@dataclass(frozen=True)
class Elementwise:
    """A layer's function σ(z) − m.

    Attributes
    ----------
    function : callable or None
        The whole function if the compiler is to know its numbers, which makes a pass on bit planes a third faster; σ if
        m is an array; None if σ is a staircase given by arrays.
    table : tuple of arrays or None
        Thresholds and levels of that staircase. Where every neuron has its own thresholds, they are (thresholds,
        neurons).
    centre : array or None
        The constant m, if it is an array.
    """

    function: Callable[[Array], Array] | None
    table: tuple[Array, Array] | None = None
    centre: Array | None = None

    @classmethod
    def of(cls, function: Callable[[Array], Array], dtype: DTypeLike) -> Elementwise:
        """Wrap a function of sums in a dtype; if it has many thresholds, or each neuron its own, they become arrays."""
        sigma = getattr(function, "sigma", function)
        few = not isinstance(sigma, NeuronSteps | SpacedSteps) and len(getattr(sigma, "thresholds", ())) <= COMPARED
        return cls(function) if few else cls(function).traced(dtype)

    def traced(self, dtype: DTypeLike) -> Elementwise:
        """Return the same function with its centre, and the table of a staircase, as arrays."""
        if self.function is None:
            return self
        sigma, m = getattr(self.function, "sigma", self.function), getattr(self.function, "m", None)
        centre = self.centre if m is None else jnp.float32(m)
        table = getattr(sigma, "table", None)
        if table is None:
            return Elementwise(sigma, None, centre)
        thresholds, levels = table(dtype)
        # with a type, arrays are not copied by a program that is compiled for every shape
        return Elementwise(None, (jnp.asarray(thresholds, thresholds.dtype), jnp.asarray(levels, levels.dtype)), centre)

    @property
    def of_columns(self) -> Elementwise:
        """The same function for sums whose rows, and not columns, are neurons; only for a table that is an array."""
        if self.table is None or self.table[0].ndim == 1:
            return self
        thresholds, levels = self.table
        return replace(self, table=(thresholds[:, :, None], levels))

    def __call__(self, z: Array) -> Array:
        """Apply it to every element."""
        if self.function is not None:
            values = self.function(z)
        else:
            assert self.table is not None
            values = lookup(*self.table, z)
        return values if self.centre is None else values - self.centre


@partial(jax.tree_util.register_dataclass, data_fields=["weights", "factor", "carried"], meta_fields=["borrowed"])
@dataclass(frozen=True)
class Branch:
    """A residual branch in the form that is compiled, see :class:`BranchStep`.

    Attributes
    ----------
    weights : OrthogonalMatrix or array
        W₂.
    factor, carried : array
        What the sums and the state are multiplied with.
    borrowed : bool
        Whether W₂ is the network's own array, and not a copy.
    """

    weights: OrthogonalMatrix | Array
    factor: Array
    carried: Array
    borrowed: bool

    @classmethod
    def of(cls, step: BranchStep) -> Branch:
        """Prepare a branch."""
        weights, borrowed = _prepared(step.weights, step.transforms)
        return cls(weights, jnp.float32(step.factor), jnp.float32(step.carried), borrowed)

    def __call__(self, h: Float[Array, "n d"], values: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Return the state behind a layer, given the one before it and the layer's values."""
        return h * self.carried + _sums(self.weights, values.astype(h.dtype)) * self.factor


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights", "factor", "bias", "function", "shift", "branch"],
    meta_fields=["shape", "borrowed", "normalize"],
)
@dataclass(frozen=True)
class Layer:
    """A layer in the form that is compiled.

    Attributes
    ----------
    weights : BitMatrix, OrthogonalMatrix or array
        Bit planes with their bias, or W.
    factor : array
        What the sums are multiplied with; 1 on bit planes.
    bias : array or None
        What is added to the sums; None on bit planes.
    function : Elementwise
        Function of the sums.
    shape : tuple of int
        (outputs, inputs).
    borrowed : bool
        Whether W is the network's own array, and not a copy.
    shift : array or None
        What is added behind the factor; None on bit planes.
    branch : Branch or None
        Residual branch; None on bit planes.
    normalize : {"rms", "layer"} or None
        Normalisation of what W multiplies; None on bit planes.
    """

    weights: BitMatrix | OrthogonalMatrix | Array
    factor: Array
    bias: Array | None
    function: Elementwise
    shape: tuple[int, ...]
    borrowed: bool
    shift: Array | None = None
    branch: Branch | None = None
    normalize: Normalize | None = None

    @classmethod
    def of(cls, step: Step, code: Code | None) -> Layer:
        """Prepare a layer, on the planes of a code if there is one."""
        shape, bias = step.weights.shape, None if step.bias is None else jnp.asarray(step.bias, jnp.float32)
        if code is not None and not step.transforms:
            planes = BitMatrix.of(step.weights, code, step.bias)
            return cls(planes, jnp.float32(1.0), None, Elementwise.of(step.function, jnp.int32), shape, False)
        weights, borrowed = _prepared(step.weights, step.transforms)
        function = Elementwise.of(step.function, jnp.float32)
        shift = None if step.shift is None else jnp.asarray(step.shift, jnp.float32)
        branch = None if step.branch is None else Branch.of(step.branch)
        return cls(weights, jnp.float32(step.factor), bias, function, shape, borrowed, shift, branch, step.normalize)

    def __call__(self, h: Float[Array, "n p"]) -> Float[Array, "n d"]:
        """Return what the next layer takes."""
        if isinstance(self.weights, BitMatrix):
            return self.function(bit_product(self.weights, h))
        sums = _sums(self.weights, h if self.normalize is None else unit_rows(h, self.normalize))
        z = (sums if self.bias is None else sums + self.bias) * self.factor
        values = self.function(z if self.shift is None else z + self.shift)
        return values if self.branch is None else self.branch(h, values)

    def traced(self) -> Layer:
        """Return the same layer with all its numbers as arrays."""
        if isinstance(self.weights, BitMatrix):
            return replace(self, weights=self.weights.traced(), function=self.function.traced(jnp.int32))
        return replace(self, function=self.function.traced(jnp.float32))

    @property
    def borrowed_size(self) -> int:
        """Number of weights that a copy of the layer would take once more."""
        inner = prod(self.shape) if self.borrowed else 0
        return inner + (self.shape[0] ** 2 if self.branch is not None and self.branch.borrowed else 0)


def _prepared(w: Weights, transforms: bool) -> tuple[OrthogonalMatrix | Array, bool]:
    """Return weights as a product takes them, and whether they are the network's own array."""
    if transforms:
        return w, False  # type: ignore[return-value]
    values = w.values
    if values.dtype == jnp.float32 or values.size > COPIED:
        return values, True
    # on the host, where no conversion is compiled for every shape
    return values.astype(jnp.float32) if is_traced(values) else _on_device(np.asarray(values)), False


def _on_device(values: np.ndarray) -> Array:
    """Return numbers as a JAX array in float32."""
    return jnp.asarray(values.astype(np.float32), np.float32)


def _sums(weights: OrthogonalMatrix | Array, h: Array) -> Array:
    if isinstance(weights, OrthogonalMatrix):
        return weights.product(h)
    return exact_product(h, weights.astype(h.dtype).T)


@dataclass(frozen=True)
class Pass:
    """A compiled pass through layers.

    Attributes
    ----------
    groups : tuple of Layer
        One layer each, or several of one form with their arrays stacked.
    counts : tuple of int
        Number of layers in each group.
    """

    groups: tuple[Layer, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Pass:
        """Group layers, given in their order."""
        groups, counts = [], []
        both = zip(layers, (layer.traced() for layer in layers), strict=True)
        for _, pairs in groupby(both, key=lambda pair: _form(pair[1])):
            plain, traced = zip(*pairs, strict=True)
            if _can_be_scanned(plain):
                groups.append(jax.tree.map(_stacked, *traced))
                counts.append(len(plain))
            else:
                groups += plain
                counts += [1] * len(plain)
        return cls(tuple(groups), tuple(counts))

    def __call__(self, h: Float[Array, "n p"]) -> Float[Array, "n d"]:
        """Return the values of the last layer."""
        return _run(self.counts, self.groups, h)

    def every_layer(self, h: Float[Array, "n p"]) -> Float[Array, "n widths"]:
        """Return the values of all layers side by side, the first layer first, in float32."""
        return _run_and_keep(self.counts, self.groups, h)


def _form(traced: Layer) -> tuple[Any, ...]:
    """Return all that a traced layer is compiled for: layers of equal forms can share what is compiled."""
    leaves, structure = jax.tree.flatten(traced)
    return structure, *((leaf.shape, leaf.dtype) for leaf in leaves)


def _stacked(*leaves: Array) -> Array:
    # On the host, where stacking needs no compilation, nor with a type the copy.
    stacked = np.stack([np.asarray(leaf) for leaf in leaves])
    return jnp.asarray(stacked, stacked.dtype)


def _can_be_scanned(equal: Sequence[Layer]) -> bool:
    """Return whether layers of one form are many, fit each other, and need no second copy of large arrays."""
    first, (outputs, inputs) = equal[0], equal[0].shape
    if len(equal) < SCANNED or outputs != inputs or len(equal) * first.borrowed_size > COPIED:
        return False
    # A user's function may return another type than it takes.
    row = jax.ShapeDtypeStruct((1, inputs), jnp.float32)
    return jax.eval_shape(lambda h: first(h), row).dtype == jnp.float32


@partial(jax.jit, static_argnums=0)
def _run(counts: tuple[int, ...], groups: tuple[Layer, ...], h: Array) -> Array:
    for count, group in zip(counts, groups, strict=True):
        h = group(h) if count == 1 else jax.lax.scan(lambda v, layer: (layer(v), None), h, group)[0]
    return h


@partial(jax.jit, static_argnums=0)
def _run_and_keep(counts: tuple[int, ...], groups: tuple[Layer, ...], h: Array) -> Array:
    values, rows = [], h.shape[0]
    for count, group in zip(counts, groups, strict=True):
        if count == 1:
            h = group(h)
            values.append(h.astype(jnp.float32))
        else:
            h, stacked = jax.lax.scan(_value_twice, h, group)
            values.append(jnp.moveaxis(stacked, 0, 1).reshape(rows, count * h.shape[1]))
    return jnp.concatenate(values, axis=1)


def _value_twice(h: Array, layer: Layer) -> tuple[Array, Array]:
    value = layer(h)
    return value, value
