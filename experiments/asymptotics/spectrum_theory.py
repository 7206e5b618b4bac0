"""Predicted eigenvalue densities over simulated spectra, and the Kolmogorov distance between them against p.

Equivalent kernels are held against their limit, exact kernels against their distribution at their size, and where
n < p against the limit too; where n > p that has an atom, which no finite spectrum comes near in this distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax
import numpy as np

import hntk
from experiments.asymptotics import figures as theory_figures
from experiments.asymptotics.draws import mean_and_error, plus_minus
from experiments.asymptotics.mixtures import CAPTIONS, MixtureModel, named_model
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record
from experiments.runner.setting import declared_diagonal
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.asymptotics.predictions import finite_size_density, limiting_density

STAIRCASE = hntk.staircase([-1.0, 0.0, 1.0], [-0.5, -0.3, 0.4, 1.6])
NETS: dict[str, str | hntk.Activation] = {"relu": "relu", "erf": "erf", "staircase": STAIRCASE}
KERNELS = ("ck", "ntk")
# what is simulated, and by which theory it is predicted
EQUIVALENT, EXACT, LIMIT = "equivalent", "exact", "exact against the limit"
# eigenvalues this near an atom, relative to its place, are rounding errors away from it
ROUNDING = 1e-9


@dataclass
class Setting:
    """A mixture, a net and n/p, in every dimension.

    Attributes
    ----------
    name : of mixture and net.
    mixture, layers, ratio : what they are.
    distances : by (kernel, what was simulated, p), of every draw.
    shown : by kernel, what the figures at data.p show: the densities and the exact eigenvalues of all draws.
    """

    name: str
    mixture: str
    layers: list[str | hntk.Activation]
    ratio: float
    distances: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    shown: dict[str, tuple[LimitingDensity, FiniteSizeDensity, list[np.ndarray]]] = field(default_factory=dict)


def run(cfg: Config, record: Record) -> None:
    """Simulate every case at every n/p and p."""
    settings = cfg.experiment
    found = [
        Setting(case, *_case(case, settings.depth), ratio=ratio) for ratio in settings.ratios for case in settings.cases
    ]
    plan = [(p, settings.seeds if p <= cfg.data.p else settings.large_seeds) for p in settings.sizes]
    with progress("spectra, small p first", len(found) * sum(draws for _, draws in plan)) as advance:
        for p, draws in plan:
            for index, setting in enumerate(found):
                key = jax.random.fold_in(jax.random.fold_in(jax.random.key(cfg.seed), index), p)
                for distances in _simulated(setting, named_model(setting.mixture, cfg.data, p), p, draws, key, cfg):
                    for name, value in distances.items():
                        setting.distances.setdefault((*name, p), []).append(value)
                    advance()
            CONSOLE.print(f"  [green]done[/] p = {p}, {draws} draws of each")
    _report(cfg, record, found, [p for p, _ in plan])


def _case(case: str, depth: int) -> tuple[str, list[str | hntk.Activation]]:
    mixture, _, net = case.partition("/")
    if mixture not in CAPTIONS or net not in NETS:
        raise ValueError(
            f"a case is MIXTURE/NET with one of {', '.join(CAPTIONS)} and one of {', '.join(NETS)}: {case!r}."
        )
    return mixture, [NETS[net]] * depth


def _simulated(
    setting: Setting, model: MixtureModel, p: int, draws: int, key: jax.Array, cfg: Config
) -> Iterator[dict[tuple[str, str], float]]:
    """Distances of one draw after the other, by kernel and by what was simulated."""
    n, law = model.size(setting.ratio), model.law
    coefficients = hntk.coefficients(setting.layers, law.tau0)
    level = declared_diagonal(coefficients) if _jumps(setting) else None
    limits = {kind: limiting_density(law, n, setting.layers, kernel=kind, kappa_sq=level) for kind in KERNELS}
    sized = {kind: finite_size_density(law, n, setting.layers, kernel=kind, kappa_sq=level) for kind in KERNELS}
    for draw in range(draws):
        sample = model.draw(n, jax.random.fold_in(key, draw))
        distances = {}
        for kind, (equivalent, exact) in _spectra(setting, sample, coefficients).items():
            distances[kind, EQUIVALENT] = kolmogorov_distance(limits[kind], equivalent)
            distances[kind, EXACT] = kolmogorov_distance(sized[kind], exact)
            if n < p:
                distances[kind, LIMIT] = kolmogorov_distance(limits[kind], exact)
            if p == cfg.data.p:
                setting.shown.setdefault(kind, (limits[kind], sized[kind], []))[2].append(exact)
        yield distances


def _spectra(
    setting: Setting, sample: hntk.Mixture, coefficients: hntk.Coefficients
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Eigenvalues of the equivalent and of the exact kernel, by kernel."""
    tau0, population = float(coefficients.tau[0]), sample.population
    level = declared_diagonal(coefficients) if _jumps(setting) else None
    matrices = hntk.exact_kernels(sample.x, setting.layers, tau0=tau0, kappa_sq=level)
    equivalent = hntk.equivalent_kernels(
        sample.x, sample.labels, setting.layers, tau0=tau0, population=population, kappa_sq=level
    )
    found = {}
    for kind, operator, matrix in zip(KERNELS, equivalent, matrices, strict=True):
        small = operator.shape[0] <= population.means.shape[1]
        values = np.linalg.eigvalsh(operator.to_dense()) if small else operator.eigvalsh()
        found[kind] = values, np.linalg.eigvalsh(np.asarray(matrix))
    return found


