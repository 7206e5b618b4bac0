"""How long matches take, against depth and levels: hntk's two methods, and restarted least squares."""

from __future__ import annotations

from experiments.benchmarks import harness as bench
from experiments.benchmarks.harness import Contender, Sweep
from experiments.kernels.solver import restarts_in_words
from experiments.runner.config import Config
from experiments.runner.record import Record


def run(cfg: Config, record: Record) -> None:
    """Against depth at fixed levels, and levels at fixed depth."""
    settings = cfg.experiment
    peer = f"least squares, {restarts_in_words(settings.restarts)}"

    def all_of(depth: int, levels: int) -> list[Contender]:
        options = {"activation": settings.activation, "depth": depth, "levels": levels}
        return [
            Contender("hntk, joint", "match", options | {"method": "joint"}, memory=False),
            Contender("hntk, layer by layer", "match", options | {"method": "layerwise"}, memory=False),
            Contender(peer, "least_squares", options | {"restarts": settings.restarts}, memory=False),
        ]

    sweeps = [
        Sweep("depth", f"{settings.activation}, {settings.level} levels",
              {d: all_of(d, settings.level) for d in settings.depths}, peer),
        Sweep("levels", f"{settings.activation}, depth {settings.depth}",
              {k: all_of(settings.depth, k) for k in settings.levels}, peer),
    ]  # fmt: skip
    found = bench.measure(record, sweeps, settings)
    bench.draw(record, sweeps, found, "solver_times", "Matching α₁, α₂ and α₃: time of one match")
