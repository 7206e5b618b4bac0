r"""Tables of weight matrices in each layout of ``hntk_kernels.h``, and the choice of a layout.

| layout | what is stored | bytes |
|---|---|---|
| transform | signs and permutations of orthogonal blocks | fewest |
| rice | Golomb–Rice codes of the gaps between weights that are not 0 | within 2.2 % of the entropy |
| base3 | five trits a byte | 1 for 5 weights |
| planes | two bit planes; one if no weight is 0 | 1 for 4 weights, or for 8 |
| indices | the column of each weight that is not 0, in parts of 256 columns | 1 for each of these |
| indices16 | the same in 16 bits | 2 for each of these |
| gaps | the zeros before each weight that is not 0, and its sign | 1.13 for each of these |

How many instructions a product takes on a Cortex-M4, which has no population count, is told by :func:`instructions`.
Indices take the fewest for all but dense matrices: a load of the column, a load of the value and an addition for each
weight that is not 0. Every part of a row takes some 16 more, which is why indices of 16 bits are faster for more than
256 columns. On processors with population counts, planes are the fastest for dense matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Int64

from hntk.deploy.c_arrays import Table, reference, smallest_unsigned_type
from hntk.deploy.c_transforms import transform_tables
from hntk.deploy.c_values import LAYOUTS, Layout, Reader, Values
from hntk.networks.integer_inputs import Pixels
from hntk.weights.bit_planes import row_constants, word_planes
from hntk.weights.encodings import pack
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.rice_codes import encode_rice
from hntk.weights.weight_matrix import WeightMatrix, Weights

# Numbers in which columns are stored; a row has as many parts as their columns need.
INDICES = {"indices": np.uint8, "indices16": np.uint16}
# Weights in a number of 32 bits: 3²⁰ is the largest power of 3 below 2³².
TRITS = 20


@dataclass(frozen=True)
class StoredWeights:
    """A weight matrix in a layout.

    Attributes
    ----------
    tables : list of Table
        Its tables.
    fields : mapping
        What the C struct ``layer`` says of them.
    start : (d,) array of int64
        What each row's sum starts from, so that the tables give the product.
    """

    tables: list[Table]
    fields: Mapping[str, object]
    start: Int64[np.ndarray, " d"]

    @property
    def nbytes(self) -> int:
        """Bytes of flash, without the start."""
        return sum(table.nbytes for table in self.tables)


def stored_weights(layer: Reader, layout: Layout) -> StoredWeights:
    """Return the ternary or ±1 weights of a layer in a layout."""
    number, weights, bias = layer.number, layer.weights, layer.bias
    assert weights is not None
    assert bias is not None
    before = layer.values(layout)
    if layout == "transform":
        assert isinstance(weights, OrthogonalMatrix)
        tables, fields = transform_tables(number, weights, before.most, int(np.abs(bias).max()))
        return StoredWeights(tables, fields, bias)
    values = np.asarray(weights.values)
    if layout == "planes":
        stored = _planes(number, weights, before)
        if isinstance(layer.source, Pixels) and layer.source.centre is not None:
            centred = values.astype(np.int64) @ np.asarray(layer.source.centre, np.int64)
            stored = replace(stored, start=stored.start - layer.source.fine * centred)
    else:
        makers = {"gaps": _gaps, "rice": _rice, "base3": _trits} | {n: partial(_indices, t) for n, t in INDICES.items()}
        stored = makers[layout](number, values)
    return StoredWeights(stored.tables, stored.fields, stored.start + bias)


def instructions(weights: Weights, layout: Layout, before: Values) -> float:
    """Estimate the instructions of a product on a Cortex-M4, from programs of gcc -O2 on an emulated one.

    Parameters
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The weights.
    layout : str
        Their layout, other than ``"transform"``.
    before : Values
        What is multiplied.

    Returns
    -------
    float
        Instructions, without those for levels.
    """
    outputs, inputs = weights.shape
    if layout == "planes":
        # 32 weights and a plane at a time
        return 25.0 * outputs * -(-inputs // 32) * len(before.code.jumps)
    if layout == "base3":
        return 5.2 * outputs * inputs
    by_column = {name: (3.1, 16 * -(-inputs // _columns(kind))) for name, kind in INDICES.items()}
    each, row = ({"rice": (19, 10), "gaps": (26, 10)} | by_column)[layout]
    return each * weights.nonzero + row * outputs


def possible_layouts(weights: Weights) -> tuple[Layout, ...]:
    """Return the layouts that a matrix can have: orthogonal blocks any, others all but ``"transform"``."""
    return tuple(name for name in LAYOUTS if name != "transform" or isinstance(weights, OrthogonalMatrix))


def _planes(number: int, weights: Weights, before: Values) -> StoredWeights:
    """Return bit planes: of each row the plane of +1, then that of weights that are not 0, if any is 0."""
    mask, signs = word_planes(weights)
    masked = weights.kind != "sign"
    planes = np.concatenate([signs, mask], axis=1) if masked else signs
    rows = Table(f"rows{number}", np.ascontiguousarray(planes).reshape(-1, 2))
    fields = {"layout_of": "ROWS", "rows": rows.name, "masked": int(masked)}
    return StoredWeights([rows], fields, row_constants(weights, before.code))


def _gaps(number: int, values: np.ndarray) -> StoredWeights:
    """Return the zeros before each weight that is not 0, and the signs of these."""
    packed = pack(WeightMatrix(values, 1.0, "ternary"), "gaps+signs")  # type: ignore[arg-type]
    assert packed.positions is not None
    gaps = Table(f"gaps{number}", _not_empty(packed.positions))
    signs = Table(f"signs{number}", _not_empty(packed.values))
    fields = {"layout_of": "GAPS", "gaps": gaps.name, "signs": signs.name, "gap_count": packed.positions.size}
    return StoredWeights([gaps, signs], fields, np.zeros(len(values), np.int64))


def _columns(kind: type[np.unsignedinteger]) -> int:
    """Return how many columns an index of a type tells apart."""
    return int(np.iinfo(kind).max) + 1


def _indices(kind: type[np.unsignedinteger], number: int, values: np.ndarray) -> StoredWeights:
    """Return of each row and part the columns of the weights that are +1, then of those that are −1."""
    outputs, inputs = values.shape
    width = min(_columns(kind), inputs)
    parts = -(-inputs // width)
    padded = np.pad(values, ((0, 0), (0, parts * width - inputs))).reshape(outputs, parts, 1, width)
    used = padded == np.array([1, -1], np.int8)[:, None]
    counts = Table(f"counts{number}", smallest_unsigned_type(used.sum(axis=-1).ravel()))
    columns = Table(f"indices{number}", _not_empty(np.nonzero(used)[-1].astype(kind)))
    fields = {"layout_of": "INDICES", "indices": reference(columns), "counts": reference(counts)}
    return StoredWeights([columns, counts], fields, np.zeros(outputs, np.int64))


def _rice(number: int, values: np.ndarray) -> StoredWeights:
    """Return Golomb–Rice codes of rows from the last column to the first one, as words of 16 bits."""
    stored = encode_rice(values[:, ::-1].ravel())
    codes = Table(f"codes{number}", np.pad(stored[1:], (0, 1 - stored.size % 2)).view(">u2").astype(np.uint16))
    fields = {"layout_of": "RICE", "codes": codes.name, "low_bits": int(stored[0])}
    return StoredWeights([codes], fields, np.zeros(len(values), np.int64))


def _trits(number: int, values: np.ndarray) -> StoredWeights:
    """Return numbers of 32 bits: each the fraction of 3²⁰ that twenty trits are, rounded up."""
    trits = np.pad(values.ravel() + 1, (0, -values.size % TRITS)).reshape(-1, TRITS).astype(np.uint64)
    whole = trits @ np.uint64(3) ** np.arange(TRITS - 1, -1, -1, dtype=np.uint64)
    # ⌈n 2³² / 3²⁰⌉ without leaving 64 bits, as n < 3²⁰ < 2³²
    fractions = ((whole << np.uint64(32)) + np.uint64(3**TRITS - 1)) // np.uint64(3**TRITS)
    table = Table(f"trits{number}", fractions.astype(np.uint32))
    return StoredWeights([table], {"layout_of": "BASE3", "trits": table.name}, np.zeros(len(values), np.int64))


def _not_empty(values: np.ndarray) -> np.ndarray:
    """Return an array of at least one element: C has no empty arrays."""
    return values if values.size else np.zeros(1, values.dtype)
