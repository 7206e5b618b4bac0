"""Errors of the equivalents against n, and the floor of the authors' identity term."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import COLOURS, caption_above, line_style
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.from_config import activations, kernel_problem, matched
from experiments.runner.record import Record
from experiments.runner.statistics import growth_exponent
from hntk.spectra.comparison import off_diagonal

# Fewest samples for which errors are measured.
SMALLEST = 40
CURVES = {
    f"{kind} {curve}": label
    for kind in ("CK", "NTK")
    for curve, label in (
        ("default", "equivalent, identity as here"),
        ("paper", "equivalent, authors' identity"),
        ("compressed", "compressed against original, off-diagonal"),
    )
}


def run(cfg: Config, record: Record) -> None:
    """Measure every curve at every n and draw, and fit the rates."""
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
    rates = {name: growth_exponent(sizes, e.mean(axis=1)) for name, e in errors.items()}
    _report(record, sizes, errors, rates, floors)
    _draw(record, sizes, errors, rates, floors)


def _one_draw(cfg: Config, n: int, draw: int) -> tuple[dict[str, float], tuple[float, float]]:
    """Return relative errors of every curve, and the authors' floors α_3 τ_0⁴ and β_3 τ_0⁴ relative to the kernels."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
    problem = kernel_problem(cfg.data, cfg.experiment.quantities, key, n)
    layers = activations(cfg.net.activations)
    jumps = any(a.has_jumps for a in layers)
    match, _ = matched(cfg.compress, layers, problem.tau0, problem.x, problem.labels)
    coefficients = match.original_coefficients
    exact = hntk.exact_kernels(problem.x, layers, tau0=problem.tau0)
    compressed = hntk.exact_kernels(problem.x, match.activations, tau0=problem.tau0, kappa_sq=0.0)
    reference = {"CK": np.asarray(exact.ck), "NTK": off_diagonal(exact.ntk) if jumps else np.asarray(exact.ntk)}
    size = {kind: hntk.operator_norm(matrix) for kind, matrix in reference.items()}
    errors = {}
    for identity in ("default", "paper"):
        equivalent = hntk.equivalent_kernels(
            problem.x, problem.labels, layers, tau0=problem.tau0, population=problem.population, identity=identity,
            kappa_sq=0.0 if jumps else None,
        )  # fmt: skip
        for kind, operator in (("CK", equivalent.ck), ("NTK", equivalent.ntk)):
            gap = reference[kind] - np.asarray(operator.to_dense())
            gap = off_diagonal(gap) if jumps and kind == "NTK" else gap
            errors[f"{kind} {identity}"] = hntk.operator_norm(gap) / size[kind]
    for kind, matrix in (("CK", compressed.ck), ("NTK", compressed.ntk)):
        errors[f"{kind} compressed"] = hntk.operator_norm(off_diagonal(matrix - reference[kind])) / size[kind]
    quartic = problem.tau0**4
    floors = (coefficients.alpha[-1, 2] * quartic / size["CK"], coefficients.beta[-1, 2] * quartic / size["NTK"])
    return errors, floors


def _report(
    record: Record, sizes: list[int], errors: dict[str, np.ndarray], rates: dict[str, float | None], floors: np.ndarray
) -> None:
    columns = ["n", *errors]
    rows = [[n, *(float(e[i].mean()) for e in errors.values())] for i, n in enumerate(sizes)]
    record.add_history("errors", columns, rows)
    show_table("Relative operator-norm errors, mean over draws", columns, [*rows, ["rate: n to the", *rates.values()]])
    by_size = [(n, name, row) for name, e in errors.items() for n, row in zip(sizes, e, strict=True)]
    draws = [[n, name, draw, float(error)] for n, name, row in by_size for draw, error in enumerate(row)]
    record.add_table("draws", ["n", "curve", "draw", "error"], draws)
    means = [[n, name, float(row.mean())] for n, name, row in by_size]
    record.add_table("means", ["n", "curve", "error"], means)
    record.add_chart("errors against n", "lines", "means", "n", "error", by="curve", log=["n", "error"])
    floor_rows = [[n, float(c), float(k)] for n, (c, k) in zip(sizes, floors, strict=True)]
    show_table("What the authors' identity term is off by, relative", ["n", "CK: α₃τ₀⁴", "NTK: β₃τ₀⁴"], floor_rows)
    record.add_table("floors", ["n", "CK", "NTK"], floor_rows)
    record.add_metrics(**{f"rate/{name}": rate for name, rate in rates.items()})
    record.add_metrics(**{f"error/{name}": float(e[-1].mean()) for name, e in errors.items()})


def _draw(
    record: Record, sizes: list[int], errors: dict[str, np.ndarray], rates: dict[str, float | None], floors: np.ndarray
) -> None:
    panels = {
        title: {f"{CURVES[name]}: $n^{{{rates[name]:.2f}}}$": errors[name] for name in errors if name.startswith(kind)}
        for kind, title in (("CK ", "Conjugate kernel"), ("NTK ", "Neural tangent kernel"))
    }
    caption = "Errors against n at fixed p/n, and their fitted rates; dots are draws"
    record.add_figure("convergence", _convergence_figure(sizes, panels, floors, caption))


def _convergence_figure(
    sizes: list[int], panels: Mapping[str, Mapping[str, np.ndarray]], floors: np.ndarray, caption: str
) -> Figure:
    """Draw errors, of shape (sizes, draws), against n on logarithmic axes; one panel a kernel, one floor a panel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.6 * len(panels), 5.2), squeeze=False)
    for a, (title, curves), floor in zip(axes[0], panels.items(), floors.T, strict=True):
        for i, (label, errors) in enumerate(curves.items()):
            a.plot(sizes, errors.mean(axis=1), marker="o", label=label, **line_style(i))
            a.plot(sizes, errors, color=COLOURS[i], linestyle="none", marker=".", ms=4, alpha=0.5)
        a.plot(sizes, floor, color=COLOURS[4], lw=1, label="floor of the authors' identity term")
        a.set(xscale="log", yscale="log", xlabel="number of samples n", ylabel="relative operator-norm error")
        a.set_title(title)
        a.set_xticks(sizes, [str(v) for v in sizes])
        a.minorticks_off()
        a.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return caption_above(figure, caption)
