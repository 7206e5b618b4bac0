"""Kernel regression with the equivalent kernel on up to a million samples, beside the exact kernel while that fits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.child_process import restart_peak, status_bytes
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import activations, dataset, keys
from hntk._utils.memory import check_disk

# where growth is measured: below, what does not grow counts too
LARGE = 100_000
SAMPLES = "samples.npy"
COLUMNS = ["n", "kernel", "test accuracy", "leave-one-out", "ridge", "fit, s", "predict, s", "peak GB"]


@dataclass(frozen=True)
class Problem:
    """Training samples, and new ones."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray


@dataclass
class Outcome:
    """What one fit gave.

    Attributes
    ----------
    n : training samples.
    kernel : "equivalent" or "exact".
    predicted : labels of the new samples.
    accuracy, left_out : on the new samples, and of leave-one-out predictions.
    ridge : chosen by leave-one-out error.
    fit, predict : seconds.
    peak : most bytes of memory that the process took; None where the system does not tell.
    """

    n: int
    kernel: str
    predicted: np.ndarray
    accuracy: float
    left_out: float
    ridge: float
    fit: float
    predict: float
    peak: int | None = field(default=None)

    def row(self) -> list:
        """In the order of `COLUMNS`."""
        peak = None if self.peak is None else self.peak / 1e9
        return [self.n, self.kernel, self.accuracy, self.left_out, self.ridge, self.fit, self.predict, peak]


def run(cfg: Config, record: Record) -> None:
    """Fit at every size, then compare with the exact kernel at those where that is possible."""
    settings = cfg.experiment
    source = _Mixture(cfg, record.folder) if cfg.data.kind == "mixture" else _Dataset(cfg)
    layers = activations(cfg.net.activations)
    found, exact = [], []
    sizes = source.sizes([*settings.exact_sizes, *settings.sizes])
    for n in sizes:
        with source.problem(n) as problem:
            outcome, fitted = _equivalent(problem, layers, settings.kernel)
            found.append(outcome)
            if n in settings.exact_sizes:
                ridges = [ridge for ridge, *_ in fitted.tried]
                exact.append(_exact(problem, layers, settings.kernel, fitted.forms.tau0, ridges))
            if n == sizes[-1]:
                _report_operator(record, fitted.kernel)
            # or its samples would stay until there are the next
            del fitted
    _report(record, found, exact)
    name = f"{cfg.data.name}, p = {source.p}, {'-'.join(a.name for a in layers)}, {settings.kernel.upper()}"
    record.add_figure("million", figures.million_figure(_panels(found, exact), name))


class _Mixture:
    """Samples of a mixture, drawn into a file that is read in blocks."""

    def __init__(self, cfg: Config, folder: Path) -> None:
        self.cfg, self.path, self.p = cfg, folder / SAMPLES, cfg.data.p
        self.key = keys(cfg.seed, "training", "test")

    def sizes(self, wanted: list[int]) -> list[int]:
        return sorted(set(wanted))

    @contextmanager
    def problem(self, n: int) -> Iterator[Problem]:
        data, folder = self.cfg.data, self.path.parent
        check_disk(folder, 4 * n * data.p, f"{n:,} samples take")
        try:
            with stage(f"drawing {n:,} samples"):
                x = np.lib.format.open_memmap(self.path, "w+", np.float32, (n, data.p))
                drawn = self._drawn(n, jax.random.fold_in(self.key["training"], n), x)
            new = self._drawn(self.cfg.experiment.n_test, self.key["test"], None)
            yield Problem(x, drawn.labels, np.asarray(new.x, np.float32), new.labels)
        finally:
            self.path.unlink(missing_ok=True)

    def _drawn(self, n: int, key: jax.Array, out: np.ndarray | None) -> hntk.Mixture:
        data = self.cfg.data
        return hntk.reference_mixture(n, data.p, key=key, separation=data.separation, spread=data.spread, out=out)


class _Dataset:
    """Samples of a data set: all, or the first of a random order."""

    def __init__(self, cfg: Config) -> None:
        with stage(f"loading {cfg.data.name}"):
            self.data = dataset(cfg.data, cfg.seed)
        self.p = self.data.x_train.shape[1]
        self.order = np.random.default_rng(cfg.seed).permutation(len(self.data.y_train))

    def sizes(self, wanted: list[int]) -> list[int]:
        """What there is of them, and all."""
        most = len(self.order)
        return sorted({n for n in wanted if n < most} | {most})

    @contextmanager
    def problem(self, n: int) -> Iterator[Problem]:
        data, rows = self.data, np.sort(self.order[:n])
        yield Problem(data.x_train[rows], data.y_train[rows], data.x_test, data.y_test)


def _equivalent(
    problem: Problem, layers: list[hntk.Activation], kernel: str
) -> tuple[Outcome, hntk.EquivalentRegression]:
    n = len(problem.x)
    restart_peak()
    start = time.perf_counter()
    with stage(f"equivalent {kernel.upper()}, {n:,} samples"), progress("trying ridges", n) as advance:
        fitted = hntk.fit_equivalent(problem.x, problem.labels, layers, kernel=kernel, progress=advance)  # type: ignore[arg-type]
        middle = time.perf_counter()
        predicted = fitted.predict(problem.x_test)
    end = time.perf_counter()
    right = next(share for ridge, _, share in fitted.tried if ridge == fitted.ridge)
    return Outcome(
        n, "equivalent", predicted, float(np.mean(predicted == problem.labels_test)), right, fitted.ridge,
        middle - start, end - middle, status_bytes(os.getpid(), "VmHWM"),
    ), fitted  # fmt: skip


