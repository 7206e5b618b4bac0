r"""Bytes a network takes, by formula.

A ternary matrix takes 2 bits a weight packed, 1.6 in base 3 (five trits a byte), or its entropy $H(\varepsilon) =
-\varepsilon\log_2\varepsilon - (1-\varepsilon)\log_2\frac{1-\varepsilon}{2}$; a dense one 32.
:mod:`hntk.weights.encodings` has more encodings. Thresholds, levels, centring constants and the readout (float32) are
counted. A random network's seed is never counted as its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from hntk._utils.arguments import as_count, as_instance
from hntk.activations import Activation, Staircase
from hntk.networks.network import Network
from hntk.weights.encodings import expected_bits, smallest_encoding
from hntk.weights.laws import Kind, WeightLaw

FLOAT_BITS = 32


@dataclass(frozen=True)
class Storage:
    """Bytes by formula.

    Attributes
    ----------
    hidden : hidden weights at 2 bits (ternary), 1 (±1), 8 (int8) or 32 each; of float32 weights with zeros, 32 for
        each other and 1 more for its position, if that is less.
    hidden_base3, hidden_entropy : the same at 1.6 bits and at the entropy; None unless ternary.
    hidden_smallest : in the smallest encoding of :mod:`hntk.weights.encodings`.
    activations : thresholds, levels and centring constants, float32.
    readout : float32 readout for the given number of classes, with offsets.
    """

    hidden: int
    hidden_base3: int | None
    hidden_entropy: int | None
    hidden_smallest: int
    activations: int
    readout: int

    @property
    def total(self) -> int:
        """All of it, hidden weights at their packed size."""
        return self.hidden + self.activations + self.readout

    @property
    def smallest(self) -> int:
        """All of it, hidden weights in their smallest encoding."""
        return self.hidden_smallest + self.activations + self.readout


def storage(network: Network, classes: int) -> Storage:
    """Bytes of a network with a readout for so many classes, by formula.

    Raises
    ------
    ValueError
        If it is no network, or the classes are not a positive whole number.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["relu"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> hntk.storage(net, classes=2).hidden
    2000
    """
    as_instance(network, "network", Network, "a network, such as of hntk.dense")
    classes = as_count(classes, "classes")
    matrices: list[tuple[int, Kind, float]] = [
        (w.shape[0] * w.shape[1], w.kind, float(np.mean(np.asarray(w.values) == 0))) for w in network.weights
    ]
    return _storage(matrices, network.activations, network.widths[-1], classes)


def storage_of(
    activations: Sequence[Activation], widths: Sequence[int], inputs: int, law: WeightLaw, classes: int
) -> Storage:
    """The same for a network that is not drawn, on average over its law."""
    pairs = zip(widths, (inputs, *widths[:-1]), strict=True)
    matrices: list[tuple[int, Kind, float]] = [(int(d) * int(before), law.kind, law.zeros) for d, before in pairs]
    return _storage(matrices, activations, int(widths[-1]), classes)


def _storage(
    matrices: Sequence[tuple[int, Kind, float]], activations: Sequence[Activation], last: int, classes: int
) -> Storage:
    """From (number of weights, kind, share of zeros) of every matrix."""
    ternary = all(kind == "ternary" for _, kind, _ in matrices)
    numbers = sum(1 + _table_size(a) for a in activations)
    return Storage(
        hidden=_bytes(n * expected_bits(_plain(kind, zeros), zeros) for n, kind, zeros in matrices),
        hidden_base3=ceil(sum(n for n, *_ in matrices) / 5) if ternary else None,
        hidden_entropy=_bytes(n * ternary_entropy(zeros) for n, _, zeros in matrices) if ternary else None,
        hidden_smallest=_bytes(n * expected_bits(smallest_encoding(kind, z), z) for n, kind, z in matrices),
        activations=numbers * FLOAT_BITS // 8,
        readout=(last + 1) * classes * FLOAT_BITS // 8,
    )


def _plain(kind: Kind, zeros: float) -> str:
    """The encoding one thinks of first."""
    if kind == "float32" and zeros > 0:
        return min(("float32", "mask+float32"), key=lambda encoding: expected_bits(encoding, zeros))
    return {"ternary": "bits2", "sign": "signs"}.get(kind, kind)


def _bytes(bits: Iterable[float]) -> int:
    return ceil(sum(bits) / 8)


def ternary_entropy(sparsity: float) -> float:
    """Bits a weight of the ternary law carries."""
    kept = 1 - sparsity
    zeros = -sparsity * log2(sparsity) if sparsity > 0 else 0.0
    return zeros - kept * log2(kept / 2)


def _table_size(activation: object) -> int:
    return len(activation.thresholds) + len(activation.levels) if isinstance(activation, Staircase) else 0
