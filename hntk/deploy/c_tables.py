"""Tables of a C program: weights, thresholds, levels and constants, in the layout that ``hntk_kernels.h`` reads.

Bytes of flash and of RAM are counted from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hntk.deploy.c_literals import as_lines, whole_number
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.bit_planes import Code, row_constants, word_planes
from hntk.weights.encodings import pack
from hntk.weights.laws import WeightMatrix, Weights

Layout = Literal["planes", "gaps"]
Form = Literal["PLANES", "BYTES", "PAIRS", "PIXELS"]


@dataclass(frozen=True)
class Table:
    """A constant array.

    Attributes
    ----------
    name : str
        Its name in C.
    values : ndarray
        Its numbers, one-dimensional and of the type that C stores; words of bit planes are (k, 2) halves of 64 bits,
        the lower half first.
    """

    name: str
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of flash."""
        return self.values.nbytes

    @property
    def declaration(self) -> str:
        """The array's definition in C."""
        if self.values.ndim == 2:
            kind, size = "word", f"{len(self.values)} * (64 / WORD_BITS)"
            constants = [f"W({low:#x}, {high:#x})" for low, high in self.values.tolist()]
        elif self.values.dtype == np.float32:
            kind, size = "float", str(self.values.size)
            constants = [f"{float(value).hex()}f" for value in self.values]
        else:
            kind, size = f"{self.values.dtype.name}_t", str(self.values.size)
            constants = [whole_number(value) for value in self.values.tolist()]
        return f"static const {kind} {self.name}[{size}] = {{\n{as_lines(constants)}\n}};\n"


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
    code : Code
        Their bit planes, where the form is ``"PLANES"``.
    factor : int
        What pixels are multiplied by, where the form is ``"PIXELS"``.
    """

    number: int
    form: Form
    count: int
    code: Code
    factor: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of scratch memory, a multiple of 8."""
        if self.form == "PLANES":
            return -(-self.count // 64) * 8 * len(self.code.jumps)
        each = {"BYTES": 1, "PAIRS": 2, "PIXELS": 0}[self.form]
        return -(-self.count * each // 8) * 8

    @property
    def tables(self) -> list[Table]:
        """What a bit of each plane adds to a value, where values are planes."""
        return [Table(f"jumps{self.number}", np.array(self.code.jumps, np.int32))] if self.form == "PLANES" else []

    @property
    def initializer(self) -> str:
        """The C struct ``values``."""
        fields = {"form_of": self.form, "count": self.count}
        if self.form == "PLANES":
            fields |= {"planes": len(self.code.jumps), "jumps": f"jumps{self.number}"}
        if self.form == "PIXELS":
            fields["factor"] = self.factor
        return braced(fields)


@dataclass(frozen=True)
class Struct:
    """A constant C struct, and the tables that it refers to."""

    declared: str
    tables: list[Table]
    fields: Mapping[str, object]

    @property
    def declaration(self) -> str:
        """The definition in C."""
        fields = "".join(f"    .{name} = {value},\n" for name, value in self.fields.items())
        return f"static const {self.declared} = {{\n{fields}}};\n"


@dataclass(frozen=True)
class NetworkTables:
    """All tables of a classifier, and the scratch memory that its values take.

    Attributes
    ----------
    values : list of Values
        The input of every layer and of the readout.
    layers : list of Struct
        The layers.
    readout : Struct
        The readout.
    rounding : Rounded or None
        How the input is rounded; None for pixels.
    """

    values: list[Values]
    layers: list[Struct]
    readout: Struct
    rounding: Rounded | None

    @classmethod
    def of(cls, classifier: IntegerClassifier, layouts: Sequence[Layout]) -> NetworkTables:
        """Return the tables of a classifier whose parts fit each other, in the layout of each matrix."""
        network = classifier.network
        values = values_between(network, layouts)
        biases = [np.zeros(w.shape[0], np.int64) for w in network.weights]
        if network.bias is not None:
            biases[0] += network.bias
        parts = zip(network.weights, biases, network.reachable, values[:-1], values[1:], strict=True)
        layers = [_layer(number, *part) for number, part in enumerate(parts, 1)]
        readout = _readout(classifier.readout, classifier.offset, values[-1])
        return cls(values, layers, readout, None if isinstance(network.inputs, Pixels) else network.inputs)

    @property
    def pixels(self) -> bool:
        """Whether the input is raw pixels."""
        return self.rounding is None

    @property
    def tables(self) -> list[Table]:
        """Every table, before what refers to it."""
        centre = [] if self.rounding is None else [Table("centre", np.asarray(self.rounding.centre, np.float32))]
        structs = [*self.layers, self.readout]
        return [*centre, *(t for v in self.values for t in v.tables), *(t for s in structs for t in s.tables)]

    @property
    def definitions(self) -> str:
        """All tables and structs in C."""
        return "".join(part.declaration for part in (*self.tables, *self.layers, self.readout))

    @property
    def table_bytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables)

    @property
    def half_bytes(self) -> tuple[int, int]:
        """Bytes of the two halves of the scratch memory, in which the values of layers lie in turn."""
        sizes = [v.nbytes for v in self.values]
        return max(sizes[::2]), max(sizes[1::2])

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch memory."""
        return sum(self.half_bytes)


def values_between(network: IntegerNetwork, layouts: Sequence[Layout]) -> list[Values]:
    """Return the input of every layer and of the readout; the readout reads numbers."""
    found = []
    sources = (network.inputs, *network.reachable)
    counts = (network.weights[0].shape[1], *network.widths)
    for number, (source, count, layout) in enumerate(zip(sources, counts, (*layouts, "gaps"), strict=True), 1):
        form: Form = "BYTES" if source.most <= 127 else "PAIRS"
        if layout == "planes":
            form = "PLANES"
        elif isinstance(source, Pixels):
            form = "PIXELS"
        factor = source.fine if isinstance(source, Pixels) else 1
        found.append(Values(number, form, count, _with_a_plane(source.code), factor))
    return found


def _layer(number: int, weights: Weights, bias: np.ndarray, steps: Steps, before: Values, after: Values) -> Struct:
    """Return layer ``number``, counted from 1."""
    planes = before.form == "PLANES"
    tables, fields = _rows(number, weights, bias, before.code) if planes else _gaps(number, weights, bias)
    fields = {"in": before.initializer, "out": after.initializer, **fields}
    if steps.thresholds:
        tables.append(Table(f"thresholds{number}", np.array(steps.thresholds, np.int32)))
        fields |= {"thresholds": tables[-1].name, "threshold_count": len(steps.thresholds)}
    levels = _plane_codes(after.code, steps.levels) if after.form == "PLANES" else np.array(steps.levels)
    tables.append(Table(f"levels{number}", smallest_type(levels)))
    return Struct(f"layer layer{number}", tables, {**fields, "levels": reference(tables[-1])})


def _readout(weights: np.ndarray, offset: np.ndarray, before: Values) -> Struct:
    stored = Table("weights", smallest_type(np.asarray(weights).ravel()))
    fields = {"in": before.initializer, "weights": reference(stored), "offset": "offset", "classes": len(offset)}
    return Struct("linear readout", [stored, Table("offset", np.asarray(offset, np.int32))], fields)


def smallest_type(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the smallest signed type that holds them all."""
    least, most = int(values.min()), int(values.max())
    return values.astype(
        next(t for t in (np.int8, np.int16, np.int32) if np.iinfo(t).min <= least and most <= np.iinfo(t).max)
    )


def reference(table: Table) -> str:
    """Return the C struct ``table`` that refers to an array."""
    return f"{{{table.name}, sizeof {table.name}[0]}}"


def braced(fields: Mapping[str, object]) -> str:
    """Return the fields of a C struct in one line."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"


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
