"""Errors of ridge regression against n/p and the ridge: theory beside the exact kernel, dense and compressed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.asymptotics.comparison import (
    CRITERIA,
    MEAN_COLUMNS,
    VISIBLE,
    Errors,
    RidgePoint,
    agreement,
    judged,
    learning_figure,
)
from experiments.asymptotics.kernel_machines import KernelMachine, TrainedNetwork
from experiments.asymptotics.training_sets import Source, caption_of, configured_source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table, stage
from experiments.runner.from_config import engine_of, matched
from experiments.runner.networks import activations, declared_diagonal
from experiments.runner.record import Record
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import optimal_ridge, ridge_regression

# The three arms: the dense network, and the compressed one with the same ridge or less the identity shift δ.
DENSE, SAME, COMPENSATED = "dense", "compressed, same λ", "compressed, λ − δ"
# By criterion, for every sample size: n, the best ridge divided by the kernel's diagonal, and the error with it.
BestRidges = dict[str, list[tuple[int, float, float]]]


@dataclass(frozen=True)
class RidgeArm:
    """A network that regresses with its own ridge.

    Attributes
    ----------
    name : str
        What tables call it.
    network : TrainedNetwork
        The network and its kernel.
    ridge : callable
        Its ridge for a ridge λ of the dense network; None where it has none.
    """

    name: str
    network: TrainedNetwork
    ridge: Callable[[float], float | None]


@dataclass(frozen=True)
class Study:
    """What every step needs: the configuration, the samples and the networks, the dense one first."""

    cfg: Config
    source: Source
    arms: list[RidgeArm]

    @property
    def diagonal(self) -> float:
        """The diagonal of the dense network's kernel, which is the unit of ridges."""
        return self.arms[0].network.diagonal

    def predicted(self, law: MixtureLaw, n: int, arm: RidgeArm, ridge: float) -> Errors:
        """Return the errors that theory predicts."""
        learned = ridge_regression(law, n, arm.network.coefficients, ridge, finite_size=self.cfg.experiment.finite_size)
        return Errors.predicted(learned)

    def machines(self, n: int, draw: int) -> list[KernelMachine]:
        """Return the exact kernel of every arm on one draw; arms of one network share it."""
        samples, made = self.source.samples(n, draw), {}
        for arm in self.arms:
            if id(arm.network) not in made:
                made[id(arm.network)] = arm.network.machine(samples)
        return [made[id(arm.network)] for arm in self.arms]


def run(cfg: Config, record: Record) -> None:
    """Simulate every arm at every n, all ridges at once."""
    source = configured_source(cfg)
    with stage("matching: solving for the compressed activations") as tell:
        study = Study(cfg, source, _arms(cfg, source, tell))
    sizes = {ratio: source.size(ratio) for ratio in cfg.experiment.ratios}
    points: dict[tuple[str, int, float], RidgePoint] = {}
    with progress("kernels, small n first", len(sizes) * cfg.experiment.seeds) as advance:
        for ratio, n in sizes.items():
            for draw in range(cfg.experiment.seeds):
                _simulate(study, ratio, n, draw, points)
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}, {cfg.experiment.seeds} draws")
    simulated = list(points.values())
    _report(study, record, simulated)
    curves = [] if source.estimated else _curves(study)
    best = _best_ridges(study, list(sizes.values()))
    _report_best(record, best)
    net = "-".join(a.name for a in study.arms[0].network.layers)
    caption = caption_of(cfg, source, f"Ridge regression with the {cfg.experiment.kernel.upper()} ({net})")
    figure = learning_figure(simulated, curves or simulated, best, cfg.experiment.shown_ridge, caption)
    record.add_figure("learning_curve", figure)


def _arms(cfg: Config, source: Source, tell: Callable[[str], None]) -> list[RidgeArm]:
    """Return the arms, the dense network first."""
    kernel, layers = cfg.experiment.kernel, activations(cfg.net.activations)
    match, name = matched(cfg.compress, layers, source.tau0, None, None, tell=tell)
    original = match.original_coefficients
    diagonal = float(original.tau[-1] ** 2) if kernel == "ck" else declared_diagonal(original)
    dense, compressed = (
        TrainedNetwork(list(chosen), kernel, source.tau0, diagonal, engine_of(cfg))
        for chosen in (layers, match.activations)
    )
    arms = [RidgeArm(DENSE, dense, lambda ridge: ridge), RidgeArm(SAME, compressed, lambda ridge: ridge)]
    if kernel == "ck":

        def compensated(ridge: float) -> float | None:
            return match.ridge_for(ridge) if ridge >= match.identity_shift else None

        arms.append(RidgeArm(COMPENSATED, compressed, compensated))
    CONSOLE.print(f"  compressed: {name}, identity shift δ = {match.relative_shift:.4f} of the kernel's diagonal τ²")
    return arms


