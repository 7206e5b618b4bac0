"""NTKs of drawn networks: hntk, layer by layer, and neural-tangents' implementations."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmarks.harness import Contender, Sweep, Work
from experiments.benchmarks.sweeps import draw_sweeps, run_sweeps
from experiments.runner.config import Config
from experiments.runner.record import Record

PEER = "neural-tangents, best"
IMPLEMENTATIONS = ("NTK_VECTOR_PRODUCTS", "JACOBIAN_CONTRACTION")
# Jacobians of more bytes are not tried.
JACOBIAN_BYTES = 4e9


def run(cfg: Config, record: Record) -> None:
    """Sweep over n, width and depth beside neural-tangents, and over larger n alone."""
    settings = cfg.experiment
    p, depth, samples, width = settings.p, settings.depth, settings.samples, settings.width

    def both(n: int, width: int, depth: int) -> list[Contender]:
        return [_own(n, p, width, depth), *_peers(n, p, width, depth)]

    def alone(n: int) -> list[Contender]:
        own = _own(n, p, settings.alone_width, depth)
        return [Contender("hntk, a product", "network_tasks.empirical_products", own.options, compared=False), own]

    sweeps = [
        Sweep("n", f"width {width}, depth {depth}", {n: both(n, width, depth) for n in settings.n}, PEER),
        Sweep("width", f"n = {samples}, depth {depth}", {w: both(samples, w, depth) for w in settings.widths}, PEER),
        Sweep("depth", f"n = {samples}, width {width}", {d: both(samples, width, d) for d in settings.depths}, PEER),
        Sweep("n", f"width {settings.alone_width}, depth {depth}", {n: alone(n) for n in settings.alone}),
    ]
    cases = run_sweeps(record, sweeps, settings)
    draw_sweeps(record, sweeps, cases, "empirical", f"NTK of a drawn ReLU network, {p} inputs")


def _own(n: int, p: int, width: int, depth: int) -> Contender:
    """Return hntk; the least work is the bytes of one matrix, two passes and symmetric products of their results."""
    passes = 2 * n * (p * width + 2 * (depth - 1) * width**2)
    work = Work(4.0 * n * n, passes + float(n) ** 2 * (p + (2 * depth) * width))
    options = {"n": n, "p": p, "width": width, "depth": depth}
    return Contender("hntk", "network_tasks.empirical", options, results=8 * n * n, work=work)


def _peers(n: int, p: int, width: int, depth: int) -> Iterator[Contender]:
    parameters = p * width + (depth - 1) * width**2 + width
    for name in IMPLEMENTATIONS:
        if name == "JACOBIAN_CONTRACTION" and 4 * n * parameters > JACOBIAN_BYTES:
            continue
        own = _own(n, p, width, depth)
        yield Contender(
            PEER, "network_tasks.empirical_neural_tangents", {**own.options, "implementation": name},
            name.lower().replace("_", " "), results=4 * n * n, work=own.work,
        )  # fmt: skip
