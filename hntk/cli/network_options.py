"""The network that a command asks about: activations, and the scales of weights and biases."""

from __future__ import annotations

import argparse

from hntk.theory.architecture import Architecture, ArchitectureLike


def network_of(options: argparse.Namespace, activations: list[str]) -> ArchitectureLike:
    """Return the network that activations and options describe."""
    if options.weight_std is None and options.bias_std is None and not options.not_centred:
        return activations
    return Architecture(
        activations,
        weight_std=1.0 if options.weight_std is None else options.weight_std,
        bias_std=0.0 if options.bias_std is None else options.bias_std,
        centred=not options.not_centred,
    )
