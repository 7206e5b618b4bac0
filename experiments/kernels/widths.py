"""Accuracy and kernel error of drawn networks against their width, beside infinite width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import caption_above, legend_below, paired_panels
from experiments.kernels.drawn_networks import LAW_NAMES, NetworkKind
from experiments.kernels.infinite_width import accuracies_at_infinite_width
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, stage
from experiments.runner.from_config import dataset, engine_of, matched
from experiments.runner.networks import activation_names, activations, layers_of
from experiments.runner.record import Record
from hntk._utils.statistics import mean_and_error
from hntk.plot.style import COLOURS, MARKS, listed_ticks, plain_ticks

COLUMNS = ["activations", "weights", "width", "test accuracy", "±", "kernel error", "± ", "predicted error"]


# Numbers of levels beside each other in the figure.
COLUMNS_OF_PANELS = 2


@dataclass(frozen=True)
class Curve(NetworkKind):
    """Networks of one kind at several widths.

    Attributes
    ----------
    accuracy, error : (widths, seeds) array
        Test accuracies, and relative errors of the kernel on training samples in Frobenius norm.
    predicted : (widths,) array
        Predicted errors of the kernel.
    """

    accuracy: np.ndarray
    error: np.ndarray
    predicted: np.ndarray


def run(cfg: Config, record: Record) -> None:
    """Draw every kind of network at every width."""
    settings = cfg.experiment
    with stage(f"loading {cfg.data.name}"):
        data = dataset(cfg.data, cfg.seed)
    curves, wide, exact, engine = _curves(cfg, data), {}, {}, engine_of(cfg)
    kinds = {curve.name: curve.net for curve in curves}
    with progress("exact kernels, for infinite width", len(kinds)) as advance:
        for name, net in kinds.items():
            x = _compared(cfg, data)
            exact[name] = np.asarray(hntk.exact_kernels(x, net, tau0=data.tau0, kappa_sq=0.0, engine=engine).ck)
            accuracies = accuracies_at_infinite_width(net, data, len(data.x_train), cfg.seed, ["last"], engine)
            wide[name] = accuracies["last"]
            advance(1)
    with progress("networks", len(curves) * len(settings.widths) * settings.seeds) as advance:
        for curve in curves:
            for index, width in enumerate(settings.widths):
                for seed in range(settings.seeds):
                    measured = _measure(cfg, curve, data, exact[curve.name], width, seed)
                    curve.accuracy[index, seed], curve.error[index, seed] = measured
                    advance(1)
                curve.predicted[index] = _predicted(cfg, curve, data, width)
            CONSOLE.print(f"  [green]done[/] {curve.name}, {curve.weights}")
    _report(cfg, record, curves, wide)
    n = len(data.x_train)
    caption = f"{data.name}, {n:,} training samples, {len(cfg.net.widths)} layers, ε = {cfg.compress.sparsity:g}"
    record.add_figure("widths", _figure(cfg, curves, wide, caption))


def _curves(cfg: Config, data: hntk.Dataset) -> list[Curve]:
    """Return the dense networks, and those of every number of levels with both laws of ternary weights."""
    layers, settings = activations(cfg.net.activations), cfg.experiment
    kinds = [(activation_names(layers), layers, hntk.weight_law(law)) for law in ("gaussian", "orthogonal_gaussian")]
    for levels in settings.levels:
        with stage(f"matching: {levels} levels") as tell:
            match, _ = matched(cfg.compress, layers, data.tau0, data.x_train, data.y_train, levels=levels, tell=tell)
        for law in ("ternary", "orthogonal"):
            weights = hntk.weight_law(law, sparsity=cfg.compress.sparsity)
            kinds.append((f"{levels} levels", list(match.activations), weights))
    shape = len(settings.widths), settings.seeds
    return [Curve(*kind, np.empty(shape), np.empty(shape), np.empty(shape[0])) for kind in kinds]


def _compared(cfg: Config, data: hntk.Dataset) -> np.ndarray:
    """Return the training samples on which kernels are compared."""
    return data.x_train[: cfg.experiment.kernel_samples].astype(np.float64)


def _measure(
    cfg: Config, curve: Curve, data: hntk.Dataset, exact: np.ndarray, width: int, seed: int
) -> tuple[float, float]:
    """Return test accuracy and kernel error of one drawn network."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), seed)
    widths = [width] * len(cfg.net.widths)
    net = hntk.draw_network(curve.net, widths, data.p, tau0=data.tau0, law=curve.law, key=key)
    fitted = hntk.fit_ridge(net, data.x_train, data.y_train, seed=cfg.seed)
    assert isinstance(fitted, hntk.RidgeClassifier)
    features = np.asarray(net.features(_compared(cfg, data)), np.float64)
    error = np.linalg.norm(features @ features.T - exact) / np.linalg.norm(exact)
    return fitted.accuracy(data.x_test, data.y_test), float(error)


