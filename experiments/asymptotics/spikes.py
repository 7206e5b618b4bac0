"""Isolated eigenvalues and their eigenvectors across the phase transition: theory, exact and equivalent kernels."""

from __future__ import annotations

import jax
import numpy as np

import hntk
from experiments.asymptotics.mixtures import MixtureModel, opposite_means
from experiments.asymptotics.spike_points import EigenPair, SpikePoint, spike_error_figure, spike_figure
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table
from experiments.runner.from_config import engine_of
from experiments.runner.networks import activations
from experiments.runner.record import Record
from experiments.runner.statistics import means_in_words, plus_minus
from hntk.asymptotics.limiting_kernel import LimitingKernel

SIMULATED = ("exact", "equivalent")
# What keeps the classes apart. In each sweep the other one is 0.
AXES = {"separation": "separation of the means ‖μ₁ − μ₀‖", "spread": "spread of the covariances, √p (C₁ − C₀)"}
# Relative tolerance of Lanczos' iteration, far below the spread between draws.
TOLERANCE = 1e-8


def run(cfg: Config, record: Record) -> None:
    """Sweep over both axes at data.p, and follow some places through other dimensions."""
    plan, points = _plan(cfg), []
    with progress("leading eigenpairs", sum(draws for *_, draws in plan)) as advance:
        for axis, at, size, draws in plan:
            model = _model(axis, at, size)
            point = _predicted(cfg, axis, at, model)
            for draw in range(draws):
                _simulate(cfg, point, model, jax.random.fold_in(jax.random.key(cfg.seed), draw))
                advance()
            points.append(point)
            CONSOLE.print(f"  [green]done[/] p = {size}, {axis} {at:g}, {draws} draws")
    shown = [point for point in points if point.p == cfg.data.p]
    followed = [point for point in points if point.at in _followed(cfg)[point.axis]]
    followed.sort(key=lambda q: (q.axis, q.at, q.p))
    _report(record, points, shown, followed)
    _report_worst(record, shown)
    _draw(cfg, record, shown, followed)


def _plan(cfg: Config) -> list[tuple[str, float, int, int]]:
    """Return (axis, place on it, p, number of draws) of every point."""
    settings, p, followed = cfg.experiment, cfg.data.p, _followed(cfg)
    plan = [(axis, at, p, settings.seeds) for axis in AXES for at in sorted({*_places(cfg)[axis], *followed[axis]})]
    for size in settings.sizes:
        draws = settings.seeds if size <= p else settings.large_seeds
        plan += [(axis, at, size, draws) for axis in followed for at in followed[axis] if size != p]
    return plan


def _places(cfg: Config) -> dict[str, list[float]]:
    return {"separation": cfg.experiment.separations, "spread": cfg.experiment.spreads}


def _followed(cfg: Config) -> dict[str, list[float]]:
    return {"separation": cfg.experiment.followed_separations, "spread": cfg.experiment.followed_spreads}


def _model(axis: str, at: float, p: int) -> MixtureModel:
    return opposite_means(at, 0.0, p) if axis == "separation" else opposite_means(0.0, at, p)


def _predicted(cfg: Config, axis: str, at: float, model: MixtureModel) -> SpikePoint:
    """Return a point with the limit's leading eigenpair, and nothing simulated yet."""
    n, p = model.size(cfg.experiment.ratio), model.law.dimension
    kernel = LimitingKernel.of(model.law, n, activations(cfg.net.activations), kernel=cfg.experiment.kernel)
    edge = float(kernel.support()[-1, 1])
    outer = next((spike for spike in kernel.spikes() if spike.above and spike.value > edge), None)
    pair = EigenPair(edge, 0.0) if outer is None else EigenPair(outer.value, outer.total)
    return SpikePoint(axis, at, p, n, pair, above=outer is not None)


def _simulate(cfg: Config, point: SpikePoint, model: MixtureModel, key: jax.Array) -> None:
    """Add the leading eigenpairs of both kernels of one draw."""
    sample, layers = model.draw(point.n, key), activations(cfg.net.activations)
    scale, population = model.law.tau0, sample.population
    exact = hntk.exact_kernels(sample.x, layers, tau0=scale, engine=engine_of(cfg))
    equivalent = hntk.equivalent_kernels(sample.x, sample.labels, layers, tau0=scale, population=population)
    matrices = {
        "exact": np.asarray(getattr(exact, cfg.experiment.kernel)),
        "equivalent": getattr(equivalent, cfg.experiment.kernel).to_dense(),
    }
    for kernel, matrix in matrices.items():
        leading = hntk.leading_eigenpairs(matrix, 1, tolerance=TOLERANCE)
        sums = np.bincount(sample.labels, leading.vectors[:, 0])
        alignment = float(np.sum(sums**2 / np.bincount(sample.labels)))
        point.simulated.setdefault(kernel, []).append(EigenPair(float(leading.values[0]), alignment))


