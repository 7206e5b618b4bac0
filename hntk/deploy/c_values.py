"""The values between two layers of a C program, as they lie in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hntk.deploy.c_arrays import Table, braced
from hntk.deploy.c_transforms import at_places
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps
from hntk.networks.spaced_steps import AnySteps, SpacedSteps
from hntk.weights.bit_planes import Code
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

Layout = Literal["planes", "gaps", "transform", "indices", "indices16", "rice", "base3"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Form = Literal["PLANES", "BYTES", "PAIRS", "PIXELS"]
# Largest power of two that thresholds of neurons are stored as multiples of.
LARGEST_UNIT = 2**7


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
class Reader:
    """A layer, or the readout, and what it reads.

    Attributes
    ----------
    number : int
        Number of the layer, from 1; the readout is the last.
    source : Pixels, PooledPixels, Rounded, Steps, NeuronSteps or SpacedSteps
        What makes the values that are read.
    count : int
        How many there are.
    weights : WeightMatrix, OrthogonalMatrix or None
        The layer's weights; None for the readout.
    steps : Steps, NeuronSteps, SpacedSteps or None
        The layer's staircase, without thresholds that no sum reaches unless they are spaced.
    bias : (d,) array of int64 or None
        What is added to the layer's sums.
    """

    number: int
    source: Pixels | PooledPixels | Rounded | AnySteps
    count: int
    weights: Weights | None = None
    steps: AnySteps | None = None
    bias: np.ndarray | None = None

    def values(self, layout: Layout | None = None) -> Values:
        """Return the values as weights of a layout read them; the readout reads numbers."""
        source, room = self.source, self.count
        most = max(map(abs, value_range(source)))
        form: Form = "BYTES" if most <= 127 else "PAIRS"
        if layout == "planes":
            form = "PLANES"
        elif isinstance(source, Pixels | PooledPixels):
            form = "PIXELS"
        factor, centre, code = 1, None, source.code
        if isinstance(source, Pixels):
            factor, centre = source.fine, source.centre
        if layout == "planes" and isinstance(source, Pixels):
            # the sums' start subtracts the centre: so values have no sign, and a plane less
            centre, code = None, Pixels(source.fine).code
        if layout == "transform":
            assert isinstance(self.weights, OrthogonalMatrix)
            room = self.weights.size
            centre = None if centre is None else at_places(self.weights, np.asarray(centre))
        return Values(self.number, form, self.count, room, most, _with_a_plane(code), factor, centre)


def readers(network: IntegerNetwork) -> list[Reader]:
    """Return every layer, and then the readout."""
    found, source, count = [], network.inputs, network.weights[0].shape[1]
    layers = zip(network.weights, network.steps, network.reachable, strict=True)
    for number, (weights, given, reachable) in enumerate(layers, 1):
        # two numbers a neuron make the same thresholds whatever sums reach
        steps = given if isinstance(given, SpacedSteps) else reachable
        bias = np.zeros(weights.shape[0], np.int64)
        if number == 1 and network.bias is not None:
            bias += network.bias
        if isinstance(steps, NeuronSteps):
            steps = _within_rows(steps, weights, value_range(source), bias)
        found.append(Reader(number, source, count, weights, steps, bias))
        source, count = steps, weights.shape[0]
    return [*found, Reader(len(found) + 1, source, count)]


def value_range(source: Pixels | PooledPixels | Rounded | AnySteps) -> tuple[int, int]:
    """Return the smallest and the largest value."""
    if isinstance(source, AnySteps):
        return min(source.levels), max(source.levels)
    return source.least, source.most


def _within_rows(steps: NeuronSteps, weights: Weights, between: tuple[int, int], bias: np.ndarray) -> NeuronSteps:
    """Return the same staircase with thresholds that no sum of their neuron reaches, or all do, moved near the sums.

    That makes the numbers small that are stored. Without the bias they become multiples of the power of two that the
    other thresholds are multiples of.
    """
    values = np.asarray(weights.values)
    plus, minus = ((values == sign).sum(axis=1, dtype=np.int64) for sign in (1, -1))
    least, most = between
    lowest, highest = (plus * least - minus * most)[:, None], (plus * most - minus * least)[:, None]
    thresholds = np.asarray(steps.thresholds, np.int64) - bias[:, None]
    always, never = thresholds <= lowest, thresholds > highest
    unit = common_unit(thresholds[~(always | never)])
    thresholds = np.where(always, lowest // unit * unit, np.where(never, (highest // unit + 1) * unit, thresholds))
    return replace(steps, thresholds=(thresholds + bias[:, None]).astype(np.int32))


def common_unit(values: np.ndarray) -> int:
    """Return the largest power of two, of at most 2⁷, that all values are multiples of."""
    bits = int(np.bitwise_or.reduce(values, axis=None)) | LARGEST_UNIT
    return bits & -bits


def _with_a_plane(code: Code) -> Code:
    """Return a code of at least one plane: C has no empty arrays, and a plane whose bits add 0 changes nothing."""
    return code if code.jumps else replace(code, jumps=(0,))
