"""NTKs of drawn networks: hntk, layer by layer, and neural-tangents' implementations."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmarks.harness import Contender, Sweep
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
        width, options = settings.alone_width, {"n": n, "p": p, "width": settings.alone_width, "depth": depth}
        product = Contender("hntk, a product", "network_tasks.empirical_products", options, compared=False)
        return [product, _own(n, p, width, depth)]

    sweeps = [
        Sweep("n", f"width {width}, depth {depth}", {n: both(n, width, depth) for n in settings.n}, PEER),
        Sweep("width", f"n = {samples}, depth {depth}", {w: both(samples, w, depth) for w in settings.widths}, PEER),
        Sweep("depth", f"n = {samples}, width {width}", {d: both(samples, width, d) for d in settings.depths}, PEER),
        Sweep("n", f"width {settings.alone_width}, depth {depth}", {n: alone(n) for n in settings.alone}),
    ]
    cases = run_sweeps(record, sweeps, settings)
    draw_sweeps(record, sweeps, cases, "empirical", f"NTK of a drawn ReLU network, {p} inputs")


def _own(n: int, p: int, width: int, depth: int) -> Contender:
    options = {"n": n, "p": p, "width": width, "depth": depth}
    work = _least_work(n, p, width, depth)
    return Contender("hntk", "network_tasks.empirical", options, results=8 * n * n, work=work)


def _least_work(n: int, p: int, width: int, depth: int) -> tuple[float, float]:
    """Return the bytes of one matrix, and the operations of two passes and of symmetric products of their results."""
    weights = p * width + (depth - 1) * width**2
    passes = 2 * n * (weights + (depth - 1) * width**2)
    return 4.0 * n * n, passes + float(n) ** 2 * (p + (2 * depth) * width)


def _peers(n: int, p: int, width: int, depth: int) -> Iterator[Contender]:
    parameters = p * width + (depth - 1) * width**2 + width
    for name in IMPLEMENTATIONS:
        if name == "JACOBIAN_CONTRACTION" and 4 * n * parameters > JACOBIAN_BYTES:
            continue
        options = {"n": n, "p": p, "width": width, "depth": depth, "implementation": name}
        setting = name.lower().replace("_", " ")
        yield Contender(PEER, "network_tasks.empirical_neural_tangents", options, setting, results=4 * n * n,
                        work=_least_work(n, p, width, depth))  # fmt: skip
