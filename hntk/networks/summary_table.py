"""Summaries of networks: bits, bytes and arithmetic of every layer, as objects and as a printed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from hntk.weights.encodings import PackedMatrix, pack
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

FLOAT_BYTES = 4
HEADINGS = ["layer", "shape", "weights", "zeros", "activation", "bits", "bytes", "float32", "ratio"]
HEADINGS += ["MACs", "additions"]
# Columns of words, which are aligned to the left.
LEFT = (0, 2, 4)


class OtherOperations(NamedTuple):
    """Operations of a layer besides those of its product.

    Attributes
    ----------
    multiplications : int
        Squares and scalings of a normalisation.
    additions : int
        Additions of biases, of the state before a branch, and of a normalisation's means.
    """

    multiplications: int
    additions: int


NO_OTHERS = OtherOperations(0, 0)


@dataclass(frozen=True)
class LayerSummary:
    """What one layer takes.

    Attributes
    ----------
    name : str
        ``"layer 1"`` and so on, ``"branch 1"`` for the outer matrix of its residual branch, or ``"readout"``.
    outputs, inputs : int
        Shape of the layer's matrix.
    weights : str
        Kind of the values.
    encoding : str
        Encoding of the packed bytes.
    zeros : float
        Share ε of weights that are zero, as counted.
    activation : str
        The activation's name; empty for a branch and the readout.
    levels : int or None
        Number of different values of the activation; None for a function of more than a few.
    bits : float
        Bits a packed weight takes.
    bytes : int
        Bytes of packed weights, and of thresholds, levels, biases and offsets.
    float_bytes : int
        Bytes of the same matrix in float32.
    multiply_accumulates : int
        Weights of one prediction that are neither 0 nor ±1; and squares and scalings of normalised values.
    additions : int
        Weights of one prediction that are ±1; of orthogonal blocks the additions and subtractions of their transforms;
        and those of biases, of states before a branch, and of a normalisation's means.
    """

    name: str
    outputs: int
    inputs: int
    weights: str
    encoding: str
    zeros: float
    activation: str
    levels: int | None
    bits: float
    bytes: int
    float_bytes: int
    multiply_accumulates: int
    additions: int

    @classmethod
    def hidden(
        cls, name: str, packed: PackedMatrix, *, activation: str, levels: int | None, other_bytes: int,
        others: OtherOperations = NO_OTHERS,
    ) -> LayerSummary:  # fmt: skip
        """Summarize a hidden layer or branch, whose thresholds, levels and bias take ``other_bytes``."""
        matrix, size = packed.unpack(), prod(packed.shape)
        nonzero, signs = matrix.nonzero, packed.kind in ("ternary", "sign")
        additions = sum(matrix.additions) if isinstance(matrix, OrthogonalMatrix) else nonzero
        return cls(
            name=name,
            outputs=packed.shape[0],
            inputs=packed.shape[1],
            weights=packed.kind,
            encoding=packed.encoding,
            zeros=1 - nonzero / size,
            activation=activation,
            levels=levels,
            bits=8 * packed.nbytes / size,
            bytes=packed.nbytes + other_bytes,
            float_bytes=FLOAT_BYTES * size,
            multiply_accumulates=(0 if signs else nonzero) + others.multiplications,
            additions=(additions if signs else 0) + others.additions,
        )

    @classmethod
    def readout(cls, weights: np.ndarray, *, kind: str, weight_bytes: int, offset_bytes: int) -> LayerSummary:
        """Summarize a readout of (K, d) weights, given the bytes of one weight and of one class's offset."""
        outputs, inputs = weights.shape
        return cls(
            name="readout",
            outputs=outputs,
            inputs=inputs,
            weights=kind,
            encoding=kind,
            zeros=float(np.mean(weights == 0)),
            activation="",
            levels=None,
            bits=8.0 * weight_bytes,
            bytes=weight_bytes * weights.size + offset_bytes * outputs,
            float_bytes=FLOAT_BYTES * (weights.size + outputs),
            multiply_accumulates=weights.size,
            additions=0,
        )

    @property
    def cells(self) -> list[str]:
        """The layer as a row of the printed table."""
        return [
            self.name,
            f"{self.outputs} x {self.inputs}",
            f"{self.weights}: {self.encoding}" if self.weights != self.encoding else self.weights,
            f"{self.zeros:.3f}",
            self.activation if self.levels is None else f"{self.levels} levels",
            f"{self.bits:.2f}",
            f"{self.bytes:,}",
            f"{self.float_bytes:,}",
            f"{self.float_bytes / max(self.bytes, 1):.1f}",
            f"{self.multiply_accumulates:,}",
            f"{self.additions:,}",
        ]


@dataclass(frozen=True)
class Summary:
    """What a network takes, layer by layer; ``print`` it for a table.

    Attributes
    ----------
    layers : tuple of LayerSummary
        The hidden layers, and the readout if there is one.
    form : str
        ``"float32"`` or ``"whole numbers"``.
    notes : tuple of str
        Lines about classes, input, activations and readout.
    """

    layers: tuple[LayerSummary, ...]
    form: str
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all layers."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def float_bytes(self) -> int:
        """Bytes of all matrices in float32."""
        return sum(layer.float_bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as dictionaries, lists and numbers, for JSON.

        Returns
        -------
        dict
            Form, layers, total bytes and notes.
        """
        total = {"bytes": self.bytes, "float_bytes": self.float_bytes}
        return {"form": self.form, "layers": [asdict(layer) for layer in self.layers], **total, "notes": self.notes}

    def __str__(self) -> str:
        total = ["total", "", "", "", "", "", f"{self.bytes:,}", f"{self.float_bytes:,}"]
        total += [f"{self.float_bytes / max(self.bytes, 1):.1f}"]
        total += [f"{sum(getattr(layer, c) for layer in self.layers):,}" for c in ("multiply_accumulates", "additions")]
        lines = _aligned([HEADINGS, *(layer.cells for layer in self.layers), total])
        return "\n".join([f"a network in {self.form}", *lines, *self.notes])


def pack_all(weights: Sequence[Weights], encodings: Sequence[str] | None) -> list[PackedMatrix]:
    """Pack every matrix in its encoding; without encodings, in its smallest."""
    chosen = [None] * len(weights) if encodings is None else encodings
    return [pack(matrix, encoding) for matrix, encoding in zip(weights, chosen, strict=True)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns of equal width."""
    sizes = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    pads = [str.ljust if column in LEFT else str.rjust for column in range(len(sizes))]
    return [
        "  ".join(pad(cell, size) for pad, cell, size in zip(pads, row, sizes, strict=True)).rstrip() for row in rows
    ]
