"""Kernel ridge regression with the exact NTK: hntk's solvers beside those of other libraries, on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

import hntk
from experiments.benchmarks.harness import Contender, Sweep
from experiments.benchmarks.settings import BenchRegressionExperiment
from experiments.benchmarks.sweeps import draw_sweeps, run_sweeps
from experiments.kernels.large_samples import LargeDataset, LargeMixture
from experiments.runner.config import Config
from experiments.runner.from_config import LabelledSamples
from experiments.runner.networks import Network, name_of, network
from experiments.runner.record import Record
from hntk._utils.rows import rms_norm

OWN, AUTO, DIRECT = "hntk, conjugate gradients", "hntk, conjugate gradients, auto", "hntk, direct"
GPYTORCH, SCIPY = "GPyTorch, hntk's kernel", "SciPy, conjugate gradients, hntk's kernel"
NEURAL_TANGENTS = "neural-tangents"
THEIR_KERNEL, OUR_KERNEL = "scikit-learn, neural-tangents' kernel", "scikit-learn, hntk's kernel"
# what hntk's conjugate gradients are told, as others have their best setting; the others are told nothing
PRECONDITIONERS = ("cholesky", "none")
# Bytes for a pair of training samples, as measured with 8,000; hntk's direct solver asks for 16. Conjugate gradients of
# hntk are told how much memory there is.
PAIR = {OWN: 0, AUTO: 0, DIRECT: 16, NEURAL_TANGENTS: 28, THEIR_KERNEL: 24, OUR_KERNEL: 18, SCIPY: 11}
USUAL_PAIR = 16
# Bytes for a pair of a training and a new sample, where all of them are computed together.
NEW_PAIR = 8
# training samples whose NTK's diagonal is the unit of the ridge
DIAGONAL = 500


def run(cfg: Config, record: Record) -> None:
    """Fit and predict with every contender at every size."""
    source = LargeMixture(cfg, record.folder) if cfg.data.kind == "mixture" else LargeDataset(cfg)
    most = len(source.order) if isinstance(source, LargeDataset) else max(cfg.experiment.sizes)
    cases: dict[int, list[Contender]] = {}
    left_out: dict[int, dict[str, str]] = {}
    labels, files = np.zeros(0, int), []
    try:
        for n in sorted({min(n, most) for n in cfg.experiment.sizes}):
            files.append(record.folder / f"samples{n}.npz")
            with source.samples(n) as samples:
                options, labels = _written(cfg, samples, files[-1])
            left_out[n] = _left_out(n, len(labels), cfg.experiment)
            cases[n] = [c for c in _contenders(n, len(labels), options, cfg.experiment) if c.name not in left_out[n]]
        net = name_of(network(cfg.net))
        about = f"{cfg.data.name}, {net}, ridge {cfg.experiment.ridge:g} of the diagonal"
        sweep = Sweep("n", about, cases, OWN, lambda scores: _accuracy(scores, labels), left_out)
        measured = run_sweeps(record, [sweep], cfg.experiment)
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    caption = f"Kernel ridge regression, fitted and used on {len(labels):,} new samples"
    draw_sweeps(record, [sweep], measured, "peers", caption, exponents=False)


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of a task's only result, an array of scores."""
    return float(np.mean(np.argmax(scores[0], axis=1) == labels))


def _written(cfg: Config, samples: LabelledSamples, path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Write the samples for the workers, and return the options of all tasks and the classes of the new samples."""
    x, net = np.asarray(samples.x, np.float32), network(cfg.net)
    classes, index = np.unique(samples.labels, return_inverse=True)
    np.savez(path, x=x, labels=index, new=np.asarray(samples.x_test, np.float32))
    plain: Any = OmegaConf.to_container(cfg.net) if OmegaConf.is_config(cfg.net) else asdict(cfg.net)
    tau0 = float(rms_norm(x))
    ridge = cfg.experiment.ridge * _diagonal(x, net, tau0)
    options = {"path": str(path.resolve()), "net": plain, "tau0": tau0, "ridge": ridge}
    return options, np.searchsorted(classes, samples.labels_test)


def _diagonal(x: np.ndarray, net: Network, tau0: float) -> float:
    """Return the mean diagonal of the NTK over some samples."""
    return float(np.diagonal(hntk.exact_kernels(x[:DIAGONAL], net, tau0=tau0).ntk).mean())


def _contenders(
    n: int, new: int, options: Mapping[str, Any], settings: BenchRegressionExperiment
) -> list[Contender]:  # fmt: skip
    """Return all contenders at a size, with all settings of which the fastest counts."""
    # neural-tangents takes batches that divide the samples alone
    batches = [batch for batch in settings.batches if not batch or n % batch == 0]
    tolerance, memory = {"tolerance": settings.tolerance}, {"memory": settings.memory}
    tasks: list[tuple[str, str, dict[str, Any], str]] = [
        *((NEURAL_TANGENTS, "neural_tangents", {"batch": b}, _batched(b)) for b in batches),
        *(
            (THEIR_KERNEL, "scikit_learn", {"kernel": "neural-tangents", "batch": b}, _batched(b))
            for b in batches[-1:]
        ),
        (OUR_KERNEL, "scikit_learn", {"kernel": "hntk"}, ""),
        (SCIPY, "scipy_gradients", tolerance, ""),
        *((GPYTORCH, "gpytorch", {"rank": rank, **tolerance}, f"rank {rank}") for rank in settings.ranks),
        (DIRECT, "direct", {}, ""),
        (AUTO, "gradients", {**memory, **tolerance, "preconditioner": "auto"}, ""),
        *((OWN, "gradients", {**memory, **tolerance, "preconditioner": p}, p) for p in PRECONDITIONERS),
    ]  # fmt: skip
    return [
        Contender(name, f"regression_tasks.{task}", {**options, **own}, setting, results=8 * new)
        for name, task, own, setting in tasks
    ]


def _batched(batch: int) -> str:
    return f"nt.batch {batch}" if batch else "jit"


def _left_out(n: int, new: int, settings: BenchRegressionExperiment) -> dict[str, str]:
    """Return the contenders that cannot take part at a size, and why."""
    reasons = {}
    for name in {contender.name: None for contender in _contenders(n, new, {}, settings)}:
        pair = PAIR.get(name, USUAL_PAIR)
        needed = pair * n**2 + NEW_PAIR * n * new if pair else 0
        if needed > settings.memory:
            reasons[name] = f"takes about {needed / 1e9:.2g} GB of {settings.memory / 1e9:.2g} GB"
        elif name == GPYTORCH and find_spec("gpytorch") is None:
            reasons[name] = "gpytorch is not installed"
    return reasons