def _exact(problem: Problem, layers: list[hntk.Activation], kernel: str, tau0: float, ridges: list[float]) -> Outcome:
    """The same regression with the (n, n) matrix: ridge by leave-one-out error from its eigenvectors."""
    n = len(problem.x)
    classes, index = np.unique(problem.labels, return_inverse=True)
    shares = np.bincount(index) / n
    targets = np.eye(len(classes))[index] - shares
    restart_peak()
    start = time.perf_counter()
    with stage(f"exact {kernel.upper()}, {n:,} samples"):
        matrix = np.asarray(getattr(hntk.exact_kernels(problem.x, layers, tau0=tau0), kernel), np.float64)
        values, vectors = np.linalg.eigh(matrix)
        del matrix
        tried, rotated = [], vectors.T @ targets
        squared = vectors**2
        for ridge in ridges:
            inverse = 1 / (values + ridge)
            errors = vectors @ (inverse[:, None] * rotated) / (squared @ inverse)[:, None]
            right = np.mean(np.argmax(targets + shares - errors, axis=1) == index)
            tried.append((float(np.mean(np.sum(errors**2, axis=1))), ridge, float(right)))
        _, ridge, right = min(tried)
        dual = vectors @ (rotated / (values + ridge)[:, None])
        middle = time.perf_counter()
        across = getattr(hntk.exact_kernels(problem.x_test, layers, x2=problem.x, tau0=tau0), kernel)
        predicted = classes[np.argmax(np.asarray(across) @ dual + shares, axis=1)]
    end = time.perf_counter()
    return Outcome(
        n, "exact", predicted, float(np.mean(predicted == problem.labels_test)), right, ridge,
        middle - start, end - middle, status_bytes(os.getpid(), "VmHWM"),
    )  # fmt: skip


def growth(sizes: list[int], seconds: list[float]) -> float | None:
    """The exponent of n that fits best; None from fewer than two sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]) if len(sizes) > 1 else None


def _report(record: Record, found: list[Outcome], exact: list[Outcome]) -> None:
    outcomes = sorted(found + exact, key=lambda outcome: outcome.n)
    rows = [outcome.row() for outcome in outcomes]
    show_table("Kernel ridge regression, ridge by leave-one-out error", COLUMNS, rows)
    record.add_table("regressions", COLUMNS, rows)
    record.add_chart("accuracy against n", "lines", "regressions", "n", "test accuracy", by="kernel", log=["n"])
    by_size, agreements = {outcome.n: outcome for outcome in found}, []
    for other in exact:
        own = by_size[other.n]
        agreement = float(np.mean(own.predicted == other.predicted))
        spread = float(np.std((own.predicted == other.predicted).astype(float)) / np.sqrt(len(own.predicted)))
        agreements.append([other.n, agreement, spread, own.accuracy - other.accuracy, other.fit / own.fit])
        record.add_metrics(**{f"agreement/{other.n}": agreement, f"accuracy/exact/{other.n}": other.accuracy})
    columns = ["n", "same predictions", "standard error", "accuracy, equivalent − exact", "exact fit / equivalent fit"]
    if agreements:
        show_table("Equivalent against exact kernel, on new samples", columns, agreements)
        record.add_table("agreement", columns, agreements)
    record.add_metrics(**{f"accuracy/{o.n}": o.accuracy for o in found}, **{f"seconds/{o.n}": o.fit for o in found})
    large = [outcome for outcome in found if outcome.n >= LARGE]
    exponent = growth([o.n for o in large], [o.fit + o.predict for o in large])
    exponent_exact = growth([o.n for o in exact], [o.fit + o.predict for o in exact])
    peaks = [o.peak for o in found if o.peak is not None]
    record.add_metrics(exponent=exponent, exponent_exact=exponent_exact, peak=max(peaks, default=None))
    if exponent is not None:
        CONSOLE.print(
            f"\nTime from {large[0].n:,} samples on grows like n to the [bold]{exponent:.2f}[/]"
            + (
                "."
                if exponent_exact is None
                else f"; with the exact kernel, from {exact[0].n:,} on, to the {exponent_exact:.2f}."
            )
        )
    if peaks:
        CONSOLE.print(f"Most memory with equivalent kernels: [bold]{max(peaks) / 2**30:.2f} GiB[/].")


def _report_operator(record: Record, kernel: hntk.StructuredKernel) -> None:
    """What the operator tells of the largest training set, from the factorisation that the fit made."""
    n = kernel.shape[0]
    values = kernel.eigvalsh()[:8]
    rows = [
        ["leading eigenvalues", ", ".join(f"{v:.4g}" for v in values)],
        ["identity part γ", kernel.shift],
        ["log det(K)/n", kernel.log_determinant() / n],
    ]
    show_table(f"The equivalent kernel of {n:,} samples", ["quantity", "value"], rows)
    record.add_table("operator", ["quantity", "value"], rows)


def _panels(found: list[Outcome], exact: list[Outcome]) -> dict[str, dict[str, tuple[list, list]]]:
    """For each panel, the lines by kernel."""
    lines = {"equivalent": found, "exact": exact}
    quantities = {
        "accuracy on new samples": lambda o: o.accuracy,
        "seconds to fit and predict": lambda o: o.fit + o.predict,
        "peak memory of the process, GB": lambda o: None if o.peak is None else o.peak / 1e9,
    }
    return {
        title: {name: ([o.n for o in line], [of(o) for o in line]) for name, line in lines.items() if line}
        for title, of in quantities.items()
    }
