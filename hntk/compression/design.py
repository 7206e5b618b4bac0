"""A compressed network that is planned and not yet drawn."""

from __future__ import annotations

from dataclasses import dataclass

from jax import Array

from hntk.compression.compressed_network import CompressedNetwork, compress
from hntk.compression.error_budget import LossAccount
from hntk.matching import Match
from hntk.networks.formula_bytes import Storage
from hntk.readouts.held_out import TaskAccuracy


@dataclass(frozen=True)
class Design:
    """A network to be drawn.

    Attributes
    ----------
    match : its activations, and the original's.
    widths : (d_1, …, d_L).
    sparsity : ε.
    storage : bytes by formula, readout included.
    account : the predicted loss of the kernel, part by part; ``account.total`` is the error that was asked for.
    accuracy : predicted and measured, of a design for an accuracy; None for others.
    """

    match: Match
    widths: tuple[int, ...]
    sparsity: float
    storage: Storage
    account: LossAccount
    accuracy: TaskAccuracy | None = None

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of levels of each activation."""
        return self.match.level_counts

    @property
    def bytes(self) -> int:
        """Whole size by formula."""
        return self.storage.total

    def draw(self, x: object, *, key: Array) -> CompressedNetwork:
        """The network for (n, p) samples of the data it was planned for."""
        return compress(self.match.original, self.widths, x, self.match, self.sparsity, key=key, tau0=self.match.tau0)

    def __str__(self) -> str:
        part = self.account
        return (
            f"{'-'.join(map(str, self.levels))} levels, widths {'-'.join(map(str, self.widths))}, ε = "
            f"{self.sparsity:.3g}: {self.bytes:,} bytes\n"
            f"predicted ‖K̂ − K‖/‖K‖ at most {part.total:.3f} = identity shift {part.shift:.3f} + finite n and p "
            f"{part.finite_size:.3f} + finite width {part.finite_width:.3f} + sparsity {part.sparsity:.3f}"
            + ("" if self.accuracy is None else f"\n{self.accuracy}")
        )