def _predicted(cfg: Config, curve: Curve, data: hntk.Dataset, width: int) -> float:
    return hntk.asymptotics.kernel_error(
        layers_of(curve.net),
        [width] * len(cfg.net.widths),
        _compared(cfg, data),
        weights=curve.law,
        tau0=data.tau0,
    )


def _report(cfg: Config, record: Record, curves: Sequence[Curve], wide: dict[str, float]) -> None:
    rows = []
    for curve in curves:
        for index, width in enumerate(cfg.experiment.widths):
            accuracy, error = (mean_and_error(values[index]) for values in (curve.accuracy, curve.error))
            rows.append(
                [curve.name, curve.weights, width, *_rounded(accuracy), *_rounded(error),
                 round(float(curve.predicted[index]), 5)]
            )  # fmt: skip
    rows += [
        [name, "infinitely many", None, round(accuracy, 5), None, 0.0, None, 0.0] for name, accuracy in wide.items()
    ]
    record.add_table("widths", COLUMNS, rows, f"{cfg.experiment.seeds} seeds; ±: standard error")
    say("\n[dim]Kernel error: ‖K̂ − K‖/‖K‖ in Frobenius norm, against the exact kernel of the same activations.[/]")


def _rounded(pair: tuple[float, float]) -> list[float | None]:
    return [round(number, 5) if np.isfinite(number) else None for number in pair]


def _figure(cfg: Config, curves: Sequence[Curve], wide: dict[str, float], caption: str) -> Figure:
    """Draw accuracies, and kernel errors below them, two panels for each number of levels."""
    names = list(dict.fromkeys(curve.name for curve in curves))
    original, *compressed = names
    figure, accuracies, errors = paired_panels(len(compressed), COLUMNS_OF_PANELS, 2.4)
    for above, below, name in zip(accuracies, errors, compressed, strict=False):
        shown = [curve for curve in curves if curve.name in (original, name)]
        _draw(above, below, shown, cfg.experiment.widths)
        above.axhline(wide[original], color=COLOURS[4], lw=1, ls="--", label="infinite width, dense")
        above.axhline(wide[name], color=COLOURS[3], lw=1, ls="--", label="infinite width, compressed")
        above.set_title(name, fontsize=10)
        below.set_xlabel("width of every layer", fontsize=9)
        listed_ticks(below, cfg.experiment.widths)
    errors[0].set_yscale("log")
    plain_ticks(errors[0].yaxis)
    for above, below in zip(accuracies[::COLUMNS_OF_PANELS], errors[::COLUMNS_OF_PANELS], strict=True):
        above.set_ylabel("test accuracy", fontsize=9)
        below.set_ylabel("kernel error (lines: predicted)", fontsize=9)
    legend_below(figure, [accuracies[0]], columns=3)
    return caption_above(figure, caption)


def _draw(above: Axes, below: Axes, curves: Sequence[Curve], widths: Sequence[int]) -> None:
    for index, name in enumerate(LAW_NAMES):
        curve = next(curve for curve in curves if curve.law.name == name)
        style = {"color": COLOURS[(4, 0, 1, 2)[index]], "marker": MARKS[index], "ms": 4}
        values = curve.accuracy.mean(axis=1), curve.error.mean(axis=1)
        errors = [[mean_and_error(row)[1] for row in part] for part in (curve.accuracy, curve.error)]
        above.errorbar(widths, values[0], np.nan_to_num(errors[0]), lw=1.3, label=LAW_NAMES[name], **style)
        below.errorbar(widths, values[1], np.nan_to_num(errors[1]), ls="none", **style)
        below.plot(widths, curve.predicted, lw=1.0, color=style["color"])
    above.set_xscale("log")
