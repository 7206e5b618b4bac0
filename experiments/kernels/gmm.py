"""Kernel spectra of a dense network, of the theory, and of the ternary network solved for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import hntk
from experiments.kernels.intercept import constant_eigenvalue, off_diagonal_behind_intercept
from experiments.kernels.spectra_figures import eigenvector_figure, spectra_figure
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, show_table, stage
from experiments.runner.from_config import KernelProblem, engine_of, kernel_problem, keys, matched
from experiments.runner.networks import Network, declared_diagonal, layers_of, name_of, network
from experiments.runner.record import Record
from hntk.spectra.comparison import Spectrum, centred_kernel, compare_with_spectra
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
NOTES = (
    "CK: conjugate kernel, NTK: neural tangent kernel. Off-diag.: of the parts off the diagonal, by the "
    "norm of the whole. Eigenvalues: largest difference in order, by the largest one; spikes: the same of the "
    "leading ones, each by itself. Abs.: not divided by anything.",
    "The NTK diagonal of a network with jumps is infinite; the original's κ² is declared there, so "
    "NTK errors of the compressed network are about the off-diagonal part.",
)
BEHIND_INTERCEPT = (
    "The original is not one of the paper's networks. Its kernels are compared as a regression with an intercept sees "
    "them: P K P, P = I − 11ᵀ/n. What all samples share, which is most of a kernel that is not centred, is taken out."
)


@dataclass(frozen=True)
class Kernel:
    """A symmetric kernel matrix and its spectrum."""

    matrix: np.ndarray
    spectrum: Spectrum

    @staticmethod
    def of(matrix: np.ndarray, spikes: int, *, centre: bool) -> Kernel:
        """Return the symmetric part of a matrix, or P times it times P, with as many leading eigenvectors as asked."""
        symmetric = (matrix + matrix.T) / 2
        symmetric = centred_kernel(symmetric) if centre else symmetric
        return Kernel(symmetric, hntk.spectrum(symmetric, spikes))


def run(cfg: Config, record: Record) -> None:
    """Compute every kernel, compare those that matter, draw spectra and eigenvectors."""
    settings = cfg.experiment
    key = keys(cfg.seed, "data", "dense", "ternary")
    problem = kernel_problem(cfg.data, settings.quantities, key["data"])
    net = network(cfg.net)
    say(f"  original: {name_of(net)}")
    with stage("matching: solving for the compressed activations") as tell:
        match, name = matched(cfg.compress, net, problem.tau0, problem.x, problem.labels, tell=tell)
    matrices = _infinite_width(cfg, problem, net, match)
    if settings.finite_width:
        matrices |= _finite_width(cfg, problem, net, match, key)
    # only what a regression with an intercept sees is matched then
    centre = isinstance(net, hntk.Architecture)
    with stage("eigendecompositions"):
        kernels = {name: Kernel.of(matrix, settings.spikes, centre=centre) for name, matrix in matrices.items()}
    _report_match(record, match)
    _report_errors(record, kernels, centre=centre)
    _report_shift(record)
    if centre:
        _report_constants(record, matrices, kernels)
    _draw(cfg, record, problem, kernels, name)


def _infinite_width(cfg: Config, problem: KernelProblem, net: Network, match: hntk.Match) -> dict[str, np.ndarray]:
    """Return exact kernels and equivalents; the NTK of a network with jumps gets the original's diagonal κ²."""
    x, tau0, engine = problem.x, problem.tau0, engine_of(cfg)
    identity: Identity = cfg.experiment.identity
    kappa_sq = declared_diagonal(match.original_coefficients)
    jumps = any(a.has_jumps for a in layers_of(net))
    # what all samples share is on the diagonal, too
    original_kappa_sq = kappa_sq + hntk.expansions(net, tau0).ntk[-1].c if jumps else None
    with stage("exact kernels of the original, infinite width"):
        original = hntk.exact_kernels(x, net, tau0=tau0, kappa_sq=original_kappa_sq, engine=engine)
    with stage("deterministic equivalents"):
        equivalent = hntk.equivalent_kernels(
            x, problem.labels, net, tau0=tau0, population=problem.population,
            identity=identity, kappa_sq=original_kappa_sq,
        )  # fmt: skip
        theory = [operator.to_dense() for operator in equivalent]
    with stage("exact kernels of the compressed network"):
        compressed = hntk.exact_kernels(x, match.activations, tau0=tau0, kappa_sq=kappa_sq, engine=engine)
    pairs = {"original": original, "theory": theory, "compressed": compressed}
    return {
        f"{kind} {name}": np.asarray(matrix)
        for name, pair in pairs.items()
        for kind, matrix in zip(KINDS, pair, strict=True)
    }


