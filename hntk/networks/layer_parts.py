"""Parts of layers besides weights and activations: biases, residual branches, scales and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from hntk._utils.arguments import as_choice, as_nonnegative, as_positive
from hntk._utils.arrays import brief
from hntk.theory.architecture import LayerScales, Normalize, brief_numbers
from hntk.weights.weight_matrix import Weights

UNIT = LayerScales(1.0, 0.0, 0.0)


class LayerParts(NamedTuple):
    """Checked parts of all layers.

    Attributes
    ----------
    biases : tuple of (d_l,) array or None, or None
        Standard biases; None where no layer has any.
    branches : tuple of WeightMatrix, OrthogonalMatrix or None, or None
        Outer matrices of residual branches; None where no layer has one.
    scales : tuple of LayerScales or None
        Scales of each layer; None for a network without any of these parts.
    normalize : {"rms", "layer"} or None
        Normalisation of what the weights multiply.
    """

    biases: tuple[Array | None, ...] | None
    branches: tuple[Weights | None, ...] | None
    scales: tuple[LayerScales, ...] | None
    normalize: Normalize | None


def as_layer_parts(weights: Sequence[Weights], biases: Any, branches: Any, scales: Any, normalize: Any) -> LayerParts:
    """Check that the parts of layers fit their weights.

    Parameters
    ----------
    weights : sequence of WeightMatrix or OrthogonalMatrix
        One matrix a layer.
    biases, branches, scales : sequence or None
        One entry a layer, None where a layer has no such part. Without scales they are 1 for all parts that there are.
    normalize : {"rms", "layer"} or None
        Normalisation.

    Returns
    -------
    LayerParts
        The parts, with biases in float32.

    Raises
    ------
    ValueError
        If there are not as many as layers, a shape or a number does not fit, or a part and its scale are not both
        there.
    """
    every_bias = [_as_bias(b, w, n) for n, (b, w) in enumerate(_one_each(biases, "biases", weights), 1)]
    every_branch = [_as_branch(b, w, n) for n, (b, w) in enumerate(_one_each(branches, "branches", weights), 1)]
    if scales is None:
        there = zip(every_bias, every_branch, strict=True)
        every_scale = [LayerScales(1.0, float(b is not None), float(w2 is not None)) for b, w2 in there]
    else:
        every_scale = [_as_scales(s, n) for n, (s, _) in enumerate(_one_each(scales, "scales", weights), 1)]
    for number, (b, w2, scale) in enumerate(zip(every_bias, every_branch, every_scale, strict=True), 1):
        _check_both(b, scale.bias_std, number, "biases", "bias_std")
        _check_both(w2, scale.residual, number, "branches", "residual")
    kind = None if normalize is None else as_choice(normalize, "normalize", get_args(Normalize))
    return LayerParts(
        None if all(b is None for b in every_bias) else tuple(every_bias),
        None if all(w2 is None for w2 in every_branch) else tuple(every_branch),
        None if scales is kind is None and set(every_scale) <= {UNIT} else tuple(every_scale),
        kind,
    )


def _one_each(given: Any, name: str, weights: Sequence[Weights]) -> list[tuple[Any, Weights]]:
    """Return a layer's entry beside its weights; None stands for no entries."""
    if given is None:
        return [(None, w) for w in weights]
    if not isinstance(given, list | tuple) or len(given) != len(weights):
        raise ValueError(
            f"{name} must be a tuple of {len(weights)}, one entry a layer and None for a layer without; got "
            f"{brief(given)}."
        )
    return list(zip(given, weights, strict=True))


def _as_bias(bias: Any, weights: Weights, number: int) -> Array | None:
    if bias is None:
        return None
    wanted = (weights.shape[0],)
    if not hasattr(bias, "dtype") or jnp.issubdtype(bias.dtype, jnp.complexfloating) or bias.shape != wanted:
        raise ValueError(
            f"the biases of layer {number} must be an array of {wanted[0]:,} real numbers, one an output of its "
            f"weights; got {brief(bias)}."
        )
    known = isinstance(bias, jax.Array) and bias.dtype == jnp.float32
    return bias if known else jnp.asarray(bias, jnp.float32)


def _as_branch(branch: Any, weights: Weights, number: int) -> Weights | None:
    if branch is None:
        return None
    outputs, inputs = weights.shape
    if not isinstance(branch, Weights) or tuple(branch.shape) != (outputs, outputs):
        raise ValueError(
            f"the branch of layer {number} must be an hntk.WeightMatrix of shape {(outputs, outputs)}, from the "
            f"layer's outputs to its state; got {brief(branch)}."
        )
    check_branch_widths(number, inputs, outputs)
    return branch


def check_branch_widths(number: int, before: int, width: int) -> None:
    """Refuse a residual branch between different widths.

    Raises
    ------
    ValueError
        If the widths before and behind the layer differ.
    """
    if before != width:
        what = "the data's dimension" if number == 1 else f"the width of layer {number - 1}"
        raise ValueError(
            f"layer {number} has a residual branch, which is added to a state of width {before:,} ({what}), but its "
            f"own width is {width:,}: make both equal, or set this layer's residual to 0."
        )


def _as_scales(scales: Any, number: int) -> LayerScales:
    if not isinstance(scales, list | tuple) or len(scales) != 3:
        raise ValueError(f"the scales of layer {number} must be hntk.LayerScales, three numbers; got {brief(scales)}.")
    checks: tuple[Callable[[object, str], float], ...] = (as_positive, as_nonnegative, as_nonnegative)
    names = LayerScales._fields
    return LayerScales(
        *(check(value, f"{name} of layer {number}") for check, value, name in zip(checks, scales, names, strict=True))
    )


def _check_both(part: object, scale: float, number: int, what: str, name: str) -> None:
    """Refuse a part without a scale, which has no effect, and a scale without a part."""
    if part is None and scale:
        raise ValueError(f"layer {number} has {name} = {scale:.6g} but no {what}: give them, or {name} = 0.")
    if part is not None and not scale:
        raise ValueError(f"layer {number} has {what} but {name} = 0: give a positive {name}, or no {what}.")


def part_names(scales: Sequence[LayerScales] | None, normalize: Normalize | None) -> list[str]:
    """Return what a network has besides plain layers, by the names that :class:`hntk.Architecture` has for it."""
    columns = zip(LayerScales._fields, zip(*(scales or [UNIT]), strict=True), UNIT, strict=True)
    names = [f"{name}={brief_numbers(values)}" for name, values, plain in columns if set(values) != {plain}]
    return names if normalize is None else [*names, f"normalize={normalize!r}"]
