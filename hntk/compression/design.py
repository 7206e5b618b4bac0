"""Designs of compressed networks: everything but the random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jax import Array

from hntk.compression.compressed_network import CompressedNetwork, compress
from hntk.compression.error_budget import LossAccount
from hntk.matching import Match
from hntk.networks.formula_bytes import Storage
from hntk.readouts.held_out import TaskAccuracy
from hntk.weights.laws import WeightLaw


@dataclass(frozen=True)
class Design:
    """A compressed network before it is drawn.

    Attributes
    ----------
    match : Match
        The staircases, and the activations that they replace.
    widths : tuple of int
        Widths (d_1, …, d_L).
    law : WeightLaw
        The law of the weights, ternary in orthogonal blocks or independent.
    storage : Storage
        Bytes by formula, readout included.
    account : LossAccount
        Predicted error of the kernel, part by part.
    accuracy : TaskAccuracy or None
        Predicted and measured accuracy, if the design was planned for an accuracy.
    """

    match: Match
    widths: tuple[int, ...]
    law: WeightLaw
    storage: Storage
    account: LossAccount
    accuracy: TaskAccuracy | None = None

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of levels of each staircase."""
        return self.match.level_counts

    @property
    def sparsity(self) -> float:
        """Share ε of zero weights."""
        return self.law.sparsity

    @property
    def weights(self) -> Literal["orthogonal", "iid"]:
        """Whether weights are drawn in orthogonal blocks or independently, as :func:`hntk.compress` takes it."""
        return "orthogonal" if self.law.orthogonal else "iid"

    @property
    def bytes(self) -> int:
        """Bytes of the whole network by formula."""
        return self.storage.total

    def draw(self, x: object, *, key: Array) -> CompressedNetwork:
        """Draw the network.

        Parameters
        ----------
        x : (n, p) array
            Samples of the data that the network was planned for.
        key : jax.Array
            JAX random key.

        Returns
        -------
        CompressedNetwork
            The network.

        Raises
        ------
        ValueError
            If samples or the key do not fit.
        MemoryError
            If the weights do not fit into memory.
        """
        return compress(
            self.match.architecture,
            self.widths,
            x,
            self.match,
            self.sparsity,
            key=key,
            weights=self.weights,
            tau0=self.match.tau0,
        )

    def __repr__(self) -> str:
        return f"Design({str(self).splitlines()[0]})"

    def __str__(self) -> str:
        part = self.account
        return (
            f"{'-'.join(map(str, self.levels))} levels, widths {'-'.join(map(str, self.widths))}, ε = "
            f"{self.sparsity:.3g}, {self.weights} weights: {self.bytes:,} bytes\n"
            f"predicted ‖K̂ − K‖/‖K‖ at most {part.total:.3f} = identity shift {part.shift:.3f} + finite n and p "
            f"{part.finite_size:.3f} + finite width {part.finite_width:.3f} + sparsity {part.sparsity:.3f}"
            + ("" if self.accuracy is None else f"\n{self.accuracy}")
        )
