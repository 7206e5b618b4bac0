"""Predicted eigenvalue densities over simulated spectra, and the Kolmogorov distance between them against p.

Equivalent kernels are compared with their limit, and exact kernels with their density at their size. Where n < p exact
kernels are compared with the limit too. Where n > p the limit has an atom, which no finite spectrum approaches in this
distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax
import numpy as np

import hntk
from experiments.asymptotics.mixtures import CAPTIONS, MixtureModel, named_model
from experiments.asymptotics.spectrum_figures import density_figure, distance_figure
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table
from experiments.runner.from_config import Engine, engine_of
from experiments.runner.networks import declared_diagonal
from experiments.runner.record import Record
from experiments.runner.statistics import means_in_words, plus_minus
from hntk._utils.statistics import growth_exponent, mean_and_error
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.asymptotics.predictions import finite_size_density, limiting_density

STAIRCASE = hntk.staircase([-1.0, 0.0, 1.0], [-0.5, -0.3, 0.4, 1.6])
NETS: dict[str, str | hntk.Activation] = {"relu": "relu", "erf": "erf", "staircase": STAIRCASE}
KERNELS = ("ck", "ntk")
# The comparisons: which kernel is simulated, and with which theory it is compared.
EQUIVALENT, EXACT, LIMIT = COMPARISONS = ("equivalent", "exact", "exact against the limit")
# Eigenvalues this near an atom, relative to its place, differ from it by rounding errors alone.
ROUNDING = 1e-9


@dataclass
class Case:
    """A mixture, a network and n/p, simulated in every dimension.

    Attributes
    ----------
    name : str
        MIXTURE/NET, as in the configuration.
    mixture : str
        Name of the mixture.
    layers : list
        Activations of the network.
    ratio : float
        n/p.
    distances : dict
        By (kernel, comparison, p), the Kolmogorov distance of every draw.
    shown : dict
        By kernel, the content of the figures at data.p: both densities, and the eigenvalues of every draw.
    """

    name: str
    mixture: str
    layers: list[str | hntk.Activation]
    ratio: float
    distances: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    shown: dict[str, tuple[LimitingDensity, FiniteSizeDensity, list[np.ndarray]]] = field(default_factory=dict)

    @staticmethod
    def named(name: str, depth: int, ratio: float) -> Case:
        """Return the case of a configured name MIXTURE/NET."""
        mixture, _, net = name.partition("/")
        if mixture not in CAPTIONS or net not in NETS:
            raise ValueError(
                f"a case is MIXTURE/NET with one of {', '.join(CAPTIONS)} and one of {', '.join(NETS)}: {name!r}."
            )
        return Case(name, mixture, [NETS[net]] * depth, ratio)

    def level(self, coefficients: hntk.Coefficients) -> float | None:
        """Return the NTK's declared diagonal, for activations with jumps, and None for others."""
        jumps = any(isinstance(a, hntk.Staircase) for a in self.layers)
        return declared_diagonal(coefficients) if jumps else None

    def means(self, kind: str, comparison: str, sizes: list[int]) -> list[tuple[float, float]]:
        """Return mean distance and standard error for every p."""
        return [mean_and_error(self.distances[kind, comparison, p]) for p in sizes]


def run(cfg: Config, record: Record) -> None:
    """Simulate every case at every n/p and p."""
    settings = cfg.experiment
    cases = [Case.named(name, settings.depth, ratio) for ratio in settings.ratios for name in settings.cases]
    plan = [(p, settings.seeds if p <= cfg.data.p else settings.large_seeds) for p in settings.sizes]
    with progress("spectra, small p first", len(cases) * sum(draws for _, draws in plan)) as advance:
        for p, draws in plan:
            for index, case in enumerate(cases):
                key = jax.random.fold_in(jax.random.fold_in(jax.random.key(cfg.seed), index), p)
                for distances in _simulated(case, named_model(case.mixture, cfg.data, p), p, draws, key, cfg):
                    for name, value in distances.items():
                        case.distances.setdefault((*name, p), []).append(value)
                    advance()
            CONSOLE.print(f"  [green]done[/] p = {p}, {draws} draws of each")
    _report(cfg, record, cases)
    _draw_densities(cfg, record, cases)
    _draw_distances(cfg, record, cases)


def _simulated(
    case: Case, model: MixtureModel, p: int, draws: int, key: jax.Array, cfg: Config
) -> Iterator[dict[tuple[str, str], float]]:
    """Yield the distances of one draw after the other, by kernel and comparison."""
    n, law = model.size(case.ratio), model.law
    coefficients = hntk.coefficients(case.layers, law.tau0)
    level = case.level(coefficients)
    limits = {kind: limiting_density(law, n, case.layers, kernel=kind, kappa_sq=level) for kind in KERNELS}
    sized = {kind: finite_size_density(law, n, case.layers, kernel=kind, kappa_sq=level) for kind in KERNELS}
    for draw in range(draws):
        sample = model.draw(n, jax.random.fold_in(key, draw))
        distances = {}
        for kind, (equivalent, exact) in _spectra(case, sample, coefficients, engine_of(cfg)).items():
            distances[kind, EQUIVALENT] = kolmogorov_distance(limits[kind], equivalent)
            distances[kind, EXACT] = kolmogorov_distance(sized[kind], exact)
            if n < p:
                distances[kind, LIMIT] = kolmogorov_distance(limits[kind], exact)
            if p == cfg.data.p:
                case.shown.setdefault(kind, (limits[kind], sized[kind], []))[2].append(exact)
        yield distances


