r"""Hidden layers and readout of a chain, with affine maps folded into the dense layer before or behind them.

$\mathrm{scale}\,(Wh + b) + \mathrm{shift}$ is a dense layer with the rows of W scaled, and
$W(\mathrm{scale}\,h + \mathrm{shift}) + b$ one with its columns scaled. Both are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from hntk.networks.models.chain import unchanged
from hntk.networks.models.records import Affine, Dense, Elementwise, Record, refuse

LINEAR = Elementwise("identity", unchanged, of_jax=True)


@dataclass(frozen=True)
class FoldedModel:
    """Hidden layers with their functions, and a readout.

    Attributes
    ----------
    layers : tuple of (Dense, Elementwise)
        The hidden layers.
    weights : (d, K) array
        Weights of the readout, which takes h_L itself.
    offset : (K,) array
        Its offset.
    """

    layers: tuple[tuple[Dense, Elementwise], ...]
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]


def fold(records: Sequence[Record]) -> FoldedModel:
    """Return hidden layers and readout of a chain.

    A dense layer that another follows without a function in between becomes a hidden layer with the identity. Where a
    model ends in a function, its readout is the identity too.

    Parameters
    ----------
    records : sequence of Dense, Affine or Elementwise
        The chain.

    Returns
    -------
    FoldedModel
        Hidden layers and readout.

    Raises
    ------
    ValueError
        If the chain has no hidden layer, begins with a function, or has shapes that do not fit.
    """
    layers: list[tuple[Dense, Elementwise]] = []
    dense: Dense | None = None
    before: Affine | None = None
    for record in records:
        if isinstance(record, Dense):
            if dense is not None:
                layers.append((dense, LINEAR))
            dense, before = _behind(before, record), None
        elif isinstance(record, Affine):
            if dense is not None:
                dense = _before(dense, record)
            else:
                before = record if before is None else _composed(before, record)
        elif dense is not None:
            layers.append((dense, record))
            dense = None
        else:
            _refuse_function(record, bool(layers))
    if not layers:
        raise ValueError(
            f"the model has {'one dense layer' if dense else 'no dense layer'} and no hidden one: its conjugate kernel "
            "is that of its inputs. Give a model with a hidden layer."
        )
    width = len(layers[-1][0].weights)
    if dense is None:
        dense = _behind(before, Dense("the output", np.eye(width), np.zeros(width)))
    return FoldedModel(tuple(layers), dense.weights.T, dense.bias)


def _behind(affine: Affine | None, dense: Dense) -> Dense:
    """Return the dense layer that takes what an affine map takes."""
    if affine is None:
        return dense
    inputs = dense.weights.shape[1]
    for part in (affine.scale, affine.shift):
        if np.size(part) not in (1, inputs):
            refuse(
                affine.name,
                f"it has {np.size(part)} numbers but layer {dense.name!r} takes {inputs}",
                "give one number for each neuron",
            )
    bias = dense.bias + dense.weights @ np.broadcast_to(affine.shift, inputs)
    return replace(dense, weights=dense.weights * affine.scale, bias=bias)


def _before(dense: Dense, affine: Affine) -> Dense:
    """Return the dense layer that gives what an affine map makes of its outputs."""
    scale = np.broadcast_to(affine.scale, len(dense.bias))
    return replace(dense, weights=scale[:, None] * dense.weights, bias=scale * dense.bias + affine.shift)


def _composed(first: Affine, second: Affine) -> Affine:
    return Affine(second.name, second.scale * first.scale, second.scale * first.shift + second.shift)


def _refuse_function(record: Elementwise, hidden: bool) -> None:
    where = "it follows another function with normalisation between them" if hidden else "it is applied to the input"
    refuse(record.name, where, "each function must follow a dense layer: apply this one to x before hntk sees it")
