"""Tables of a C program: weights, thresholds, levels and constants, in the layout that ``hntk_kernels.h`` reads.

Bytes of flash and of RAM are counted from these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hntk.deploy.c_arrays import Struct, Table, reference, smallest_type
from hntk.deploy.c_layouts import stored_weights
from hntk.deploy.c_pooling import pooling
from hntk.deploy.c_thresholds import threshold_tables
from hntk.deploy.c_transforms import NO_ORDER, input_order, longest, number_bytes
from hntk.deploy.c_values import Layout, Reader, Values, readers
from hntk.networks.integer_inputs import PooledPixels, Rounded
from hntk.networks.integer_readout import IntegerReadout
from hntk.weights.bit_planes import Code
from hntk.weights.orthogonal import OrthogonalMatrix


@dataclass(frozen=True)
class NetworkTables:
    """All tables of a classifier or regressor, and the scratch memory that its values take.

    Attributes
    ----------
    inputs : int
        Coordinates of a raw sample.
    values : list of Values
        The input of every layer and of the readout.
    layers : list of Struct
        The layers.
    readouts : list of Struct
        The readout of each layer that is read.
    rounding : Rounded or None
        How the input is rounded; None for pixels.
    cells : Struct or None
        The cells that pixels are averaged over; None where they are not.
    order : Struct
        Where the inputs of the first layer are put.
    sum_bytes : int
        Bytes of memory for a transform.
    offsets : ndarray
        Scores at levels 0.
    """

    inputs: int
    values: list[Values]
    layers: list[Struct]
    readouts: list[Struct]
    rounding: Rounded | None
    cells: Struct | None
    order: Struct
    sum_bytes: int
    offsets: np.ndarray

    @classmethod
    def of(cls, classifier: IntegerReadout, layouts: Sequence[Layout]) -> NetworkTables:
        """Return the tables of a classifier or regressor whose parts fit each other, in the layout of each matrix."""
        network = classifier.network
        *layers, readout = readers(network)
        values = [*(layer.values(layout) for layer, layout in zip(layers, layouts, strict=True)), readout.values()]
        structs = [_layer(*part) for part in zip(layers, layouts, values[1:], strict=True)]
        first, order = network.weights[0], NO_ORDER
        if layouts[0] == "transform":
            assert isinstance(first, OrthogonalMatrix)
            order = input_order(first)
        sizes = [
            longest(w) * number_bytes(w, v.most)
            for w, layout, v in zip(network.weights, layouts, values, strict=False)
            if layout == "transform" and isinstance(w, OrthogonalMatrix)
        ]
        cells = pooling(network.inputs) if isinstance(network.inputs, PooledPixels) else None
        memory = -(-max(sizes, default=0) // 8) * 8
        readouts, offset = _readouts(classifier, values), np.asarray(classifier.offset, np.int32)
        rounding = network.inputs if isinstance(network.inputs, Rounded) else None
        return cls(network.raw_size, values, structs, readouts, rounding, cells, order, memory, offset)

    @property
    def pixels(self) -> bool:
        """Whether the input is raw pixels."""
        return self.rounding is None

    @property
    def placed(self) -> bool:
        """Whether pixels are put at places, rather than read where they are."""
        return self.pixels and self.values[0].form == "PIXELS" and self.layers[0].fields["layout_of"] == "TRANSFORMS"

    @property
    def reads_pixels(self) -> bool:
        """Whether the first layer reads pixels, raw or averaged, where they are."""
        return self.pixels and self.values[0].form == "PIXELS" and not self.placed

    @property
    def reads_all(self) -> bool:
        """Whether scores are added up layer after layer."""
        return len(self.readouts) > 1

    @property
    def structs(self) -> list[Struct]:
        """Every struct; without an order that nothing needs."""
        order = [self.order] if self.placed or self.rounding is not None else []
        cells = [] if self.cells is None else [self.cells]
        return [*cells, *order, *self.layers, *self.readouts]

    @property
    def tables(self) -> list[Table]:
        """Every table, before what refers to it."""
        rounding, own = self.rounding, list[Table]()
        if rounding is not None:
            own.append(Table("centre", np.asarray(rounding.centre, np.float32)))
            own += [Table("factors", np.asarray(rounding.factor, np.float32))] if np.ndim(rounding.factor) else []
        parts = (*self.values, *self.structs)
        return [*own, *(table for part in parts for table in part.tables), Table("offset", self.offsets)]

    @property
    def definitions(self) -> str:
        """All tables and structs in C."""
        return "".join(part.declaration for part in (*self.tables, *self.structs))

    @property
    def table_bytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables)

    @property
    def parts_of_memory(self) -> tuple[int, int, int, int]:
        """Bytes of the scratch memory's parts: two in which the values of layers lie in turn, transforms, scores."""
        sizes = [v.nbytes for v in self.values]
        if self.reads_pixels and self.cells is None:
            sizes[0] = 0
        # pixels that are averaged, and not read as they are then
        before = self.values[0].count if self.cells is not None and not self.reads_pixels else 0
        scores = -(-4 * self.offsets.size // 8) * 8 if self.reads_all else 0
        return max(sizes[::2]), max(*sizes[1::2], -(-before // 8) * 8), self.sum_bytes, scores

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch memory."""
        return sum(self.parts_of_memory)


def _layer(layer: Reader, layout: Layout, after: Values) -> Struct:
    """Return the struct of a layer."""
    assert layer.steps is not None
    number, before, stored = layer.number, layer.values(layout), stored_weights(layer, layout)
    tables, fields = threshold_tables(layer, stored.start)
    levels = _plane_codes(after.code, layer.steps.levels) if after.form == "PLANES" else np.array(layer.steps.levels)
    tables = [*stored.tables, *tables, Table(f"levels{number}", smallest_type(levels))]
    fields = {"in": before.initializer, "out": after.initializer, **stored.fields, **fields}
    return Struct(f"layer layer{number}", tables, {**fields, "levels": reference(tables[-1])})


def _readouts(classifier: IntegerReadout, values: Sequence[Values]) -> list[Struct]:
    """Return the readout of each layer that is read."""
    widths = classifier.read_widths
    shifts, read = classifier.shifts or (0,) * len(widths), values[-len(widths) :]
    parts = np.split(np.asarray(classifier.readout), np.cumsum(widths)[:-1], axis=1)
    found = []
    for v, part, shift in zip(read, parts, shifts, strict=True):
        stored = Table(f"weights{v.number - 1}", smallest_type(part.ravel()))
        fields = {"in": v.initializer, "weights": reference(stored), "classes": len(part), "factor": 2**shift}
        found.append(Struct(f"linear readout{v.number - 1}", [stored], fields))
    return found


def _plane_codes(code: Code, levels: Sequence[int]) -> np.ndarray:
    """Return the bits that each level sets in the planes."""
    words = code.words(levels)
    return 2**words - 1 if code.thermometer else words
