"""Errors of gradient flow on the NTK against time: theory beside the exact kernel's eigenvectors."""

from __future__ import annotations

from functools import partial

import numpy as np

import hntk
from experiments.asymptotics.comparison import (
    MEAN_COLUMNS,
    VISIBLE,
    Errors,
    FlowPoint,
    agreement,
    dynamics_figure,
    judged,
)
from experiments.asymptotics.kernel_machines import TrainedNetwork
from experiments.asymptotics.training_sets import Source, caption_of, configured_source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table
from experiments.runner.from_config import engine_of
from experiments.runner.networks import activations, declared_diagonal
from experiments.runner.record import Record
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import gradient_flow

TITLES = {
    "training_squared": "Training squared error",
    "training_wrong": "Training share of wrong classes",
    "test_squared": "Test squared error",
    "test_wrong": "Test share of wrong classes",
}


def run(cfg: Config, record: Record) -> None:
    """Simulate and predict every time at every n, and report the errors."""
    source = configured_source(cfg)
    layers = activations(cfg.net.activations)
    diagonal = declared_diagonal(hntk.coefficients(layers, source.tau0))
    network = TrainedNetwork(layers, "ntk", source.tau0, diagonal, engine_of(cfg))
    points = _simulated(cfg, source, network)
    _report(cfg, record, source, points)
    _draw(cfg, record, source, network, points)


def _predicted(cfg: Config, network: TrainedNetwork, law: MixtureLaw, n: int, time: float) -> Errors:
    """Return the errors that theory predicts."""
    finite_size = cfg.experiment.finite_size
    return Errors.predicted(
        gradient_flow(law, n, network.coefficients, time / network.diagonal, finite_size=finite_size)
    )


def _simulated(cfg: Config, source: Source, network: TrainedNetwork) -> list[FlowPoint]:
    settings = cfg.experiment
    sizes = [source.size(ratio) for ratio in settings.ratios]
    points: dict[tuple[int, float], FlowPoint] = {(n, s): FlowPoint(n, s) for n in sizes for s in settings.times}
    with progress("kernels, small n first", len(sizes) * settings.seeds) as advance:
        for n in sizes:
            for draw in range(settings.seeds):
                machine = network.machine(source.samples(n, draw))
                for time in settings.times:
                    predict = partial(_predicted, cfg, network, machine.samples.law, n, time)
                    points[n, time].add(machine.flow(time / network.diagonal), predict, estimated=source.estimated)
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}, {settings.seeds} draws")
    return list(points.values())


def _report(cfg: Config, record: Record, source: Source, points: list[FlowPoint]) -> None:
    rows = [[q.n, q.time, len(q.simulated), *q.all_means()] for q in points]
    record.add_table("errors", ["n", "time by 1/diagonal", "draws", *MEAN_COLUMNS], rows)
    by_size = _by_size(points)
    for error, title in TITLES.items():
        measured = "theory, from estimated quantities, | measured" if source.estimated else "theory | simulated"
        last = f"difference, ✗ beyond ±{VISIBLE:g}" if source.estimated else "difference by its standard error"
        rows = []
        for name, own in by_size.items():
            rows.append([name, *(q.both(error) for q in own)])
            rows.append(["", *(q.difference(error, source.estimated) for q in own)])
        times = [f"s = {s:g}/κ²" for s in cfg.experiment.times]
        show_table(f"{title}: {measured}; below: {last}", ["", *times], rows)
        within, count, worst, _ = agreement(points, error, source.estimated)
        record.add_metrics(**{f"{error}/within": within, f"{error}/worst": worst})
        say(f"  {within:.0%} of {count} {judged(source.estimated)}; largest difference {worst:.4f}")


def _by_size(points: list[FlowPoint]) -> dict[str, list[FlowPoint]]:
    return {f"n = {n}": [q for q in points if q.n == n] for n in dict.fromkeys(q.n for q in points)}


def _draw(cfg: Config, record: Record, source: Source, network: TrainedNetwork, points: list[FlowPoint]) -> None:
    panels = _by_size(points)
    curves = panels
    if not source.estimated:
        times = np.geomspace(min(cfg.experiment.times), max(cfg.experiment.times), cfg.experiment.curve)
        law = source.samples(source.size(min(cfg.experiment.ratios)), 0).law
        curves = {title: [] for title in panels}
        for title, own in panels.items():
            for s in map(float, times):
                predicted = _predicted(cfg, network, law, own[0].n, s)
                curves[title].append(FlowPoint(own[0].n, s, predicted=[predicted]))
    net = "-".join(a.name for a in network.layers)
    caption = caption_of(cfg, source, f"Gradient flow on the NTK ({net})")
    record.add_figure("dynamics", dynamics_figure(panels, curves, caption))
