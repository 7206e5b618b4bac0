"""Kernel spectra of a dense network, of the theory, and of the ternary network solved for."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import KernelProblem, activations, declared_diagonal, kernel_problem, keys, matched
from hntk.spectra.comparison import KernelComparison, Spectrum, compare_with_spectra
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


@dataclass(frozen=True)
class Kernel:
    """A kernel matrix and its spectrum."""

    matrix: np.ndarray
    spectrum: Spectrum


def run(cfg: Config, record: Record) -> None:
    """Compute every kernel, compare those that matter, draw spectra and eigenvectors."""
    settings = cfg.experiment
    key = keys(cfg.seed, "data", "dense", "ternary")
    problem = kernel_problem(cfg.data, settings.quantities, key["data"])
    layers = activations(cfg.net.activations)
    with stage("matching: solving for the compressed activations") as tell:
        match, name = matched(cfg.compress, layers, problem.tau0, problem.x, tell=tell)
    raw = _infinite_width(problem, layers, match, settings.identity)
    if settings.finite_width:
        raw |= _finite_width(cfg, problem, layers, match, key)
    with stage("eigendecompositions"):
        kernels = {name: _decompose(matrix, settings.spikes) for name, matrix in raw.items()}
    _report_match(record, match)
    _report_errors(record, kernels)
    _draw(cfg, record, problem, kernels, name)


def _infinite_width(
    problem: KernelProblem, layers: list[hntk.Activation], match: hntk.Match, identity: Identity
) -> dict[str, np.ndarray]:
    """Exact kernels and equivalents; an NTK of a net with jumps gets the original's diagonal κ²."""
    x, tau0 = problem.x, problem.tau0
    kappa_sq = declared_diagonal(match.original_coefficients)
    with stage("exact kernels of the original, infinite width"):
        original = hntk.exact_kernels(x, layers, tau0=tau0, kappa_sq=_if_jumps(layers, kappa_sq))
        found = {"CK original": np.asarray(original.ck), "NTK original": np.asarray(original.ntk)}
    with stage("deterministic equivalents"):
        equivalent = hntk.equivalent_kernels(
            x, problem.labels, layers, tau0=tau0, population=problem.population,
            identity=identity, kappa_sq=_if_jumps(layers, kappa_sq),
        )  # fmt: skip
        found |= {
            "CK theory": np.asarray(equivalent.ck.to_dense()),
            "NTK theory": np.asarray(equivalent.ntk.to_dense()),
        }
    with stage("exact kernels of the compressed network"):
        compressed = hntk.exact_kernels(x, match.activations, tau0=tau0, kappa_sq=kappa_sq)
        found |= {"CK compressed": np.asarray(compressed.ck), "NTK compressed": np.asarray(compressed.ntk)}
    return found


def _finite_width(
    cfg: Config, problem: KernelProblem, layers: list[hntk.Activation], match: hntk.Match, key: dict
) -> dict:
    """Kernels of one draw each; a ternary net's NTK is not defined through its jumps, so only its CK."""
    x = problem.x.astype("float32")
    widths = list(cfg.net.widths)
    with stage(f"drawn dense network, widths {'-'.join(map(str, widths))}"):
        net = hntk.dense(layers, widths, x, key=key["dense"], law=cfg.net.weights, tau0=problem.tau0)
        empirical = hntk.empirical_kernels(net, x)
        found = {"CK dense drawn": np.asarray(empirical.ck, np.float64)}
        if not any(a.has_jumps for a in layers):
            found["NTK dense drawn"] = np.asarray(empirical.ntk, np.float64)
    with stage("drawn ternary network of the same widths"):
        ternary = hntk.compress(layers, widths, x, match, cfg.compress.sparsity, key=key["ternary"], tau0=problem.tau0)
        features = np.asarray(ternary.features(x), np.float64)
        found["CK ternary drawn"] = features @ features.T
    return found


def _if_jumps(layers: list[hntk.Activation], kappa_sq: float) -> float | None:
    return kappa_sq if any(a.has_jumps for a in layers) else None


def _decompose(matrix: np.ndarray, spikes: int) -> Kernel:
    symmetric = (matrix + matrix.T) / 2
    return Kernel(symmetric, hntk.spectrum(symmetric, spikes))


