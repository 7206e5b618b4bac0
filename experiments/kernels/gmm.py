"""Kernel spectra of a dense network, of the theory, and of the ternary network solved for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import COLOURS, STYLES, caption_above, line_style, plain_ticks
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, show_table, stage
from experiments.runner.from_config import KernelProblem, activations, declared_diagonal, kernel_problem, keys, matched
from experiments.runner.record import Record
from hntk.spectra.comparison import Spectrum, compare_with_spectra
from hntk.theory.equivalents import Identity

COLUMNS = {
    "operator": "op. norm",
    "operator_off": "off-diag.",
    "frobenius": "Frobenius",
    "frobenius_off": "off-diag.",
    "eigenvalue_mismatch": "eigenvalues",
    "spike_mismatch": "spikes",
    "alignment": "alignment",
    "operator_absolute": "op. norm, abs.",
}
KINDS = ("CK", "NTK")
# Which kernels are compared: the first one is the reference.
PAIRS = (
    ("original", "theory"),
    ("original", "compressed"),
    ("theory", "compressed"),
    ("original", "dense drawn"),
    ("compressed", "ternary drawn"),
    ("dense drawn", "ternary drawn"),
)
# Bins of histograms, and the share of the largest eigenvalue below which others are left out of them.
BINS, SMALLEST_SHARE = 70, 1e-6
NOTES = (
    "CK: conjugate kernel, NTK: neural tangent kernel. Off-diag.: of the parts off the diagonal, by the "
    "norm of the whole. Eigenvalues: largest difference in order, by the largest one; spikes: the same of the "
    "leading ones, each by itself. Abs.: not divided by anything.",
    "The NTK diagonal of a network with jumps is infinite; the original's κ² is declared there, so "
    "NTK errors of the compressed network are about the off-diagonal part.",
)


@dataclass(frozen=True)
class Kernel:
    """A symmetric kernel matrix and its spectrum."""

    matrix: np.ndarray
    spectrum: Spectrum

    @staticmethod
    def of(matrix: np.ndarray, spikes: int) -> Kernel:
        """Return the symmetric part of a matrix with its spectrum and leading eigenvectors, as many as ``spikes``."""
        symmetric = (matrix + matrix.T) / 2
        return Kernel(symmetric, hntk.spectrum(symmetric, spikes))


def run(cfg: Config, record: Record) -> None:
    """Compute every kernel, compare those that matter, draw spectra and eigenvectors."""
    settings = cfg.experiment
    key = keys(cfg.seed, "data", "dense", "ternary")
    problem = kernel_problem(cfg.data, settings.quantities, key["data"])
    layers = activations(cfg.net.activations)
    with stage("matching: solving for the compressed activations") as tell:
        match, name = matched(cfg.compress, layers, problem.tau0, problem.x, problem.labels, tell=tell)
    matrices = _infinite_width(problem, layers, match, settings.identity)
    if settings.finite_width:
        matrices |= _finite_width(cfg, problem, layers, match, key)
    with stage("eigendecompositions"):
        kernels = {name: Kernel.of(matrix, settings.spikes) for name, matrix in matrices.items()}
    _report_match(record, match)
    _report_errors(record, kernels)
    _report_shift(record)
    _draw(cfg, record, problem, kernels, name)


def _infinite_width(
    problem: KernelProblem, layers: list[hntk.Activation], match: hntk.Match, identity: Identity
) -> dict[str, np.ndarray]:
    """Return exact kernels and equivalents; the NTK of a network with jumps gets the original's diagonal κ²."""
    x, tau0 = problem.x, problem.tau0
    kappa_sq = declared_diagonal(match.original_coefficients)
    original_kappa_sq = kappa_sq if any(a.has_jumps for a in layers) else None
    with stage("exact kernels of the original, infinite width"):
        original = hntk.exact_kernels(x, layers, tau0=tau0, kappa_sq=original_kappa_sq)
    with stage("deterministic equivalents"):
        equivalent = hntk.equivalent_kernels(
            x, problem.labels, layers, tau0=tau0, population=problem.population,
            identity=identity, kappa_sq=original_kappa_sq,
        )  # fmt: skip
        theory = [operator.to_dense() for operator in equivalent]
    with stage("exact kernels of the compressed network"):
        compressed = hntk.exact_kernels(x, match.activations, tau0=tau0, kappa_sq=kappa_sq)
    pairs = {"original": original, "theory": theory, "compressed": compressed}
    return {
        f"{kind} {name}": np.asarray(matrix)
        for name, pair in pairs.items()
        for kind, matrix in zip(KINDS, pair, strict=True)
    }


