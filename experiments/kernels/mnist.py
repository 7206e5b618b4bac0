"""Test accuracy of one architecture on real data: dense, with ternary weights, and with few-level activations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import COLOURS, caption_above
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, stage
from experiments.runner.from_config import activations, dataset, matched
from experiments.runner.record import Record

COLUMNS = [
    "network", "test accuracy", "dense minus it", "τ̂²/τ²", "bytes, formula", "dense/bytes", "ridge", "features, s",
]  # fmt: skip


@dataclass
class Draw:
    """One network drawn from an arm, with its readout.

    Attributes
    ----------
    accuracy : float
        Share of test samples that are classified correctly.
    ridge : float
        Ridge of the readout.
    seconds : float
        Time to compute the training features and fit the readout.
    size : int
        Bytes by formula.
    tau_ratio : float
        τ̂²/τ², the output variance relative to the original network's.
    """

    accuracy: float
    ridge: float
    seconds: float
    size: int
    tau_ratio: float


@dataclass(frozen=True)
class NetworkArm:
    """One way to build the network: a name, a function of the random key, and the draws."""

    name: str
    draw: Callable[[jax.Array], hntk.Network]
    draws: list[Draw] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Mean test accuracy over draws."""
        return float(np.mean([draw.accuracy for draw in self.draws]))

    @property
    def size(self) -> int:
        """Bytes by formula, which are the same for every draw."""
        return self.draws[0].size


def run(cfg: Config, record: Record) -> None:
    """Draw, fit and test every arm."""
    data = _load(cfg)
    layers = activations(cfg.net.activations)
    _check_assumptions(record, data, layers)
    arms = _arms(cfg, layers, data)
    total = len(arms) * cfg.experiment.draws * (len(data.x_train) + len(data.x_test))
    with progress("features of training and test samples", total) as advance:
        for draw in range(cfg.experiment.draws):
            key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
            for arm in arms:
                made = _evaluate(arm, data, layers, key, advance)
                arm.draws.append(made)
                CONSOLE.print(f"  [green]done[/] {arm.name}: {made.accuracy:.4f} [dim]({made.seconds:.1f} s)[/]")
    _report(cfg, record, data, arms)
    widths = "-".join(map(str, cfg.net.widths))
    caption = (
        f"{data.name}: random {widths} networks, readout by ridge regression, {len(data.x_train):,} training samples"
    )
    record.add_figure("accuracy", _accuracy_figure(arms, caption))


def _load(cfg: Config) -> hntk.Dataset:
    with stage(f"loading {cfg.data.name}"):
        data = dataset(cfg.data, cfg.seed)
    CONSOLE.print(
        f"  {len(data.x_train):,} training and {len(data.x_test):,} test samples, p = {data.x_train.shape[1]}, "
        f"normalised: {cfg.data.normalize}"
    )
    return data


def _check_assumptions(record: Record, data: hntk.Dataset, layers: list[hntk.Activation]) -> None:
    with stage("does the theory apply?"):
        report = hntk.check(data.x_train, data.y_train, layers)
    say(str(report))
    rows = [[f.name, f.value, f.low, f.limit, f.holds] for f in report.findings]
    record.add_table("assumptions", ["assumption", "value", "from", "to", "holds"], rows)


def _arms(cfg: Config, layers: list[hntk.Activation], data: hntk.Dataset) -> list[NetworkArm]:
    widths, p, tau0 = list(cfg.net.widths), data.x_train.shape[1], data.tau0
    ternary = hntk.WeightLaw("ternary", sparsity=cfg.compress.sparsity)

    def arm(name: str, chosen: Sequence[hntk.Activation], law: hntk.WeightLaw) -> NetworkArm:
        return NetworkArm(name, lambda key: hntk.draw_network(chosen, widths, p, tau0=tau0, law=law, key=key))

    names = "/".join(dict.fromkeys(a.name for a in layers))
    arms = [
        arm(f"{names}, {cfg.net.weights} weights (dense)", layers, hntk.weight_law(cfg.net.weights)),
        arm(f"{names}, ternary weights", layers, ternary),
    ]
    for levels in cfg.experiment.levels:
        for objective in cfg.experiment.objectives if levels != "paper" else ("theory",):
            title = "the paper's σ_T" if levels == "paper" else f"{levels} levels, by {objective}"
            with stage(f"matching: {title}") as tell:
                match, name = matched(cfg.compress, layers, tau0, data.x_train, levels, objective, tell)
            arms.append(arm(f"{name}, ternary weights", match.activations, ternary))
    return arms


