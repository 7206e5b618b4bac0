"""The price of few levels: identity shift and kernel error, layer by layer, jointly, and the bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import caption_above, legend_below, paired_panels
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress
from experiments.runner.from_config import engine_of, kernel_problem, keys
from experiments.runner.networks import Network, layers_of, network
from experiments.runner.record import Record
from hntk.plot.style import COLOURS, line_style, plain_ticks
from hntk.spectra.comparison import centred_kernel

METHODS = {"layer by layer": {"method": "layerwise"}, "joint": {}, "joint, without α_2": {"alpha2": False}}
COLUMNS = ["original", "levels", "method", "δ/τ²", "bound on δ/τ²", "CK error", "largest residual"]
# The logarithmic axis of δ/τ² shows lossless matches at this height.
LOSSLESS = 2e-4
# Originals beside each other in the figure.
COLUMNS_OF_PANELS = 3
# Shifts below this share of τ² are rounding errors.
ROUNDING = 1e-9


def run(cfg: Config, record: Record) -> None:
    """Match every original with every number of levels by every method."""
    settings = cfg.experiment
    problem = kernel_problem(cfg.data, settings.quantities, keys(cfg.seed, "data")["data"])
    rows = []
    options = {"tau0": problem.tau0, "kappa_sq": 0.0, "engine": engine_of(cfg)}
    total = len(settings.originals) * len(settings.levels) * len(METHODS)
    with progress("matches and their kernels", total) as advance:
        for name in settings.originals:
            net = network(cfg.net, [name] * settings.depth)
            exact = _compared(hntk.exact_kernels(problem.x, net, **options).ck, net)
            for levels in settings.levels:
                for method, ways in METHODS.items():
                    measured = _measure(np.asarray(problem.x), net, exact, levels, ways, options)
                    rows.append([layers_of(net)[0].name, levels, method, *measured])
                    advance()
            CONSOLE.print(f"  [green]done[/] {layers_of(net)[0].name}")
    record.add_table(
        "levels", COLUMNS, rows, f"{settings.depth} equal layers, τ_0 = {problem.tau0:.3g}; – where no match exists"
    )
    for name, levels, method, shift, bound, error, _ in rows:
        key = f"{name}/{levels}/{method}"
        record.add_metrics(**{f"{key}/shift": shift, f"{key}/bound": bound, f"{key}/ck_error": error})
    n, p = problem.x.shape
    net = network(cfg.net, [settings.originals[0]] * settings.depth)
    scales = "" if isinstance(net, list) else f" ({net.settings}; errors of P K P)"
    caption = (
        f"{settings.depth} equal layers{scales}; kernel errors on a Gaussian mixture, n = {n}, p = {p}, δ compensated"
    )
    record.add_figure("levels", _levels_figure(rows, caption))


def _measure(
    x: np.ndarray, net: Network, exact: np.ndarray, levels: int, ways: dict[str, Any], options: dict[str, Any]
) -> list[float | None]:
    """Return δ/τ², its lower bound, the relative operator-norm error of K̂ − δI, and the largest residual."""
    try:
        match = hntk.match(net, options["tau0"], levels, **ways)
    except hntk.MatchError:
        return [None, None, None, None]
    bound = max(0.0, match.certificate.bound - 1)
    kernel = np.asarray(hntk.exact_kernels(x, match.activations, **options).ck)
    compensated = _compared(kernel - match.identity_shift * np.eye(len(kernel)), net)
    error = hntk.operator_norm(compensated - exact) / hntk.operator_norm(exact)
    shift = match.relative_shift
    return [0.0 if abs(shift) < ROUNDING else shift, bound, error, max(match.residuals.values())]


def _compared(kernel: Any, net: Network) -> np.ndarray:
    """Return a kernel, or what a regression with an intercept sees of it where the original is not plain."""
    matrix = np.asarray(kernel)
    return centred_kernel(matrix) if isinstance(net, hntk.Architecture) else matrix


def _levels_figure(rows: Sequence[Sequence], caption: str) -> Figure:
    """Draw the identity shift with its bound, and the kernel error below it, two panels for each original."""
    originals = list(dict.fromkeys(row[0] for row in rows))
    figure, shifts, errors = paired_panels(len(originals), COLUMNS_OF_PANELS, 2.2)
    for above, below, original in zip(shifts, errors, originals, strict=False):
        _draw_original(above, below, [row for row in rows if row[0] == original])
        above.set_title(original, fontsize=10)
        below.set_xlabel("levels", fontsize=9)
        below.set_xticks(sorted({row[1] for row in rows}))
    shifts[0].set(yscale="log", ylim=(LOSSLESS / 2, 1.5 * max(row[3] for row in rows if row[3] is not None) + LOSSLESS))
    errors[0].set_yscale("log")
    plain_ticks(errors[0].yaxis)
    for above, below in zip(shifts[::COLUMNS_OF_PANELS], errors[::COLUMNS_OF_PANELS], strict=True):
        above.set_ylabel("δ/τ² (bottom: lossless)", fontsize=9)
        below.set_ylabel("relative kernel error", fontsize=9)
    legend_below(figure, [shifts[0]])
    return caption_above(figure, caption)


def _draw_original(above: Axes, below: Axes, rows: Sequence[Sequence]) -> None:
    *_, last = METHODS
    for i, method in enumerate(METHODS):
        line = [row for row in rows if row[2] == method and row[3] is not None]
        style = line_style(i, marker="o", ms=4, lw=1.6, label=method)
        counts = [row[1] for row in line]
        above.plot(counts, [max(row[3], LOSSLESS) for row in line], **style)
        below.plot(counts, [row[5] for row in line], **style)
    bound = [row for row in rows if row[2] == last and row[4] is not None]
    above.fill_between(
        [row[1] for row in bound], LOSSLESS / 2, [max(row[4], LOSSLESS / 2) for row in bound],
        color=COLOURS[4], alpha=0.25, lw=0, label="impossible (bound)",
    )  # fmt: skip
