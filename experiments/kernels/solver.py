"""How often and how fast matches are found: hntk's solver, and restarted least squares as in the authors' code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

import hntk
from experiments.figures import style as figures
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.record import Record
from hntk.matching.cell_pattern import CellPattern

POOL = (
    "relu",
    "leaky_relu",
    "abs",
    "erf",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "softplus",
    "sign",
    "linear",
    "sin",
    "cos",
)
FOUND = 1e-9
CLOSE = 1e-3
VOID = 1e-6
SAME = "hntk, those the baseline gets"
BASELINES = {"least squares": False, "least squares, scaled": True}


@dataclass(frozen=True)
class Problem:
    """One matching problem.

    Attributes
    ----------
    kind : ``planted`` (the original is itself a network of so many levels), ``named`` (named activations, without
        α_2, which two levels can always reach) or ``impossible`` (a lossless match below the Hermite-share bound).
    layers, tau0, levels : the original, its scale, and the levels to match it with.
    """

    kind: str
    layers: tuple[hntk.Activation, ...]
    tau0: float
    levels: int

    @property
    def alpha2(self) -> bool:
        """Whether α_2 is asked for."""
        return self.kind == "planted"


@dataclass(frozen=True)
class Outcome:
    """What a solver made of a problem.

    Attributes
    ----------
    miss : largest relative miss of the asked α, inf if it gave up.
    seconds : taken.
    shift : δ/τ_L² of what was found.
    refused : whether it said that there is no match.
    """

    miss: float
    seconds: float
    shift: float = float("nan")
    refused: bool = False


def run(cfg: Config, record: Record) -> None:
    """Solve every problem, then some of them with the baseline."""
    settings = cfg.experiment
    rng = np.random.default_rng(cfg.seed)
    problems = random_problems(rng, settings.problems)
    with stage("building the libraries of functions, once"):
        _warm_up()
    ours: list[Outcome] = []
    with progress("hntk", len(problems)) as advance:
        for problem in problems:
            ours.append(_timed(problem, _hntk))
            advance()
    kinds = {"hntk": list(zip(problems, ours, strict=True))}
    feasible = [p for p in problems if p.kind != "impossible"][: settings.baseline_problems]
    counts = sorted(settings.restarts)
    if feasible:
        kinds[SAME] = [pair for pair in kinds["hntk"] if pair[0] in feasible]
    for method, scaled in BASELINES.items() if feasible else ():
        tried = []
        with progress(f"{method}, {restarts_in_words(counts[-1])}", len(feasible)) as advance:
            for problem in feasible:
                tried.append(restarted(problem, counts, cfg.seed, scaled=scaled))
                advance()
        for i, restarts in enumerate(counts):
            name = f"{method}, {restarts_in_words(restarts)}"
            kinds[name] = [(p, found[i]) for p, found in zip(feasible, tried, strict=True)]
    _report(record, kinds)


def restarts_in_words(count: int) -> str:
    """Their number, for tables."""
    return f"{count} restart{'' if count == 1 else 's'}"


def random_problems(rng: np.random.Generator, count: int) -> list[Problem]:
    """Problems of every kind in turn, two in five planted, two named, one impossible; half of all have depth 3."""
    made: list[Problem] = []
    while len(made) < count:
        kind = ("planted", "named", "planted", "named", "impossible")[len(made) % 5]
        depth = 3 if rng.random() < 0.5 else int(rng.integers(1, 7))
        levels = int(rng.integers(2, 9))
        tau0 = float(10 ** rng.uniform(-3, 3))
        problem = _draw(rng, kind, depth, levels, tau0)
        if problem is not None:
            made.append(problem)
    return made


def _draw(rng: np.random.Generator, kind: str, depth: int, levels: int, tau0: float) -> Problem | None:
    """A problem, or None where the original is void at its scale or the impossible would be possible."""
    if kind == "planted":
        layers, scale = [], tau0
        for _ in range(depth):
            thresholds = scale * np.sort(rng.uniform(-1.8, 1.8, levels - 1))
            layer = hntk.staircase(thresholds, rng.uniform(-1, 1, levels), "planted")
            layers.append(layer)
            scale = float(np.sqrt(layer.moments(scale).variance))
    else:
        layers = [hntk.activation(str(name)) for name in rng.choice(POOL, depth)]
    try:
        net = hntk.coefficients(layers, tau0)
    except ValueError:
        return None
    shares = net.alpha[-1, [0, 2]] * np.array([tau0**2, tau0**4]) / net.tau[-1] ** 2
    if np.max(shares) < VOID:
        return None
    if kind == "impossible" and shares[0] <= hntk.share_bound(levels) ** depth + 1e-3:
        return None
    return Problem(kind, tuple(layers), tau0, levels)


def _warm_up() -> None:
    """Build the libraries of functions, which a session does once."""
    for levels in range(2, 9):
        hntk.match(["relu"], 1.0, levels)


def _timed(problem: Problem, solver: Callable[[Problem], Sequence[hntk.Activation]]) -> Outcome:
    start = time.perf_counter()
    try:
        found = solver(problem)
    except hntk.MatchError:
        return Outcome(float("inf"), time.perf_counter() - start, refused=True)
    seconds = time.perf_counter() - start
    return Outcome(*_judge(problem, found, seconds))


def _hntk(problem: Problem) -> Sequence[hntk.Activation]:
    shift = 0.0 if problem.kind == "impossible" else None
    return hntk.match(problem.layers, problem.tau0, problem.levels, alpha2=problem.alpha2, max_shift=shift).activations


def _judge(problem: Problem, found: Sequence[hntk.Activation], seconds: float) -> tuple[float, float, float]:
    """Largest relative miss of the asked α, the seconds, δ/τ²; where the original has no α, the share found there."""
    try:
        wanted, reached = (hntk.coefficients(layers, problem.tau0) for layers in (problem.layers, found))
    except ValueError:
        return float("inf"), seconds, float("nan")
    unit = np.array([problem.tau0**2, problem.tau0**4, problem.tau0**4]) / wanted.tau[-1] ** 2
    a, b = wanted.alpha[-1, :3] * unit, reached.alpha[-1, :3] * unit
    asked = [0, 1, 2] if problem.alpha2 else [0, 2]
    misses = np.where(a > 1e-13, np.abs(b / np.where(a > 0, a, 1.0) - 1), np.abs(b))
    return float(np.max(misses[asked])), seconds, float((reached.tau[-1] / wanted.tau[-1]) ** 2 - 1)


def restarted(problem: Problem, counts: Sequence[int], seed: int, *, scaled: bool) -> list[Outcome]:
    """The authors' method after each number of restarts; those of fewer are the first of those of more.

    Layer by layer, SLSQP from random starts on the sum of squared misses of e1², e2² and s2², the best kept. The
    gradient is exact here, which makes it faster than theirs; ``scaled`` also works in units of the layer's input and
    output scales, which theirs does not.
    """
    outcomes = []
    original = hntk.coefficients(problem.layers, problem.tau0).moments
    for count in counts:
        start, tau, found = time.perf_counter(), problem.tau0, []
        for layer, moments in enumerate(original):
            rng = np.random.default_rng([seed, layer])
            units = (tau, float(np.sqrt(moments.variance))) if scaled else (1.0, 1.0)
            descents = (_one_descent(moments, problem, tau, units, rng) for _ in range(count))
            best = min(descents, key=lambda pair: pair[0])[1]
            if best is None:
                break
            found.append(best)
            tau = float(np.sqrt(best.moments(tau).variance))
        seconds = time.perf_counter() - start
        complete = len(found) == len(original)
        outcomes.append(Outcome(*_judge(problem, found, seconds)) if complete else Outcome(float("inf"), seconds))
    return outcomes


def _one_descent(
    moments: hntk.Moments, problem: Problem, tau: float, units: tuple[float, float], rng: np.random.Generator
) -> tuple[float, hntk.Staircase | None]:
    """One run of SLSQP; unknowns are thresholds and levels in the given units of input and output."""
    count = problem.levels - 1
    form = CellPattern(tuple(range(problem.levels)))
    size_in, size_out = units
    asked = np.array([1.0, 1.0, float(problem.alpha2)])
    conversion = asked * np.array([size_in / size_out, size_in**2 / size_out, size_in**2 / size_out**2])
    wanted = (np.array([moments.e1, moments.e2, moments.s2]) * conversion) ** 2
    # of moments in units of τ and of the output's unit
    relative = asked * np.array([size_in / tau, (size_in / tau) ** 2, (size_in / tau) ** 2])

    def misses(z: np.ndarray) -> tuple[float, np.ndarray]:
        order = np.argsort(z[:count])
        reached, by = form.moments(np.concatenate([z[:count][order] * (size_in / tau), z[count:]]))
        reached = reached[:3] * relative
        gap = reached**2 - wanted
        slope = (4 * gap * reached * relative) @ by[:3]
        gradient = np.empty_like(z)
        gradient[:count][order], gradient[count:] = slope[:count] * (size_in / tau), slope[count:]
        return float(gap @ gap), gradient

    start = np.concatenate([np.sort(rng.uniform(-2, 2, count)), rng.uniform(-2, 2, count + 1)])
    with np.errstate(all="ignore"):
        solved = minimize(misses, start, jac=True, method="SLSQP", options={"ftol": 1e-20, "maxiter": 500})
        thresholds = np.sort(solved.x[:count]) * size_in
    if not (np.isfinite(solved.fun) and np.all(np.isfinite(solved.x)) and np.all(np.diff(thresholds) > 0)):
        return float("inf"), None
    staircase = hntk.staircase(thresholds, solved.x[count:] * size_out)
    return (float(solved.fun), staircase) if staircase.moments(tau).variance > 0 else (float("inf"), None)


def _report(record: Record, kinds: dict[str, list[tuple[Problem, Outcome]]]) -> None:
    rows = []
    for name, pairs in kinds.items():
        feasible = [(p, o) for p, o in pairs if p.kind != "impossible"]
        impossible = [o for p, o in pairs if p.kind == "impossible"]
        depth3 = [o.seconds for p, o in feasible if len(p.layers) == 3] or [float("nan")]
        within = [sum(o.miss <= limit for _, o in feasible) for limit in (FOUND, CLOSE)]
        shifts = [o.shift for _, o in feasible if o.miss <= CLOSE]
        refused = f"{sum(o.refused for o in impossible)} of {len(impossible)}"
        rows.append(
            [name, len(feasible), *within, float(np.median(shifts)) if shifts else None,
             refused if impossible else None, round(float(np.median(depth3)), 3),
             round(float(np.max([o.seconds for _, o in feasible])), 2)]
        )  # fmt: skip
        key = name.replace(" ", "_").replace(",", "")
        record.add_metrics(
            **{f"{key}/feasible": len(feasible), f"{key}/found": within[0], f"{key}/within_1e-3": within[1],
               f"{key}/median_seconds_depth_3": float(np.median(depth3)),
               f"{key}/impossible": len(impossible), f"{key}/refused": sum(o.refused for o in impossible)}
        )  # fmt: skip
    columns = [
        "solver",
        "feasible",
        "to 1e-9",
        "to 1e-3",
        "their median δ/τ²",
        "impossible refused",
        "median s, depth 3",
        "longest s",
    ]
    show_table("Random matching problems: depth 1 to 6, 2 to 8 levels, τ_0 from 1e-3 to 1e3", columns, rows)
    record.add_table("solver", columns, rows)
    details = [
        [
            name,
            p.kind,
            "-".join(a.name for a in p.layers),
            p.tau0,
            p.levels,
            o.miss,
            o.shift,
            o.refused,
            round(o.seconds, 4),
        ]
        for name, pairs in kinds.items()
        for p, o in pairs
    ]
    record.add_table(
        "problems", ["solver", "kind", "layers", "tau0", "levels", "miss", "shift", "refused", "seconds"], details
    )
    failed = [d for d in details if d[0] == "hntk" and ((d[1] == "impossible") != d[7] or (not d[7] and d[5] > FOUND))]
    for row in failed[:10]:
        CONSOLE.print(f"  [yellow]missed[/] {row[1:]}", soft_wrap=True)
    shown = {n: [o for p, o in pairs if p.kind != "impossible"] for n, pairs in kinds.items() if n != SAME}
    misses = {name: np.array([o.miss for o in found]) for name, found in shown.items()}
    seconds = {name: np.array([o.seconds for o in found]) for name, found in shown.items()}
    record.add_figure("solver", figures.solver_figure(misses, seconds, FOUND))
