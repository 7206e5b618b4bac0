"""Errors of gradient flow on the NTK against time: theory beside the exact kernel's eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import hntk
from experiments.asymptotics import figures as theory_figures
from experiments.asymptotics.draws import signed, standard_errors
from experiments.asymptotics.machines import VISIBLE, Comparison, Errors, Machine, Source, size_of, source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record
from experiments.runner.setting import activations, declared, declared_diagonal, kernel_net
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import gradient_flow

TITLES = {
    "training_squared": "Training squared error",
    "training_wrong": "Training share of wrong classes",
    "test_squared": "Test squared error",
    "test_wrong": "Test share of wrong classes",
}


@dataclass
class Point(Comparison):
    """One n and one time, by one over the kernel's diagonal."""

    n: int
    time: float


@dataclass(frozen=True)
class Training:
    """The network that is trained, what theory takes it for, and the NTK's diagonal: time is in its inverse."""

    layers: list[hntk.Activation]
    net: KernelCoefficients
    diagonal: float
    finite_size: bool

    @staticmethod
    def of(cfg: Config, tau0: float) -> Training:
        """As configured; with jumps the diagonal is declared."""
        layers = activations(cfg.net.activations)
        diagonal = declared_diagonal(hntk.coefficients(layers, tau0))
        return Training(layers, kernel_net(layers, tau0, "ntk", diagonal), diagonal, cfg.experiment.finite_size)

    def machine(self, data: Source, n: int, draw: int) -> Machine:
        """The exact NTK of one draw."""
        level = declared(self.layers, "ntk", self.diagonal)
        return Machine.of(data.problem(n, draw), self.layers, "ntk", data.tau0, level)

    def predicted(self, law: MixtureLaw, n: int, time: float) -> Errors:
        """By theory."""
        learned = gradient_flow(law, n, self.net, time / self.diagonal, finite_size=self.finite_size)
        return Errors.predicted(learned)


def run(cfg: Config, record: Record) -> None:
    """Simulate at every n, all times at once."""
    settings, data = cfg.experiment, source(cfg)
    training = Training.of(cfg, data.tau0)
    sizes = [data.size(ratio) for ratio in settings.ratios]
    points: dict[tuple[int, float], Point] = {(n, s): Point(n, s) for n in sizes for s in settings.times}
    with progress("kernels, small n first", len(sizes) * settings.seeds) as advance:
        for n in sizes:
            for draw in range(settings.seeds):
                machine = training.machine(data, n, draw)
                for time in settings.times:
                    point = points[n, time]
                    point.simulated.append(machine.flow(time / training.diagonal))
                    known = None if data.estimated else next(iter(point.predicted), None)
                    point.predicted.append(known or training.predicted(machine.problem.law, n, time))
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}, {settings.seeds} draws")
    found = list(points.values())
    _report(cfg, record, data, found)
    _draw(cfg, record, data, training, found)


def _report(cfg: Config, record: Record, data: Source, points: list[Point]) -> None:
    rows = [[q.n, q.time, len(q.simulated), *(v for e in Errors._fields for v in q.means(e))] for q in points]
    columns = ["n", "time by 1/diagonal", "draws"]
    columns += [f"{e.replace('_', ' ')}, {part}" for e in Errors._fields for part in ("theory", "simulated", "error")]
    record.add_table("errors", columns, rows)
    for error, title in TITLES.items():
        measured = "theory, from estimated quantities, | measured" if data.estimated else "theory | simulated"
        last = f"difference, ✗ beyond ±{VISIBLE:g}" if data.estimated else "difference by its standard error"
        lines = [_row(data, n, [q for q in points if q.n == n], error) for n in dict.fromkeys(q.n for q in points)]
        show_table(
            f"{title}: {measured}; below: {last}",
            ["", *(f"s = {s:g}/κ²" for s in cfg.experiment.times)],
            [row for pair in lines for row in pair],
        )
        _summarise(record, data, points, error)


def _row(data: Source, n: int, points: list[Point], error: str) -> tuple[list[str], list[str]]:
    means = [q.means(error) for q in points]
    both = [f"n = {n}", *(f"{predicted:.4f} | {simulated:.4f}" for predicted, simulated, _ in means)]
    if data.estimated:
        marks = [" [red]✗[/]" if abs(a - b) > VISIBLE else "" for a, b, _ in means]
        return both, ["", *(f"{a - b:+.4f}{mark}" for (a, b, _), mark in zip(means, marks, strict=True))]
    return both, ["", *(signed(standard_errors(*m)) for m in means)]


def _summarise(record: Record, data: Source, points: list[Point], error: str) -> None:
    means = [q.means(error) for q in points]
    differences = np.array([abs(a - b) for a, b, _ in means])
    scores = np.array([abs(standard_errors(*m)) for m in means])
    known = np.isfinite(scores)
    close = differences <= VISIBLE if data.estimated else scores[known] <= 2
    within = float(np.mean(close)) if close.size else float("nan")
    record.add_metrics(**{f"{error}/within": within, f"{error}/worst": float(differences.max())})
    what = f"differences within {VISIBLE:g}" if data.estimated else "predictions within two standard errors"
    CONSOLE.print(f"  {within:.0%} of {close.size} {what}; largest difference {differences.max():.4f}", soft_wrap=True)


def _draw(cfg: Config, record: Record, data: Source, training: Training, points: list[Point]) -> None:
    panels = {f"n = {n}": [q for q in points if q.n == n] for n in dict.fromkeys(q.n for q in points)}
    curves = panels
    if not data.estimated:
        times = np.geomspace(min(cfg.experiment.times), max(cfg.experiment.times), cfg.experiment.curve)
        law = data.problem(data.size(min(cfg.experiment.ratios)), 0).law
        curves = {
            title: [Point(own[0].n, float(s), predicted=[training.predicted(law, own[0].n, float(s))]) for s in times]
            for title, own in panels.items()
        }
    net = "-".join(a.name for a in training.layers)
    caption = (
        f"Gradient flow on the NTK ({net}). {data.name}; p = {data.p}.\nLines: theory {size_of(cfg)}"
        f"{' with estimated quantities' if data.estimated else ''}; marks: exact kernels, mean and standard error over "
        f"{cfg.experiment.seeds} draws"
    )
    record.add_figure("dynamics", theory_figures.dynamics_figure(panels, curves, caption))
