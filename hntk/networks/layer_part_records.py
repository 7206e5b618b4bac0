"""Biases, residual branches, scales and normalisation in files.

Files of networks that have any of them are of version 2, which readers of version 1 refuse: they would compute another
network. Files of regressors are of version 3, with parts or without: earlier readers would miss the readout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk.files.exact_arrays import to_float32
from hntk.files.matrices import BRANCH, matrix_to_arrays
from hntk.files.reader import FieldReader
from hntk.networks.layer_parts import LayerParts
from hntk.theory.architecture import LayerScales, Normalize

PLAIN_VERSION, PARTS_VERSION, TARGETS_VERSION = 1, 2, 3


class SmallParts(NamedTuple):
    """What a file says of the parts, without the branches' matrices; None for what it has none of.

    Attributes
    ----------
    biases : tuple of (d_l,) array or None, or None
        Standard biases.
    scales : tuple of LayerScales or None
        Scales of each layer.
    normalize : {"rms", "layer"} or None
        Normalisation.
    """

    biases: tuple[Array | None, ...] | None
    scales: tuple[LayerScales, ...] | None
    normalize: Normalize | None


def parts_to_arrays(
    parts: LayerParts, tables: Sequence[dict[str, Any]], encoding: str | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and metadata of parts; what belongs to one layer goes into its table.

    Raises
    ------
    ValueError
        If a bias is not finite in float32, or a branch cannot be packed.
    """
    if parts.scales is None:
        return {}, {"version": PLAIN_VERSION}
    arrays, none = {}, (None,) * len(tables)
    columns = zip(tables, parts.scales, parts.biases or none, parts.branches or none, strict=True)
    for number, (table, scales, bias, branch) in enumerate(columns, 1):
        table["scales"] = list(scales)
        if bias is not None:
            arrays[_bias_name(number)] = to_float32(bias, f"biases of layer {number}")
        if branch is not None:
            more, table[BRANCH] = matrix_to_arrays(branch, encoding, f"{BRANCH}{number}")
            arrays |= more
    normalize = {} if parts.normalize is None else {"normalize": parts.normalize}
    return arrays, {"version": PARTS_VERSION, **normalize}


def read_parts(fields: FieldReader, layers: Sequence[FieldReader]) -> SmallParts:
    """Read the parts of a file.

    Parameters
    ----------
    fields : FieldReader
        Metadata and arrays of the file.
    layers : sequence of FieldReader
        One table a layer.

    Returns
    -------
    SmallParts
        The parts.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they are not as described, or a file of version 1 has any, or one of version 3 some without scales.
    """
    names = [_bias_name(number) for number in range(1, len(layers) + 1)]
    version = fields.table.get("version")
    if version != PARTS_VERSION and not (version == TARGETS_VERSION and any("scales" in layer for layer in layers)):
        claimed = [name for name in ("scales", BRANCH) if any(name in layer for layer in layers)]
        claimed += [name for name in names if name in fields.arrays] + ["normalize"] * ("normalize" in fields)
        if claimed:
            raise ValueError(f"it is of version {version}, which has no {', '.join(claimed)}")
        return SmallParts(None, None, None)
    biases = tuple(
        jnp.asarray(fields.array(name, np.float32, layer.shape("shape")[0])) if name in fields.arrays else None
        for name, layer in zip(names, layers, strict=True)
    )
    normalize: Any = fields.text("normalize", get_args(Normalize)) if "normalize" in fields else None
    return SmallParts(biases, tuple(_read_scales(layer) for layer in layers), normalize)


def _read_scales(layer: FieldReader) -> LayerScales:
    numbers = layer.numbers("scales")
    if len(numbers) != len(LayerScales._fields):
        raise ValueError(f"scales must be {len(LayerScales._fields)} numbers a layer, not {len(numbers)}")
    return LayerScales(*numbers)


def _bias_name(number: int) -> str:
    return f"layer{number}.bias"
