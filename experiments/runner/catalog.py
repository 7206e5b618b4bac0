"""The experiments there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.runner.config import Config
    from experiments.runner.record import Record


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes
    ----------
    name : as in ``+exp=NAME``, a file of ``conf/exp``.
    place : the module below ``experiments`` that has ``run(cfg, record)``.
    command : what to type.
    shows : what there is to see.
    takes : how long, measured on 2 CPU cores.
    leaves : tables and figures that every run leaves in its folder, as patterns; of a sweep, in the sweep's.
    """

    name: str
    place: str
    command: str
    shows: str
    takes: str
    leaves: tuple[str, ...]

    @property
    def module(self) -> ModuleType:
        """Has ``run``; for sweeps perhaps ``identity``, what decides a job's result, and ``gather``, for all jobs."""
        return import_module(f"experiments.{self.place}")

    def load(self) -> Callable[[Config, Record], None]:
        """The function that runs it."""
        return self.module.run


ENTRIES = (
    Entry(
        "gmm",
        "kernels.gmm",
        "python -m experiments.run +exp=gmm",
        "kernel spectra on a Gaussian mixture: a dense network, the theory, the ternary network solved for",
        "about half a minute",
        ("match.csv", "activations.csv", "errors.csv", "spectra.png", "spectra.pdf", "eigenvectors.png"),
    ),
    Entry(
        "convergence",
        "kernels.convergence",
        "python -m experiments.run +exp=convergence",
        "errors of the equivalents falling with n, and the floor of the authors' identity term",
        "about 1.5 minutes",
        ("errors.csv", "draws.csv", "means.csv", "floors.csv", "convergence.png"),
    ),
    Entry(
        "levels",
        "kernels.levels",
        "python -m experiments.run +exp=levels",
        "identity shift and kernel error against the number of levels, for several activations, and the bound",
        "about 2.5 minutes",
        ("levels.csv", "levels.png"),
    ),
    Entry(
        "spectrum_theory",
        "asymptotics.spectrum_theory",
        "python -m experiments.run +exp=spectrum_theory",
        "limiting eigenvalue densities over simulated spectra, and their distance against p",
        "about 4 minutes",
        ("distances.csv", "spectra_*.png", "distances.png"),
    ),
    Entry(
        "spikes",
        "asymptotics.spikes",
        "python -m experiments.run +exp=spikes",
        "isolated eigenvalues and what their eigenvectors know of the classes, across the phase transition",
        "about 3 minutes",
        ("pairs.csv", "spikes.png", "errors.png"),
    ),
    Entry(
        "learning_curve",
        "asymptotics.learning_curve",
        "python -m experiments.run +exp=learning_curve",
        "predicted and simulated errors of ridge regression against n/p and the ridge, dense and compressed",
        "about 6 minutes",
        ("errors.csv", "best_ridges.csv", "learning_curve.png"),
    ),
    Entry(
        "dynamics",
        "asymptotics.dynamics",
        "python -m experiments.run +exp=dynamics",
        "predicted and simulated errors of gradient flow on the NTK against time",
        "about 2 minutes",
        ("errors.csv", "dynamics.png"),
    ),
    Entry(
        "million",
        "kernels.million",
        "python -m experiments.run +exp=million",
        "regression with the equivalent NTK on up to a million samples: accuracy, time, memory, beside the exact NTK",
        "about 7 minutes",
        ("regressions.csv", "agreement.csv", "operator.csv", "million.png"),
    ),
    Entry(
        "store",
        "kernels.store",
        "python -m experiments.run +exp=store data=mnist data.folder=PATH experiment.folder=KERNELS",
        "exact kernels of a data set in files, beyond what memory holds; an interrupted run is continued",
        "29 GB and about 2 minutes for MNIST",
        ("eigenvalues.csv",),
    ),
    Entry(
        "solver",
        "kernels.solver",
        "python -m experiments.run +exp=solver",
        "random matching problems: success and time, beside restarted least squares",
        "about half an hour",
        ("solver.csv", "problems.csv", "solver.png"),
    ),
    Entry(
        "fetch",
        "fetch.fetch",
        "python -m experiments.run +exp=fetch data=mnist data.folder=PATH",
        "MNIST from the internet into the data folder, checked by its sha256 (11.6 MB)",
        "seconds, and the time of the download",
        ("files.csv",),
    ),
    Entry(
        "mnist",
        "kernels.mnist",
        "python -m experiments.run +exp=mnist data.folder=PATH",
        "does the theory apply, and test accuracies on MNIST: dense, ternary weights, few-level activations",
        "about 4 minutes",
        ("assumptions.csv", "accuracy.csv", "draws.csv", "accuracy.png"),
    ),
    Entry(
        "memory",
        "memory.memory",
        "python -m experiments.run +exp=memory data=mnist data.folder=PATH",
        "test accuracy against bytes and bit operations, for everything one would pick instead",
        "100 minutes for three seeds, and can be stopped and continued",
        (
            "jobs.csv",
            "groups.csv",
            "equal_bytes.csv",
            "accuracy_bytes.png",
            "accuracy_operations.png",
            "kernel_error.png",
            "report.html",
        ),
    ),
    Entry(
        "frontier",
        "memory.memory",
        "python -m experiments.run +exp=frontier data=mnist data.folder=PATH",
        "networks that are accurate and small, which Optuna looks for (needs make setup-sweeps)",
        "an estimated 20 minutes for its 100 networks, by the time of memory's; can be stopped and continued",
        ("jobs.csv", "front.csv"),
    ),
    Entry(
        "ship",
        "shipping.ship",
        "python -m experiments.run +exp=ship data=mnist data.folder=PATH",
        "packed files, ONNX, C99 and a microcontroller's program: bytes, accuracy, and that all predict the same",
        "about 2 minutes",
        ("forms.csv",),
    ),
    Entry(
        "microcontroller",
        "shipping.ship",
        "python -m experiments.run +exp=microcontroller data=mnist data.folder=PATH",
        "the same for 256 kB of flash and 64 kB of RAM: wide, nearly empty layers, levels and readout of 8 bits",
        "about 3 minutes",
        ("forms.csv",),
    ),
    Entry(
        "bench_kernels",
        "benchmarks.kernels",
        "python -m experiments.run +exp=bench_kernels",
        "time, memory and growth of exact kernels and regressions: hntk, neural-tangents, scikit-learn",
        "about 20 minutes",
        (
            "n_ReLU_*.csv",
            "p_ReLU_*.csv",
            "depth_ReLU_*.csv",
            "n_erf_*.csv",
            "levels_*.csv",
            "n_regression_*.csv",
            "kernels.png",
            "regressions.png",
        ),
    ),
    Entry(
        "bench_empirical",
        "benchmarks.empirical",
        "python -m experiments.run +exp=bench_empirical",
        "time, memory and growth of drawn networks' NTKs: hntk and neural-tangents",
        "about 10 minutes",
        ("n_width_*.csv", "width_n_*.csv", "depth_n_*.csv", "empirical.png"),
    ),
    Entry(
        "bench_solver",
        "benchmarks.solver",
        "python -m experiments.run +exp=bench_solver",
        "time of matches against depth and levels: hntk and restarted least squares",
        "about 5 minutes",
        ("depth_*.csv", "levels_*.csv", "solver_times.png"),
    ),
    Entry(
        "bench_inference",
        "benchmarks.inference",
        "python -m experiments.run +exp=bench_inference data=mnist data.folder=PATH",
        "time, memory and bytes of predictions on one core: onnxruntime and JAX against packed JAX and C99",
        "about 2 minutes",
        ("batch*.csv", "memory.csv", "inference.png"),
    ),
)


def named(name: str) -> Entry:
    """An experiment by its own name, as in ``+exp=NAME``."""
    return next(entry for entry in ENTRIES if entry.name == name)


def find(name: str) -> Entry:
    """An experiment by the name of its settings, as in ``experiment.name``.

    Raises
    ------
    ValueError
        For an unknown name; the known are listed.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise ValueError(f"unknown experiment {name!r}; known are {', '.join(e.name for e in ENTRIES)}.")
