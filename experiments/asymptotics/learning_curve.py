"""Errors of ridge regression against n/p and the ridge: theory beside the exact kernel, dense and compressed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import hntk
from experiments.asymptotics import figures as theory_figures
from experiments.asymptotics.draws import signed, standard_errors
from experiments.asymptotics.machines import VISIBLE, Comparison, Errors, Machine, Source, size_of, source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import activations, declared, declared_diagonal, kernel_net, matched
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import optimal_ridge, ridge_regression

# names of the three ways
DENSE, SAME, COMPENSATED = "dense", "compressed, same λ", "compressed, λ − δ"
CRITERIA = {"squared": "test_squared", "classification": "test_wrong"}


@dataclass(frozen=True)
class Arm:
    """A network, what theory takes it for, and the ridge it takes in the place of λ (None where there is none)."""

    name: str
    layers: list[hntk.Activation]
    net: KernelCoefficients
    ridge: Callable[[float], float | None]


@dataclass
class Point(Comparison):
    """An arm at one n and one ridge.

    Attributes
    ----------
    arm, n, ratio : which; n/p.
    ridge : λ of the dense network, by the kernel's diagonal.
    """

    arm: str
    n: int
    ratio: float
    ridge: float


def run(cfg: Config, record: Record) -> None:
    """Simulate every arm at every n, all ridges at once."""
    settings, data = cfg.experiment, source(cfg)
    with stage("matching: solving for the compressed activations") as tell:
        arms, unit = _arms(cfg, data, tell)
    sizes = {ratio: data.size(ratio) for ratio in settings.ratios}
    points: dict[tuple[str, int, float], Point] = {}
    with progress("kernels, small n first", len(sizes) * settings.seeds) as advance:
        for ratio, n in sizes.items():
            for draw in range(settings.seeds):
                _draw_once(cfg, data, arms, unit, ratio, n, draw, points)
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}, {settings.seeds} draws")
    found = list(points.values())
    _report(cfg, record, data, found)
    curves = [] if data.estimated else _curves(cfg, data, arms, unit)
    best = _best(cfg, data, arms[0], unit, sizes)
    _report_best(record, best)
    _draw_figure(cfg, record, data, found, curves, best)


def _arms(cfg: Config, data: Source, tell: Callable[[str], None]) -> tuple[list[Arm], float]:
    """The networks, and the kernel's diagonal, which ridges are given by."""
    kernel, layers = cfg.experiment.kernel, activations(cfg.net.activations)
    match, name = matched(cfg.compress, layers, data.tau0, None, tell=tell)
    original = match.original_coefficients
    unit = float(original.tau[-1] ** 2) if kernel == "ck" else declared_diagonal(original)
    nets = [kernel_net(chosen, data.tau0, kernel, unit) for chosen in (layers, list(match.activations))]
    arms = [Arm(DENSE, layers, nets[0], lambda ridge: ridge)]
    arms.append(Arm(SAME, list(match.activations), nets[1], lambda ridge: ridge))
    if kernel == "ck":

        def compensated(ridge: float) -> float | None:
            return match.ridge_for(ridge) if ridge >= match.identity_shift else None

        arms.append(Arm(COMPENSATED, list(match.activations), nets[1], compensated))
    CONSOLE.print(f"  compressed: {name}, identity shift δ = {match.relative_shift:.4f} of the kernel's diagonal τ²")
    return arms, unit


def _draw_once(
    cfg: Config,
    data: Source,
    arms: list[Arm],
    unit: float,
    ratio: float,
    n: int,
    draw: int,
    points: dict[tuple[str, int, float], Point],
) -> None:
    problem = data.problem(n, draw)
    machines: dict[int, Machine] = {}
    for arm in arms:
        own = id(arm.net)
        if own not in machines:
            level = declared(arm.layers, cfg.experiment.kernel, unit)
            machines[own] = Machine.of(problem, arm.layers, cfg.experiment.kernel, data.tau0, level)
        for relative in cfg.experiment.ridges:
            ridge = arm.ridge(relative * unit)
            if ridge is None:
                continue
            point = points.setdefault((arm.name, n, relative), Point(arm.name, n, ratio, relative))
            point.simulated.append(machines[own].ridge(ridge))
            if data.estimated or not point.predicted:
                fresh = _predicted(cfg, problem.law, n, arm, ridge)
            else:
                fresh = point.predicted[0]
            point.predicted.append(fresh)


def _predicted(cfg: Config, law: MixtureLaw, n: int, arm: Arm, ridge: float) -> Errors:
    return Errors.predicted(ridge_regression(law, n, arm.net, ridge, finite_size=cfg.experiment.finite_size))


def _best(
    cfg: Config, data: Source, arm: Arm, unit: float, sizes: dict[float, int]
) -> dict[str, list[tuple[int, float, float]]]:
    """By criterion: n, ridge and error of the best ridge of the dense network."""
    sized = cfg.experiment.finite_size
    found = {}
    for criterion, error in CRITERIA.items():
        best = []
        for n in sizes.values():
            law = data.problem(n, 0).law
            learned = optimal_ridge(law, n, arm.net, criterion=criterion, finite_size=sized)  # type: ignore[arg-type]
            assert learned.ridge is not None
            best.append((n, learned.ridge / unit, getattr(Errors.predicted(learned), error)))
        found[criterion] = best
    return found


