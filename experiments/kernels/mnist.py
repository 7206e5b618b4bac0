"""Test accuracy of one architecture on real data: dense, with ternary weights, and with few-level activations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import product

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import caption_above
from experiments.kernels.drawn_networks import Draw, NetworkArm
from experiments.kernels.infinite_width import accuracies_at_infinite_width
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, stage
from experiments.runner.from_config import check_engine, dataset, engine_of, matched, way_of_matching
from experiments.runner.networks import Network, activation_names, name_of, network
from experiments.runner.record import Record
from experiments.runner.statistics import means_in_words
from hntk.compression.compressed_network import ternary_law
from hntk.plot.style import COLOURS

COLUMNS = [
    "activations", "weights", "readout of", "test accuracy", "±", "dense minus it", "at infinite width", "τ̂²/τ²",
    "bytes, formula", "dense/bytes", "features, s",
]  # fmt: skip


def run(cfg: Config, record: Record) -> None:
    """Draw, fit and test every arm."""
    check_engine(cfg, cfg.experiment.infinite, "experiment.infinite is 0")
    data, net = _load(cfg), network(cfg.net)
    say(f"  original: {name_of(net)}")
    _check_assumptions(record, data, net)
    arms = _arms(cfg, net, data)
    total = len(arms) * cfg.experiment.draws * (len(data.x_train) + len(data.x_test))
    with progress("features of training and test samples", total) as advance:
        for draw in range(cfg.experiment.draws):
            key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
            for arm in arms:
                made = _evaluate(arm, data, list(cfg.net.widths), key, advance)
                arm.draws.append(made)
                CONSOLE.print(f"  [green]done[/] {arm.title}: {made.accuracy:.4f} [dim]({made.seconds:.1f} s)[/]")
    infinite = _at_infinite_width(cfg, arms, data)
    _report(cfg, record, data, arms, infinite)
    widths = "-".join(map(str, cfg.net.widths))
    caption = (
        f"{data.name}: random {widths} networks, readout by ridge regression, {len(data.x_train):,} training samples"
    )
    caption += "" if isinstance(net, list) else f"\noriginal: {name_of(net)}"
    record.add_figure("accuracy", _accuracy_figure(arms, caption))


def _load(cfg: Config) -> hntk.Dataset:
    with stage(f"loading {cfg.data.name}"):
        data = dataset(cfg.data, cfg.seed)
    CONSOLE.print(
        f"  {len(data.x_train):,} training and {len(data.x_test):,} test samples, p = {data.x_train.shape[1]}, "
        f"normalised: {cfg.data.normalize}"
    )
    return data


def _check_assumptions(record: Record, data: hntk.Dataset, net: Network) -> None:
    with stage("does the theory apply?"):
        report = hntk.check(data.x_train, data.y_train, net)
    say(str(report))
    rows = [[f.name, f.value, f.low, f.limit, f.holds] for f in report.findings]
    record.add_table("assumptions", ["assumption", "value", "from", "to", "holds"], rows)


def _arms(cfg: Config, net: Network, data: hntk.Dataset) -> list[NetworkArm]:
    """Return the dense network with its fair rivals, and the compressed ones; each with every readout."""
    settings = cfg.experiment
    names_of_dense = [cfg.net.weights, *(["orthogonal_gaussian"] if "orthogonal" in settings.weights else [])]
    dense = [hntk.weight_law(name) for name in dict.fromkeys(names_of_dense)]
    ternary = [ternary_law(cfg.compress.sparsity, weights) for weights in settings.weights]
    kinds = []
    for read, levels in product(settings.layers, ["original", *settings.levels]):
        if levels == "original":
            kinds.append((activation_names(net), net, [*dense, *ternary], read))
            continue
        for objective, method in dict.fromkeys(way_of_matching(levels, asked, read) for asked in settings.objectives):
            title = "the paper's σ_T" if levels == "paper" else f"{levels} levels, {objective}"
            # the theory's match is the same for all weights
            for laws in [[law] for law in ternary] if objective == "data" else [ternary]:
                with stage(f"matching: {title}") as tell:
                    match, _ = matched(
                        cfg.compress, net, data.tau0, data.x_train, data.y_train, levels=levels, objective=objective,
                        method=method, drawn=(list(cfg.net.widths), laws[0]), tell=tell,
                    )  # fmt: skip
                kinds.append((title, list(match.activations), laws, read))
    return [NetworkArm(name, chosen, law, read) for name, chosen, laws, read in kinds for law in laws]


def _evaluate(
    arm: NetworkArm, data: hntk.Dataset, widths: list[int], key: jax.Array, advance: Callable[[int], None]
) -> Draw:
    p, tau0 = data.x_train.shape[1], data.tau0
    net = hntk.draw_network(arm.net, widths, p, tau0=tau0, law=arm.law, key=key)
    start = time.perf_counter()
    readout = hntk.fit_ridge(net, data.x_train, data.y_train, layers=arm.layers, progress=advance)
    assert isinstance(readout, hntk.RidgeClassifier)
    seconds = time.perf_counter() - start
    accuracy = readout.accuracy(data.x_test, data.y_test)
    advance(len(data.x_test))
    return Draw(accuracy, readout.ridge, seconds, hntk.storage(net, len(data.classes), arm.layers).total)


def _at_infinite_width(cfg: Config, arms: list[NetworkArm], data: hntk.Dataset) -> dict[tuple[str, ...], float]:
    """Return accuracies of exact kernel regression, by activations and readout, on as many samples as are asked for."""
    samples = cfg.experiment.infinite
    if not samples:
        return {}
    accuracies, kinds = {}, {}
    for arm in arms:
        kinds.setdefault(arm.prints, (arm.net, set()))[1].add(arm.layers)
    with progress("regression with exact kernels, for infinite width", len(kinds)) as advance:
        for prints, (net, reads) in kinds.items():
            by_readout = accuracies_at_infinite_width(net, data, samples, cfg.seed, sorted(reads), engine_of(cfg))
            accuracies |= {(*prints, read): accuracy for read, accuracy in by_readout.items()}
            advance(1)
    return accuracies


def _report(
    cfg: Config,
    record: Record,
    data: hntk.Dataset,
    arms: list[NetworkArm],
    infinite: dict[tuple[str, ...], float],
) -> None:
    original, rows = hntk.centred_coefficients(arms[0].net, data.tau0).tau[-1], []
    for arm in arms:
        dense = next(other for other in arms if other.layers == arm.layers)
        wide = infinite.get((*arm.prints, arm.layers))
        own = hntk.centred_coefficients(arm.net, data.tau0).tau[-1]
        rows.append(
            [arm.name, arm.weights, arm.layers, round(arm.accuracy, 5), arm.error,
             round(dense.accuracy - arm.accuracy, 5), None if wide is None else round(wide, 5),
             round(float(own / original) ** 2, 3), arm.size, round(dense.size / arm.size, 2),
             round(float(np.median([draw.seconds for draw in arm.draws])), 1)]
        )  # fmt: skip
        record.add_metrics(**{f"accuracy/{arm.title}": arm.accuracy, f"bytes/{arm.title}": arm.size})
    title = f"{data.name}, widths {'-'.join(map(str, cfg.net.widths))}, ε = {cfg.compress.sparsity:g}"
    record.add_table("accuracy", COLUMNS, rows, f"{title}, {means_in_words(cfg.experiment.draws, 'draw')}")
    say("\n[dim]" + _notes(cfg, arms[0], data, bool(infinite)) + "[/]")
    draws = [[arm.title, i, d.accuracy, d.ridge, d.seconds] for arm in arms for i, d in enumerate(arm.draws)]
    record.add_table("draws", ["network", "draw", "test accuracy", "ridge", "seconds"], draws)
    record.add_chart("test accuracy", "bar", "draws", "network", "test accuracy")


def _notes(cfg: Config, dense: NetworkArm, data: hntk.Dataset, infinite: bool) -> str:
    notes = [
        f"Dense: {dense.name} ({dense.weights}) with the same readout. ±: standard error over draws.",
        "Bytes by formula: ternary weights at 2 bits, orthogonal blocks as signs and permutations, others at 32 bits; "
        "readout, thresholds and levels in float32.",
        "Features: seconds for the training samples, readout fit included.",
    ]
    if isinstance(dense.net, hntk.Architecture):
        notes.append(
            f"The original is {name_of(dense.net)}, and ternary weights take its biases and scales, too. Networks of "
            "levels are centred, without biases: the readout has an intercept, which takes out what all samples share. "
            "τ² is that of what is left."
        )
    if infinite:
        samples = min(cfg.experiment.infinite, len(data.x_train))
        notes.append(f"At infinite width: exact kernel regression on {samples:,} training samples.")
    return " ".join(notes)


def _accuracy_figure(arms: Sequence[NetworkArm], caption: str) -> Figure:
    """Draw the test accuracy of every draw, one row an arm; the first arm is the reference."""
    figure, axes = plt.subplots(figsize=(8.4, 0.48 * len(arms) + 1.5))
    rows, colours = np.arange(len(arms))[::-1], list(dict.fromkeys(arm.law.name for arm in arms))
    for row, arm in zip(rows, arms, strict=True):
        values, colour = [draw.accuracy for draw in arm.draws], COLOURS[colours.index(arm.law.name)]
        axes.plot(values, [row] * len(values), marker="o", linestyle="none", color=colour, alpha=0.8)
        label = f"{arm.accuracy:.4f}   {arm.size / 1e6:.2f} MB"
        axes.annotate(label, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.axvline(arms[0].accuracy, color=COLOURS[0], lw=1, linestyle="--")
    accuracies = [draw.accuracy for arm in arms for draw in arm.draws]
    lowest, highest = min(accuracies), max(accuracies)
    margin = 0.05 * (highest - lowest) + 0.002
    axes.set_xlim(lowest - margin, min(1.0, highest + margin))
    axes.set_yticks(rows, [arm.title for arm in arms])
    axes.set_xlabel("test accuracy (share of test images); dashed: the dense network")
    return caption_above(figure, caption)
