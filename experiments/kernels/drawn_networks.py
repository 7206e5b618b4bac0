"""The kinds of networks that experiments draw: activations, and a law of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hntk

# What laws of weights are called in tables and figures.
LAW_NAMES = {
    "gaussian": "dense, Gaussian", "orthogonal_gaussian": "dense, orthogonal", "ternary": "ternary, i.i.d.",
    "orthogonal": "ternary, orthogonal",
}  # fmt: skip


@dataclass(frozen=True)
class NetworkKind:
    """One kind of network.

    Attributes
    ----------
    name : str
        What its activations are called.
    activations : sequence of Activation
        Its activations.
    law : WeightLaw
        The law of its hidden weights.
    """

    name: str
    activations: Sequence[hntk.Activation]
    law: hntk.WeightLaw

    @property
    def weights(self) -> str:
        """What its weights are called."""
        return LAW_NAMES.get(self.law.name, self.law.name)


def name_of(layers: Sequence[hntk.Activation]) -> str:
    """Return the names of activations, each once."""
    return "/".join(dict.fromkeys(sigma.name for sigma in layers))
