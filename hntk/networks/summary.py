"""What a network takes, layer by layer: bits, bytes as they are packed, and arithmetic, against float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hntk._utils.arguments import as_instance
from hntk.activations import Activation, Staircase
from hntk.networks.classifier import Classifier
from hntk.networks.integer_network import IntegerClassifier, IntegerNetwork, Rounded, Steps
from hntk.networks.network import Network
from hntk.weights.encodings import PackedMatrix, pack

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes
    ----------
    name : ``"layer 1"`` … or ``"readout"``.
    outputs, inputs : shape of its matrix.
    weights : kind of the values.
    encoding : of the packed bytes.
    zeros : share ε of weights that are 0, as counted.
    activation : its name; empty for the readout.
    levels : different values of the activation; None where they are not few.
    bits : a weight takes, packed.
    bytes : of packed weights, and of thresholds, levels and offsets.
    float_bytes : of the same matrix in float32.
    multiply_accumulates : of one prediction: weights that are not 0 and not ±1.
    additions : weights that are ±1.
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


@dataclass(frozen=True)
class Summary:
    """A network's layers, and their sums.

    Attributes
    ----------
    layers : hidden layers, and the readout where there is one.
    form : ``"float32"``, or ``"whole numbers"``.
    notes : what else there is to know, a line each.
    """

    layers: tuple[LayerSummary, ...]
    form: str
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all layers."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def float_bytes(self) -> int:
        """Of all matrices in float32."""
        return sum(layer.float_bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        total = {"bytes": self.bytes, "float_bytes": self.float_bytes}
        return {"form": self.form, "layers": [asdict(layer) for layer in self.layers], **total, "notes": self.notes}

    def __str__(self) -> str:
        rows = [_row(layer) for layer in self.layers]
        total = ["total", "", "", "", "", "", f"{self.bytes:,}", f"{self.float_bytes:,}"]
        total += [f"{self.float_bytes / max(self.bytes, 1):.1f}"]
        total += [f"{sum(getattr(layer, c) for layer in self.layers):,}" for c in ("multiply_accumulates", "additions")]
        lines = _aligned([HEADINGS, *rows, total])
        return "\n".join([f"a network in {self.form}", *lines, *self.notes])


HEADINGS = ["layer", "shape", "weights", "zeros", "activation", "bits", "bytes", "float32", "ratio"]
HEADINGS += ["MACs", "additions"]


def _row(layer: LayerSummary) -> list[str]:
    return [
        layer.name,
        f"{layer.outputs} x {layer.inputs}",
        f"{layer.weights}: {layer.encoding}" if layer.weights != layer.encoding else layer.weights,
        f"{layer.zeros:.3f}",
        layer.activation if layer.levels is None else f"{layer.levels} levels",
        f"{layer.bits:.2f}",
        f"{layer.bytes:,}",
        f"{layer.float_bytes:,}",
        f"{layer.float_bytes / max(layer.bytes, 1):.1f}",
        f"{layer.multiply_accumulates:,}",
        f"{layer.additions:,}",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width; words to the left, numbers to the right."""
    sizes = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    left = (0, 2, 4)
    pads = [str.ljust if i in left else str.rjust for i in range(len(sizes))]
    return [
        "  ".join(pad(cell, size) for pad, cell, size in zip(pads, row, sizes, strict=True)).rstrip() for row in rows
    ]


def summarize(
    what: Network | Classifier | IntegerNetwork | IntegerClassifier, encodings: Sequence[str] | None = None
) -> Summary:
    """What a network or a classifier takes.

    Parameters
    ----------
    encodings : of every layer's weights, such as a file has (:func:`hntk.files.encodings`); by default the smallest.

    Raises
    ------
    ValueError
        If it is neither a network nor a classifier.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["sign"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> found = hntk.summarize(net)
    >>> found.layers[0].encoding, found.layers[0].levels, found.layers[0].float_bytes
    ('mask+signs', 2, 32000)
    """
    kinds = (Network, Classifier, IntegerNetwork, IntegerClassifier)
    as_instance(what, "what", kinds, "a network or a classifier, in floats or in integers")
    if isinstance(what, IntegerNetwork | IntegerClassifier):
        return _of_integers(what, encodings)
    network = what.network if isinstance(what, Classifier) else what
    layers = [
        _layer(number, packed, sigma.name, sigma.level_count if isinstance(sigma, Staircase) else None, _floats(sigma))
        for number, (packed, sigma) in enumerate(zip(_packed(network, encodings), network.activations, strict=True), 1)
    ]
    notes = []
    if isinstance(what, Classifier):
        layers.append(_readout(what.weights.T, FLOAT_BYTES, 8))
        notes.append(f"classes: {', '.join(map(str, what.classes.tolist()))}")
        if what.normalization is not None:
            notes.append(f"input: {what.normalization}")
    return Summary(tuple(layers), "float32", (*notes, *_origin(network, what)))


