"""Tables of a C program: weights, thresholds, levels and constants, in the layout that ``hntk_kernels.h`` reads.

Bytes of flash and of RAM are counted from these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hntk.deploy.c_arrays import Struct, Table, braced, reference, smallest_type
from hntk.deploy.c_transforms import NO_ORDER, at_places, input_order, longest, number_bytes, transform_tables
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.bit_planes import Code, row_constants, word_planes
from hntk.weights.encodings import pack
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import WeightMatrix, Weights

Layout = Literal["planes", "gaps", "transform"]
Form = Literal["PLANES", "BYTES", "PAIRS", "PIXELS"]


@dataclass(frozen=True)
class Values:
    """The values between two layers, as they lie in memory.

    Attributes
    ----------
    number : int
        Number of the layer that reads them, from 1; the readout is the last.
    form : str
        ``form`` in ``hntk_kernels.h``.
    count : int
        How many there are.
    room : int
        How many there is memory for.
    most : int
        Their largest magnitude.
    code : Code
        Their bit planes, where the form is ``"PLANES"``.
    factor : int
        What pixels are multiplied by, where the form is ``"PIXELS"``.
    centre : ndarray or None
        What is subtracted of pixels.
    """

    number: int
    form: Form
    count: int
    room: int
    most: int
    code: Code
    factor: int = 1
    centre: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory, a multiple of 8."""
        if self.form == "PLANES":
            return -(-self.count // 64) * 8 * len(self.code.jumps)
        return -(-self.room * (2 if self.form == "PAIRS" else 1) // 8) * 8

    @property
    def tables(self) -> list[Table]:
        """What a bit of each plane adds to a value, where values are planes; and the centre of pixels."""
        planes = [Table(f"jumps{self.number}", np.array(self.code.jumps, np.int32))] if self.form == "PLANES" else []
        return planes if self.centre is None else [*planes, Table("centre", np.asarray(self.centre, np.uint8))]

    @property
    def initializer(self) -> str:
        """The C struct ``values``."""
        fields = {"form_of": self.form, "count": self.count, "room": self.room}
        if self.form == "PLANES":
            fields |= {"planes": len(self.code.jumps), "jumps": f"jumps{self.number}", "least": self.code.base}
        if self.form == "PIXELS":
            fields["factor"] = self.factor
        if self.centre is not None:
            fields["centre"] = "centre"
        return braced(fields)


@dataclass(frozen=True)
class NetworkTables:
    """All tables of a classifier, and the scratch memory that its values take.

    Attributes
    ----------
    values : list of Values
        The input of every layer and of the readout.
    layers : list of Struct
        The layers.
    readouts : list of Struct
        The readout of each layer that is read.
    rounding : Rounded or None
        How the input is rounded; None for pixels.
    order : Struct
        Where the inputs of the first layer are put.
    transform_bytes : int
        Bytes of memory for a transform.
    offsets : ndarray
        Scores at levels 0.
    """

    values: list[Values]
    layers: list[Struct]
    readouts: list[Struct]
    rounding: Rounded | None
    order: Struct
    transform_bytes: int
    offsets: np.ndarray

    @classmethod
    def of(cls, classifier: IntegerClassifier, layouts: Sequence[Layout]) -> NetworkTables:
        """Return the tables of a classifier whose parts fit each other, in the layout of each matrix."""
        network = classifier.network
        values = values_between(network, layouts)
        biases = [np.zeros(w.shape[0], np.int64) for w in network.weights]
        if network.bias is not None:
            biases[0] += network.bias
        parts = zip(network.weights, layouts, biases, network.reachable, values[:-1], values[1:], strict=True)
        layers = [_layer(number, *part) for number, part in enumerate(parts, 1)]
        rounding = None if isinstance(network.inputs, Pixels) else network.inputs
        first, order = network.weights[0], NO_ORDER
        if layouts[0] == "transform":
            assert isinstance(first, OrthogonalMatrix)
            order = input_order(first)
        sizes = [
            longest(w) * number_bytes(w, v.most)
            for w, layout, v in zip(network.weights, layouts, values, strict=False)
            if layout == "transform" and isinstance(w, OrthogonalMatrix)
        ]
        memory = -(-max(sizes, default=0) // 8) * 8
        readouts, offset = _readouts(classifier, values), np.asarray(classifier.offset, np.int32)
        return cls(values, layers, readouts, rounding, order, memory, offset)

    @property
    def pixels(self) -> bool:
        """Whether the input is raw pixels."""
        return self.rounding is None

    @property
    def placed(self) -> bool:
        """Whether pixels are put at places, rather than read where they are."""
        return self.pixels and self.values[0].form == "PIXELS" and "length" in self.layers[0].fields

    @property
    def reads_all(self) -> bool:
        """Whether scores are added up layer after layer."""
        return len(self.readouts) > 1

    @property
    def structs(self) -> list[Struct]:
        """Every struct; without an order that nothing needs."""
        order = [self.order] if self.placed or self.rounding is not None else []
        return [*order, *self.layers, *self.readouts]

    @property
    def tables(self) -> list[Table]:
        """Every table, before what refers to it."""
        centre = [] if self.rounding is None else [Table("centre", np.asarray(self.rounding.centre, np.float32))]
        parts = (*self.values, *self.structs)
        return [*centre, *(table for part in parts for table in part.tables), Table("offset", self.offsets)]

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
        if self.pixels and self.values[0].form == "PIXELS" and not self.placed:
            sizes[0] = 0
        scores = -(-4 * self.offsets.size // 8) * 8 if self.reads_all else 0
        return max(sizes[::2]), max(sizes[1::2]), self.transform_bytes, scores

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch memory."""
        return sum(self.parts_of_memory)


def values_between(network: IntegerNetwork, layouts: Sequence[Layout]) -> list[Values]:
    """Return the input of every layer and of the readout; the readout reads numbers."""
    found = []
    matrices, sources = (*network.weights, None), (network.inputs, *network.reachable)
    counts = (network.weights[0].shape[1], *network.widths)
    parts = zip(matrices, sources, counts, (*layouts, "gaps"), strict=True)
    for number, (matrix, source, count, layout) in enumerate(parts, 1):
        most = source.most if isinstance(source, Steps) else max(-source.least, source.most)
        form: Form = "BYTES" if most <= 127 else "PAIRS"
        if layout == "planes":
            form = "PLANES"
        elif isinstance(source, Pixels):
            form = "PIXELS"
        factor, centre = (source.fine, source.centre) if isinstance(source, Pixels) else (1, None)
        room = count
        if layout == "transform":
            assert isinstance(matrix, OrthogonalMatrix)
            room = matrix.size
            centre = None if centre is None else at_places(matrix, np.asarray(centre))
        found.append(Values(number, form, count, room, most, _with_a_plane(source.code), factor, centre))
    return found


def _layer(
    number: int, weights: Weights, layout: Layout, bias: np.ndarray, steps: Steps, before: Values, after: Values
) -> Struct:
    """Return layer ``number``, counted from 1."""
    if layout == "transform":
        assert isinstance(weights, OrthogonalMatrix)
        tables, fields = transform_tables(number, weights, bias, before.most)
    elif layout == "planes":
        tables, fields = _rows(number, weights, bias, before.code)
    else:
        tables, fields = _gaps(number, weights, bias)
    fields = {"in": before.initializer, "out": after.initializer, **fields}
    if steps.thresholds:
        tables.append(Table(f"thresholds{number}", np.array(steps.thresholds, np.int32)))
        fields |= {"thresholds": tables[-1].name, "threshold_count": len(steps.thresholds)}
    levels = _plane_codes(after.code, steps.levels) if after.form == "PLANES" else np.array(steps.levels)
    tables.append(Table(f"levels{number}", smallest_type(levels)))
    return Struct(f"layer layer{number}", tables, {**fields, "levels": reference(tables[-1])})


def _readouts(classifier: IntegerClassifier, values: Sequence[Values]) -> list[Struct]:
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


def _rows(number: int, weights: Weights, bias: np.ndarray, code: Code) -> tuple[list[Table], dict[str, object]]:
    """Return weights as bit planes: of each row the plane of +1, then that of weights that are not 0, if any is 0."""
    mask, signs = word_planes(weights)
    masked = weights.kind != "sign"
    planes = np.concatenate([signs, mask], axis=1) if masked else signs
    rows = Table(f"rows{number}", np.ascontiguousarray(planes).reshape(-1, 2))
    start = Table(f"start{number}", smallest_type(row_constants(weights, code) + bias))
    return [rows, start], {"rows": rows.name, "masked": int(masked), "start": reference(start)}


def _gaps(number: int, weights: Weights, bias: np.ndarray) -> tuple[list[Table], dict[str, object]]:
    """Return weights as the zeros before each weight that is not 0, and the signs of these."""
    packed = pack(WeightMatrix(weights.values, 1.0, "ternary"), "gaps+signs")
    assert packed.positions is not None
    gaps = Table(f"gaps{number}", _not_empty(packed.positions))
    signs = Table(f"signs{number}", _not_empty(packed.values))
    fields = {"gaps": gaps.name, "signs": signs.name, "gap_count": packed.positions.size}
    if not bias.any():
        return [gaps, signs], fields
    start = Table(f"start{number}", smallest_type(bias))
    return [gaps, signs, start], {**fields, "start": reference(start)}


def _not_empty(values: np.ndarray) -> np.ndarray:
    """Return an array of at least one element: C has no empty arrays."""
    return values if values.size else np.zeros(1, values.dtype)


def _plane_codes(code: Code, levels: Sequence[int]) -> np.ndarray:
    """Return the bits that each level sets in the planes."""
    words = code.words(levels)
    return 2**words - 1 if code.thermometer else words


def _with_a_plane(code: Code) -> Code:
    """Return a code of at least one plane: C has no empty arrays, and a plane whose bits add 0 changes nothing."""
    return code if code.jumps else replace(code, jumps=(0,))
