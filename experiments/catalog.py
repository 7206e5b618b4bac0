"""The experiments there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.config import Config
    from experiments.record import Record


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes
    ----------
    name : as in ``+exp=NAME``; the module of that name has ``run(cfg, record)``.
    command : what to type.
    shows : what there is to see.
    takes : how long, measured on 2 CPU cores.
    """

    name: str
    command: str
    shows: str
    takes: str

    @property
    def module(self) -> ModuleType:
        """Has ``run``; for sweeps perhaps ``identity``, what decides a job's result, and ``gather``, for all jobs."""
        return import_module(f"experiments.{self.name}")

    def load(self) -> Callable[[Config, Record], None]:
        """The function that runs it."""
        return self.module.run


ENTRIES = (
    Entry(
        "gmm",
        "python -m experiments.run +exp=gmm",
        "kernel spectra on a Gaussian mixture: a dense network, the theory, the ternary network solved for",
        "about half a minute",
    ),
    Entry(
        "convergence",
        "python -m experiments.run +exp=convergence",
        "errors of the equivalents falling with n, and the floor of the authors' identity term",
        "about 1.5 minutes",
    ),
    Entry(
        "levels",
        "python -m experiments.run +exp=levels",
        "identity shift and kernel error against the number of levels, for six activations, and the bound",
        "about 2.5 minutes",
    ),
    Entry(
        "spectrum_theory",
        "python -m experiments.run +exp=spectrum_theory",
        "limiting eigenvalue densities over simulated spectra, and their distance against p",
        "about 4 minutes",
    ),
    Entry(
        "spikes",
        "python -m experiments.run +exp=spikes",
        "isolated eigenvalues and what their eigenvectors know of the classes, across the phase transition",
        "about 3 minutes",
    ),
    Entry(
        "learning_curve",
        "python -m experiments.run +exp=learning_curve",
        "predicted and simulated errors of ridge regression against n/p and the ridge, dense and compressed",
        "about 6 minutes",
    ),
    Entry(
        "dynamics",
        "python -m experiments.run +exp=dynamics",
        "predicted and simulated errors of gradient flow on the NTK against time",
        "about 2 minutes",
    ),
    Entry(
        "million",
        "python -m experiments.run +exp=million",
        "regression with the equivalent NTK on a million samples: accuracy, time, memory, beside the exact NTK",
        "about 7 minutes",
    ),
    Entry(
        "store",
        "python -m experiments.run +exp=store data=mnist data.folder=PATH experiment.folder=KERNELS",
        "exact kernels of a data set in files, beyond what memory holds; an interrupted run is continued",
        "29 GB and about 2 minutes for MNIST",
    ),
    Entry(
        "solver",
        "python -m experiments.run +exp=solver",
        "200 random matching problems: success and time, beside restarted least squares",
        "about half an hour",
    ),
    Entry(
        "fetch",
        "python -m experiments.run +exp=fetch data=mnist data.folder=PATH",
        "MNIST from the internet into the data folder, checked by its sha256 (11.6 MB)",
        "seconds, and the time of the download",
    ),
    Entry(
        "mnist",
        "python -m experiments.run +exp=mnist data.folder=PATH",
        "does the theory apply, and test accuracies on MNIST: dense, ternary weights, few-level activations",
        "about 4 minutes",
    ),
    Entry(
        "memory",
        "python -m experiments.run +exp=memory data=mnist data.folder=PATH",
        "test accuracy against bytes and bit operations, for everything one would pick instead",
        "100 minutes for three seeds, and can be stopped and continued",
    ),
    Entry(
        "ship",
        "python -m experiments.run +exp=ship data=mnist data.folder=PATH",
        "packed files, ONNX, C99 and a microcontroller's program: bytes, accuracy, and that all predict the same",
        "about 2 minutes",
    ),
    Entry(
        "bench_kernels",
        "python -m experiments.run +exp=bench_kernels",
        "time, memory and growth of exact kernels and regressions: hntk, neural-tangents, scikit-learn",
        "about 20 minutes",
    ),
    Entry(
        "bench_empirical",
        "python -m experiments.run +exp=bench_empirical",
        "time, memory and growth of drawn networks' NTKs: hntk and neural-tangents",
        "about 10 minutes",
    ),
    Entry(
        "bench_solver",
        "python -m experiments.run +exp=bench_solver",
        "time of matches against depth and levels: hntk and restarted least squares",
        "about 5 minutes",
    ),
    Entry(
        "bench_inference",
        "python -m experiments.run +exp=bench_inference data=mnist data.folder=PATH",
        "time, memory and bytes of predictions on one core: onnxruntime and JAX against packed JAX and C99",
        "about 2 minutes",
    ),
)


def find(name: str) -> Entry:
    """An experiment by name.

    Raises
    ------
    ValueError
        For an unknown name; the known are listed.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise ValueError(f"unknown experiment {name!r}; known are {', '.join(e.name for e in ENTRIES)}.")
