"""Rounds in which workers take turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.benchmarks.workers import Worker

# Rounds that a worker takes part in, even if it has used up its seconds.
FEWEST = 3


@dataclass
class Timing:
    """Seconds of every round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """The quartiles of the seconds; the second one is the median."""
        low, middle, high = np.quantile(self.seconds, (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))

    def speedup(self, peer: Timing) -> float:
        """Return how many times as long the peer took: the median over rounds, in which both saw the same machine."""
        pairs = zip(peer.seconds, self.seconds, strict=False)
        return float(np.median([theirs / own for theirs, own in pairs]))


@dataclass
class Turn:
    """A question that a worker answers in every round, and the median seconds of its answers."""

    worker: Worker
    question: Sequence[object]
    timing: Timing

    def take(self) -> None:
        """Ask once more."""
        self.timing.seconds.append(float(np.median(self.worker.ask(*self.question))))


def take_turns(
    turns: Sequence[Turn],
    rounds: int,
    measure_limits: Callable[[], None],
    seconds: float | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Let every worker take its turn in every round, after the machine's limits have been measured.

    Parameters
    ----------
    turns : sequence of Turn
        The turns of a round.
    rounds : int
        Number of rounds.
    measure_limits : callable
        Measures the machine's limits; called at the start of every round.
    seconds : float, optional
        Time after which a worker gets no more than ``FEWEST`` rounds.
    advance : callable
        Called after every turn.
    """
    for _ in range(rounds):
        measure_limits()
        for turn in turns:
            taken = turn.timing.seconds
            if seconds is None or len(taken) < FEWEST or sum(taken) < seconds:
                turn.take()
            advance()
