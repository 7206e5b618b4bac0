"""The kinds of networks that experiments draw: activations, and a law of weights."""

from __future__ import annotations

from dataclasses import dataclass

import hntk
from experiments.runner.networks import Network

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
        What it is called, its weights aside.
    net : Architecture or list of Activation
        The network.
    law : WeightLaw
        The law of its hidden weights.
    """

    name: str
    net: Network
    law: hntk.WeightLaw

    @property
    def weights(self) -> str:
        """What its weights are called."""
        return LAW_NAMES.get(self.law.name, self.law.name)
