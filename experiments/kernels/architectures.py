"""Errors of the equivalents of networks as people have them: un-centred, with biases, branches or implicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk
from experiments.figures.style import caption_above, legend_below
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table
from experiments.runner.from_config import Engine, KernelProblem, engine_of, kernel_problem
from experiments.runner.record import Record
from hntk._utils.statistics import growth_exponent
from hntk.plot.style import COLOURS, line_style, listed_ticks, plain_ticks
from hntk.spectra.comparison import centred_kernel

# Fewest samples for which errors are measured.
SMALLEST = 40
ROOT2 = 2**0.5
LEVELS4 = hntk.staircase([0.19, 0.99, 1.82], [0.0, 0.56, 1.32, 2.57])
# The names are those of settings.ARCHITECTURES. Each is made when it is called: to make one of GELU computes with JAX.
NETS = {
    "relu_he": partial(hntk.Architecture, ["relu"] * 3, ROOT2, 0.3, centred=False),
    "relu_unit": partial(hntk.Architecture, ["relu"] * 3, centred=False),
    "relu_large_biases": partial(hntk.Architecture, ["relu"] * 3, ROOT2, 1.0, centred=False),
    # an odd function whose biases are small has next to no d and e
    "erf": partial(hntk.Architecture, ["erf"] * 3, 1.0, 1.0, centred=False),
    "gelu_he": partial(hntk.Architecture, ["gelu"] * 3, ROOT2, 0.3, centred=False),
    "levels4_he": partial(hntk.Architecture, [LEVELS4] * 3, ROOT2, 0.3, centred=False),
    "relu_residual": partial(hntk.Architecture, ["relu"] * 3, ROOT2, 0.3, centred=False, residual=0.7),
    "relu_layer_norm": partial(hntk.Architecture, ["relu"] * 3, ROOT2, 0.3, centred=False, normalize="layer"),
    "relu_implicit": partial(hntk.Architecture, ["relu"], 1.0, 0.3, centred=False, implicit=True),
    "erf_implicit": partial(hntk.Architecture, ["erf"], 0.9, 0.3, centred=False, implicit=True),
}
# What tables and figures call them: activation, σ_w, σ_b and what else there is.
LABELS = {
    "relu_he": "ReLU, √2, .3",
    "relu_unit": "ReLU, 1, 0",
    "relu_large_biases": "ReLU, √2, 1",
    "erf": "erf, 1, 1",
    "gelu_he": "GELU, √2, .3",
    "levels4_he": "4 levels, √2, .3",
    "relu_residual": "ReLU, √2, .3, branches × .7",
    "relu_layer_norm": "ReLU, √2, .3, layer norm",
    "relu_implicit": "ReLU, 1, .3, implicit",
    "erf_implicit": "erf, .9, .3, implicit",
}
KERNELS = ("CK", "NTK")
NOTES = (
    "Networks: three layers (implicit: one that is repeated), not centred, by activation, σ_w and σ_b. CK: conjugate "
    "kernel, NTK: neural tangent kernel. P = I − 11ᵀ/n takes out what all samples share, as an intercept does. Norms "
    "are operator norms; n/p is the same everywhere. Control: the error at the largest p of equivalents without their"
    " quadratic coefficients d, e, which must not fall."
)
CURVES = ("K̃", "K̃ without d, e", "PK̃P", "PK̃P without d, e")
COLUMNS = ("network", "kernel", "curve")


def run(cfg: Config, record: Record) -> None:
    """Measure every curve of every network at every size and draw, and fit the rates."""
    settings = cfg.experiment
    sizes = [n for n in (round(cfg.data.n / 2**k) for k in range(settings.halvings, -1, -1)) if n >= SMALLEST]
    if len(sizes) < 2:
        raise ValueError(f"a rate needs two sizes of at least {SMALLEST}: increase data.n or experiment.halvings.")
    nets = {name: NETS[name]() for name in settings.networks}
    errors = {
        (name, kernel, curve): np.empty((len(sizes), settings.draws))
        for name in nets
        for kernel in KERNELS
        for curve in CURVES
    }
    dimensions = [0] * len(sizes)
    with progress("kernels, small n first", len(sizes) * settings.draws * len(nets)) as advance:
        for i, n in enumerate(sizes):
            for draw in range(settings.draws):
                key = jax.random.fold_in(jax.random.key(cfg.seed), draw)
                problem = kernel_problem(cfg.data, settings.quantities, key, n, contrast=settings.contrast)
                dimensions[i] = problem.x.shape[1]
                for name, net in nets.items():
                    for (kernel, curve), error in _errors(net, problem, engine_of(cfg)).items():
                        errors[name, kernel, curve][i, draw] = error
                    advance()
            CONSOLE.print(f"  [green]done[/] n = {n}")
    rates = {which: growth_exponent(dimensions, e.mean(axis=1)) for which, e in errors.items()}
    _report(record, dimensions, errors, rates)
    shown = "one draw" if settings.draws == 1 else f"means over {settings.draws} draws"
    caption = (
        "Errors of the equivalents of networks that are not centred, behind an intercept\n"
        f"n = {cfg.data.n / cfg.data.p:g} p, {shown}; networks: activation, σ_w, σ_b"
    )
    record.add_figure("architectures", _figure(dimensions, list(nets), errors, caption))


def _errors(net: hntk.Architecture, problem: KernelProblem, engine: Engine) -> dict[tuple[str, str], float]:
    """Return errors in operator norm, in units of that of the exact kernel behind an intercept."""
    # what the theory gives no diagonal has the same declared one in both kernels
    declared = 1.0 if any(layer.has_jumps for layer in net.layers) else None
    exact = hntk.exact_kernels(problem.x, net, tau0=problem.tau0, kappa_sq=declared, engine=engine)
    known = problem.population or hntk.estimate_population(np.asarray(problem.x), problem.labels)
    measured = {}
    for centre in (False, True):
        for without in (False, True):
            # without overlaps there is no d
            overlaps = 0.0 * known.overlaps if without else known.overlaps
            kernels = hntk.equivalent_kernels(
                problem.x, problem.labels, net, tau0=problem.tau0, population=replace(known, overlaps=overlaps),
                kappa_sq=declared, centre=centre,
            )  # fmt: skip
            curve = CURVES[2 * centre + without]
            for name, matrix, kernel in zip(KERNELS, exact, kernels, strict=True):
                whole, inside = np.asarray(matrix), centred_kernel(np.asarray(matrix))
                gap = (inside if centre else whole) - (_without_e(kernel) if without else kernel).to_dense()
                measured[name, curve] = hntk.operator_norm(gap) / hntk.operator_norm(inside)
    return measured


def _without_e(kernel: hntk.StructuredKernel) -> hntk.StructuredKernel:
    """Return a kernel of two classes without its multiple of δδᵀ: δ is the third of its vectors."""
    core = kernel.core.copy()
    core[2, 2] = 0.0
    return replace(kernel, core=core)


def _report(record: Record, sizes: Sequence[int], errors: dict, rates: dict) -> None:
    draws = [
        [*which, p, draw, float(error)]
        for which, e in errors.items()
        for p, row in zip(sizes, e, strict=True)
        for draw, error in enumerate(row)
    ]
    record.add_table("draws", [*COLUMNS, "p", "draw", "error"], draws)
    means = [[*which, *(float(value) for value in e.mean(axis=1)), rates[which]] for which, e in errors.items()]
    record.add_table("errors", [*COLUMNS, *(f"p = {p}" for p in sizes), "rate: p to the"], means)
    _show(list(dict.fromkeys(name for name, *_ in errors)), sizes, errors, rates)
    record.add_metrics(**{f"rate/{'/'.join(which)}": rate for which, rate in rates.items()})
    record.add_metrics(**{f"error/{'/'.join(which)}": float(e[-1].mean()) for which, e in errors.items()})


def _show(names: Sequence[str], sizes: Sequence[int], errors: dict, rates: dict) -> None:
    """Print the errors behind an intercept, their rates and those of the controls, and the worst of both."""
    own, control = CURVES[2:]
    rows = [
        [LABELS[name], kernel, *map(float, errors[name, kernel, own].mean(axis=1)), rates[name, kernel, own],
         float(errors[name, kernel, control][-1].mean()), rates[name, kernel, control]]
        for name in names
        for kernel in KERNELS
    ]  # fmt: skip
    columns = ["network", "", *(f"p = {p}" for p in sizes), "rate: p to the", "control", "its rate"]
    show_table("Errors of the equivalents behind an intercept, ‖P (K − K̃) P‖/‖P K P‖, mean over draws", columns, rows)
    say(f"\n[dim]{NOTES}[/]")
    which = [(name, kernel) for name in names for kernel in KERNELS]
    slowest = max(which, key=lambda w: rates[(*w, own)])
    steepest = max(which, key=lambda w: abs(rates[(*w, control)]))
    for title, (name, kernel), curve in (("Slowest", slowest, own), ("Steepest control", steepest, control)):
        say(f"{title}: p to the [bold]{rates[name, kernel, curve]:.2f}[/] ({LABELS[name]}, {kernel}).")


def _figure(sizes: Sequence[int], names: Sequence[str], errors: dict, caption: str) -> Figure:
    """Draw errors behind an intercept against p, with all terms and without d and e."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex=True, sharey=True, squeeze=False)
    titles = {"CK": "Conjugate kernel", "NTK": "Neural tangent kernel"}
    for row, curve in zip(axes, CURVES[2:], strict=True):
        for a, kernel in zip(row, KERNELS, strict=True):
            for i, name in enumerate(names):
                a.plot(sizes, errors[name, kernel, curve].mean(axis=1), ms=4, label=LABELS[name], **_style(i))
            a.set(xscale="log", yscale="log")
            a.set_title(titles[kernel] + (", control: without d and e" if curve == CURVES[3] else ""), fontsize=11)
            listed_ticks(a, sizes)
    largest = max(float(e.mean(axis=1)[0]) for which, e in errors.items() if which[2] == CURVES[2])
    for a in axes[0]:
        slope = 1.3 * largest * np.sqrt(sizes[0] / np.array(sizes))
        a.plot(sizes, slope, color="black", lw=0.8, linestyle=(0, (6, 3)), label="$p^{-1/2}$")
    plain_ticks(axes[0, 0].yaxis)
    for a in axes[1]:
        a.set_xlabel("dimension p")
    for a in axes[:, 0]:
        a.set_ylabel("relative error, operator norm")
    legend_below(figure, [axes[0, 0]], 3)
    return caption_above(figure, caption)


def _style(index: int) -> dict[str, Any]:
    """Return the style of a network's line, black where the colours are used up."""
    return line_style(index, marker="o") | ({} if index < len(COLOURS) else {"color": "black"})
