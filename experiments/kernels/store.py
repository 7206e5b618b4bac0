"""Exact kernels of a data set in files, computed tile by tile where they do not fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, stage
from experiments.runner.from_config import dataset, kernel_problem, keys
from experiments.runner.networks import network
from experiments.runner.record import Record
from hntk._utils.memory import available_memory, gigabytes
from hntk.kernels.kernel_memory import kernel_bytes


def run(cfg: Config, record: Record) -> None:
    """Compute the tiles that are still missing, then the kernels' leading eigenvalues."""
    settings, net = cfg.experiment, network(cfg.net)
    x, tau0 = _samples(cfg)
    folder = Path(settings.folder) if settings.folder else record.folder / "kernels"
    size, free = kernel_bytes((len(x), len(x)), np.dtype(str(settings.precision))), available_memory()
    say(
        f"  CK and NTK of {len(x):,} samples take {gigabytes(size)} in {folder}"
        + ("." if free is None else f" ({gigabytes(free)} of memory are free).")
    )
    with stage("exact kernels"), progress("entries", len(x) ** 2) as advance:
        kernels = hntk.store_kernels(
            folder, x, net, tau0=tau0, tile=settings.tile, dtype=settings.precision, progress=advance
        )
    record.add_metrics(samples=len(x), bytes=size, folder=str(folder))
    if settings.eigenvalues:
        _report_eigenvalues(record, kernels, min(settings.eigenvalues, len(x) - 1))
    CONSOLE.print('\nThey open as they are: np.load("ck.npy", mmap_mode="r"), and ntk.npy likewise.')


def _samples(cfg: Config) -> tuple[np.ndarray, float]:
    """Return the training samples and their scale."""
    if cfg.data.kind == "mixture":
        problem = kernel_problem(cfg.data, "population", keys(cfg.seed, "data")["data"])
        return np.asarray(problem.x), problem.tau0
    with stage(f"loading {cfg.data.name}"):
        data = dataset(cfg.data, cfg.seed)
    return data.x_train, data.tau0


def _report_eigenvalues(record: Record, kernels: hntk.Kernels, count: int) -> None:
    eigenvalues: dict[str, np.ndarray] = {}
    for name, matrix in kernels._asdict().items():
        with stage(f"{count} leading eigenvalues of the {name.upper()}"):
            eigenvalues[name] = hntk.leading_eigenpairs(matrix, count, tolerance=1e-6).values
    rows = [[i + 1, *(float(values[i]) for values in eigenvalues.values())] for i in range(count)]
    columns = ["rank", *(name.upper() for name in eigenvalues)]
    record.add_table("eigenvalues", columns, rows, "Leading eigenvalues")
