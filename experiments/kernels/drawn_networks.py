"""The kinds of networks that experiments draw, by description and law of weights, and what their draws measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

import hntk
from experiments.runner.networks import Network
from hntk._utils.statistics import mean_and_error
from hntk.activations.fingerprint import fingerprint
from hntk.theory.architecture import as_architecture

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


@dataclass
class Draw:
    """One network drawn from an arm, with its readout.

    Attributes
    ----------
    accuracy : float
        Share of test samples that are classified correctly.
    ridge : float
        Ridge of the readout.
    seconds : float
        Time to compute the training features and fit the readout.
    size : int
        Bytes by formula.
    """

    accuracy: float
    ridge: float
    seconds: float
    size: int


@dataclass(frozen=True)
class NetworkArm(NetworkKind):
    """One way to build the network and to read it out, and the draws.

    Attributes
    ----------
    layers : {"last", "all"}
        Whose features the readout takes.
    draws : list of Draw
        The networks that were drawn.
    """

    layers: Literal["last", "all"]
    draws: list[Draw] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The arm in one line."""
        return f"{self.name}, {self.weights}" + (", all layers" if self.layers == "all" else "")

    @property
    def prints(self) -> tuple[str, ...]:
        """What tells its network from others: arms that have it in common have the same exact kernels."""
        net = as_architecture(self.net)
        return (*map(fingerprint, net.layers), str((net.scales, net.centred, net.normalize)))

    @property
    def accuracy(self) -> float:
        """Mean test accuracy over draws."""
        return float(np.mean([draw.accuracy for draw in self.draws]))

    @property
    def error(self) -> float | None:
        """Standard error of that mean; None for one draw."""
        error = mean_and_error(np.array([draw.accuracy for draw in self.draws]))[1]
        return round(error, 5) if np.isfinite(error) else None

    @property
    def size(self) -> int:
        """Bytes by formula, which are the same for every draw."""
        return self.draws[0].size
