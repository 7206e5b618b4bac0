"""Isolated eigenvalues and their eigenvectors across the phase transition: theory, exact and equivalent kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np

import hntk
from experiments.asymptotics import figures as theory_figures
from experiments.asymptotics.draws import mean_and_error, plus_minus
from experiments.asymptotics.mixtures import MixtureModel, opposite_means
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record
from experiments.runner.setting import activations
from hntk.asymptotics.limiting_kernel import LimitingKernel

SIMULATED = ("exact", "equivalent")
# what keeps classes apart: one of the two, the other being 0
AXES = {"separation": "separation of the means ‖μ₁ − μ₀‖", "spread": "spread of the covariances, √p (C₁ − C₀)"}
# Lanczos stops here: far below the simulation's own spread
TOLERANCE = 1e-8


class Pair(NamedTuple):
    """An eigenvalue, and the squared cosine of its eigenvector with the span of the classes' indicators."""

    value: float
    alignment: float


@dataclass
class Point:
    """The leading eigenpair at one separation: predicted, and in every draw.

    Attributes
    ----------
    axis, at, p, n : where.
    predicted : by theory; below the transition the edge of the bulk, and 0.
    above : whether the transition is passed.
    found : by what was simulated, of every draw.
    """

    axis: str
    at: float
    p: int
    n: int
    predicted: Pair
    above: bool
    found: dict[str, list[Pair]] = field(default_factory=dict)

    def errors(self, simulated: str) -> tuple[float, float, float]:
        """Mean minus theory: eigenvalue (relative), alignment; and the alignment's standard error."""
        values, alignments = np.array(self.found[simulated]).T
        mean, error = mean_and_error(alignments)
        return float(values.mean()) / self.predicted.value - 1, mean - self.predicted.alignment, error


def run(cfg: Config, record: Record) -> None:
    """Two sweeps at data.p, and some of their places in other dimensions."""
    settings, p = cfg.experiment, cfg.data.p
    sweeps = {"separation": settings.separations, "spread": settings.spreads}
    followed = {"separation": settings.followed_separations, "spread": settings.followed_spreads}
    plan = [(axis, at, p, settings.seeds) for axis in sweeps for at in sorted({*sweeps[axis], *followed[axis]})]
    for size in settings.sizes:
        draws = settings.seeds if size <= p else settings.large_seeds
        plan += [(axis, at, size, draws) for axis in followed for at in followed[axis] if size != p]
    points = []
    with progress("leading eigenpairs", sum(draws for *_, draws in plan)) as advance:
        for axis, at, size, draws in plan:
            model = _model(axis, at, size)
            point = _predicted(cfg, axis, at, model)
            for draw in range(draws):
                _simulate(cfg, point, model, jax.random.fold_in(jax.random.key(cfg.seed), draw))
                advance()
            points.append(point)
            CONSOLE.print(f"  [green]done[/] p = {size}, {axis} {at:g}, {draws} draws")
    _report(cfg, record, points)


def _model(axis: str, at: float, p: int) -> MixtureModel:
    return opposite_means(at, 0.0, p) if axis == "separation" else opposite_means(0.0, at, p)


def _predicted(cfg: Config, axis: str, at: float, model: MixtureModel) -> Point:
    n, p = model.size(cfg.experiment.ratio), model.law.dimension
    kernel = LimitingKernel.of(model.law, n, activations(cfg.net.activations), kernel=cfg.experiment.kernel)
    edge = float(kernel.support()[-1, 1])
    outer = [spike for spike in kernel.spikes() if spike.above and spike.value > edge]
    if outer:
        return Point(axis, at, p, n, Pair(outer[0].value, outer[0].total), True)
    return Point(axis, at, p, n, Pair(edge, 0.0), False)


def _simulate(cfg: Config, point: Point, model: MixtureModel, key: jax.Array) -> None:
    sample, layers = model.draw(point.n, key), activations(cfg.net.activations)
    scale, population = model.law.tau0, sample.population
    exact = hntk.exact_kernels(sample.x, layers, tau0=scale)
    equivalent = hntk.equivalent_kernels(sample.x, sample.labels, layers, tau0=scale, population=population)
    matrices = {
        "exact": np.asarray(getattr(exact, cfg.experiment.kernel)),
        "equivalent": getattr(equivalent, cfg.experiment.kernel).to_dense(),
    }
    for simulated, matrix in matrices.items():
        found = hntk.leading_eigenpairs(matrix, 1, tolerance=TOLERANCE)
        sums = np.bincount(sample.labels, found.vectors[:, 0])
        alignment = float(np.sum(sums**2 / np.bincount(sample.labels)))
        point.found.setdefault(simulated, []).append(Pair(float(found.values[0]), alignment))


