"""Errors of the equivalents against n, and the floor of the authors' identity term."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
import hntk.plot
from experiments.figures.style import WIDEST, caption_above
from experiments.kernels.intercept import off_diagonal_behind_intercept
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.from_config import engine_of, kernel_problem, matched
from experiments.runner.networks import Network, layers_of, name_of, network
from experiments.runner.record import Record
from hntk._utils.statistics import growth_exponent
from hntk.plot.style import GRAY, plain_ticks
from hntk.spectra.comparison import centred_kernel, off_diagonal

# Fewest samples for which errors are measured.
SMALLEST = 40
KINDS = ("CK", "NTK")
CURVES = {
    f"{kind} {curve}": label
    for kind in KINDS
    for curve, label in (
        ("default", "equivalent, identity as here"),
        ("paper", "equivalent, authors' identity"),
        ("compressed", "compressed against original, off-diagonal"),
    )
}

# From a kernel to what is compared of it.
View = Callable[[np.ndarray], np.ndarray]


def run(cfg: Config, record: Record) -> None:
    """Measure every curve at every n and draw, and fit the rates."""
    settings = cfg.experiment
    sizes = [n for n in (round(cfg.data.n / 2**k) for k in range(settings.halvings, -1, -1)) if n >= SMALLEST]
    if len(sizes) < 2:
        raise ValueError(f"a rate needs two sizes of at least {SMALLEST}: increase data.n or experiment.halvings.")
    net = network(cfg.net)
    # the authors' identity term is that of the paper's networks
    curves = [name for name in CURVES if not isinstance(net, hntk.Architecture) or not name.endswith("paper")]
    errors: dict[str, np.ndarray] = {name: np.empty((len(sizes), settings.draws)) for name in curves}
    floors = None if isinstance(net, hntk.Architecture) else np.empty((len(sizes), 2))
    with progress("kernels, small n first", len(sizes) * settings.draws) as advance:
        for i, n in enumerate(sizes):
            for draw in range(settings.draws):
                measured = _one_draw(cfg, net, n, draw)
                for name in curves:
                    errors[name][i, draw] = measured[name]
                if floors is not None:
                    floors[i] = measured["CK floor"], measured["NTK floor"]
                advance()
            CONSOLE.print(f"  [green]done[/] n = {n}")
    rates = {name: growth_exponent(sizes, e.mean(axis=1)) for name, e in errors.items()}
    _report(record, sizes, errors, rates, floors)
    _draw(record, net, sizes, errors, floors)


def _one_draw(cfg: Config, net: Network, n: int, draw: int) -> dict[str, float]:
    """Return relative errors of every curve and, of a plain network, the authors' floors relative to the kernels."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
    problem = kernel_problem(cfg.data, cfg.experiment.quantities, key, n)
    match, _ = matched(cfg.compress, net, problem.tau0, problem.x, problem.labels)
    view, off = _views(net)
    jumps = any(a.has_jumps for a in layers_of(net))
    declared, engine = 0.0 if jumps else None, engine_of(cfg)
    exact = hntk.exact_kernels(problem.x, net, tau0=problem.tau0, kappa_sq=declared, engine=engine)
    compressed = hntk.exact_kernels(problem.x, match.activations, tau0=problem.tau0, kappa_sq=0.0, engine=engine)
    reference = {kind: view(np.asarray(matrix)) for kind, matrix in zip(KINDS, exact, strict=True)}
    # a network with jumps has no diagonal of its NTK
    reference["NTK"] = off(reference["NTK"]) if jumps else reference["NTK"]
    size = {kind: hntk.operator_norm(matrix) for kind, matrix in reference.items()}
    measured = {}
    for identity in ("default",) if isinstance(net, hntk.Architecture) else ("default", "paper"):
        equivalent = hntk.equivalent_kernels(
            problem.x, problem.labels, net, tau0=problem.tau0, population=problem.population, identity=identity,
            kappa_sq=declared,
        )  # fmt: skip
        for kind, operator in zip(KINDS, equivalent, strict=True):
            gap = reference[kind] - view(operator.to_dense())
            gap = off(gap) if jumps and kind == "NTK" else gap
            measured[f"{kind} {identity}"] = hntk.operator_norm(gap) / size[kind]
    for kind, matrix in zip(KINDS, compressed, strict=True):
        gap = off(view(np.asarray(matrix)) - reference[kind])
        measured[f"{kind} compressed"] = hntk.operator_norm(gap) / size[kind]
    return measured | ({} if isinstance(net, hntk.Architecture) else _floors(net, problem.tau0, size))


def _views(net: Network) -> tuple[View, View]:
    """Return what is compared of a kernel, and of it what lies off the diagonal."""
    if isinstance(net, hntk.Architecture):
        return centred_kernel, off_diagonal_behind_intercept
    return np.asarray, off_diagonal


def _floors(layers: list[hntk.Activation], tau0: float, size: Mapping[str, float]) -> dict[str, float]:
    """Return α_3 τ_0⁴ and β_3 τ_0⁴ relative to the kernels."""
    known = hntk.coefficients(layers, tau0)
    weights = {"CK": known.alpha[-1, 2], "NTK": known.beta[-1, 2]}
    return {f"{kind} floor": float(weights[kind]) * tau0**4 / size[kind] for kind in KINDS}


def _report(
    record: Record,
    sizes: list[int],
    errors: dict[str, np.ndarray],
    rates: dict[str, float | None],
    floors: np.ndarray | None,
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
    if floors is not None:
        rows = [[n, float(c), float(k)] for n, (c, k) in zip(sizes, floors, strict=True)]
        show_table("What the authors' identity term is off by, relative", ["n", "CK: α₃τ₀⁴", "NTK: β₃τ₀⁴"], rows)
        record.add_table("floors", ["n", *KINDS], rows)
    record.add_metrics(**{f"rate/{name}": rate for name, rate in rates.items()})
    record.add_metrics(**{f"error/{name}": float(e[-1].mean()) for name, e in errors.items()})


def _draw(
    record: Record,
    net: Network,
    sizes: list[int],
    errors: dict[str, np.ndarray],
    floors: np.ndarray | None,
) -> None:
    panels = {
        title: {CURVES[name]: errors[name] for name in errors if name.startswith(kind)}
        for kind, title in (("CK ", "Conjugate kernel"), ("NTK ", "Neural tangent kernel"))
    }
    # as a regression with an intercept sees the kernels
    centre = isinstance(net, hntk.Architecture)
    caption = f"Errors{' of P K P' if centre else ''} against n at fixed p/n, and their fitted rates; dots are draws"
    caption += f"\noriginal: {name_of(net)}; P takes out what all samples share" if centre else ""
    record.add_figure("convergence", _convergence_figure(sizes, panels, floors, caption))


def _convergence_figure(
    sizes: list[int], panels: Mapping[str, Mapping[str, np.ndarray]], floors: np.ndarray | None, caption: str
) -> Figure:
    """Draw errors, of shape (sizes, draws), against n on logarithmic axes; one panel a kernel, one floor a panel."""
    lines = [None] * len(panels) if floors is None else floors.T
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDEST, 5.0), sharey=True, squeeze=False)
    for a, (title, curves), floor in zip(axes[0], panels.items(), lines, strict=True):
        hntk.plot.convergence(sizes, curves, ax=a)
        if floor is not None:
            a.plot(sizes, floor, color=GRAY, lw=1, label="floor of the authors' identity term")
        a.set(xlabel="number of samples n", ylabel="relative operator-norm error", title=title)
        plain_ticks(a.yaxis)
        a.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return caption_above(figure, caption)