def _jumps(setting: Setting) -> bool:
    """Whether the NTK's diagonal has to be declared."""
    return any(isinstance(a, hntk.Staircase) for a in setting.layers)


def kolmogorov_distance(density: LimitingDensity | FiniteSizeDensity, values: np.ndarray) -> float:
    """The largest difference of the two distribution functions, spikes and atoms included."""
    snapped = np.asarray(values, dtype=float).copy()
    for place, _ in density.atoms:
        snapped[np.abs(snapped - place) <= ROUNDING * abs(place)] = place
    points, counts = np.unique(snapped, return_counts=True)
    after = np.cumsum(counts) / snapped.size
    before = after - counts / snapped.size
    above = np.abs(density.cdf(points) - after)
    below = np.abs(density.cdf(np.nextafter(points, -np.inf)) - before)
    return float(max(above.max(), below.max()))


def _report(cfg: Config, record: Record, found: list[Setting], sizes: list[int]) -> None:
    rows, lines, means = [], [], {}
    for setting in found:
        for kind, simulated in dict.fromkeys(name[:2] for name in setting.distances):
            pairs = [mean_and_error(setting.distances[kind, simulated, p]) for p in sizes]
            rate = float(np.polyfit(np.log(sizes), np.log([m for m, _ in pairs]), 1)[0]) if len(sizes) > 1 else np.nan
            case = [setting.name, kind.upper(), setting.ratio, simulated]
            rows.append([*case, *(plus_minus(1000 * m, 1000 * e, 1) for m, e in pairs), f"{rate:+.2f}"])
            means[setting.name, kind, setting.ratio, simulated] = [mean for mean, _ in pairs]
            for p, pair in zip(sizes, pairs, strict=True):
                draws = len(setting.distances[kind, simulated, p])
                lines.append([", ".join(map(str, case)), p, round(setting.ratio * p), draws, *pair])
    columns = ["mixture/net", "kernel", "n/p", "simulated", *(f"p = {p}" for p in sizes), "p to the"]
    title = "Kolmogorov distance of simulated spectra from theory, × 1000: mean ± standard error over draws"
    show_table(title, columns, rows)
    record.add_table("distances", ["case", "p", "n", "draws", "distance", "standard error"], lines)
    record.add_chart("distance against p", "lines", "distances", "p", "distance", by="case", log=["p", "distance"])
    for simulated in (EQUIVALENT, EXACT, LIMIT):
        own = {case[:3]: values for case, values in means.items() if case[3] == simulated}
        if own and cfg.data.p in sizes:
            _report_worst(record, simulated, own, sizes, cfg.data.p)
    _draw(cfg, record, found, sizes)


def _report_worst(
    record: Record, simulated: str, means: dict[tuple[str, str, float], list[float]], sizes: list[int], p: int
) -> None:
    (name, kind, ratio), values = max(means.items(), key=lambda item: item[1][sizes.index(p)])
    worst = values[sizes.index(p)]
    record.add_metrics(**{f"worst/{simulated}": worst})
    trend = ""
    if len(sizes) > 1:
        falling = all(values[-1] < values[0] for values in means.values())
        record.add_metrics(**{f"falling/{simulated}": falling})
        trend = "; all fall with p" if falling else "; [bold red]not all fall with p[/]"
    CONSOLE.print(
        f"\nKernels {simulated}: largest distance at p = {p} is [bold]{worst:.4f}[/] ({name}, "
        f"{kind.upper()}, n/p = {ratio:g}){trend}.",
        soft_wrap=True,
    )


def _draw(cfg: Config, record: Record, found: list[Setting], sizes: list[int]) -> None:
    draws, depth = cfg.experiment.seeds, cfg.experiment.depth
    for ratio in cfg.experiment.ratios:
        own = [setting for setting in found if setting.ratio == ratio and setting.shown]
        if not own:
            continue
        panels = {}
        for kind in KERNELS:
            for setting in own:
                what = CAPTIONS[setting.mixture].format(spread=cfg.data.spread)
                title = f"{kind.upper()}, {setting.name.partition('/')[2]}\n{what}"
                limit, sized, spectra = setting.shown[kind]
                panels[title] = (limit, sized, np.concatenate(spectra))
        n, p = round(ratio * cfg.data.p), cfg.data.p
        caption = (
            f"Eigenvalues of exact kernels of Gaussian mixtures, p = {p}, n = {n}, networks of {depth} layers, "
            f"{draws} draws, beside theory in the limit and at this size"
        )
        record.add_figure(f"spectra_{n}_{p}", theory_figures.density_figure(panels, len(own), caption))
    rows = {
        f"n/p = {ratio:g}": {
            simulated: {
                f"{s.name}, {kind.upper()}": [mean_and_error(s.distances[kind, simulated, p]) for p in sizes]
                for s in found
                if s.ratio == ratio
                for kind in KERNELS
            }
            for simulated in (EQUIVALENT, EXACT, LIMIT)
            if any(name[1] == simulated for s in found if s.ratio == ratio for name in s.distances)
        }
        for ratio in cfg.experiment.ratios
    }
    caption = f"Distance of simulated spectra from theory: mean and standard error over {draws} draws"
    caption += f" ({cfg.experiment.large_seeds} above p = {cfg.data.p})"
    record.add_figure("distances", theory_figures.distance_figure(rows, sizes, caption))