def _report(record: Record, points: list[SpikePoint], shown: list[SpikePoint], followed: list[SpikePoint]) -> None:
    columns = ["", "transition", "eigenvalue: theory", "exact", "equivalent"]
    columns += ["alignment: theory", "exact", "equivalent"]
    title = f"The leading eigenpair at p = {shown[0].p}, n = {shown[0].n}: theory, and mean ± standard error over draws"
    show_table(title, columns, [_row(point) for point in shown])
    lines = [
        [q.axis, q.at, q.p, q.n, len(q.simulated[s]), q.above, s, *q.predicted, *q.errors(s)]
        for q in points
        for s in SIMULATED
    ]
    names = ["axis", "at", "p", "n", "draws", "above", "simulated", "eigenvalue", "alignment"]
    names += ["relative error of the eigenvalue", "error of the alignment", "its standard error"]
    record.add_table("pairs", names, lines)
    columns = ["", "p", "draws", "eigenvalue, exact", "equivalent", "alignment, exact", "equivalent"]
    rows = [[f"{q.axis} {q.at:g}", q.p, len(q.simulated["exact"]), *_differences(q)] for q in followed]
    show_table("Mean over draws minus theory against p (eigenvalue: relative)", columns, rows)


def _row(point: SpikePoint) -> list[object]:
    return [
        f"{point.axis} {point.at:g}", "above" if point.above else "below",
        f"{point.predicted.value:.5f}", *(plus_minus(*point.mean(s, "value"), digits=5) for s in SIMULATED),
        f"{point.predicted.alignment:.3f}", *(plus_minus(*point.mean(s, "alignment"), digits=3) for s in SIMULATED),
    ]  # fmt: skip


def _differences(point: SpikePoint) -> list[str]:
    return [f"{point.errors(simulated)[part]:+.4f}" for part in (0, 1) for simulated in SIMULATED]


def _report_worst(record: Record, points: list[SpikePoint]) -> None:
    for simulated in SIMULATED:
        value = max(points, key=lambda q: abs(q.errors(simulated)[0]))
        alignment = max(points, key=lambda q: abs(q.errors(simulated)[1]))
        worst_value, worst_alignment = abs(value.errors(simulated)[0]), abs(alignment.errors(simulated)[1])
        record.add_metrics(**{f"{simulated}/eigenvalue": worst_value, f"{simulated}/alignment": worst_alignment})
        say(
            f"\nWorst of the {simulated} kernel: eigenvalue [bold]{worst_value:.2%}[/] off (at {value.axis} "
            f"{value.at:g}), alignment [bold]{worst_alignment:.3f}[/] off (at {alignment.axis} {alignment.at:g})."
        )


def _draw(cfg: Config, record: Record, shown: list[SpikePoint], followed: list[SpikePoint]) -> None:
    net = "-".join(a.name for a in activations(cfg.net.activations))
    caption = (
        f"The leading eigenpair of the {cfg.experiment.kernel.upper()} ({net}) of two classes, p = {cfg.data.p}, "
        f"n = {shown[0].n}: {means_in_words(cfg.experiment.seeds, 'draw')}"
    )
    panels = {title: [q for q in shown if q.axis == axis] for axis, title in AXES.items()}
    curves = {title: _curve(cfg, axis) for axis, title in AXES.items()}
    record.add_figure("spikes", spike_figure(panels, curves, caption))
    caption = f"Mean over draws minus theory against p, n = {cfg.experiment.ratio:g} p, {net}"
    record.add_figure("errors", spike_error_figure(followed, caption))


def _curve(cfg: Config, axis: str) -> list[SpikePoint]:
    """Return theory between the simulated places, and close to the transition on both sides."""
    settings, places = cfg.experiment, _places(cfg)[axis]

    def predicted(at: float) -> SpikePoint:
        return _predicted(cfg, axis, at, _model(axis, at, cfg.data.p))

    points = [predicted(float(at)) for at in np.linspace(min(places), max(places), settings.curve)]
    for _ in range(settings.halvings):
        after = next((i for i, q in enumerate(points) if q.above), 0)
        if after:
            points.insert(after, predicted((points[after - 1].at + points[after].at) / 2))
    return points