def _report(cfg: Config, record: Record, points: list[Point]) -> None:
    p = cfg.data.p
    here = [point for point in points if point.p == p]
    columns = ["", "transition", "eigenvalue: theory", "exact", "equivalent"]
    columns += ["alignment: theory", "exact", "equivalent"]
    rows = [_row(point) for point in here]
    title = f"The leading eigenpair at p = {p}, n = {here[0].n}: theory, and mean ± standard error over draws"
    show_table(title, columns, rows)
    lines = [
        [q.axis, q.at, q.p, q.n, len(q.found[s]), q.above, s, *q.predicted, *q.errors(s)]
        for q in points
        for s in SIMULATED
    ]
    names = ["axis", "at", "p", "n", "draws", "above", "simulated", "eigenvalue", "alignment"]
    names += ["relative error of the eigenvalue", "error of the alignment", "its standard error"]
    record.add_table("pairs", names, lines)
    followed = [q for q in points if q.at in _followed(cfg)[q.axis]]
    columns = ["", "p", "draws", "eigenvalue, exact", "equivalent", "alignment, exact", "equivalent"]
    followed.sort(key=lambda q: (q.axis, q.at, q.p))
    show_table(
        "Mean over draws minus theory against p (eigenvalue: relative)",
        columns,
        [
            [f"{q.axis} {q.at:g}", q.p, len(q.found["exact"]), *_differences(q)]
            for q in followed
        ],
    )  # fmt: skip
    _report_worst(record, here)
    panels = {AXES[axis]: [q for q in here if q.axis == axis] for axis in AXES}
    net = "-".join(a.name for a in activations(cfg.net.activations))
    caption = (
        f"The leading eigenpair of the {cfg.experiment.kernel.upper()} ({net}) of two classes, p = {p}, "
        f"n = {here[0].n}: mean and standard error over {cfg.experiment.seeds} draws"
    )
    curves = {AXES[axis]: _curve(cfg, axis, p) for axis in AXES}
    record.add_figure("spikes", theory_figures.spike_figure(panels, curves, caption))
    caption = f"Mean over draws minus theory against p, n = {cfg.experiment.ratio:g} p, {net}"
    record.add_figure("errors", theory_figures.spike_error_figure(followed, caption))


def _differences(point: Point) -> list[str]:
    return [f"{point.errors(simulated)[part]:+.4f}" for part in (0, 1) for simulated in SIMULATED]


def _followed(cfg: Config) -> dict[str, list[float]]:
    return {"separation": cfg.experiment.followed_separations, "spread": cfg.experiment.followed_spreads}


def _row(point: Point) -> list[object]:
    values = {s: mean_and_error([pair.value for pair in point.found[s]]) for s in SIMULATED}
    alignments = {s: mean_and_error([pair.alignment for pair in point.found[s]]) for s in SIMULATED}
    return [
        f"{point.axis} {point.at:g}", "above" if point.above else "below",
        f"{point.predicted.value:.5f}", *(plus_minus(*values[s], digits=5) for s in SIMULATED),
        f"{point.predicted.alignment:.3f}", *(plus_minus(*alignments[s], digits=3) for s in SIMULATED),
    ]  # fmt: skip


def _report_worst(record: Record, points: list[Point]) -> None:
    for simulated in SIMULATED:
        position = max(points, key=lambda q: abs(q.errors(simulated)[0]))
        alignment = max(points, key=lambda q: abs(q.errors(simulated)[1]))
        worst, least = abs(position.errors(simulated)[0]), abs(alignment.errors(simulated)[1])
        record.add_metrics(**{f"{simulated}/eigenvalue": worst, f"{simulated}/alignment": least})
        CONSOLE.print(
            f"\nWorst of the {simulated} kernel: eigenvalue [bold]{worst:.2%}[/] off (at {position.axis} "
            f"{position.at:g}), alignment [bold]{least:.3f}[/] off (at {alignment.axis} {alignment.at:g}).",
            soft_wrap=True,
        )


def _curve(cfg: Config, axis: str, p: int) -> list[Point]:
    """Theory between the simulated places, and close to the transition on both sides."""
    settings = cfg.experiment
    places = settings.separations if axis == "separation" else settings.spreads

    def predicted(at: float) -> Point:
        return _predicted(cfg, axis, at, _model(axis, at, p))

    points = [predicted(float(at)) for at in np.linspace(min(places), max(places), settings.curve)]
    for _ in range(settings.halvings):
        after = next((i for i, q in enumerate(points) if q.above), 0)
        if after:
            points.insert(after, predicted((points[after - 1].at + points[after].at) / 2))
    return points