def _report_match(record: Record, match: hntk.Match) -> None:
    rows = [
        [f"layer {i} {original.name}", found.level_count, len(found.thresholds), round(float(scale), 3)]
        for i, (original, found, scale) in enumerate(
            zip(match.original, match.activations, match.coefficients.tau[:-1], strict=True), start=1
        )
    ]
    columns = ["activation", "levels", "thresholds", "input scale τ"]
    show_table("Compressed activations", columns, rows)
    record.add_table("match", columns, rows)
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
    pairs = [
        (f"{kind} {a}", f"{kind} {b}")
        for kind in ("CK", "NTK")
        for a, b in (
            ("original", "theory"),
            ("original", "compressed"),
            ("theory", "compressed"),
            ("original", "dense drawn"),
            ("compressed", "ternary drawn"),
            ("dense drawn", "ternary drawn"),
        )
        if f"{kind} {b}" in kernels
    ]
    rows = []
    for a, b in pairs:
        c = _compare(kernels[a], kernels[b])
        rows.append([f"{a} → {b.split(' ', 1)[1]}", *(getattr(c, name) for name in COLUMNS)])
        label = f"{a}_{b.split(' ', 1)[1]}".replace(" ", "_").lower()
        record.add_metrics(**{f"{label}/{name}": value for name, value in asdict(c).items()})
    columns = ["kernels", *COLUMNS.values()]
    show_table(
        "Errors, relative to the first kernel of each pair (alignment: 1 = same leading eigenspace)", columns, rows
    )
    record.add_table("errors", ["kernels", *COLUMNS], rows)
    shift, tau_sq = record.metrics["identity_shift"], record.metrics["tau_L_sq"]
    show_table(
        "Identity shift of the compressed conjugate kernel (acts as an added ridge)",
        ["δ = τ̂² − τ²", "τ²", "δ/τ²"],
        [[shift, tau_sq, record.metrics["relative_shift"]]],
    )
    CONSOLE.print(
        "\n[dim]CK: conjugate kernel, NTK: neural tangent kernel. Off-diag.: of the parts off the diagonal, by the "
        "norm of the whole. Eigenvalues: largest difference in order, by the largest one; spikes: the same of the "
        "leading ones, each by itself. Abs.: not divided by anything.[/]",
        soft_wrap=True,
    )
    CONSOLE.print(
        "[dim]The NTK diagonal of a network with jumps is infinite; the original's κ² is declared there, so "
        "NTK errors of the compressed network are about the off-diagonal part.[/]",
        soft_wrap=True,
    )


def _compare(a: Kernel, b: Kernel) -> KernelComparison:
    return compare_with_spectra(a.matrix, b.matrix, a.spectrum, b.spectrum)


def _draw(cfg: Config, record: Record, problem: KernelProblem, kernels: dict[str, Kernel], compressed: str) -> None:
    spikes = cfg.experiment.spikes
    names = {
        "original": "original, dense",
        "theory": "theory (equivalent)",
        "compressed": f"compressed, {compressed}",
    }
    panels = {
        title: {label: kernels[f"{kind} {name}"].spectrum.values for name, label in names.items()}
        for kind, title in (
            ("CK", "Conjugate kernel, infinite width"),
            ("NTK", "Neural tangent kernel, infinite width"),
        )
    }
    if cfg.experiment.finite_width:
        panels[f"Conjugate kernel, drawn at {'-'.join(map(str, cfg.net.widths))}"] = {
            "original, dense": kernels["CK dense drawn"].spectrum.values,
            f"ternary, {compressed}, ε = {cfg.compress.sparsity:g}": kernels["CK ternary drawn"].spectrum.values,
        }
    n, p = problem.x.shape
    caption = f"Eigenvalues on a Gaussian mixture, n = {n}, p = {p}; triangles mark the {spikes} largest"
    record.add_figure("spectra", figures.spectra_figure(panels, spikes, caption))
    vectors = {label: kernels[f"CK {name}"].spectrum.leading for name, label in names.items()}
    caption = f"Leading eigenvectors of the conjugate kernel, n = {n}, p = {p}; thick: class means"
    record.add_figure("eigenvectors", figures.eigenvector_figure(vectors, problem.labels, caption))
