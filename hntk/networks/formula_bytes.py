r"""Bytes that a network takes, by formula.

A ternary matrix takes 2 bits a packed weight, 1.6 in base 3 (five trits a byte), or its entropy $H(\varepsilon) =
-\varepsilon\log_2\varepsilon - (1-\varepsilon)\log_2\frac{1-\varepsilon}{2}$; a dense matrix takes 32.
:mod:`hntk.weights.encodings` has more encodings. Thresholds, levels, centring constants, biases and the readout count
as float32; the outer matrices of residual branches are hidden weights. Orthogonal blocks take a sign an input and
block, $\log_2 g$ bits a swap and $\log_2 m$ bits a place. The seed of a random network is never counted as its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2, prod
from typing import NamedTuple

from hntk._utils.arguments import as_count, as_instance
from hntk.activations import Activation
from hntk.networks.network import Network
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths
from hntk.weights.encodings import expected_bits, smallest_encoding
from hntk.weights.laws import WeightLaw
from hntk.weights.weight_matrix import Kind

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Storage:
    """Bytes of a network by formula.

    Attributes
    ----------
    hidden : int
        Hidden weights at 2 bits (ternary), 1 (±1), 8 (int8) or 32 each; orthogonal blocks as signs and permutations.
        Float32 weights with zeros take 32 for each other weight and 1 for the position of every weight, if that is
        less.
    hidden_base3 : int or None
        Hidden weights at 1.6 bits; None unless ternary and independent.
    hidden_entropy : int or None
        Hidden weights at their entropy; None unless ternary and independent.
    hidden_smallest : int
        Hidden weights in the smallest encoding of :mod:`hntk.weights.encodings`.
    activations : int
        Thresholds, levels and centring constants in float32.
    readout : int
        Float32 readout for the given number of classes and the layers that it reads, with offsets.
    biases : int
        Biases of the hidden layers in float32.
    """

    hidden: int
    hidden_base3: int | None
    hidden_entropy: int | None
    hidden_smallest: int
    activations: int
    readout: int
    biases: int = 0

    @property
    def total(self) -> int:
        """All bytes, with hidden weights at their packed size."""
        return self.hidden + self.activations + self.readout + self.biases

    @property
    def smallest(self) -> int:
        """All bytes, with hidden weights in their smallest encoding."""
        return self.hidden_smallest + self.activations + self.readout + self.biases


class _Matrix(NamedTuple):
    """A matrix as the formulas see it.

    Attributes
    ----------
    size : int
        Number of weights.
    kind : Kind
        Kind of the values.
    zeros : float
        Share of weights that are zero.
    block_bits : int or None
        Bits of orthogonal blocks; None of other matrices.
    """

    size: int
    kind: Kind
    zeros: float
    block_bits: int | None

    def bits(self, encoding: str) -> float:
        """Return the bits in an encoding, or those of orthogonal blocks."""
        return self.size * expected_bits(encoding, self.zeros) if self.block_bits is None else self.block_bits


def storage(network: Network, classes: int, layers: ReadLayers = "last") -> Storage:
    """Compute the bytes of a network with a readout, by formula.

    Parameters
    ----------
    network : Network
        The network.
    classes : int
        Number of classes of the readout.
    layers : {"last", "all"}
        Whose features the readout takes.

    Returns
    -------
    Storage
        Bytes of its parts.

    Raises
    ------
    ValueError
        If it is no network, the classes are not a positive whole number, or ``layers`` is unknown.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["relu"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> hntk.storage(net, classes=2).hidden
    2000
    """
    as_instance(network, "network", Network, "a network, such as of hntk.dense")
    classes = as_count(classes, "classes")
    matrices = [_Matrix(prod(w.shape), w.kind, w.zeros, getattr(w, "stored_bits", None)) for w in network.matrices]
    read = sum(read_widths(network.widths, as_read_layers(layers)))
    biases = FLOAT_BYTES * sum(len(bias) for bias in network.biases or () if bias is not None)
    return replace(_storage(matrices, network.activations, read, classes), biases=biases)


def storage_of(
    activations: Sequence[Activation],
    widths: Sequence[int],
    inputs: int,
    law: WeightLaw,
    classes: int,
    layers: ReadLayers = "last",
) -> Storage:
    """Compute the average bytes of networks drawn from a law, by formula, without drawing one."""
    shapes = [(int(d), int(before)) for d, before in zip(widths, (inputs, *widths[:-1]), strict=True)]
    laws = [law, *[law.behind_a_layer] * (len(shapes) - 1)]
    matrices = [
        _Matrix(prod(shape), law.kind, law.zeros, each.block_bits(shape) if law.name == "orthogonal" else None)
        for shape, each in zip(shapes, laws, strict=True)
    ]
    return _storage(matrices, activations, sum(map(int, read_widths(widths, layers))), classes)


def _storage(matrices: Sequence[_Matrix], activations: Sequence[Activation], read: int, classes: int) -> Storage:
    ternary = all(matrix.kind == "ternary" and matrix.block_bits is None for matrix in matrices)
    numbers = sum(1 + sigma.table_size for sigma in activations)
    return Storage(
        hidden=_bytes(matrix.bits(_plain_encoding(matrix.kind, matrix.zeros)) for matrix in matrices),
        hidden_base3=ceil(sum(matrix.size for matrix in matrices) / 5) if ternary else None,
        hidden_entropy=_bytes(m.size * ternary_entropy(m.zeros) for m in matrices) if ternary else None,
        hidden_smallest=_bytes(matrix.bits(smallest_encoding(matrix.kind, matrix.zeros)) for matrix in matrices),
        activations=FLOAT_BYTES * numbers,
        readout=FLOAT_BYTES * (read + 1) * classes,
    )


def _plain_encoding(kind: Kind, zeros: float) -> str:
    """Return the encoding that :attr:`Storage.hidden` counts."""
    if kind == "float32" and zeros > 0:
        return min(("float32", "mask+float32"), key=lambda encoding: expected_bits(encoding, zeros))
    return {"ternary": "bits2", "sign": "signs"}.get(kind, kind)


def _bytes(bits: Iterable[float]) -> int:
    return ceil(sum(bits) / 8)


def ternary_entropy(sparsity: float) -> float:
    """Return the bits of information in a weight of the ternary law."""
    kept = 1 - sparsity
    zeros = -sparsity * log2(sparsity) if sparsity > 0 else 0.0
    return zeros - kept * log2(kept / 2)