def _of_integers(what: IntegerNetwork | IntegerClassifier, encodings: Sequence[str] | None) -> Summary:
    network = what.network if isinstance(what, IntegerClassifier) else what
    layers = [
        _layer(number, packed, "staircase", len(set(s.levels)), _wholes(s) + (4 * packed.shape[0] if first else 0))
        for number, (packed, s) in enumerate(zip(_packed(network, encodings), network.steps, strict=True), 1)
        for first in [number == 1 and network.bias is not None]
    ]
    rounded, rounded_by = isinstance(network.inputs, Rounded), max(network.rounding)
    notes = [
        f"input: rounded to whole numbers of at most {network.inputs.most}" if rounded else "input: pixels, 0 to 255",
        f"levels: rounded by at most {rounded_by:.2g} of the largest" if rounded_by else "levels: exact",
    ]
    if isinstance(what, IntegerClassifier):
        layers.append(_readout(what.readout, what.readout.itemsize, 4))
        notes.append(f"classes: {', '.join(map(str, what.classes.tolist()))}")
    return Summary(tuple(layers), "whole numbers", (*notes, *_origin(network, what)))


def _origin(network: Network | IntegerNetwork, what: object) -> list[str]:
    """Of the match and of the data, as far as they are known."""
    match = [] if network.origin is None else [f"activations: {network.origin}"]
    known = what.statistics if isinstance(what, Classifier | IntegerClassifier) else None
    return match if known is None else [*match, f"readout: {known}"]


def _packed(network: Network | IntegerNetwork, encodings: Sequence[str] | None) -> list[PackedMatrix]:
    chosen = [None] * len(network.weights) if encodings is None else encodings
    return [pack(w, encoding) for w, encoding in zip(network.weights, chosen, strict=True)]


def _layer(number: int, packed: PackedMatrix, name: str, levels: int | None, beside: int) -> LayerSummary:
    values = np.asarray(packed.unpack().values)
    nonzero = int(np.count_nonzero(values))
    signs = packed.kind in ("ternary", "sign")
    return LayerSummary(
        name=f"layer {number}",
        outputs=packed.shape[0],
        inputs=packed.shape[1],
        weights=packed.kind,
        encoding=packed.encoding,
        zeros=1 - nonzero / values.size,
        activation=name,
        levels=levels,
        bits=8 * packed.nbytes / values.size,
        bytes=packed.nbytes + beside,
        float_bytes=FLOAT_BYTES * values.size,
        multiply_accumulates=0 if signs else nonzero,
        additions=nonzero if signs else 0,
    )


def _readout(weights: np.ndarray, size: int, offset_size: int) -> LayerSummary:
    outputs, inputs = weights.shape
    kind = "float32" if size == FLOAT_BYTES else f"int{8 * size}"
    return LayerSummary(
        name="readout",
        outputs=outputs,
        inputs=inputs,
        weights=kind,
        encoding=kind,
        zeros=float(np.mean(weights == 0)),
        activation="",
        levels=None,
        bits=8.0 * size,
        bytes=size * weights.size + offset_size * outputs,
        float_bytes=FLOAT_BYTES * (weights.size + outputs),
        multiply_accumulates=weights.size,
        additions=0,
    )


def _floats(sigma: Activation) -> int:
    return FLOAT_BYTES * (len(sigma.thresholds) + len(sigma.levels)) if isinstance(sigma, Staircase) else 0


def _wholes(steps: Steps) -> int:
    return 4 * len(steps.thresholds) + 2 * len(steps.levels)
