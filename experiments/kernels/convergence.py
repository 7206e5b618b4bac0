"""Errors of the equivalents against n, and the floor of the authors' identity term."""

from __future__ import annotations

import jax
import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record
from experiments.runner.setting import activations, kernel_problem, matched
from hntk.spectra.comparison import off_diagonal

SMALLEST = 40
CURVES = {
    "CK default": "equivalent, identity as here",
    "CK paper": "equivalent, authors' identity",
    "CK compressed": "compressed against original, off-diagonal",
    "NTK default": "equivalent, identity as here",
    "NTK paper": "equivalent, authors' identity",
    "NTK compressed": "compressed against original, off-diagonal",
}


def run(cfg: Config, record: Record) -> None:
    """Measure every curve at every n and draw, fit the rates."""
    settings = cfg.experiment
    sizes = [n for n in (round(cfg.data.n / 2**k) for k in range(settings.halvings, -1, -1)) if n >= SMALLEST]
    if len(sizes) < 2:
        raise ValueError(f"a rate needs two sizes of at least {SMALLEST}: increase data.n or experiment.halvings.")
    errors: dict[str, np.ndarray] = {name: np.empty((len(sizes), settings.draws)) for name in CURVES}
    floors = np.empty((len(sizes), 2))
    with progress("kernels, small n first", len(sizes) * settings.draws) as advance:
        for i, n in enumerate(sizes):
            for draw in range(settings.draws):
                measured, floors[i] = _one_draw(cfg, n, draw)
                for name, value in measured.items():
                    errors[name][i, draw] = value
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}")
    _report(record, np.array(sizes), errors, floors)


def _one_draw(cfg: Config, n: int, draw: int) -> tuple[dict[str, float], tuple[float, float]]:
    """Relative errors of every curve, and the authors' floors α_3 τ_0⁴ and β_3 τ_0⁴ relative to the kernels."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
    problem = kernel_problem(cfg.data, cfg.experiment.quantities, key, n)
    layers = activations(cfg.net.activations)
    jumps = any(a.has_jumps for a in layers)
    match, _ = matched(cfg.compress, layers, problem.tau0, problem.x)
    coefficients = match.original_coefficients
    exact = hntk.exact_kernels(problem.x, layers, tau0=problem.tau0)
    compressed = hntk.exact_kernels(problem.x, match.activations, tau0=problem.tau0, kappa_sq=0.0)
    reference = {"CK": np.asarray(exact.ck), "NTK": off_diagonal(exact.ntk) if jumps else np.asarray(exact.ntk)}
    size = {kind: hntk.operator_norm(matrix) for kind, matrix in reference.items()}
    found = {}
    for identity in ("default", "paper"):
        equivalent = hntk.equivalent_kernels(
            problem.x, problem.labels, layers, tau0=problem.tau0, population=problem.population, identity=identity,
            kappa_sq=0.0 if jumps else None,
        )  # fmt: skip
        found[f"CK {identity}"] = (
            hntk.operator_norm(reference["CK"] - np.asarray(equivalent.ck.to_dense())) / size["CK"]
        )
        ntk = np.asarray(equivalent.ntk.to_dense())
        gap = off_diagonal(reference["NTK"] - ntk) if jumps else reference["NTK"] - ntk
        found[f"NTK {identity}"] = hntk.operator_norm(gap) / size["NTK"]
    for kind, matrix in (("CK", compressed.ck), ("NTK", compressed.ntk)):
        found[f"{kind} compressed"] = hntk.operator_norm(off_diagonal(matrix - reference[kind])) / size[kind]
    quartic = problem.tau0**4
    floors = (coefficients.alpha[-1, 2] * quartic / size["CK"], coefficients.beta[-1, 2] * quartic / size["NTK"])
    return found, floors


def _report(record: Record, sizes: np.ndarray, errors: dict[str, np.ndarray], floors: np.ndarray) -> None:
    rates = {name: float(np.polyfit(np.log(sizes), np.log(e.mean(axis=1)), 1)[0]) for name, e in errors.items()}
    columns = ["n", *errors]
    rows = [[int(n), *(float(e[i].mean()) for e in errors.values())] for i, n in enumerate(sizes)]
    record.add_history("errors", columns, rows)
    show_table("Relative operator-norm errors, mean over draws", columns, [*rows, ["rate: n to the", *rates.values()]])
    draws = [
        [int(n), name, d, float(e[i, d])]
        for name, e in errors.items()
        for i, n in enumerate(sizes)
        for d in range(e.shape[1])
    ]
    record.add_table("draws", ["n", "curve", "draw", "error"], draws)
    means = [[int(n), name, float(e[i].mean())] for name, e in errors.items() for i, n in enumerate(sizes)]
    record.add_table("means", ["n", "curve", "error"], means)
    record.add_chart("errors against n", "lines", "means", "n", "error", by="curve", log=["n", "error"])
    floor_rows = [[int(n), float(c), float(k)] for n, (c, k) in zip(sizes, floors, strict=True)]
    show_table("What the authors' identity term is off by, relative", ["n", "CK: α₃τ₀⁴", "NTK: β₃τ₀⁴"], floor_rows)
    record.add_table("floors", ["n", "CK", "NTK"], floor_rows)
    record.add_metrics(**{f"rate/{name}": rate for name, rate in rates.items()})
    record.add_metrics(**{f"error/{name}": float(e[-1].mean()) for name, e in errors.items()})
    panels = {
        title: {CURVES[name]: (sizes, errors[name], rates[name]) for name in errors if name.startswith(kind + " ")}
        for kind, title in (("CK", "Conjugate kernel"), ("NTK", "Neural tangent kernel"))
    }
    lines = dict(zip(panels, floors.T, strict=True))
    caption = "Errors against n at fixed p/n, and their fitted rates; dots are draws"
    record.add_figure("convergence", figures.convergence_figure(panels, lines, caption))
