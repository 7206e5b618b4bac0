r"""Networks of whole numbers: the same result on a microcontroller and here, bit for bit.

A layer of ternary weights after a staircase needs no other numbers. With centred levels $a_k - m = u q_k$ for whole
$q_k$, neuron i has reached cell k of the next staircase where

$$\sum_j W_{ij} q_j + b_i \ge T_k, \qquad T_k = \lceil s_k \sqrt{d}/(c u) \rceil,$$

where c is the weights' scale and $s_k$ the threshold. The first layer takes pixels as they are, and $b_i$ is what
centring them would add; or it takes samples rounded to multiples of a unit. Scores are whole numbers too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jax import Array
from jaxtyping import Float, Int32

from hntk._utils.pytree import array_dataclass, is_traced
from hntk.files.exact_arrays import to_integers_of
from hntk.files.matrices import check_layers, matrices_from_fields, matrices_to_arrays
from hntk.files.reader import FieldReader
from hntk.networks.forward import BATCH, Forward, Step
from hntk.networks.integer_inputs import EXACT, Pixels, PooledPixels, Rounded, check_coordinates, read_inputs
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.networks.provenance import MatchRecord, provenance_notes, provenance_to_metadata, read_origin
from hntk.networks.read_layers import ReadLayers, as_read_layers
from hntk.networks.saveable import VERSION, SaveableNetwork, check_version
from hntk.networks.spaced_steps import SpacedSteps, read_steps
from hntk.networks.summary_table import LayerSummary, Summary, pack_all
from hntk.weights.weight_matrix import Weights

# The largest number of 32 bits, which scores must not exceed.
LIMIT = 2**31 - 1
BIAS_BYTES = 4
# Files with thresholds of each neuron, pooled pixels, targets or a record of training: readers of version 1 do not
# know these.
NEURON_VERSION = 2


class NotIntegerError(ValueError):
    """A network cannot be turned into whole numbers."""


@array_dataclass(static=("unit", "rounding", "origin"))
class IntegerNetwork(SaveableNetwork):
    """Hidden layers of whole numbers.

    Networks are pytrees: ``jax.jit`` and ``jax.vmap`` take them as arguments.

    Attributes
    ----------
    inputs : Pixels, PooledPixels or Rounded
        What raw samples become first.
    weights : tuple of WeightMatrix or OrthogonalMatrix
        L matrices of whole numbers. Their scales are accounted for in the thresholds.
    steps : tuple of Steps, NeuronSteps or SpacedSteps
        L staircases, with thresholds for a layer or for each of its neurons.
    bias : (d_1,) array of int32 or None
        Bias of the first layer; None if the input is centred.
    unit : float
        A feature of the float network is a level of the last layer times this.
    rounding : tuple of float
        Error of each layer's levels: the largest error over the largest level.
    origin : MatchRecord or None
        How the activations were found; None if it is unknown.
    """

    inputs: Pixels | PooledPixels | Rounded
    weights: tuple[Weights, ...]
    steps: tuple[Steps | NeuronSteps | SpacedSteps, ...]
    bias: Int32[np.ndarray, " d"] | None
    unit: float
    rounding: tuple[float, ...]
    origin: MatchRecord | None = field(default=None, kw_only=True)
    form: ClassVar[str] = "integer"
    versions: ClassVar[tuple[int, ...]] = (VERSION, NEURON_VERSION)

    def __repr__(self) -> str:
        widths = ", ".join(f"{width:,}" for width in self.widths[:6]) + (", …" if len(self.widths) > 6 else "")
        taken = self.inputs.note.removeprefix("input: ")
        return f"{type(self).__name__}({self.raw_size:,} inputs as {taken}; layers of {widths})"

    @property
    def version(self) -> int:
        """Version of this network's files."""
        new = isinstance(self.inputs, PooledPixels) or not all(isinstance(steps, Steps) for steps in self.steps)
        return NEURON_VERSION if new else VERSION

    @property
    def raw_size(self) -> int:
        """Number of coordinates of a raw sample."""
        return self.inputs.raw_size if isinstance(self.inputs, PooledPixels) else self.weights[0].shape[1]

    @property
    def largest_sums(self) -> tuple[int, ...]:
        """A bound of |Σ W v + b| for each layer."""
        values = [max(-self.inputs.least, self.inputs.most), *(s.most for s in self.steps)]
        sums = [int(w.largest_row_sum) * v for w, v in zip(self.weights, values, strict=False)]
        bias = 0 if self.bias is None else int(np.abs(np.asarray(self.bias, np.int64)).max())
        return sums[0] + bias, *sums[1:]

    @property
    def products_fit(self) -> bool:
        """Whether the products by which spaced thresholds are compared have 31 bits."""
        steps = zip(self.steps, self.largest_sums, strict=True)
        return all(s.largest_product(bound) <= LIMIT for s, bound in steps if isinstance(s, SpacedSteps))

    @cached_property
    def reachable(self) -> tuple[Steps | NeuronSteps, ...]:
        """The staircases without cells that no sum reaches."""
        return tuple(s.within(bound) for s, bound in zip(self.steps, self.largest_sums, strict=True))

    def feature_batches(
        self, raw: object, batch: int = BATCH, *, layers: ReadLayers = "last"
    ) -> Iterator[Float[Array, "batch width"]]:
        """Compute the levels of the last layer, or of all layers side by side, a batch of samples at a time.

        Works under ``jax.jit`` and ``jax.vmap``, where the values of samples are not checked.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.
        batch : int
            Rows computed at a time.
        layers : {"last", "all"}
            Whose levels: the last layer's, or all layers' from the first to the last.

        Returns
        -------
        iterator of (batch, d_L) or (batch, d_1 + … + d_L) arrays of float32
            Whole numbers; the last batch may have fewer rows.

        Raises
        ------
        ValueError
            If the samples do not fit, or ``layers`` is unknown.
        """
        layers, whole = as_read_layers(layers), self.inputs(raw)
        check_coordinates(whole, self.weights[0].shape[1])
        return self._forward.batches(whole, batch, layers)

    @cached_property
    def _forward(self) -> Forward:
        traced = is_traced(self.weights, self.steps)
        steps = self.steps if traced else self.reachable
        biases = [self.bias, *[None] * len(steps)]
        codes = [
            v.code if w.kind in ("ternary", "sign") and not traced else None
            for w, v in zip(self.weights, [self.inputs, *steps], strict=False)
        ]
        return Forward(
            [Step(w, 1.0, s, b, code) for w, s, b, code in zip(self.weights, steps, biases, codes, strict=False)]
        )

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        check_layers(self.weights, steps=self.steps, rounding=self.rounding)
        arrays, tables = matrices_to_arrays(self.weights, encoding)
        for number, (table, steps, rounding) in enumerate(zip(tables, self.steps, self.rounding, strict=True), 1):
            table["rounding"] = rounding
            arrays |= steps.to_arrays(number)
        more_arrays, inputs = self.inputs.to_arrays()
        arrays |= more_arrays
        if self.bias is not None:
            arrays["input.bias"] = to_integers_of(self.bias, np.int32, "bias")
        metadata = {"version": self.version, "form": self.form, "layers": tables, "unit": self.unit, "input": inputs}
        return arrays, metadata | provenance_to_metadata(self.origin)

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> IntegerNetwork:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        layers = fields.subtables("layers")
        shapes = [layer.shape("shape") for layer in layers]
        steps = tuple(read_steps(fields, number, width) for number, (width, _) in enumerate(shapes, 1))
        rounding = tuple(layer.number("rounding") for layer in layers)
        width, inputs = shapes[0]
        taken = read_inputs(fields, inputs)
        bias = fields.array("input.bias", np.int32, width) if "input.bias" in fields.arrays else None
        unit, origin = fields.number("unit", positive=True), read_origin(fields)
        weights = matrices_from_fields(layers, packed_from)
        network = IntegerNetwork(taken, weights, steps, bias, unit, rounding, origin=origin)
        check_version(fields, network.version)
        if any(w.kind == "float32" for w in weights) or max(network.largest_sums) > EXACT:
            raise ValueError("weights of a network of whole numbers must be such, and their sums stay below 2**24")
        if not network.products_fit:
            raise ValueError("products of multipliers and sums could leave 32 bits")
        return network

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        notes = (*self.input_notes(), *provenance_notes(self.origin))
        return Summary(self.layer_summaries(encodings), "whole numbers", notes)

    def layer_summaries(self, encodings: Sequence[str] | None) -> tuple[LayerSummary, ...]:
        """Return one row a hidden layer for a summary."""
        bias = 0 if self.bias is None else BIAS_BYTES * self.widths[0]
        packed = pack_all(self.weights, encodings)
        return tuple(
            LayerSummary.hidden(
                f"layer {number}",
                matrix,
                activation="staircase",
                levels=len(set(steps.levels)),
                other_bytes=steps.nbytes + (bias if number == 1 else 0),
            )
            for number, (matrix, steps) in enumerate(zip(packed, self.steps, strict=True), 1)
        )

    def input_notes(self) -> tuple[str, str]:
        """Return lines of a summary about the input and the rounding of levels."""
        error = max(self.rounding)
        return self.inputs.note, f"levels: rounded by at most {error:.2g} of the largest" if error else "levels: exact"
