r"""Bytes a network takes, by formula.

A ternary matrix takes 2 bits a weight packed, 1.6 in base 3 (five trits a byte), or its entropy $H(\varepsilon) =
-\varepsilon\log_2\varepsilon - (1-\varepsilon)\log_2\frac{1-\varepsilon}{2}$; a dense one 32. Thresholds, levels,
centring constants and the readout (float32) are counted. A random network's seed is never counted as its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from hntk.activations import Activation, Staircase
from hntk.network import Network
from hntk.weights import WeightLaw

FLOAT_BITS = 32


@dataclass(frozen=True)
class Storage:
    """Bytes by formula.

    Attributes
    ----------
    hidden : hidden weights at 2 bits (ternary), 1 bit (±1) or 32 bits each.
    hidden_base3, hidden_entropy : the same at 1.6 bits and at the entropy; None unless ternary.
    activations : thresholds, levels and centring constants, float32.
    readout : float32 readout for the given number of classes, with offsets.
    """

    hidden: int
    hidden_base3: int | None
    hidden_entropy: int | None
    activations: int
    readout: int

    @property
    def total(self) -> int:
        """All of it, hidden weights at their packed size."""
        return self.hidden + self.activations + self.readout


def storage(network: Network, classes: int) -> Storage:
    """Bytes of a network with a readout for so many classes, by formula.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["relu"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> hntk.storage(net, classes=2).hidden
    2000
    """
    return storage_of(network.activations, network.widths, network.inputs, network.law, classes)


def storage_of(
    activations: Sequence[Activation], widths: Sequence[int], inputs: int, law: WeightLaw, classes: int
) -> Storage:
    """The same for a network that is not drawn."""
    ternary = law.name == "ternary"
    count = sum(int(d) * int(before) for d, before in zip(widths, (inputs, *widths[:-1]), strict=True))
    bits = {"ternary": 2, "bernoulli": 1}.get(law.name, FLOAT_BITS)
    numbers = sum(1 + _table_size(a) for a in activations)
    return Storage(
        hidden=ceil(count * bits / 8),
        hidden_base3=ceil(count / 5) if ternary else None,
        hidden_entropy=ceil(count * ternary_entropy(law.sparsity) / 8) if ternary else None,
        activations=numbers * FLOAT_BITS // 8,
        readout=(int(widths[-1]) + 1) * classes * FLOAT_BITS // 8,
    )


def ternary_entropy(sparsity: float) -> float:
    """Bits a weight of the ternary law carries."""
    kept = 1 - sparsity
    zeros = -sparsity * log2(sparsity) if sparsity > 0 else 0.0
    return zeros - kept * log2(kept / 2)


def _table_size(activation: object) -> int:
    return len(activation.thresholds) + len(activation.levels) if isinstance(activation, Staircase) else 0
