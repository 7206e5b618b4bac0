"""What a number of levels costs: identity shift and kernel error, layer by layer, jointly, and the bound."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record
from experiments.runner.setting import activations, kernel_problem, keys

METHODS = {
    "layer by layer": {"method": "layerwise"},
    "joint": {},
    "joint, without α_2": {"alpha2": False},
}
COLUMNS = ["original", "levels", "method", "δ/τ²", "bound on δ/τ²", "CK error", "largest residual"]


def run(cfg: Config, record: Record) -> None:
    """Match every original with every number of levels by every method."""
    settings = cfg.experiment
    problem = kernel_problem(cfg.data, settings.quantities, keys(cfg.seed, "data")["data"])
    rows = []
    total = len(settings.originals) * len(settings.levels) * len(METHODS)
    with progress("matches and their kernels", total) as advance:
        for name in settings.originals:
            layers = activations([name] * settings.depth)
            exact = np.asarray(hntk.exact_kernels(problem.x, layers, tau0=problem.tau0, kappa_sq=0.0).ck)
            for levels in settings.levels:
                for method, options in METHODS.items():
                    rows.append([layers[0].name, levels, method, *_measure(problem, layers, exact, levels, options)])
                    advance()
            CONSOLE.print(f"  [green]done[/] {layers[0].name}")
    show_table(f"{settings.depth} equal layers, τ_0 = {problem.tau0:.3g}; – where no match exists", COLUMNS, rows)
    record.add_table("levels", COLUMNS, rows)
    for name, levels, method, shift, bound, error, _ in rows:
        key = f"{name}/{levels}/{method}"
        record.add_metrics(**{f"{key}/shift": shift, f"{key}/bound": bound, f"{key}/ck_error": error})
    n, p = problem.x.shape
    caption = f"{settings.depth} equal layers; kernel errors on a Gaussian mixture, n = {n}, p = {p}, δ compensated"
    record.add_figure("levels", figures.levels_figure(rows, list(METHODS), caption))


def _measure(
    problem, layers: list[hntk.Activation], exact: np.ndarray, levels: int, options: dict
) -> list[float | None]:
    """(δ/τ², its lower bound, relative operator-norm error of K̂ − δI, largest residual)."""
    try:
        found = hntk.match(layers, problem.tau0, levels, **options)
    except hntk.MatchError:
        return [None, None, None, None]
    bound = max(0.0, found.certificate.bound - 1)
    kernel = np.asarray(hntk.exact_kernels(problem.x, found.activations, tau0=problem.tau0, kappa_sq=0.0).ck)
    shifted = kernel - found.identity_shift * jnp.eye(len(kernel))
    error = hntk.operator_norm(np.asarray(shifted) - exact) / hntk.operator_norm(exact)
    shift = found.relative_shift
    return [0.0 if abs(shift) < 1e-9 else shift, bound, error, max(found.residuals.values())]
