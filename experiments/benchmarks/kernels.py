"""Exact kernels, and regressions with them: hntk, neural-tangents' best setting and scikit-learn."""

from __future__ import annotations

from typing import Any

from experiments.benchmarks import harness as bench
from experiments.benchmarks.harness import Contender, Sweep
from experiments.runner.config import Config
from experiments.runner.record import Record

# whose kernels are neural-tangents' own: hntk centres the others
CENTRED = ("erf", "tanh")
PEER, LEARN = "neural-tangents, best", "scikit-learn, Gaussian kernel"


def run(cfg: Config, record: Record) -> None:
    """Kernels against n, p, depth and levels; regressions against n."""
    settings = cfg.experiment
    p, depth, largest = settings.p, settings.depth, max(settings.n)
    middle = sorted(settings.n)[-2] if len(settings.n) > 1 else largest
    # neural-tangents' quadrature takes 625 nodes a pair
    small = sorted(settings.n)[min(1, len(settings.n) - 1)]
    batches = list(settings.batches)

    def own(n: int, p: int, depth: int, activation: str = "relu") -> Contender:
        options = {"n": n, "p": p, "depth": depth, "activation": activation}
        return Contender(
            f"hntk, {activation}", "exact", options, results=8 * n * n, work=least(n, p),
            compared=activation in CENTRED,
        )  # fmt: skip

    def stairs(n: int, levels: int, name: str) -> Contender:
        options = {"n": n, "p": p, "depth": depth, "activation": "", "levels": levels}
        return Contender(name, "exact", options, results=8 * n * n, work=least(n, p), compared=False)

    def peers(n: int, p: int, depth: int, activation: str = "relu") -> list[Contender]:
        options = {"n": n, "p": p, "depth": depth, "activation": activation}
        return [
            Contender(
                PEER, "neural_tangents", options | {"batch": batch}, f"nt.batch {batch}" if batch else "jit",
                results=8 * n * n, work=least(n, p),
            )
            for batch in [0, *batches]
            if batch < n
        ]  # fmt: skip

    sweeps = [
        Sweep(
            "n", f"ReLU, depth {depth}, p = {p}",
            {n: [own(n, p, depth), stairs(n, 4, "hntk, 4 levels"), *peers(n, p, depth)] for n in settings.n}, PEER,
        ),
        Sweep(
            "p", f"ReLU, depth {depth}, n = {middle}",
            {q: [own(middle, q, depth), *peers(middle, q, depth)] for q in settings.ps}, PEER,
        ),
        Sweep(
            "depth", f"ReLU, n = {middle}, p = {p}",
            {d: [own(middle, p, d), *peers(middle, p, d)] for d in settings.depths}, PEER,
        ),
        *(
            Sweep(
                "n", f"{a}, depth {depth}, p = {p}",
                {small: [own(small, p, depth, a), *peers(small, p, depth, a)]}, PEER,
            )
            for a in settings.activations
        ),
        Sweep(
            "levels", f"depth {depth}, n = {largest}, p = {p}, beside ReLU",
            {k: [stairs(largest, k, "hntk, staircase"), own(largest, p, depth)] for k in settings.levels}, "hntk, relu",
        ),
    ]  # fmt: skip
    found = bench.measure(record, sweeps, settings)
    shown = [sweeps[0], sweeps[1], sweeps[2], sweeps[-1]]
    bench.draw(record, shown, found, "kernels", "Exact CK and NTK together")
    _regressions(settings, record)


def least(n: int, p: int) -> tuple[float, float]:
    """Two float32 matrices are written; a symmetric product of samples takes n²p operations."""
    return 8.0 * n * n, 1.0 * n * n * p


def _regressions(settings: Any, record: Record) -> None:
    common = {"p": settings.p, "depth": settings.depth, "new": settings.new}
    names = {
        "hntk, equivalent NTK": "equivalent_regression",
        "hntk, exact NTK": "exact_regression",
        LEARN: "scikit_learn",
    }
    cases = {
        n: [Contender(name, task, {"n": n, **common}) for name, task in names.items()] for n in settings.regressions
    }
    about = f"regression, two classes, p = {settings.p}, {settings.new} new samples"
    sweep = Sweep("n", about, cases, LEARN)
    found = bench.measure(record, [sweep], settings)
    bench.draw(record, [sweep], found, "regressions", "Kernel ridge regression, fitted and used")
