"""NTKs of drawn networks: hntk, layer by layer, and neural-tangents' implementations."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmarks import harness as bench
from experiments.benchmarks.harness import Contender, Sweep
from experiments.runner.config import Config
from experiments.runner.record import Record

PEER = "neural-tangents, best"
IMPLEMENTATIONS = ("NTK_VECTOR_PRODUCTS", "JACOBIAN_CONTRACTION")
# Jacobians beyond so many bytes are not tried
JACOBIAN = 4e9


def run(cfg: Config, record: Record) -> None:
    """Against n, width and depth, beside neural-tangents; then alone, where that cannot go."""
    settings = cfg.experiment
    p, depth, samples, width = settings.p, settings.depth, settings.samples, settings.width

    def both(n: int, width: int, depth: int) -> list[Contender]:
        return [own(n, p, width, depth), *_peers(n, p, width, depth)]

    def alone(n: int) -> list[Contender]:
        width, options = settings.alone_width, {"n": n, "p": p, "width": settings.alone_width, "depth": depth}
        product = Contender("hntk, a product", "empirical_products", options, compared=False)
        return [product, own(n, p, width, depth)]

    sweeps = [
        Sweep("n", f"width {width}, depth {depth}", {n: both(n, width, depth) for n in settings.n}, PEER),
        Sweep("width", f"n = {samples}, depth {depth}", {w: both(samples, w, depth) for w in settings.widths}, PEER),
        Sweep("depth", f"n = {samples}, width {width}", {d: both(samples, width, d) for d in settings.depths}, PEER),
        Sweep("n", f"width {settings.alone_width}, depth {depth}", {n: alone(n) for n in settings.alone}),
    ]
    found = bench.measure(record, sweeps, settings)
    caption = f"NTK of a drawn ReLU network, {p} inputs"
    bench.draw(record, sweeps, found, "empirical", caption)


def own(n: int, p: int, width: int, depth: int) -> Contender:
    """The whole matrix, by hntk."""
    options = {"n": n, "p": p, "width": width, "depth": depth}
    return Contender("hntk", "empirical", options, results=8 * n * n, work=least(n, p, width, depth))


def least(n: int, p: int, width: int, depth: int) -> tuple[float, float]:
    """One matrix is written; a forward and a backward pass, and symmetric products of what they give."""
    weights = p * width + (depth - 1) * width**2
    passes = 2 * n * (weights + (depth - 1) * width**2)
    return 4.0 * n * n, passes + float(n) ** 2 * (p + (2 * depth) * width)


def _peers(n: int, p: int, width: int, depth: int) -> Iterator[Contender]:
    parameters = p * width + (depth - 1) * width**2 + width
    for name in IMPLEMENTATIONS:
        if name == "JACOBIAN_CONTRACTION" and 4 * n * parameters > JACOBIAN:
            continue
        options = {"n": n, "p": p, "width": width, "depth": depth, "implementation": name}
        told = name.lower().replace("_", " ")
        yield Contender(PEER, "empirical_neural_tangents", options, told, results=4 * n * n,
                        work=least(n, p, width, depth))  # fmt: skip