def _finite_width(
    cfg: Config, problem: KernelProblem, layers: list[hntk.Activation], match: hntk.Match, key: dict
) -> dict[str, np.ndarray]:
    """Return kernels of one draw each; for activations with jumps the CK alone, as their NTK is not defined."""
    x = problem.x.astype("float32")
    widths = list(cfg.net.widths)
    with stage(f"drawn dense network, widths {'-'.join(map(str, widths))}"):
        net = hntk.dense(layers, widths, x, key=key["dense"], law=cfg.net.weights, tau0=problem.tau0)
        empirical = hntk.empirical_kernels(net, x)
        matrices = {"CK dense drawn": np.asarray(empirical.ck, np.float64)}
        if not any(a.has_jumps for a in layers):
            matrices["NTK dense drawn"] = np.asarray(empirical.ntk, np.float64)
    weights: Any = cfg.compress.weights
    with stage("drawn ternary network of the same widths"):
        ternary = hntk.compress(
            layers,
            widths,
            x,
            match,
            cfg.compress.sparsity,
            key=key["ternary"],
            weights=weights,
            tau0=problem.tau0,
        )
        features = np.asarray(ternary.features(x), np.float64)
        matrices["CK ternary drawn"] = features @ features.T
    return matrices


def _report_match(record: Record, match: hntk.Match) -> None:
    rows = [
        [f"layer {i} {original.name}", matched.level_count, len(matched.thresholds), round(float(scale), 3)]
        for i, (original, matched, scale) in enumerate(
            zip(match.original, match.activations, match.coefficients.tau[:-1], strict=True), start=1
        )
    ]
    columns = ["activation", "levels", "thresholds", "input scale τ"]
    record.add_table("match", columns, rows, "Compressed activations")
    CONSOLE.print(f"\n{match.report()}", soft_wrap=True, markup=False)
    thresholds = [
        [i, k, a.thresholds[k] if k < len(a.thresholds) else None, level]
        for i, a in enumerate(match.activations, start=1)
        for k, level in enumerate(a.levels)
    ]
    record.add_table("activations", ["layer", "cell", "upper threshold", "level"], thresholds)
    record.add_metrics(
        identity_shift=match.identity_shift,
        relative_shift=match.relative_shift,
        tau_L_sq=float(match.original_coefficients.tau[-1] ** 2),
        match_residual=max(match.residuals.values()),
    )


def _report_errors(record: Record, kernels: dict[str, Kernel]) -> None:
    rows = []
    for kind in KINDS:
        for a, b in PAIRS:
            if f"{kind} {b}" not in kernels:
                continue
            first, second = kernels[f"{kind} {a}"], kernels[f"{kind} {b}"]
            errors = asdict(compare_with_spectra(first.matrix, second.matrix, first.spectrum, second.spectrum))
            rows.append([f"{kind} {a} → {b}", *(errors[name] for name in COLUMNS)])
            label = f"{kind}_{a}_{b}".replace(" ", "_").lower()
            record.add_metrics(**{f"{label}/{name}": value for name, value in errors.items()})
    record.add_table("errors", ["kernels", *COLUMNS], rows)
    title = "Errors, relative to the first kernel of each pair (alignment: 1 = same leading eigenspace)"
    show_table(title, ["kernels", *COLUMNS.values()], rows)


def _report_shift(record: Record) -> None:
    shift = [record.metrics[name] for name in ("identity_shift", "tau_L_sq", "relative_shift")]
    title = "Identity shift of the compressed conjugate kernel (acts as an added ridge)"
    show_table(title, ["δ = τ̂² − τ²", "τ²", "δ/τ²"], [shift])
    say(f"\n[dim]{NOTES[0]}[/]")
    say(f"[dim]{NOTES[1]}[/]")


