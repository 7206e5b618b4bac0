"""``hntk match relu relu relu --levels 4``: staircases with the kernel of a dense network."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from hntk._utils.float64 import float64
from hntk.cli.network_options import network_of
from hntk.cli.terminal import show, show_json, stages, table
from hntk.matching import Match, match

COEFFICIENTS = ("alpha1", "alpha2", "alpha3")


def run(options: argparse.Namespace) -> None:
    """Solve for the staircases, and print them with coefficients, identity shift and bound."""
    levels = options.levels if options.levels is None or len(options.levels) > 1 else options.levels[0]
    with stages(quiet=options.json) as tell, float64():
        tell("matching")
        found = match(
            network_of(options, options.activations),
            options.tau0,
            levels,
            bits=options.bits,
            depth=options.depth,
            alpha2=not options.no_alpha2,
            method=options.method,
            progress=tell,
        )
        facts = as_facts(found)
    show_json(facts) if options.json else show(as_text(found, facts))


def as_facts(found: Match) -> dict[str, Any]:
    """Return a match as dictionaries and numbers.

    Parameters
    ----------
    found : Match
        The match.

    Returns
    -------
    dict
        Coefficients of both networks, thresholds and levels of each layer, the identity shift, and the bound of the
        ratio τ̂_L²/τ_L², which is null where none is known.
    """
    ours, theirs = (c.alpha[-1] for c in (found.coefficients, found.original_coefficients))
    bound = found.certificate.bound
    return {
        "original": [each.name for each in found.original],
        "tau0": found.tau0,
        "method": found.method,
        "asked": found.asked,
        "converged": found.converged,
        "coefficients": {
            name: {"original": float(theirs[place]), "compressed": float(ours[place])}
            for place, name in enumerate(COEFFICIENTS)
        },
        "layers": [
            {
                "input_scale": float(scale),
                "levels": each.levels,
                "thresholds": each.thresholds,
                "different_levels": len(set(each.levels)),
            }
            for scale, each in zip(found.coefficients.tau, found.activations, strict=False)
        ],
        "identity_shift": found.identity_shift,
        "relative_shift": found.relative_shift,
        "ratio": 1 + found.relative_shift,
        "bound": bound,
        "assumptions": found.assumptions,
    }


def as_text(found: Match, facts: dict[str, Any]) -> str:
    """Return a match as text for a terminal."""
    rows = [["coefficient of the last layer", "original", "compressed"]]
    rows += [[n, f"{v['original']:.6g}", f"{v['compressed']:.6g}"] for n, v in facts["coefficients"].items()]
    lines = [found.report(), "", table(rows), ""]
    for number, layer in enumerate(found.activations, 1):
        scale = facts["layers"][number - 1]["input_scale"]
        lines += [
            f"layer {number}, {len(set(layer.levels))} levels, of sums of scale τ = {scale:.4f}:",
            _staircase(layer),
        ]
    bound = facts["bound"]
    least = (
        ""
        if bound is None or not np.isfinite(bound)
        else f"; no activations of so few levels have less than {bound:.4f}"
    )
    lines += ["", f"τ̂_L²/τ_L² = {facts['ratio']:.4f} (1: lossless){least}"]
    return "\n".join(lines)


def _staircase(layer: Any) -> str:
    """Return the steps of an activation, each with where it begins."""
    begins = ["-∞", *(f"{t:.4f}" for t in layer.thresholds)]
    rows = [["  from", *begins], ["  level", *(f"{level:.4f}" for level in layer.levels)]]
    return table(rows)
