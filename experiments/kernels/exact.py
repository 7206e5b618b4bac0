"""Kernel regression with the exact kernels on all of a data set, and iterations by preconditioner."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import WIDEST, caption_above, legend_below
from experiments.kernels.large_samples import LargeDataset, LargeMixture
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, stage
from experiments.runner.from_config import LabelledSamples, matched
from experiments.runner.networks import Network, name_of, network
from experiments.runner.process_memory import restart_peak, status_bytes
from experiments.runner.record import Record
from hntk._utils.rows import rms_norm
from hntk.kernels.held_kernel import KernelName
from hntk.plot.style import COLOURS, STYLES, plain_ticks
from hntk.readouts.kernel_gradients import kernel_system, open_kernel
from hntk.readouts.kernel_system import GradientSolver
from hntk.theory.architecture import as_architecture

COLUMNS = [
    "n", "network", "kernel", "test accuracy", "±", "ridge", "preconditioner", "iterations", "residual", "on rows anew",
    "fit, s", "predict, s", "peak GB",
]  # fmt: skip
PRECONDITIONERS: tuple[Literal["none", "equivalent", "cholesky", "combined"], ...] = (
    "none", "equivalent", "cholesky", "combined",
)  # fmt: skip


@dataclass
class Regression:
    """A regression that was fitted and used.

    Attributes
    ----------
    n : int
        Training samples.
    network : str
        Name of the network.
    kernel : str
        ``ck`` or ``ntk``.
    fitted : hntk.KernelClassifier
        The regression.
    right : ndarray of shape (m,)
        Which of the new samples are recognised.
    predicted : ndarray of shape (m,)
        Their predicted labels.
    fit, predict : float
        Seconds.
    peak : int or None
        Peak memory of the process in bytes; None where the system does not report it.
    """

    n: int
    network: str
    kernel: str
    fitted: hntk.KernelClassifier
    right: np.ndarray
    predicted: np.ndarray
    fit: float
    predict: float
    peak: int | None

    @property
    def accuracy(self) -> float:
        """Accuracy on the new samples."""
        return float(self.right.mean())

    @property
    def error(self) -> float:
        """Standard error of the accuracy."""
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / len(self.right)))

    @property
    def row(self) -> list[Any]:
        """Line of the table."""
        told = self.fitted.convergence
        how = ["direct", 0, 0.0, 0.0]
        if told is not None:
            how = [told.preconditioner, told.iterations, told.residual, told.sampled_residual]
        peak = None if self.peak is None else self.peak / 1e9
        ridge = self.fitted.ridge
        return [
            self.n, self.network, self.kernel.upper(), self.accuracy, self.error, ridge, *how, self.fit, self.predict,
            peak,
        ]  # fmt: skip


def run(cfg: Config, record: Record) -> None:
    """Fit every network with every kernel at every size, and compare preconditioners at some."""
    settings = cfg.experiment
    source = LargeMixture(cfg, record.folder) if cfg.data.kind == "mixture" else LargeDataset(cfg)
    regressions, iterations, unsolved = [], [], []
    for n in _sizes(cfg, source):
        with source.samples(n) as samples:
            fitted = n in settings.sizes or n == _most(source)
            networks = _networks(cfg, samples) if fitted else []
            for kernel in settings.kernels:
                if n in settings.compared:
                    iterations += _compare(cfg, samples, network(cfg.net), kernel)
                for name, net in networks:
                    try:
                        regressions.append(_fit(cfg, record, samples, name, net, kernel))
                    except hntk.ConvergenceError as error:
                        unsolved.append([n, name, kernel.upper(), str(error)])
                        say(f"  not solved: {error}")
    _report(record, regressions, iterations, unsolved)
    _report_losses(record, regressions, name_of(network(cfg.net)))
    name = f"{cfg.data.name}, p = {source.p}, {name_of(network(cfg.net))}"
    if iterations:
        record.add_figure(
            "iterations", _figure(iterations, f"{name}\niterations to a relative residual of 1e-6, by preconditioner")
        )
    if unsolved and not regressions:
        raise hntk.ConvergenceError(unsolved[-1][-1])


def _most(source: LargeMixture | LargeDataset) -> int | None:
    return len(source.order) if isinstance(source, LargeDataset) else None


def _sizes(cfg: Config, source: LargeMixture | LargeDataset) -> list[int]:
    """Return all sizes; of a data set the whole of it is one."""
    wanted = [*cfg.experiment.sizes, *cfg.experiment.compared]
    return source.sizes(wanted)


def _networks(cfg: Config, samples: LabelledSamples) -> list[tuple[str, Network]]:
    """Return the original network, and those of few levels that are solved for on the samples."""
    net = network(cfg.net)
    networks = [(name_of(net), net)]
    for levels in cfg.experiment.levels:
        with stage(f"matching: {levels} levels") as tell:
            match, title = matched(
                cfg.compress, net, rms_norm(samples.x), samples.x, samples.labels, levels=levels, tell=tell
            )
        networks.append((title, list(match.activations)))
    return networks


def _fit(
    cfg: Config, record: Record, samples: LabelledSamples, name: str, net: Network, kernel: KernelName
) -> Regression:
    n, settings = len(samples.x), cfg.experiment
    folder = Path(settings.folder) / f"{n} {name} {kernel}" if settings.folder else None
    say(f"\n[bold]{kernel.upper()} of {name}, {n:,} samples[/]")
    solver = hntk.ConjugateGradients(
        tolerance=settings.tolerance, folder=folder, seed=cfg.seed, log=lambda line: say(f"  [dim]{line}[/]")
    )
    # a network with jumps has no diagonal of its own
    declared = _diagonal(cfg, samples) if kernel == "ntk" and _jumps(net) else None
    restart_peak()
    start = time.perf_counter()
    with progress("entries of the kernel", n**2) as advance:
        fitted = hntk.fit_kernel(
            samples.x,
            samples.labels,
            net,
            kernel,
            settings.ridge,
            kappa_sq=declared,
            solver=solver,
            progress=advance,  # type: ignore[arg-type]
        )
    assert isinstance(fitted, hntk.KernelClassifier)
    middle = time.perf_counter()
    with stage(f"predicting {len(samples.x_test):,} new samples"):
        predicted = fitted.predict(samples.x_test)
    end, peak = time.perf_counter(), status_bytes(os.getpid(), "VmHWM")
    right = predicted == samples.labels_test
    done = Regression(n, name, kernel, fitted, right, predicted, middle - start, end - middle, peak)
    CONSOLE.print(f"  accuracy [bold]{done.accuracy:.4f}[/] ± {done.error:.4f}")
    record.add_metrics(**{f"accuracy/{kernel}/{name}/{n}": done.accuracy, f"seconds/{kernel}/{name}/{n}": end - start})
    return done


def _jumps(net: Network) -> bool:
    layers = net.layers if isinstance(net, hntk.Architecture) else net
    return any(hntk.activation(layer).has_jumps for layer in layers)


def _diagonal(cfg: Config, samples: LabelledSamples) -> float:
    """Return the original network's diagonal of the NTK, which is declared for networks with jumps."""
    return float(hntk.centred_coefficients(network(cfg.net), rms_norm(samples.x)).kappa_sq[-1])


