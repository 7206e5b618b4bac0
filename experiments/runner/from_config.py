"""The library's objects that a configuration describes: mixtures, data sets, activations, matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from omegaconf import ListConfig

import hntk
from experiments.runner import stand_in
from experiments.runner.command_line import STAND_IN
from experiments.runner.config import CompressConfig, Config, DataConfig
from experiments.runner.networks import Network

# the engines of `hntk.exact_kernels`
Engine = Literal["native", "neural_tangents"]


@dataclass(frozen=True)
class LabelledSamples:
    """Training samples and new ones, with their labels.

    Attributes
    ----------
    x : (n, p) array
        Training samples.
    labels : (n,) array
        Labels of the training samples.
    x_test : (m, p) array
        New samples.
    labels_test : (m,) array
        Labels of the new samples.
    """

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray


@dataclass(frozen=True)
class KernelProblem:
    """A sample of a Gaussian mixture, and the data scale for networks.

    Attributes
    ----------
    x : Float[Array, "n p"]
        Samples.
    labels : Int[Array, "n"]
        Class of each sample.
    tau0 : float
        Data scale of the population, or of the sample.
    population : hntk.Population or None
        The mixture's own quantities; None to have them estimated.
    """

    x: Float[Array | np.ndarray, "n p"]
    labels: Int[np.ndarray, " n"]
    tau0: float
    population: hntk.Population | None


def kernel_problem(
    data: DataConfig, quantities: str, key: Array, n: int | None = None, *, contrast: float = 0.0
) -> KernelProblem:
    """Draw the mixture; for another n, p keeps its ratio to n.

    Parameters
    ----------
    data : DataConfig
        The mixture.
    quantities : {"population", "estimated"}
        Whether theory gets the mixture's own quantities.
    key : jax.Array
        Random key.
    n : int, optional
        Samples, by default ``data.n``.
    contrast : float
        From 0 to 1. The two covariances are multiplied by 1 + contrast on one half of the coordinates and by
        1 − contrast on the other, the halves of one class being those of the other exchanged.

    Returns
    -------
    KernelProblem
        The samples.

    Raises
    ------
    ValueError
        If the data is not a mixture, or ``quantities`` is unknown.
    """
    if data.kind != "mixture":
        raise ValueError(f"this experiment needs a mixture, not the data set {data.name!r}: choose data=gmm.")
    if quantities not in ("population", "estimated"):
        raise ValueError(f"experiment.quantities must be 'population' or 'estimated', got {quantities!r}.")
    size = data.n if n is None else n
    p = max(2, round(data.p * size / data.n))
    if contrast:
        halves = contrast * np.where(np.arange(p) < p // 2, 1.0, -1.0)
        covariances = [1 + halves, (1 + data.spread / np.sqrt(p)) * (1 - halves)]
        drawn = hntk.gaussian_mixture(data.separation * np.eye(2, p), covariances, size, key=key)
    else:
        drawn = hntk.reference_mixture(size, p, key=key, separation=data.separation, spread=data.spread)
    if quantities == "population":
        return KernelProblem(drawn.x, drawn.labels, drawn.population.tau0, drawn.population)
    tau0 = float(np.sqrt(np.mean(np.sum(np.asarray(drawn.x) ** 2, axis=1))))
    return KernelProblem(drawn.x, drawn.labels, tau0, None)


def dataset(data: DataConfig, seed: int = 0) -> hntk.Dataset:
    """Return the data set; the last one is kept, as the next job often asks for the same.

    Raises
    ------
    ValueError
        If the configuration names a mixture, or the data do not fit the configuration.
    """
    if data.kind != "dataset":
        raise ValueError(f"this experiment needs a data set on disk, not {data.name!r}: choose data=mnist.")
    classes = None if data.classes is None else tuple(data.classes)
    return _loaded(
        data.name, data.folder, classes=classes, n_train=data.n_train, n_test=data.n_test, seed=seed,
        normalize=data.normalize,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _loaded(name: str, folder: str | None, **options: Any) -> hntk.Dataset:
    if name == STAND_IN and folder is None:
        return stand_in.dataset(**options)
    return hntk.load_dataset(name, folder=folder, **options)


def dataset_read(cfg: Config) -> hntk.Dataset | None:
    """Return the data set that an experiment reads; None for a mixture, which settings and code determine."""
    return dataset(cfg.data, cfg.seed) if cfg.data.kind == "dataset" else None


def raw_dataset(data: DataConfig, seed: int = 0) -> hntk.Dataset:
    """Return the data set for networks that take raw samples.

    Raises
    ------
    ValueError
        If the normalisation is more than a centre and a scale, or for the reasons of `dataset`.
    """
    if data.normalize != "scale":
        raise ValueError(f"files take raw samples, which data.normalize={data.normalize} rules out: use scale.")
    return dataset(data, seed)


def features(
    net: hntk.Network, x: np.ndarray, advance: Callable[[int], None], layers: Literal["last", "all"] = "last"
) -> np.ndarray:
    """Return the features of all samples; ``advance`` is called with the number of samples done."""
    width = sum(net.widths) if layers == "all" else net.widths[-1]
    out, start = np.empty((len(x), width), np.float32), 0
    for batch in net.feature_batches(x, layers=layers):
        out[start : start + len(batch)] = batch
        start += len(batch)
        advance(len(batch))
    return out


def engine_of(cfg: Config) -> Engine:
    """Return what computes exact and empirical kernels."""
    return cfg.kernels.engine  # type: ignore[return-value]


def check_engine(cfg: Config, computes: object, why_not: str) -> None:
    """Refuse another engine than the native one where other settings leave it nothing to compute.

    Raises
    ------
    ValueError
        If ``computes`` is empty or 0; the message has the reason.
    """
    if not computes and cfg.kernels.engine != "native":
        raise ValueError(f"kernels.engine={cfg.kernels.engine} would compute nothing, as {why_not}.")


def way_of_matching(levels: Any, objective: str, layers: str) -> tuple[str, str | None]:
    """Return the objective and the method of a match for a readout of these layers; None for the method asked for."""
    if layers == "all":
        # such a readout needs every layer's kernel: joint matches and the data objective have the last one's
        return "theory", "layerwise"
    return ("theory" if levels == "paper" else objective), None


def matched(
    compress: CompressConfig,
    net: Network,
    tau0: float,
    x: Any,
    labels: Any,
    *,
    levels: Any = None,
    objective: str | None = None,
    method: str | None = None,
    drawn: tuple[Sequence[int], hntk.WeightLaw] | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[hntk.Match, str]:
    """Solve for the compressed activations, and return the match with its name for tables and figures.

    Parameters
    ----------
    compress : CompressConfig
        The configuration.
    net : hntk.Architecture or list of hntk.Activation
        The original network.
    tau0 : float
        Data scale.
    x, labels : Any
        Samples and their classes, for the data objective.
    levels, objective, method : Any
        In place of those of the configuration.
    drawn : tuple
        The widths and the law of weights whose noise the data objective counts; None for infinite widths.
    tell : callable
        Called with lines on the progress of the match.

    Returns
    -------
    hntk.Match
        The match.
    str
        What to call it.
    """
    chosen: Any = compress.levels if levels is None else levels
    chosen = list(chosen) if isinstance(chosen, ListConfig) else chosen
    options: dict[str, Any] = {"kernel": compress.kernel, "alpha2": compress.alpha2}
    options["method"] = method or compress.method
    options |= {"objective": objective or compress.objective, "progress": tell}
    if options["objective"] == "data":
        options |= {"x": x, "labels": labels if compress.labels else None, "samples": compress.samples}
        options |= {} if drawn is None else {"widths": drawn[0], "law": drawn[1]}
    if chosen is None and compress.bits is not None:
        match = hntk.match(net, tau0, bits=compress.bits, **options)
        return match, f"{compress.bits} bits ({'-'.join(map(str, match.level_counts))} levels)"
    match = hntk.match(net, tau0, chosen, **options)
    if chosen == "paper":
        return match, "the paper's σ_T"
    counts = [4 if chosen is None else chosen] if not isinstance(chosen, list) else chosen
    name = f"{'-'.join(map(str, counts))} levels"
    return match, name + ("" if compress.alpha2 else " (without α_2)") + (", fitted to the data" if match.fit else "")


def keys(seed: int, *names: str) -> dict[str, Array]:
    """Return a random key for each purpose."""
    return dict(zip(names, jax.random.split(jax.random.key(seed), len(names)), strict=True))
