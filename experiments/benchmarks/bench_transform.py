"""Products with orthogonal ternary matrices: by Walsh-Hadamard transforms, and with the explicit matrix."""

from __future__ import annotations

from experiments.benchmarks.harness import Contender, Sweep
from experiments.benchmarks.sweeps import draw_sweeps, run_sweeps
from experiments.runner.config import Config
from experiments.runner.record import Record

PEER = "explicit ternary matrix"


def run(cfg: Config, record: Record) -> None:
    """Sweep over the width of square matrices, for a batch of samples and for a few."""
    settings = cfg.experiment
    sweeps = [
        Sweep(
            "width",
            f"{samples} {'sample' if samples == 1 else 'samples'}, ε = {cfg.compress.sparsity:g}",
            {width: _contenders(samples, width, cfg.compress.sparsity) for width in settings.widths},
            PEER,
        )
        for samples in settings.samples
    ]
    cases = run_sweeps(record, sweeps, settings)
    draw_sweeps(record, sweeps, cases, "transform", "products with an orthogonal ternary matrix in JAX, float32")


def _contenders(samples: int, width: int, sparsity: float) -> list[Contender]:
    options = {"samples": samples, "width": width, "sparsity": sparsity}
    results = 4 * samples * width
    return [
        Contender("transform", "network_tasks.transformed", options, results=results),
        Contender(PEER, "network_tasks.multiplied", options, results=results),
    ]