def _draw(cfg: Config, record: Record, problem: KernelProblem, kernels: dict[str, Kernel], compressed: str) -> None:
    names = {"original": "original, dense", "theory": "theory (equivalent)", "compressed": f"compressed, {compressed}"}
    panels = {
        f"{title}, infinite width": {label: kernels[f"{kind} {name}"].spectrum.values for name, label in names.items()}
        for kind, title in (("CK", "Conjugate kernel"), ("NTK", "Neural tangent kernel"))
    }
    if cfg.experiment.finite_width:
        panels[f"Conjugate kernel, drawn at {'-'.join(map(str, cfg.net.widths))}"] = {
            "original, dense": kernels["CK dense drawn"].spectrum.values,
            f"ternary, {compressed}, ε = {cfg.compress.sparsity:g}": kernels["CK ternary drawn"].spectrum.values,
        }
    n, p = problem.x.shape
    spikes = cfg.experiment.spikes
    caption = f"Eigenvalues on a Gaussian mixture, n = {n}, p = {p}; triangles mark the {spikes} largest"
    record.add_figure("spectra", spectra_figure(panels, spikes, caption))
    vectors = {label: kernels[f"CK {name}"].spectrum.leading for name, label in names.items()}
    caption = f"Leading eigenvectors of the conjugate kernel, n = {n}, p = {p}; thick: class means"
    record.add_figure("eigenvectors", eigenvector_figure(vectors, problem.labels, caption))


def spectra_figure(panels: Mapping[str, Mapping[str, np.ndarray]], spikes: int, caption: str) -> Figure:
    """Draw histograms of eigenvalues, one panel a kernel; triangles mark the leading ones."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.9 * len(panels), 4.4), squeeze=False)
    for a, (title, spectra) in zip(axes[0], panels.items(), strict=True):
        _histogram(a, spectra, spikes, title)
    return caption_above(figure, caption)


def _histogram(axes: Axes, spectra: Mapping[str, np.ndarray], spikes: int, title: str) -> None:
    """Draw numbers of eigenvalues on logarithmic bins, the first spectrum filled."""
    positive = np.concatenate([v[v > SMALLEST_SHARE * v.max()] for v in spectra.values()])
    bins = np.geomspace(positive.min() * 0.95, positive.max() * 1.05, BINS)
    for i, (name, values) in enumerate(spectra.items()):
        if i == 0:
            axes.hist(values, bins=bins, color=COLOURS[0], alpha=0.3, label=name)
        else:
            axes.hist(values, bins=bins, histtype="step", lw=1.6, label=name, **line_style(i))
    for i, values in enumerate(spectra.values()):
        heights = np.full(spikes, 1.35 * 1.45**i)
        axes.plot(values[:spikes], heights, linestyle="none", marker="v", ms=6, color=COLOURS[i], mec="white", mew=0.5)
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue", ylabel="number of eigenvalues", title=title)
    # Leave room for the legend above the bulk.
    axes.set_ylim(0.7, 8 * axes.get_ylim()[1])
    plain_ticks(axes.xaxis)
    axes.legend(loc="upper right")


def eigenvector_figure(vectors: Mapping[str, np.ndarray], labels: np.ndarray, caption: str) -> Figure:
    """Draw the leading eigenvectors (rows) of each kernel against the samples, ordered by class, with class means."""
    reference = next(iter(vectors.values()))
    count = reference.shape[1]
    figure, axes = plt.subplots(count, 1, figsize=(9, 1.9 * count + 0.6), sharex=True, squeeze=False)
    boundaries = np.flatnonzero(np.diff(labels)) + 1
    for k, a in enumerate(axes[:, 0]):
        for i, (name, v) in enumerate(vectors.items()):
            sign = np.sign(v[:, k] @ reference[:, k]) or 1.0
            a.plot(sign * v[:, k], color=COLOURS[i], lw=0.5, alpha=0.45 if i == 0 else 0.35)
            means = np.array([(sign * v[labels == c, k]).mean() for c in range(int(labels.max()) + 1)])
            a.plot(means[labels], color=COLOURS[i], linestyle=STYLES[i], lw=2.2, label=name)
        for b in boundaries:
            a.axvline(b, color="black", lw=0.8)
        a.set_ylabel(f"eigenvector {k + 1}")
    axes[-1, 0].set_xlabel("sample, class after class (line: class boundary)")
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(vectors))
    return caption_above(figure, caption)
