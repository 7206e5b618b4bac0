"""Exact kernels, and regressions with them: hntk, neural-tangents' best setting and scikit-learn."""

from __future__ import annotations

from experiments.benchmarks.harness import Contender, Sweep, Work
from experiments.benchmarks.settings import BenchKernelsExperiment
from experiments.benchmarks.sweeps import draw_sweeps, run_sweeps
from experiments.runner.config import Config
from experiments.runner.record import Record

# Activations whose kernels are neural-tangents' own; hntk centres the others.
CENTRED = ("erf", "tanh")
PEER, REGRESSION_PEER = "neural-tangents, best", "scikit-learn, Gaussian kernel"
REGRESSIONS = {
    "hntk, equivalent NTK": "kernel_tasks.equivalent_regression",
    "hntk, exact NTK": "kernel_tasks.exact_regression",
    REGRESSION_PEER: "kernel_tasks.scikit_learn",
}


def run(cfg: Config, record: Record) -> None:
    """Sweep kernels over n, p, depth and levels, and regressions over n."""
    settings = cfg.experiment
    sweeps = _kernel_sweeps(settings)
    cases = run_sweeps(record, sweeps, settings)
    shown = [*sweeps[:3], sweeps[-1]]
    draw_sweeps(record, shown, cases, "kernels", "Exact CK and NTK together")
    sweep = _regression_sweep(settings)
    cases = run_sweeps(record, [sweep], settings)
    draw_sweeps(record, [sweep], cases, "regressions", "Kernel ridge regression, fitted and used")


def _kernel_sweeps(settings: BenchKernelsExperiment) -> list[Sweep]:
    p, depth, sizes = settings.p, settings.depth, sorted(settings.n)
    largest, middle = sizes[-1], sizes[-2] if len(sizes) > 1 else sizes[-1]
    # neural-tangents' quadrature takes 625 nodes for every pair of samples.
    small = sizes[min(1, len(sizes) - 1)]

    def both(n: int, p: int, depth: int, activation: str = "relu") -> list[Contender]:
        return [_own(n, p, depth, activation), *_peers(n, p, depth, activation, settings.batches)]

    return [
        Sweep(
            "n", f"ReLU, depth {depth}, p = {p}",
            {n: [_own(n, p, depth), _own(n, p, depth, levels=4, name="hntk, 4 levels"), *both(n, p, depth)[1:]]
             for n in settings.n}, PEER,
        ),
        Sweep("p", f"ReLU, depth {depth}, n = {middle}", {q: both(middle, q, depth) for q in settings.ps}, PEER),
        Sweep("depth", f"ReLU, n = {middle}, p = {p}", {d: both(middle, p, d) for d in settings.depths}, PEER),
        *(
            Sweep("n", f"{a}, depth {depth}, p = {p}", {small: both(small, p, depth, a)}, PEER)
            for a in settings.activations
        ),
        Sweep(
            "levels", f"depth {depth}, n = {largest}, p = {p}, beside ReLU",
            {k: [_own(largest, p, depth, levels=k, name="hntk, staircase"), _own(largest, p, depth)]
             for k in settings.levels}, "hntk, relu",
        ),
    ]  # fmt: skip


def _own(
    n: int, p: int, depth: int, activation: str = "relu", levels: int | None = None, name: str = ""
) -> Contender:  # fmt: skip
    """Return hntk with an activation, or with a staircase of a number of levels."""
    options = {"n": n, "p": p, "depth": depth, "activation": activation, "levels": levels}
    return Contender(
        name or f"hntk, {activation}", "kernel_tasks.exact", options, results=8 * n * n,
        work=_least_work(n, p, 0 if levels else depth, activation),
        compared=levels is None and activation in CENTRED,
    )  # fmt: skip


def _peers(n: int, p: int, depth: int, activation: str, batches: list[int]) -> list[Contender]:
    """Return neural-tangents as a whole, and with every size of batch below n."""
    options = {"n": n, "p": p, "depth": depth, "activation": activation}
    return [
        Contender(
            PEER, "kernel_tasks.neural_tangents", options | {"batch": batch}, f"nt.batch {batch}" if batch else "jit",
            results=8 * n * n, work=_least_work(n, p, depth, activation),
        )
        for batch in [0, *batches]
        if batch < n
    ]  # fmt: skip


def _least_work(n: int, p: int, depth: int, activation: str) -> Work:
    """Return the bytes of two float32 matrices, the n²p operations of a symmetric product, and what layers do with it.

    Of pairs that mirror each other one is computed. The least that a layer of another function than ReLU or erf does is
    not known, and counts as nothing.
    """
    layers = depth if activation in ("relu", "erf") else 0
    return Work(8.0 * n * n, 1.0 * n * n * p, layers * n * (n + 1) / 2)


def _regression_sweep(settings: BenchKernelsExperiment) -> Sweep:
    common = {"p": settings.p, "depth": settings.depth, "new": settings.new}
    cases = {
        n: [Contender(name, task, {"n": n, **common}) for name, task in REGRESSIONS.items()]
        for n in settings.regressions
    }  # fmt: skip
    about = f"regression, two classes, p = {settings.p}, {settings.new} new samples"
    return Sweep("n", about, cases, REGRESSION_PEER)
