"""From a configuration to the library's objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from omegaconf import ListConfig, OmegaConf

import hntk
from experiments.fetch import stand_in
from experiments.runner.config import CompressConfig, DataConfig


@dataclass(frozen=True)
class KernelProblem:
    """A mixture and the scale at which networks see it.

    Attributes
    ----------
    x, labels : the sample.
    tau0 : data scale: the population's, or the sample's.
    population : the mixture's own quantities, or None to have them estimated.
    """

    x: Float[Array | np.ndarray, "n p"]
    labels: Int[np.ndarray, " n"]
    tau0: float
    population: hntk.Population | None


def kernel_problem(data: DataConfig, quantities: str, key: Array, n: int | None = None) -> KernelProblem:
    """Draw the mixture; with another n, p keeps its ratio to it.

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
    drawn = hntk.reference_mixture(size, p, key=key, separation=data.separation, spread=data.spread)
    if quantities == "population":
        return KernelProblem(drawn.x, drawn.labels, drawn.population.tau0, drawn.population)
    tau0 = float(np.sqrt(np.mean(np.sum(np.asarray(drawn.x) ** 2, axis=1))))
    return KernelProblem(drawn.x, drawn.labels, tau0, None)


def dataset(data: DataConfig, seed: int = 0) -> hntk.Dataset:
    """The data set, which is kept for the next who asks for the same.

    Raises
    ------
    ValueError
        If the configuration names a mixture, or the data do not fit it.
    """
    if data.kind != "dataset":
        raise ValueError(f"this experiment needs a data set on disk, not {data.name!r}: choose data=mnist.")
    classes = None if data.classes is None else tuple(data.classes)
    return _loaded(data.name, data.folder, classes, data.n_train, data.n_test, seed, data.normalize)


@lru_cache(maxsize=1)
def _loaded(
    name: str,
    folder: str | None,
    classes: tuple[int, ...] | None,
    n_train: int | None,
    n_test: int | None,
    seed: int,
    normalize: Any,
) -> hntk.Dataset:
    options: dict[str, Any] = {"classes": classes, "n_train": n_train, "n_test": n_test, "seed": seed}
    options["normalize"] = normalize
    if name == stand_in.NAME and folder is None:
        return stand_in.dataset(**options)
    return hntk.load_dataset(name, folder=folder, **options)


def raw_dataset(data: DataConfig, seed: int = 0) -> hntk.Dataset:
    """The same for networks that take raw samples.

    Raises
    ------
    ValueError
        Also if its normalisation is more than a centre and a scale.
    """
    if data.normalize != "scale":
        raise ValueError(f"files take raw samples, which data.normalize={data.normalize} rules out: use scale.")
    return dataset(data, seed)


def features(net: hntk.Network, x: np.ndarray, advance: Callable[[int], None]) -> np.ndarray:
    """All features in memory, progress told by the number of samples done."""
    out, start = np.empty((len(x), net.widths[-1]), np.float32), 0
    for batch in net.feature_batches(x):
        out[start : start + len(batch)] = batch
        start += len(batch)
        advance(len(batch))
    return out


def activations(configured: Iterable[Any]) -> list[hntk.Activation]:
    """Names, or mappings with a name and parameters."""
    made = []
    for item in configured:
        plain: Any = OmegaConf.to_container(item) if OmegaConf.is_config(item) else item
        if isinstance(plain, dict):
            parameters = {str(k): v for k, v in plain.items() if k != "name"}
            made.append(hntk.activation(str(plain.get("name")), **parameters))
        else:
            made.append(hntk.activation(plain))
    return made


def matched(
    compress: CompressConfig,
    layers: list[hntk.Activation],
    tau0: float,
    x: Any,
    levels: Any = None,
    objective: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[hntk.Match, str]:
    """Solve for the compressed activations as configured, but for what is given; and what to call the result.

    ``tell`` is called with lines on how far the match has come.
    """
    chosen: Any = compress.levels if levels is None else levels
    chosen = list(chosen) if isinstance(chosen, ListConfig) else chosen
    options: dict[str, Any] = {"kernel": compress.kernel, "alpha2": compress.alpha2, "method": compress.method}
    options |= {"objective": objective or compress.objective, "x": x, "progress": tell}
    if chosen is None and compress.bits is not None:
        found = hntk.match(layers, tau0, bits=compress.bits, **options)
        return found, f"{compress.bits} bits ({'-'.join(map(str, found.level_counts))} levels)"
    found = hntk.match(layers, tau0, chosen, **options)
    if chosen == "paper":
        return found, "the paper's σ_T"
    counts = [4 if chosen is None else chosen] if not isinstance(chosen, list) else chosen
    return found, f"{'-'.join(map(str, counts))} levels" + ("" if compress.alpha2 else " (without α_2)") + (
        ", fitted to the data" if found.fit else ""
    )


def declared_diagonal(coefficients: hntk.Coefficients) -> float:
    """The NTK's κ_L², or where that is infinite the value that makes the equivalent's identity part τ_L²."""
    kappa_sq = float(coefficients.kappa_sq[-1])
    if np.isfinite(kappa_sq):
        return kappa_sq
    return float(coefficients.tau[-1] ** 2 + coefficients.tau[0] ** 2 * coefficients.beta[-1, 0])


def keys(seed: int, *names: str) -> dict[str, Array]:
    """A random key for each purpose."""
    return dict(zip(names, jax.random.split(jax.random.key(seed), len(names)), strict=True))


def declared(layers: Sequence[hntk.Activation], kernel: str, diagonal: float) -> float | None:
    """The NTK's diagonal, where it has to be declared."""
    return diagonal if kernel == "ntk" and any(a.has_jumps for a in layers) else None


def kernel_net(
    layers: Sequence[hntk.Activation], tau0: float, kernel: str, diagonal: float
) -> hntk.asymptotics.KernelCoefficients:
    """What the theory of a kernel takes a network for."""
    level = declared(layers, kernel, diagonal)
    return hntk.asymptotics.kernel_coefficients(layers, tau0, kernel=kernel, kappa_sq=level)  # type: ignore[arg-type]