def _evaluate(
    arm: NetworkArm, data: hntk.Dataset, layers: list[hntk.Activation], key: jax.Array, advance: Callable[[int], None]
) -> Draw:
    net = arm.draw(key)
    start = time.perf_counter()
    readout = hntk.fit_ridge(net, data.x_train, data.y_train, progress=advance)
    seconds = time.perf_counter() - start
    accuracy = readout.accuracy(data.x_test, data.y_test)
    advance(len(data.x_test))
    size = hntk.storage(net, len(data.classes)).total
    original = hntk.coefficients(layers, data.tau0).tau[-1]
    own = hntk.coefficients(net.activations, data.tau0).tau[-1]
    return Draw(accuracy, readout.ridge, seconds, size, float((own / original) ** 2))


def _report(cfg: Config, record: Record, data: hntk.Dataset, arms: list[NetworkArm]) -> None:
    dense, rows = arms[0], []
    for arm in arms:
        seconds = float(np.median([draw.seconds for draw in arm.draws]))
        first = arm.draws[0]
        rows.append(
            [arm.name, round(arm.accuracy, 5), round(dense.accuracy - arm.accuracy, 5), round(first.tau_ratio, 3),
             arm.size, round(dense.size / arm.size, 2), first.ridge, round(seconds, 1)]
        )  # fmt: skip
        record.add_metrics(**{f"accuracy/{arm.name}": arm.accuracy, f"bytes/{arm.name}": arm.size})
    title = f"{data.name}, widths {'-'.join(map(str, cfg.net.widths))}, ε = {cfg.compress.sparsity:g}"
    record.add_table("accuracy", COLUMNS, rows, f"{title}, {cfg.experiment.draws} draw(s)")
    say(
        "\n[dim]Bytes by formula: ternary weights at 2 bits, others at 32; readout, thresholds and levels in float32. "
        "Features: seconds for the training samples, readout fit included.[/]"
    )
    record.add_chart("test accuracy", "bar", "accuracy", "network", "test accuracy")
    draws = [[arm.name, i, d.accuracy, d.ridge, d.seconds] for arm in arms for i, d in enumerate(arm.draws)]
    record.add_table("draws", ["network", "draw", "test accuracy", "ridge", "seconds"], draws)


def _accuracy_figure(arms: Sequence[NetworkArm], caption: str) -> Figure:
    """Draw the test accuracy of every draw, one row an arm; the first arm is the reference."""
    figure, axes = plt.subplots(figsize=(8.4, 0.48 * len(arms) + 1.5))
    rows = np.arange(len(arms))[::-1]
    for row, arm in zip(rows, arms, strict=True):
        values, colour = [draw.accuracy for draw in arm.draws], COLOURS[0] if arm is arms[0] else COLOURS[1]
        axes.plot(values, [row] * len(values), marker="o", linestyle="none", color=colour, alpha=0.8)
        label = f"{arm.accuracy:.4f}   {arm.size / 1e6:.2f} MB"
        axes.annotate(label, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.axvline(arms[0].accuracy, color=COLOURS[0], lw=1, linestyle="--")
    accuracies = [draw.accuracy for arm in arms for draw in arm.draws]
    lowest, highest = min(accuracies), max(accuracies)
    margin = 0.05 * (highest - lowest) + 0.002
    axes.set_xlim(lowest - margin, min(1.0, highest + margin))
    axes.set_yticks(rows, [arm.name for arm in arms])
    axes.set_xlabel("test accuracy (share of test images); dashed: the dense network")
    return caption_above(figure, caption)
