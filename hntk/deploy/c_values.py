"""The values between two layers of a C program, as they lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hntk.deploy.c_arrays import Table, braced
from hntk.deploy.c_transforms import at_places
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.bit_planes import Code
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

Layout = Literal["planes", "gaps", "transform", "indices", "rice", "base3"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
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
class Source:
    """What a layer or the readout reads.

    Attributes
    ----------
    number : int
        Number of the layer that reads, from 1; the readout is the last.
    weights : WeightMatrix, OrthogonalMatrix or None
        Its weights; None for the readout.
    values : Pixels, Rounded or Steps
        What makes the values that are read.
    count : int
        How many there are.
    """

    number: int
    weights: Weights | None
    values: Pixels | Rounded | Steps
    count: int

    def stored(self, layout: Layout | None) -> Values:
        """Return the values as weights of a layout read them; the readout reads numbers."""
        made, weights, room = self.values, self.weights, self.count
        most = made.most if isinstance(made, Steps) else max(-made.least, made.most)
        form: Form = "BYTES" if most <= 127 else "PAIRS"
        if layout == "planes":
            form = "PLANES"
        elif isinstance(made, Pixels):
            form = "PIXELS"
        factor, centre = (made.fine, made.centre) if isinstance(made, Pixels) else (1, None)
        if layout == "transform":
            assert isinstance(weights, OrthogonalMatrix)
            room = weights.size
            centre = None if centre is None else at_places(weights, np.asarray(centre))
        return Values(self.number, form, self.count, room, most, _with_a_plane(made.code), factor, centre)


def sources(network: IntegerNetwork) -> Iterator[Source]:
    """Yield what every layer reads, and then what the readout reads."""
    made = (network.inputs, *network.reachable)
    counts = (network.weights[0].shape[1], *network.widths)
    for number, part in enumerate(zip((*network.weights, None), made, counts, strict=True), 1):
        yield Source(number, *part)


def values_between(network: IntegerNetwork, layouts: Sequence[Layout]) -> list[Values]:
    """Return the input of every layer and of the readout, as weights of these layouts read them."""
    return [source.stored(layout) for source, layout in zip(sources(network), (*layouts, None), strict=True)]


def biases(network: IntegerNetwork) -> list[np.ndarray]:
    """Return what is added to the sums of every layer."""
    found = [np.zeros(w.shape[0], np.int64) for w in network.weights]
    if network.bias is not None:
        found[0] += network.bias
    return found


def _with_a_plane(code: Code) -> Code:
    """Return a code of at least one plane: C has no empty arrays, and a plane whose bits add 0 changes nothing."""
    return code if code.jumps else replace(code, jumps=(0,))