def _finite_width(
    cfg: Config, problem: KernelProblem, net: Network, match: hntk.Match, key: dict
) -> dict[str, np.ndarray]:
    """Return kernels of one draw each; for activations with jumps the CK alone, as their NTK is not defined."""
    x = problem.x.astype("float32")
    widths = list(cfg.net.widths)
    with stage(f"drawn dense network, widths {'-'.join(map(str, widths))}"):
        drawn = hntk.dense(net, widths, x, key=key["dense"], law=cfg.net.weights, tau0=problem.tau0)
        empirical = hntk.empirical_kernels(drawn, x, engine=engine_of(cfg))
        matrices = {"CK dense drawn": np.asarray(empirical.ck, np.float64)}
        if not any(a.has_jumps for a in layers_of(net)):
            matrices["NTK dense drawn"] = np.asarray(empirical.ntk, np.float64)
    weights: Any = cfg.compress.weights
    with stage("drawn ternary network of the same widths"):
        ternary = hntk.compress(
            net,
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


def _report_errors(record: Record, kernels: dict[str, Kernel], *, centre: bool) -> None:
    rows = []
    for kind in KINDS:
        for a, b in PAIRS:
            if f"{kind} {b}" not in kernels:
                continue
            first, second = kernels[f"{kind} {a}"], kernels[f"{kind} {b}"]
            errors = asdict(compare_with_spectra(first.matrix, second.matrix, first.spectrum, second.spectrum))
            errors |= _off_diagonal_errors(first, second) if centre else {}
            rows.append([f"{kind} {a} → {b}", *(errors[name] for name in COLUMNS)])
            label = f"{kind}_{a}_{b}".replace(" ", "_").lower()
            record.add_metrics(**{f"{label}/{name}": value for name, value in errors.items()})
    record.add_table("errors", ["kernels", *COLUMNS], rows)
    of = "Errors of P K P" if centre else "Errors"
    title = f"{of}, relative to the first kernel of each pair (alignment: 1 = same leading eigenspace)"
    show_table(title, ["kernels", *COLUMNS.values()], rows)


def _off_diagonal_errors(first: Kernel, second: Kernel) -> dict[str, float]:
    """Return the errors off the diagonal of two kernels behind an intercept."""
    gap = off_diagonal_behind_intercept(first.matrix - second.matrix)
    size, size_frobenius = np.max(np.abs(first.spectrum.values)), np.linalg.norm(first.matrix)
    return {
        "operator_off": hntk.operator_norm(gap) / float(size),
        "frobenius_off": float(np.linalg.norm(gap) / size_frobenius),
    }


def _report_shift(record: Record) -> None:
    shift = [record.metrics[name] for name in ("identity_shift", "tau_L_sq", "relative_shift")]
    title = "Identity shift of the compressed conjugate kernel (acts as an added ridge)"
    show_table(title, ["δ = τ̂² − τ²", "τ²", "δ/τ²"], [shift])
    say(f"\n[dim]{NOTES[0]}[/]")
    say(f"[dim]{NOTES[1]}[/]")


def _report_constants(record: Record, matrices: dict[str, np.ndarray], kernels: dict[str, Kernel]) -> None:
    """Report how large the original's kernels are in the direction that the intercept takes out."""
    rows = []
    for kind in KINDS:
        own, theory = (constant_eigenvalue(matrices[f"{kind} {name}"]) for name in ("original", "theory"))
        rows.append([kind, own, theory, float(kernels[f"{kind} original"].spectrum.values[0])])
        record.add_metrics(**{f"{kind.lower()}_constant": own, f"{kind.lower()}_constant_theory": theory})
    columns = ["kernel", "1ᵀK1/n", "theory", "largest eigenvalue of P K P"]
    record.add_table("constants", columns, rows, "The constant direction of the original's kernels")
    say(f"\n[dim]{BEHIND_INTERCEPT}[/]")


def _draw(cfg: Config, record: Record, problem: KernelProblem, kernels: dict[str, Kernel], compressed: str) -> None:
    names = {"original": "original, dense", "theory": "theory (equivalent)", "compressed": f"compressed, {compressed}"}
    panels = {
        f"{title}, infinite width": {label: kernels[f"{kind} {name}"].spectrum for name, label in names.items()}
        for kind, title in (("CK", "Conjugate kernel"), ("NTK", "Neural tangent kernel"))
    }
    if cfg.experiment.finite_width:
        panels[f"Conjugate kernel, drawn at {'-'.join(map(str, cfg.net.widths))}"] = {
            "original, dense": kernels["CK dense drawn"].spectrum,
            f"ternary, {compressed}, ε = {cfg.compress.sparsity:g}": kernels["CK ternary drawn"].spectrum,
        }
    net, spikes = network(cfg.net), cfg.experiment.spikes
    where = "on a Gaussian mixture, n = {}, p = {}".format(*problem.x.shape)
    # as a regression with an intercept sees them
    centre = isinstance(net, hntk.Architecture)
    original = f"\noriginal: {name_of(net)}; P takes out what all samples share" if centre else ""
    caption = f"Eigenvalues{' of P K P' if centre else ''} {where}; triangles mark the {spikes} largest{original}"
    record.add_figure("spectra", spectra_figure(panels, caption))
    leading = {label: kernels[f"CK {name}"].spectrum for name, label in names.items()}
    of = "P K P, K the conjugate kernel," if centre else "the conjugate kernel"
    caption = f"Leading eigenvectors of {of} {where}{original}"
    record.add_figure("eigenvectors", eigenvector_figure(leading, problem.labels, caption))
