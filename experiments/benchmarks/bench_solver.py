"""How long matches take, against depth and levels: hntk's two methods, and restarted least squares."""

from __future__ import annotations

from experiments.benchmarks.harness import Contender, Sweep
from experiments.benchmarks.sweeps import draw_sweeps, run_sweeps
from experiments.kernels.least_squares import restarts_in_words
from experiments.runner.config import Config
from experiments.runner.record import Record


def run(cfg: Config, record: Record) -> None:
    """Sweep over depth at fixed levels, and over levels at fixed depth."""
    settings = cfg.experiment
    peer = f"least squares, {restarts_in_words(settings.restarts)}"

    def contenders(depth: int, levels: int) -> list[Contender]:
        options = {"activation": settings.activation, "depth": depth, "levels": levels}
        return [
            Contender("hntk, joint", "matching_tasks.match", options | {"method": "joint"}, memory=False),
            Contender("hntk, layer by layer", "matching_tasks.match", options | {"method": "layerwise"}, memory=False),
            Contender(peer, "matching_tasks.least_squares", options | {"restarts": settings.restarts}, memory=False),
        ]

    sweeps = [
        Sweep("depth", f"{settings.activation}, {settings.level} levels",
              {d: contenders(d, settings.level) for d in settings.depths}, peer),
        Sweep("levels", f"{settings.activation}, depth {settings.depth}",
              {k: contenders(settings.depth, k) for k in settings.levels}, peer),
    ]  # fmt: skip
    cases = run_sweeps(record, sweeps, settings)
    draw_sweeps(record, sweeps, cases, "solver_times", "Matching α₁, α₂ and α₃: time of one match")