def _spectra(
    case: Case, sample: hntk.Mixture, coefficients: hntk.Coefficients, engine: Engine
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the eigenvalues of the equivalent and of the exact kernel, for both kernels."""
    tau0, population, level = float(coefficients.tau[0]), sample.population, case.level(coefficients)
    matrices = hntk.exact_kernels(sample.x, case.layers, tau0=tau0, kappa_sq=level, engine=engine)
    equivalent = hntk.equivalent_kernels(
        sample.x, sample.labels, case.layers, tau0=tau0, population=population, kappa_sq=level
    )
    spectra = {}
    for kind, operator, matrix in zip(KERNELS, equivalent, matrices, strict=True):
        small = operator.shape[0] <= population.means.shape[1]
        values = np.linalg.eigvalsh(operator.to_dense()) if small else operator.eigvalsh()
        spectra[kind] = values, np.linalg.eigvalsh(np.asarray(matrix))
    return spectra


def kolmogorov_distance(density: LimitingDensity | FiniteSizeDensity, values: np.ndarray) -> float:
    """Return the largest difference of the two distribution functions, spikes and atoms included."""
    snapped = np.asarray(values, dtype=float).copy()
    for place, _ in density.atoms:
        snapped[np.abs(snapped - place) <= ROUNDING * abs(place)] = place
    points, counts = np.unique(snapped, return_counts=True)
    after = np.cumsum(counts) / snapped.size
    before = after - counts / snapped.size
    above = np.abs(density.cdf(points) - after)
    below = np.abs(density.cdf(np.nextafter(points, -np.inf)) - before)
    return float(max(above.max(), below.max()))


def _report(cfg: Config, record: Record, cases: list[Case]) -> None:
    sizes = list(cfg.experiment.sizes)
    rows, lines, means = [], [], {}
    for case in cases:
        for kind, comparison in dict.fromkeys(name[:2] for name in case.distances):
            pairs = case.means(kind, comparison, sizes)
            exponent = growth_exponent(sizes, [m for m, _ in pairs])
            labels = [case.name, kind.upper(), case.ratio, comparison]
            rate = f"{np.nan if exponent is None else exponent:+.2f}"
            rows.append([*labels, *(plus_minus(1000 * m, 1000 * e, 1) for m, e in pairs), rate])
            means.setdefault(comparison, {})[case.name, kind, case.ratio] = [mean for mean, _ in pairs]
            for p, pair in zip(sizes, pairs, strict=True):
                draws = len(case.distances[kind, comparison, p])
                lines.append([", ".join(map(str, labels)), p, round(case.ratio * p), draws, *pair])
    columns = ["mixture/net", "kernel", "n/p", "simulated", *(f"p = {p}" for p in sizes), "p to the"]
    title = "Kolmogorov distance of simulated spectra from theory, × 1000: mean ± standard error over draws"
    show_table(title, columns, rows)
    record.add_table("distances", ["case", "p", "n", "draws", "distance", "standard error"], lines)
    record.add_chart("distance against p", "lines", "distances", "p", "distance", by="case", log=["p", "distance"])
    for comparison in COMPARISONS:
        if comparison in means and cfg.data.p in sizes:
            _report_worst(record, comparison, means[comparison], sizes, cfg.data.p)


def _report_worst(
    record: Record, comparison: str, means: dict[tuple[str, str, float], list[float]], sizes: list[int], p: int
) -> None:
    (name, kind, ratio), values = max(means.items(), key=lambda item: item[1][sizes.index(p)])
    worst = values[sizes.index(p)]
    record.add_metrics(**{f"worst/{comparison}": worst})
    trend = ""
    if len(sizes) > 1:
        falling = all(values[-1] < values[0] for values in means.values())
        record.add_metrics(**{f"falling/{comparison}": falling})
        trend = "; all fall with p" if falling else "; [bold red]not all fall with p[/]"
    say(
        f"\nKernels {comparison}: largest distance at p = {p} is [bold]{worst:.4f}[/] ({name}, "
        f"{kind.upper()}, n/p = {ratio:g}){trend}."
    )


def _draw_densities(cfg: Config, record: Record, cases: list[Case]) -> None:
    for ratio in cfg.experiment.ratios:
        shown = [case for case in cases if case.ratio == ratio and case.shown]
        if not shown:
            continue
        panels = {}
        for case in shown:
            for kind in KERNELS:
                mixture = CAPTIONS[case.mixture].format(spread=cfg.data.spread)
                limit, sized, spectra = case.shown[kind]
                title = f"{kind.upper()}, {case.name.partition('/')[2]}\n{mixture}"
                panels[title] = (limit, sized, np.concatenate(spectra))
        n, p, seeds = round(ratio * cfg.data.p), cfg.data.p, cfg.experiment.seeds
        drawn = "one draw" if seeds == 1 else f"{seeds} draws"
        caption = (
            f"Eigenvalues of exact kernels of Gaussian mixtures, p = {p}, n = {n}, networks of {cfg.experiment.depth} "
            f"layers, {drawn}"
        )
        record.add_figure(f"spectra_{n}_{p}", density_figure(panels, len(KERNELS), caption))


def _draw_distances(cfg: Config, record: Record, cases: list[Case]) -> None:
    sizes, rows = list(cfg.experiment.sizes), {}
    for ratio in cfg.experiment.ratios:
        own = [case for case in cases if case.ratio == ratio]
        rows[f"n/p = {ratio:g}"] = {
            comparison: {
                f"{case.name}, {kind.upper()}": case.means(kind, comparison, sizes) for case in own for kind in KERNELS
            }
            for comparison in COMPARISONS
            if any(name[1] == comparison for case in own for name in case.distances)
        }
    caption = f"Distance of simulated spectra from theory: {means_in_words(cfg.experiment.seeds, 'draw')}"
    caption += f" (above p = {cfg.data.p}: {cfg.experiment.large_seeds})"
    record.add_figure("distances", distance_figure(rows, sizes, caption))
