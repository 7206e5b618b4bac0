"""Test accuracy of one architecture on real data: dense, with ternary weights, and with few-level activations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import activations, dataset, matched

COLUMNS = [
    "network",
    "test accuracy",
    "dense minus it",
    "τ̂²/τ²",
    "bytes, formula",
    "dense/bytes",
    "ridge",
    "features, s",
]


@dataclass(frozen=True)
class Arm:
    """One way to build the network: a name, and a function of the random key."""

    name: str
    draw: Callable[[jax.Array], hntk.Network]


@dataclass
class Outcome:
    """What one draw of an arm gave."""

    accuracy: float
    ridge: float
    seconds: float
    size: int
    tau_ratio: float


def run(cfg: Config, record: Record) -> None:
    """Draw, fit and test every arm."""
    data = _load(cfg)
    layers = activations(cfg.net.activations)
    with stage("does the theory apply?"):
        report = hntk.check(data.x_train, data.y_train, layers)
    CONSOLE.print(str(report), soft_wrap=True)
    record.add_table(
        "assumptions",
        ["assumption", "value", "from", "to", "holds"],
        [[f.name, f.value, f.low, f.limit, f.holds] for f in report.findings],
    )
    arms = _arms(cfg, layers, data)
    outcomes: dict[str, list[Outcome]] = {arm.name: [] for arm in arms}
    total = len(arms) * cfg.experiment.draws * (len(data.x_train) + len(data.x_test))
    with progress("features of training and test samples", total) as advance:
        for draw in range(cfg.experiment.draws):
            key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
            for arm in arms:
                found = _evaluate(arm, data, layers, key, advance)
                outcomes[arm.name].append(found)
                CONSOLE.print(f"  [green]done[/] {arm.name}: {found.accuracy:.4f} [dim]({found.seconds:.1f} s)[/]")
    _report(cfg, record, data, outcomes)


def _load(cfg: Config) -> hntk.Dataset:
    with stage(f"loading {cfg.data.name}"):
        data = dataset(cfg.data, cfg.seed)
    CONSOLE.print(
        f"  {len(data.x_train):,} training and {len(data.x_test):,} test samples, p = {data.x_train.shape[1]}, "
        f"normalised: {cfg.data.normalize}"
    )
    return data


def _arms(cfg: Config, layers: list[hntk.Activation], data: hntk.Dataset) -> list[Arm]:
    widths, sparsity, p, tau0 = list(cfg.net.widths), cfg.compress.sparsity, data.x_train.shape[1], data.tau0
    names = "/".join(dict.fromkeys(a.name for a in layers))

    def plain(law: hntk.WeightLaw) -> Callable[[jax.Array], hntk.Network]:
        return lambda key: hntk.draw_network(layers, widths, p, tau0=tau0, law=law, key=key)

    def compressed(match: hntk.Match) -> Callable[[jax.Array], hntk.Network]:
        law = hntk.WeightLaw("ternary", sparsity=sparsity)
        return lambda key: hntk.draw_network(match.activations, widths, p, tau0=tau0, law=law, key=key)

    arms = [
        Arm(f"{names}, {cfg.net.weights} weights (dense)", plain(hntk.weight_law(cfg.net.weights))),
        Arm(f"{names}, ternary weights", plain(hntk.WeightLaw("ternary", sparsity=sparsity))),
    ]
    for levels in cfg.experiment.levels:
        for objective in cfg.experiment.objectives if levels != "paper" else ("theory",):
            what = "the paper's σ_T" if levels == "paper" else f"{levels} levels, by {objective}"
            with stage(f"matching: {what}") as tell:
                match, name = matched(cfg.compress, layers, tau0, data.x_train, levels, objective, tell)
            arms.append(Arm(f"{name}, ternary weights", compressed(match)))
    return arms


def _evaluate(
    arm: Arm, data: hntk.Dataset, layers: list[hntk.Activation], key: jax.Array, advance: Callable[[int], None]
) -> Outcome:
    net = arm.draw(key)
    start = time.perf_counter()
    readout = hntk.fit_ridge(net, data.x_train, data.y_train, progress=advance)
    seconds = time.perf_counter() - start
    accuracy = readout.accuracy(data.x_test, data.y_test)
    advance(len(data.x_test))
    size = hntk.storage(net, len(data.classes)).total
    original = hntk.coefficients(layers, data.tau0).tau[-1]
    own = hntk.coefficients(net.activations, data.tau0).tau[-1]
    return Outcome(accuracy, readout.ridge, seconds, size, float((own / original) ** 2))


def _report(cfg: Config, record: Record, data: hntk.Dataset, outcomes: dict[str, list[Outcome]]) -> None:
    dense = next(iter(outcomes.values()))
    reference = float(np.mean([o.accuracy for o in dense]))
    rows = []
    for name, found in outcomes.items():
        mean = float(np.mean([o.accuracy for o in found]))
        seconds = float(np.median([o.seconds for o in found]))
        first = found[0]
        rows.append(
            [name, round(mean, 5), round(reference - mean, 5), round(first.tau_ratio, 3), first.size,
             round(dense[0].size / first.size, 2), first.ridge, round(seconds, 1)]
        )  # fmt: skip
        record.add_metrics(**{f"accuracy/{name}": mean, f"bytes/{name}": first.size})
    widths = "-".join(map(str, cfg.net.widths))
    show_table(
        f"{data.name}, widths {widths}, ε = {cfg.compress.sparsity:g}, {cfg.experiment.draws} draw(s)", COLUMNS, rows
    )
    CONSOLE.print(
        "\n[dim]Bytes by formula: ternary weights at 2 bits, others at 32; readout, thresholds and levels in float32. "
        "Features: seconds for the training samples, readout fit included.[/]",
        soft_wrap=True,
    )
    record.add_table("accuracy", COLUMNS, rows)
    record.add_chart("test accuracy", "bar", "accuracy", "network", "test accuracy")
    per_draw = [
        [name, d, o.accuracy, o.ridge, o.seconds] for name, found in outcomes.items() for d, o in enumerate(found)
    ]
    record.add_table("draws", ["network", "draw", "test accuracy", "ridge", "seconds"], per_draw)
    figure = figures.accuracy_figure(
        list(outcomes),
        [[o.accuracy for o in found] for found in outcomes.values()],
        [f"{np.mean([o.accuracy for o in found]):.4f}   {found[0].size / 1e6:.2f} MB" for found in outcomes.values()],
        f"{data.name}: random {widths} networks, readout by ridge regression, {len(data.x_train):,} training samples",
    )
    record.add_figure("accuracy", figure)