def _simulate(study: Study, ratio: float, n: int, draw: int, points: dict[tuple[str, int, float], RidgePoint]) -> None:
    """Add one draw to the points of one sample size."""
    for arm, machine in zip(study.arms, study.machines(n, draw), strict=True):
        for relative in study.cfg.experiment.ridges:
            ridge = arm.ridge(relative * study.diagonal)
            if ridge is None:
                continue
            point = points.setdefault((arm.name, n, relative), RidgePoint(arm.name, n, ratio, relative))
            predict = partial(study.predicted, machine.samples.law, n, arm, ridge)
            point.add(machine.ridge(ridge), predict, estimated=study.source.estimated)


def _best_ridges(study: Study, sizes: list[int]) -> BestRidges:
    """Return the best ridges of the dense network by theory."""
    best: BestRidges = {criterion: [] for criterion in CRITERIA}
    for criterion, (error, _) in CRITERIA.items():
        for n in sizes:
            law, dense = study.source.samples(n, 0).law, study.arms[0].network.coefficients
            finite_size = study.cfg.experiment.finite_size
            learned = optimal_ridge(law, n, dense, criterion=criterion, finite_size=finite_size)  # type: ignore[arg-type]
            assert learned.ridge is not None
            best[criterion].append((n, learned.ridge / study.diagonal, getattr(Errors.predicted(learned), error)))
    return best


def _curves(study: Study) -> list[RidgePoint]:
    """Return theory between the simulated points: along ridges at every n, and along n at the shown ridge."""
    settings, source = study.cfg.experiment, study.source
    ridges = np.geomspace(min(settings.ridges), max(settings.ridges), settings.ridge_points)
    ratios = np.geomspace(min(settings.ratios), max(settings.ratios), settings.ratio_points)
    grid = [(ratio, float(ridge)) for ratio in settings.ratios for ridge in ridges]
    grid += [(float(ratio), settings.shown_ridge) for ratio in ratios]
    law, points = source.samples(source.size(min(settings.ratios)), 0).law, []
    for arm in study.arms:
        for ratio, relative in grid:
            ridge = arm.ridge(relative * study.diagonal)
            if ridge is not None:
                n = source.size(ratio)
                predicted = study.predicted(law, n, arm, ridge)
                points.append(RidgePoint(arm.name, n, n / source.p, relative, predicted=[predicted]))
    return points


def _report(study: Study, record: Record, points: list[RidgePoint]) -> None:
    settings, estimated = study.cfg.experiment, study.source.estimated
    rows = [[q.arm, q.n, q.ratio, q.ridge, len(q.simulated), *q.all_means()] for q in points]
    record.add_table("errors", ["network", "n", "n/p", "ridge by diagonal", "draws", *MEAN_COLUMNS], rows)
    for error, _ in CRITERIA.values():
        name = "squared error" if error == "test_squared" else "share of wrong classes"
        dense = [q for q in points if q.arm == DENSE]
        _show_grid(settings.ridges, f"Test {name}, theory | simulated", dense, lambda q, e=error: q.both(e))
        title = (
            f"Test {name}: theory, from estimated quantities, − measured on the test set; ✗ beyond ±{VISIBLE:g}"
            if estimated
            else f"Test {name}: (theory − simulation)/standard error over {settings.seeds} draws"
        )
        _show_grid(settings.ridges, title, points, lambda q, e=error: q.difference(e, estimated))
        _summarise(record, points, error, estimated)


def _report_best(record: Record, best: BestRidges) -> None:
    rows = [[criterion, n, ridge, error] for criterion, ridges in best.items() for n, ridge, error in ridges]
    columns = ["criterion", "n", "best λ by τ²", "test error there"]
    record.add_table("best_ridges", columns, rows, "Best ridge λ ≥ 0 of the dense network, by theory")


def _show_grid(ridges: list[float], title: str, points: list[RidgePoint], cell: Callable[[RidgePoint], object]) -> None:
    """Print a table with a row for every network and n, the dense network first, and a column for every ridge."""
    by = {(q.arm, q.n, q.ridge): q for q in points}
    rows = [
        [f"{arm}, n = {n}", *(cell(by[arm, n, r]) if (arm, n, r) in by else None for r in ridges)]
        for arm, n in dict.fromkeys((q.arm, q.n) for q in sorted(points, key=lambda q: q.arm != DENSE))
    ]
    show_table(title, ["", *(f"λ = {r:g} τ²" for r in ridges)], rows)


def _summarise(record: Record, points: list[RidgePoint], error: str, estimated: bool) -> None:
    for arm in dict.fromkeys(q.arm for q in points):
        within, count, worst, score = agreement([q for q in points if q.arm == arm], error, estimated)
        record.add_metrics(**{f"{error}/{arm}/within": within, f"{error}/{arm}/worst": worst})
        say(
            f"  {arm}: {within:.0%} of {count} {judged(estimated)}; largest difference {worst:.4f}"
            + ("" if estimated or score is None else f", {score:.1f} standard errors at most")
        )
