"""How often and how fast matches are found: hntk's solver, and restarted least squares as in the authors' code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import WIDEST, caption_above, legend_below
from experiments.kernels.least_squares import restarted, restarts_in_words
from experiments.kernels.matching_problems import Attempt, MatchingProblem, random_problems, timed
from experiments.runner.config import Config
from experiments.runner.console import progress, say, stage
from experiments.runner.record import Record
from hntk.plot.style import COLOURS

# A problem is solved if no α is missed by more, and nearly solved within the second limit.
SOLVED, NEARLY = 1e-9, 1e-3
OWN = "hntk"
OWN_SAME = "hntk, those the baseline gets"
# By name: whether least squares works in units of each layer's scales.
BASELINES = {"least squares": False, "least squares, scaled": True}
COLUMNS = [
    "solver", "feasible", "to 1e-9", "to 1e-3", "their median δ/τ²", "impossible refused", "median s, depth 3",
    "longest s",
]  # fmt: skip
DETAILS = ["solver", "kind", "layers", "tau0", "levels", "miss", "shift", "refused", "seconds"]
# By solver, every problem it got and its attempt at it.
Attempts = dict[str, list[tuple[MatchingProblem, Attempt]]]


def run(cfg: Config, record: Record) -> None:
    """Solve every problem, and some of them with the baseline too."""
    settings = cfg.experiment
    problems = random_problems(np.random.default_rng(cfg.seed), settings.problems)
    with stage("building the libraries of functions, once"):
        for levels in {problem.levels for problem in problems}:
            hntk.match(["relu"], 1.0, levels)
    attempts: Attempts = {OWN: []}
    with progress(OWN, len(problems)) as advance:
        for problem in problems:
            attempts[OWN].append((problem, timed(problem, _hntk)))
            advance()
    feasible = [p for p in problems if p.feasible][: settings.baseline_problems]
    if feasible:
        attempts[OWN_SAME] = [pair for pair in attempts[OWN] if pair[0] in feasible]
        attempts |= _baseline(feasible, sorted(settings.restarts), cfg.seed)
    _report(record, attempts)
    _report_problems(record, attempts)
    record.add_figure("solver", _solver_figure({name: p for name, p in attempts.items() if name != OWN_SAME}))


def _hntk(problem: MatchingProblem) -> Sequence[hntk.Activation]:
    shift = None if problem.feasible else 0.0
    return hntk.match(problem.layers, problem.tau0, problem.levels, alpha2=problem.alpha2, max_shift=shift).activations


def _baseline(problems: list[MatchingProblem], counts: list[int], seed: int) -> Attempts:
    """Solve the problems by least squares, with every number of restarts."""
    attempts: Attempts = {}
    for method, scaled in BASELINES.items():
        with progress(f"{method}, {restarts_in_words(counts[-1])}", len(problems)) as advance:
            for problem in problems:
                for count in counts:
                    attempt = restarted(problem, count, seed, scaled=scaled)
                    attempts.setdefault(f"{method}, {restarts_in_words(count)}", []).append((problem, attempt))
                advance()
    return attempts


def _report(record: Record, attempts: Attempts) -> None:
    rows = []
    for name, pairs in attempts.items():
        feasible = [(p, a) for p, a in pairs if p.feasible]
        impossible = [a for p, a in pairs if not p.feasible]
        depth3 = float(np.median([a.seconds for p, a in feasible if len(p.layers) == 3] or [float("nan")]))
        solved, nearly = (sum(a.miss <= limit for _, a in feasible) for limit in (SOLVED, NEARLY))
        shifts = [a.shift for _, a in feasible if a.miss <= NEARLY]
        refused = sum(a.refused for a in impossible)
        rows.append(
            [name, len(feasible), solved, nearly, float(np.median(shifts)) if shifts else None,
             f"{refused} of {len(impossible)}" if impossible else None, round(depth3, 3),
             round(float(np.max([a.seconds for _, a in feasible])), 2)]
        )  # fmt: skip
        key = name.replace(" ", "_").replace(",", "")
        record.add_metrics(
            **{f"{key}/feasible": len(feasible), f"{key}/found": solved, f"{key}/within_1e-3": nearly,
               f"{key}/median_seconds_depth_3": depth3,
               f"{key}/impossible": len(impossible), f"{key}/refused": refused}
        )  # fmt: skip
    record.add_table(
        "solver", COLUMNS, rows, "Random matching problems: depth 1 to 6, 2 to 8 levels, τ_0 from 1e-3 to 1e3"
    )


def _report_problems(record: Record, attempts: Attempts) -> None:
    """Record every attempt, and print those problems that hntk missed."""
    rows = [
        [name, p.kind, "-".join(layer.name for layer in p.layers), p.tau0, p.levels, a.miss, a.shift, a.refused,
         round(a.seconds, 4)]
        for name, pairs in attempts.items()
        for p, a in pairs
    ]  # fmt: skip
    record.add_table("problems", DETAILS, rows)
    own = zip(attempts[OWN], rows, strict=False)
    missed = [row for (p, a), row in own if p.feasible == a.refused or (not a.refused and a.miss > SOLVED)]
    for row in missed[:10]:
        say(f"  [yellow]missed[/] {row[1:]}")


def _solver_figure(attempts: Mapping[str, list[tuple[MatchingProblem, Attempt]]]) -> Figure:
    """Draw the share of feasible problems solved to within a miss, and within a time, one row a baseline.

    Lines of a baseline are darker with more restarts.
    """
    baselines = {name: [one for one in attempts if one.rpartition(", ")[0] == name] for name in BASELINES}
    shown = {name: ways for name, ways in baselines.items() if ways} or {"": []}
    figure, axes = plt.subplots(len(shown), 2, figsize=(WIDEST, 3.1 * len(shown) + 0.7), sharex="col", squeeze=False)
    for (left, right), (name, ways) in zip(axes, shown.items(), strict=True):
        shades = plt.get_cmap("YlOrBr")(np.linspace(0.4, 0.85, len(ways)))
        for way, colour in zip(ways, shades, strict=True):
            _draw_shares(left, right, attempts[way], {"color": colour, "lw": 2.0}, way.rpartition(", ")[2])
        _draw_shares(left, right, attempts[OWN], {"color": COLOURS[0], "lw": 2.0}, OWN)
        left.axvline(SOLVED, color="black", lw=0.8)
        left.annotate("required", (SOLVED, 0.06), xytext=(4, 0), textcoords="offset points", fontsize=9)
        left.set(xscale="log", xlim=(1e-17, 10), ylim=(-0.02, 1.04), ylabel="share of problems")
        right.set(xscale="log", ylim=(-0.02, 1.04))
        left.set_title(f"{OWN}, and {name}" if name else OWN, fontsize=10, loc="left")
    axes[-1, 0].set_xlabel("largest relative miss of α")
    axes[-1, 1].set_xlabel("seconds per problem")
    legend_below(figure, [axes[0, 0]])
    return caption_above(figure, "Random feasible matching problems: solved to within a miss, and within a time")


def _draw_shares(
    left: Axes, right: Axes, pairs: Sequence[tuple[MatchingProblem, Attempt]], style: dict[str, Any], name: str
) -> None:
    """Draw which share of the feasible problems was solved to within a miss, and within a time."""
    feasible = [attempt for problem, attempt in pairs if problem.feasible]
    for a, values in ((left, [q.miss for q in feasible]), (right, [q.seconds for q in feasible])):
        size = np.sort(np.clip(np.where(np.isfinite(values), values, 1e3), 1e-17, 1e3))
        share = np.arange(1, size.size + 1) / size.size
        a.step(np.append(size, 1e3 if a is left else size[-1]), np.append(share, 1.0), where="post",
               label=f"{name} ({len(feasible)} problems)", **style)  # fmt: skip
