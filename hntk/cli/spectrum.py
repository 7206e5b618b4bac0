"""``hntk spectrum DATA --network relu relu relu``: eigenvalues of exact and equivalent kernels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from hntk._utils.arguments import as_count
from hntk._utils.atomic_file import replacing
from hntk._utils.extras import import_extra
from hntk._utils.float64 import float64
from hntk.cli.network_options import network_of
from hntk.cli.samples import samples_of
from hntk.cli.terminal import show, show_json, stages, table
from hntk.data.mixture import reference_mixture
from hntk.kernels import exact_kernels
from hntk.spectra.comparison import centred_kernel, compare_kernels
from hntk.theory.architecture import as_architecture
from hntk.theory.equivalents import equivalent_kernels

# Shares of the eigenvalues below those of the table's second part.
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def run(options: argparse.Namespace) -> None:
    """Compute both kernels, and print their eigenvalues and distance."""
    with stages(quiet=options.json) as tell, float64():
        tell("reading")
        source, x, labels = _samples(options)
        tell(f"kernels of {len(x):,} samples")
        exact, theory = _kernels(x, labels, options)
        tell("eigenvalues")
        values = [np.linalg.eigvalsh(kernel)[::-1] for kernel in (exact, theory)]
        facts = _facts(values, compare_kernels(exact, theory, min(3, len(x))).operator, options)
    if options.figure is not None:
        _draw(values, options)
    if options.json:
        show_json({"data": source, "samples": len(x), "features": x.shape[1], **facts})
        return
    show(f"{source}: {len(x):,} samples of {x.shape[1]:,} coordinates\n{_as_text(facts)}")
    if options.figure is not None:
        show(f"{options.figure}")


def _samples(options: argparse.Namespace) -> tuple[str, Float[np.ndarray, "n p"], Int[np.ndarray, " n"]]:
    """Return at most so many samples of DATA, or of the reference mixture, with their classes."""
    most = as_count(options.samples, "--samples", least=4)
    if options.data is None:
        p = max(2, most // 2) if options.dimensions is None else as_count(options.dimensions, "--dimensions")
        made = reference_mixture(most, p, key=jax.random.key(options.seed))
        return f"reference mixture of two classes, seed {options.seed}", np.asarray(made.x), made.labels
    if options.dimensions is not None:
        raise ValueError("--dimensions are those of the mixture: leave them out beside DATA.")
    data, x = samples_of(options)
    rows = np.sort(np.random.default_rng(options.seed).permutation(len(x))[:most])
    _, index = np.unique(data.y_train[rows], return_inverse=True)
    return str(options.data), x[rows].astype(np.float64), index


def _kernels(
    x: Float[np.ndarray, "n p"], labels: Int[np.ndarray, " n"], options: argparse.Namespace
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Return the exact kernel and its equivalent; both behind an intercept where the network is not the paper's."""
    network = as_architecture(network_of(options, options.network))
    exact = np.asarray(getattr(exact_kernels(x, network), options.kernel))
    theory = getattr(equivalent_kernels(x, labels, network, centre=not network.is_plain), options.kernel).to_dense()
    return exact if network.is_plain else centred_kernel(exact), np.asarray(theory)


def _facts(values: list[np.ndarray], distance: float, options: argparse.Namespace) -> dict[str, Any]:
    exact, theory = values
    top = min(as_count(options.top, "--top"), len(exact))
    return {
        "network": options.network,
        "kernel": options.kernel,
        "leading": [
            {"exact": float(a), "equivalent": float(b)} for a, b in zip(exact[:top], theory[:top], strict=True)
        ],
        "quantiles": [
            {"share": share, "exact": float(np.quantile(exact, share)), "equivalent": float(np.quantile(theory, share))}
            for share in QUANTILES
        ],
        "relative_distance": distance,
    }


def _as_text(facts: dict[str, Any]) -> str:
    rows = [["eigenvalues", "exact", "equivalent", "difference"]]
    pairs = [(f"largest, {place}", pair) for place, pair in enumerate(facts["leading"], 1)]
    pairs += [(f"{pair['share']:.0%} are below", pair) for pair in facts["quantiles"]]
    for name, pair in pairs:
        exact, theory = pair["exact"], pair["equivalent"]
        difference = f"{(theory - exact) / exact:+.1%}" if exact else ""
        rows.append([name, f"{exact:.5g}", f"{theory:.5g}", difference])
    name = {"ck": "conjugate kernel", "ntk": "neural tangent kernel"}[facts["kernel"]]
    distance = f"‖K − K̃‖/‖K‖ = {facts['relative_distance']:.3g} in operator norm"
    return f"{name} of {', '.join(facts['network'])}: {distance}\n\n{table(rows)}"


def _draw(values: list[np.ndarray], options: argparse.Namespace) -> None:
    """Draw both spectra into a file, by matplotlib."""
    plot = import_extra("hntk.plot", "plot", "Drawing a spectrum")
    path = Path(options.figure)
    axes = plot.spectrum(dict(zip(("exact", "equivalent"), values, strict=True)))
    with replacing(path) as part:
        axes.figure.savefig(part, format=path.suffix.lstrip(".") or "png", bbox_inches="tight")
