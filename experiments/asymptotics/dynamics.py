"""Errors of gradient flow on the NTK against time: theory beside the exact kernel's eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import hntk
from experiments.asymptotics.comparison import MEAN_COLUMNS, VISIBLE, Errors, FlowPoint, agreement, judged
from experiments.asymptotics.draws import signed, standard_errors
from experiments.asymptotics.error_figures import dynamics_figure
from experiments.asymptotics.kernel_machines import KernelMachine
from experiments.asymptotics.training_sets import Source, caption_of, configured_source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table
from experiments.runner.from_config import activations, declared, declared_diagonal, kernel_net
from experiments.runner.record import Record
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import gradient_flow

TITLES = {
    "training_squared": "Training squared error",
    "training_wrong": "Training share of wrong classes",
    "test_squared": "Test squared error",
    "test_wrong": "Test share of wrong classes",
}


@dataclass(frozen=True)
class Training:
    """The network that is trained.

    Attributes
    ----------
    layers : list of Activation
        Its activations.
    net : KernelCoefficients
        Its NTK's coefficients, from which theory predicts.
    diagonal : float
        The NTK's diagonal, in whose inverse times are given; it is declared for activations with jumps.
    finite_size : bool
        Whether theory is that of the exact kernel at its size, or of the limit.
    """

    layers: list[hntk.Activation]
    net: KernelCoefficients
    diagonal: float
    finite_size: bool

    @staticmethod
    def configured(cfg: Config, tau0: float) -> Training:
        """Return the configured network on data of a given scale."""
        layers = activations(cfg.net.activations)
        diagonal = declared_diagonal(hntk.coefficients(layers, tau0))
        return Training(layers, kernel_net(layers, tau0, "ntk", diagonal), diagonal, cfg.experiment.finite_size)

    def machine(self, source: Source, n: int, draw: int) -> KernelMachine:
        """Return the exact NTK of one draw."""
        level = declared(self.layers, "ntk", self.diagonal)
        return KernelMachine.of(source.samples(n, draw), self.layers, "ntk", source.tau0, level)

    def predicted(self, law: MixtureLaw, n: int, time: float) -> Errors:
        """Return the errors that theory predicts."""
        learned = gradient_flow(law, n, self.net, time / self.diagonal, finite_size=self.finite_size)
        return Errors.predicted(learned)


def run(cfg: Config, record: Record) -> None:
    """Simulate and predict every time at every n, and report the errors."""
    source = configured_source(cfg)
    training = Training.configured(cfg, source.tau0)
    points = _simulated(cfg, source, training)
    _report(cfg, record, source, points)
    _draw(cfg, record, source, training, points)


def _simulated(cfg: Config, source: Source, training: Training) -> list[FlowPoint]:
    settings = cfg.experiment
    sizes = [source.size(ratio) for ratio in settings.ratios]
    points: dict[tuple[int, float], FlowPoint] = {(n, s): FlowPoint(n, s) for n in sizes for s in settings.times}
    with progress("kernels, small n first", len(sizes) * settings.seeds) as advance:
        for n in sizes:
            for draw in range(settings.seeds):
                machine = training.machine(source, n, draw)
                for time in settings.times:
                    point = points[n, time]
                    point.simulated.append(machine.flow(time / training.diagonal))
                    # A known law gives the same prediction for every draw.
                    known = None if source.estimated else next(iter(point.predicted), None)
                    point.predicted.append(known or training.predicted(machine.samples.law, n, time))
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
        lines = [_rows_of(name, source.estimated, own, error) for name, own in by_size.items()]
        show_table(
            f"{title}: {measured}; below: {last}",
            ["", *(f"s = {s:g}/κ²" for s in cfg.experiment.times)],
            [row for pair in lines for row in pair],
        )
        within, count, worst, _ = agreement(points, error, source.estimated)
        record.add_metrics(**{f"{error}/within": within, f"{error}/worst": worst})
        text = f"  {within:.0%} of {count} {judged(source.estimated)}; largest difference {worst:.4f}"
        say(text)


def _by_size(points: list[FlowPoint]) -> dict[str, list[FlowPoint]]:
    return {f"n = {n}": [q for q in points if q.n == n] for n in dict.fromkeys(q.n for q in points)}


def _rows_of(name: str, estimated: bool, points: list[FlowPoint], error: str) -> tuple[list[str], list[str]]:
    """Return two rows of the terminal's table: theory and simulation, and below their difference."""
    means = [q.means(error) for q in points]
    both = [name, *(f"{predicted:.4f} | {simulated:.4f}" for predicted, simulated, _ in means)]
    if estimated:
        marks = [" [red]✗[/]" if abs(a - b) > VISIBLE else "" for a, b, _ in means]
        return both, ["", *(f"{a - b:+.4f}{mark}" for (a, b, _), mark in zip(means, marks, strict=True))]
    return both, ["", *(signed(standard_errors(*m)) for m in means)]


def _draw(cfg: Config, record: Record, source: Source, training: Training, points: list[FlowPoint]) -> None:
    panels = _by_size(points)
    curves = panels
    if not source.estimated:
        times = np.geomspace(min(cfg.experiment.times), max(cfg.experiment.times), cfg.experiment.curve)
        law = source.samples(source.size(min(cfg.experiment.ratios)), 0).law
        curves = {
            title: [
                FlowPoint(own[0].n, float(s), predicted=[training.predicted(law, own[0].n, float(s))]) for s in times
            ]
            for title, own in panels.items()
        }
    net = "-".join(a.name for a in training.layers)
    caption = caption_of(cfg, source, f"Gradient flow on the NTK ({net})")
    record.add_figure("dynamics", dynamics_figure(panels, curves, caption))