def _curves(cfg: Config, data: Source, arms: list[Arm], unit: float) -> list[Point]:
    """Theory between the simulated points: along ridges at every n, and along n at the shown ridge."""
    settings = cfg.experiment
    ridges = np.geomspace(min(settings.ridges), max(settings.ridges), settings.ridge_points)
    ratios = np.geomspace(min(settings.ratios), max(settings.ratios), settings.ratio_points)
    grid = [(ratio, float(ridge)) for ratio in settings.ratios for ridge in ridges]
    grid += [(float(ratio), settings.shown_ridge) for ratio in ratios]
    law, points = data.problem(data.size(min(settings.ratios)), 0).law, []
    for arm in arms:
        for ratio, relative in grid:
            ridge = arm.ridge(relative * unit)
            if ridge is not None:
                n = data.size(ratio)
                predicted = _predicted(cfg, law, n, arm, ridge)
                points.append(Point(arm.name, n, n / data.p, relative, predicted=[predicted]))
    return points


def _report(cfg: Config, record: Record, data: Source, points: list[Point]) -> None:
    rows = [
        [q.arm, q.n, q.ratio, q.ridge, len(q.simulated), *(v for e in Errors._fields for v in q.means(e))]
        for q in points
    ]
    columns = ["network", "n", "n/p", "ridge by diagonal", "draws"]
    columns += [f"{e.replace('_', ' ')}, {part}" for e in Errors._fields for part in ("theory", "simulated", "error")]
    record.add_table("errors", columns, rows)
    for error in CRITERIA.values():
        name = "squared error" if error == "test_squared" else "share of wrong classes"
        _show_grid(cfg, f"Test {name}, theory | simulated", points, lambda q, e=error: _both(q, e), (DENSE,))
        if data.estimated:
            title = f"Test {name}: theory, from estimated quantities, − measured on the test set; ✗ beyond ±{VISIBLE:g}"
            _show_grid(cfg, title, points, lambda q, e=error: _difference(q, e))
        else:
            title = f"Test {name}: (theory − simulation)/standard error over {cfg.experiment.seeds} draws"
            _show_grid(cfg, title, points, lambda q, e=error: signed(standard_errors(*q.means(e))))
        _summarise(record, data, points, error)


def _report_best(record: Record, best: dict[str, list[tuple[int, float, float]]]) -> None:
    rows = [[criterion, n, ridge, error] for criterion, found in best.items() for n, ridge, error in found]
    columns = ["criterion", "n", "best λ by τ²", "test error there"]
    record.add_table("best_ridges", columns, rows)
    show_table("Best ridge λ ≥ 0 of the dense network, by theory", columns, rows)


def _show_grid(
    cfg: Config, title: str, points: list[Point], cell: Callable[[Point], object], arms: tuple[str, ...] = ()
) -> None:
    """A row for every network and n, a column for every ridge."""
    by = {(q.arm, q.n, q.ridge): q for q in points}
    rows = [
        [f"{arm}, n = {n}", *(cell(by[arm, n, r]) if (arm, n, r) in by else None for r in cfg.experiment.ridges)]
        for arm, n in dict.fromkeys((q.arm, q.n) for q in sorted(points, key=lambda q: q.arm != DENSE))
        if not arms or arm in arms
    ]
    show_table(title, ["", *(f"λ = {r:g} τ²" for r in cfg.experiment.ridges)], rows)


def _both(point: Point, error: str) -> str:
    predicted, simulated, _ = point.means(error)
    return f"{predicted:.4f} | {simulated:.4f}"


def _difference(point: Point, error: str) -> str:
    predicted, simulated, _ = point.means(error)
    mark = " [red]✗[/]" if abs(predicted - simulated) > VISIBLE else ""
    return f"{predicted - simulated:+.4f}{mark}"


def _summarise(record: Record, data: Source, points: list[Point], error: str) -> None:
    for arm in dict.fromkeys(q.arm for q in points):
        means = [q.means(error) for q in points if q.arm == arm]
        scores = np.abs([standard_errors(*m) for m in means])
        differences = np.array([abs(predicted - simulated) for predicted, simulated, _ in means])
        # of one draw, or of draws that agree to the digit, there is no standard error
        known = scores[np.isfinite(scores)]
        close = differences <= VISIBLE if data.estimated else known <= 2
        within = float(np.mean(close)) if close.size else float("nan")
        worst = float(differences.max())
        record.add_metrics(**{f"{error}/{arm}/within": within, f"{error}/{arm}/worst": worst})
        what = f"differences within {VISIBLE:g}" if data.estimated else "predictions within two standard errors"
        CONSOLE.print(
            f"  {arm}: {within:.0%} of {close.size} {what}; largest difference {worst:.4f}"
            + ("" if data.estimated or not known.size else f", {known.max():.1f} standard errors at most"),
            soft_wrap=True,
        )


def _draw_figure(
    cfg: Config,
    record: Record,
    data: Source,
    points: list[Point],
    curves: list[Point],
    best: dict[str, list[tuple[int, float, float]]],
) -> None:
    net = "-".join(a.name for a in activations(cfg.net.activations))
    caption = (
        f"Ridge regression with the {cfg.experiment.kernel.upper()} ({net}). {data.name}; p = {data.p}.\n"
        f"Lines: theory {size_of(cfg)}{' with estimated quantities' if data.estimated else ''}; marks: exact kernels, "
        f"mean and standard error over {cfg.experiment.seeds} draws"
    )
    lines = curves or points
    figure = theory_figures.learning_figure(points, lines, best, cfg.experiment.shown_ridge, caption)
    record.add_figure("learning_curve", figure)
