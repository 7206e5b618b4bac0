"""Kernel regression with the equivalent kernel on up to a million samples, beside the exact kernel while that fits."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import WIDEST, caption_above, engineering_axis
from experiments.kernels.large_samples import LargeDataset, LargeMixture
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, stage
from experiments.runner.from_config import Engine, LabelledSamples, check_engine, engine_of
from experiments.runner.networks import Network, name_of, network
from experiments.runner.process_memory import restart_peak, status_bytes
from experiments.runner.record import Record
from hntk._utils.statistics import growth_exponent
from hntk.plot.style import COLOURS, STYLES, plain_ticks
from hntk.readouts.kernel_ridge import DenseKernel, fit_kernel_ridge

# Growth is fitted from this size on; below it, costs that do not depend on n count too.
LARGE = 100_000
COLUMNS = ["n", "kernel", "test accuracy", "leave-one-out", "ridge", "fit, s", "predict, s", "peak GB"]


@dataclass
class Regression:
    """A regression that was fitted and used.

    Attributes
    ----------
    kernel : str
        ``equivalent`` or ``exact``.
    predicted : (m,) array
        Predicted labels of the new samples.
    accuracy, left_out : float
        Accuracy on the new samples, and of leave-one-out predictions.
    ridge : float
        The ridge with the smallest leave-one-out error.
    n : int
        Training samples.
    fit, predict : float
        Seconds.
    peak : int or None
        Peak memory of the process in bytes; None where the system does not report it.
    """

    kernel: str
    predicted: np.ndarray
    accuracy: float
    left_out: float
    ridge: float
    n: int
    fit: float
    predict: float
    peak: int | None

    @property
    def seconds(self) -> float:
        """Time to fit and predict."""
        return self.fit + self.predict

    @property
    def gigabytes(self) -> float | None:
        """Peak memory in GB."""
        return None if self.peak is None else self.peak / 1e9


def run(cfg: Config, record: Record) -> None:
    """Fit at every size, and compare with the exact kernel at those sizes where that is possible."""
    settings = cfg.experiment
    source = LargeMixture(cfg, record.folder) if cfg.data.kind == "mixture" else LargeDataset(cfg)
    net = network(cfg.net)
    equivalent, exact = [], []
    check_engine(cfg, settings.exact_sizes, "experiment.exact_sizes is empty")
    sizes = source.sizes([*settings.exact_sizes, *settings.sizes])
    for n in sizes:
        with source.samples(n) as samples:
            regression, fitted = _equivalent(samples, net, settings.kernel)
            equivalent.append(regression)
            if n in settings.exact_sizes:
                ridges = [ridge for ridge, *_ in fitted.tried]
                exact.append(_exact(samples, net, settings.kernel, fitted.forms.tau0, ridges, engine_of(cfg)))
            if n == sizes[-1]:
                _report_operator(record, fitted.kernel)
            # Free its samples before the next ones are drawn.
            del fitted
    _report(record, equivalent, exact)
    _report_agreement(record, equivalent, exact)
    _report_growth(record, equivalent, exact)
    name = f"{cfg.data.name}, p = {source.p}, {name_of(net)}, {settings.kernel.upper()}"
    record.add_figure("million", _million_figure({"equivalent": equivalent, "exact": exact}, name))


def _equivalent(samples: LabelledSamples, net: Network, kernel: str) -> tuple[Regression, hntk.EquivalentRegression]:
    n = len(samples.x)
    restart_peak()
    start = time.perf_counter()
    with stage(f"equivalent {kernel.upper()}, {n:,} samples"), progress("trying ridges", n) as advance:
        fitted = hntk.fit_equivalent(samples.x, samples.labels, net, kernel=kernel, progress=advance)  # type: ignore[arg-type]
        assert isinstance(fitted, hntk.EquivalentClassifier)
        middle = time.perf_counter()
        predicted = fitted.predict(samples.x_test)
    end = time.perf_counter()
    left_out = next(share for ridge, _, share in fitted.tried if ridge == fitted.ridge)
    assert left_out is not None
    return _regression("equivalent", samples, predicted, left_out, fitted.ridge, (start, middle, end)), fitted


def _exact(
    samples: LabelledSamples,
    net: Network,
    kernel: str,
    tau0: float,
    ridges: list[float],
    engine: Engine,
) -> Regression:
    """Fit the same regression with the (n, n) matrix: the ridge by leave-one-out errors from its eigenvectors.

    As with the equivalent kernel, a network that is not plain gets an intercept.
    """
    classes, index = np.unique(samples.labels, return_inverse=True)
    restart_peak()
    start = time.perf_counter()
    with stage(f"exact {kernel.upper()}, {len(samples.x):,} samples"):
        matrix = getattr(hntk.exact_kernels(samples.x, net, tau0=tau0, engine=engine), kernel)
        decomposed = DenseKernel.of(np.asarray(matrix, np.float64), centred=isinstance(net, hntk.Architecture))
        del matrix
        fitted = fit_kernel_ridge(decomposed, index, ridges)
        middle = time.perf_counter()
        across = getattr(hntk.exact_kernels(samples.x_test, net, x2=samples.x, tau0=tau0, engine=engine), kernel)
        predicted = classes[np.argmax(fitted.scores(np.asarray(across)), axis=1)]
    times = (start, middle, time.perf_counter())
    assert fitted.trial.accuracy is not None
    return _regression("exact", samples, predicted, fitted.trial.accuracy, fitted.trial.ridge, times)


def _regression(
    kernel: str,
    samples: LabelledSamples,
    predicted: np.ndarray,
    left_out: float,
    ridge: float,
    times: Sequence[float],
) -> Regression:
    """Return a regression that has just predicted, with the times at which it began, was fitted and had predicted."""
    accuracy, peak = float(np.mean(predicted == samples.labels_test)), status_bytes(os.getpid(), "VmHWM")
    fit, predict = np.diff(times).tolist()
    return Regression(kernel, predicted, accuracy, left_out, ridge, len(samples.x), fit, predict, peak)


def _report(record: Record, equivalent: list[Regression], exact: list[Regression]) -> None:
    regressions = sorted(equivalent + exact, key=lambda r: r.n)
    rows = [[r.n, r.kernel, r.accuracy, r.left_out, r.ridge, r.fit, r.predict, r.gigabytes] for r in regressions]
    record.add_table("regressions", COLUMNS, rows, "Kernel ridge regression, ridge by leave-one-out error")
    record.add_chart("accuracy against n", "lines", "regressions", "n", "test accuracy", by="kernel", log=["n"])


def _report_agreement(record: Record, equivalent: list[Regression], exact: list[Regression]) -> None:
    by_size, rows = {regression.n: regression for regression in equivalent}, []
    for other in exact:
        own = by_size[other.n]
        same = (own.predicted == other.predicted).astype(float)
        agreement, spread = float(np.mean(same)), float(np.std(same) / np.sqrt(len(same)))
        rows.append([other.n, agreement, spread, own.accuracy - other.accuracy, other.fit / own.fit])
        record.add_metrics(**{f"agreement/{other.n}": agreement, f"accuracy/exact/{other.n}": other.accuracy})
    columns = ["n", "same predictions", "standard error", "accuracy, equivalent − exact", "exact fit / equivalent fit"]
    if rows:
        record.add_table("agreement", columns, rows, "Equivalent against exact kernel, on new samples")


def _report_growth(record: Record, equivalent: list[Regression], exact: list[Regression]) -> None:
    record.add_metrics(
        **{f"accuracy/{r.n}": r.accuracy for r in equivalent}, **{f"seconds/{r.n}": r.fit for r in equivalent}
    )
    large = [regression for regression in equivalent if regression.n >= LARGE]
    exponent, exponent_exact = (
        growth_exponent([r.n for r in line], [r.seconds for r in line]) for line in (large, exact)
    )
    peaks = [regression.peak for regression in equivalent if regression.peak is not None]
    record.add_metrics(exponent=exponent, exponent_exact=exponent_exact, peak=max(peaks, default=None))
    if exponent is not None:
        beside = "."
        if exponent_exact is not None:
            beside = f"; with the exact kernel, from {exact[0].n:,} on, to the {exponent_exact:.2f}."
        CONSOLE.print(f"\nTime from {large[0].n:,} samples on grows like n to the [bold]{exponent:.2f}[/]{beside}")
    if peaks:
        CONSOLE.print(f"Most memory with equivalent kernels: [bold]{max(peaks) / 2**30:.2f} GiB[/].")


def _report_operator(record: Record, kernel: hntk.StructuredKernel) -> None:
    """Report the spectrum of the largest training set's kernel, from the factorisation that the fit made."""
    n = kernel.shape[0]
    values = kernel.eigvalsh()[:8]
    rows = [
        ["leading eigenvalues", ", ".join(f"{v:.4g}" for v in values)],
        ["identity part γ", kernel.shift],
        ["log det(K)/n", kernel.log_determinant() / n],
    ]
    record.add_table("operator", ["quantity", "value"], rows, f"The equivalent kernel of {n:,} samples")


def _million_figure(lines: Mapping[str, Sequence[Regression]], caption: str) -> Figure:
    """Draw accuracy, time and memory against the number of training samples, one line a kernel."""
    quantities = {
        "accuracy on new samples": lambda r: r.accuracy,
        "seconds to fit and predict": lambda r: r.seconds,
        "peak memory of the process, GB": lambda r: np.nan if r.gigabytes is None else r.gigabytes,
    }
    figure, grid = plt.subplots(2, 2, figsize=(WIDEST, 6.6))
    axes = grid.ravel()
    axes[-1].set_axis_off()
    for a, (title, quantity) in zip(axes, quantities.items(), strict=False):
        for i, (name, line) in enumerate((name, line) for name, line in lines.items() if line):
            style = {"color": COLOURS[i], "linestyle": STYLES[i], "marker": "os"[i], "ms": 5, "lw": 1.6}
            a.plot([r.n for r in line], [quantity(r) for r in line], label=f"{name} kernel", **style)
        a.set(xlabel="training samples n", ylabel=title)
        engineering_axis(a)
    axes[1].set_yscale("log")
    plain_ticks(axes[1].yaxis)
    axes[2].set_ylim(bottom=0)
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", fontsize=10)
    return caption_above(figure, caption)