def _compare(cfg: Config, samples: LabelledSamples, net: Network, kernel: KernelName) -> list[list[Any]]:
    """Return rows of n, kernel, ridge, preconditioner, rank and iterations."""
    settings, rows = cfg.experiment, []
    architecture = as_architecture(net)
    options = hntk.ConjugateGradients(
        tolerance=1e-6, pivots=min(settings.pivots, len(samples.x) // 4), seed=cfg.seed, log=None, steps=settings.most
    )
    classes, index = np.unique(samples.labels, return_inverse=True)
    target = np.eye(len(classes))[index] - np.bincount(index) / index.size
    scale, centred = rms_norm(samples.x), not architecture.is_plain
    with open_kernel(np.asarray(samples.x), architecture, kernel, scale, None, options) as held:
        with progress(f"{kernel.upper()} of {held.n:,} samples", held.n**2) as advance:
            held.compute(advance)
        unit = float(held.diagonal().mean())
        for name in PRECONDITIONERS:
            with stage(f"{kernel.upper()}, {held.n:,} samples: {name}"):
                system = kernel_system(held, architecture, scale, index, centred, replace(options, preconditioner=name))
                for relative in settings.ridges:
                    count = _count(GradientSolver(system, target, relative * unit, options, 1e-6))
                    rows.append([held.n, kernel.upper(), relative, name, system.rank, count])
    return rows


def _count(solver: GradientSolver) -> int | None:
    """Return the number of iterations; None where the residual is not reached."""
    solver.begin()
    try:
        return solver.solve().iterations
    except hntk.ConvergenceError:
        return None


def _report(
    record: Record,
    regressions: Sequence[Regression],
    iterations: Sequence[list[Any]],
    unsolved: Sequence[list[Any]],
) -> None:
    if iterations:
        columns = ["n", "kernel", "ridge, of the diagonal", "preconditioner", "rank", "iterations"]
        record.add_table("iterations", columns, iterations, "Iterations to a relative residual of 1e-6")
    if regressions:
        rows = [regression.row for regression in regressions]
        record.add_table("regressions", COLUMNS, rows, "Kernel ridge regression with the exact kernels")
    if unsolved:
        record.add_table("unsolved", ["n", "network", "kernel", "why"], unsolved)


def _report_losses(record: Record, regressions: Sequence[Regression], name: str) -> None:
    """Compare each network of few levels with the original one of this name, on the same new samples."""
    originals = {(each.n, each.kernel): each for each in regressions if each.network == name}
    rows = []
    for each in regressions:
        original = originals.get((each.n, each.kernel))
        if original is None or each.network == name:
            continue
        change = each.right.astype(float) - original.right
        error = float(np.std(change) / np.sqrt(len(change)))
        same = float(np.mean(each.predicted == original.predicted))
        rows.append([each.n, each.network, each.kernel.upper(), float(change.mean()), error, same])
        record.add_metrics(**{f"loss/{each.kernel}/{each.network}/{each.n}": -float(change.mean())})
    if rows:
        columns = ["n", "network", "kernel", "accuracy − original's", "±", "same predictions"]
        record.add_table("losses", columns, rows, "Beside the original network, pair by pair")


def _figure(rows: Sequence[list[Any]], caption: str) -> Figure:
    """Draw iterations against the ridge, a panel for each size and kernel, a line for each preconditioner."""
    panels = list(dict.fromkeys((n, kernel) for n, kernel, *_ in rows))
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    figure, grid = plt.subplots(down, across, figsize=(WIDEST, 3.0 * down + 0.9), squeeze=False, sharey=True)
    for axes, panel in zip(grid.ravel(), panels, strict=False):
        for i, name in enumerate(PRECONDITIONERS):
            line = [row for row in rows if (row[0], row[1], row[3]) == (*panel, name)]
            counts = [np.nan if row[5] is None else row[5] for row in line]
            style = {"color": COLOURS[i], "linestyle": STYLES[i], "marker": "osD^"[i], "ms": 5, "lw": 1.6}
            axes.plot([row[2] for row in line], counts, label=name, **style)
        axes.set(xscale="log", yscale="log", title=f"{panel[1]}, n = {panel[0]:,}", xlabel="ridge / diagonal")
        plain_ticks(axes.yaxis)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("iterations")
    legend_below(figure, grid.ravel()[: len(panels)])
    return caption_above(figure, caption)
