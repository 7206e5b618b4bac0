"""The original network that a configuration describes, and what it is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from omegaconf import OmegaConf

import hntk
from experiments.runner.config import PLAIN_NET, NetConfig

# what functions of the library take as the original network
Network = hntk.Architecture | list[hntk.Activation]


def activations(configured: Iterable[Any]) -> list[hntk.Activation]:
    """Return activations from names, or from mappings with a name and parameters."""
    made = []
    for item in configured:
        plain: Any = OmegaConf.to_container(item) if OmegaConf.is_config(item) else item
        if isinstance(plain, dict):
            parameters = {str(k): v for k, v in plain.items() if k != "name"}
            made.append(hntk.activation(str(plain.get("name")), **parameters))
        else:
            made.append(hntk.activation(plain))
    return made


def network(net: NetConfig, configured: Iterable[Any] | None = None) -> Network:
    """Return the original network: a list of activations where it is plain, its description otherwise.

    Parameters
    ----------
    net : NetConfig
        Its activations and scales.
    configured : iterable, optional
        Activations in place of its own.

    Returns
    -------
    list of hntk.Activation or hntk.Architecture
        The network.

    Raises
    ------
    ValueError
        If a scale is out of range, or there are not as many of them as layers.
    """
    layers = activations(net.activations if configured is None else configured)
    plain: Any = OmegaConf.to_container(net) if OmegaConf.is_config(net) else asdict(net)
    scales = {name: plain[name] for name in PLAIN_NET}
    described = hntk.Architecture(layers, **scales)
    return layers if described.is_plain else described


def layers_of(net: Network) -> list[hntk.Activation]:
    """Return a network's activations."""
    return list(net.layers) if isinstance(net, hntk.Architecture) else net


def first_layers(net: Network, count: int) -> Network:
    """Return the network of the first layers."""
    if not isinstance(net, hntk.Architecture):
        return net[:count]
    cut: dict[str, Any] = {name: getattr(net, name)[:count] for name in ("weight_std", "bias_std", "residual")}
    return replace(net, activations=net.layers[:count], **cut)


def name_of(net: Network) -> str:
    """Return what captions call a network: its layers, and what makes it other than plain.

    Examples
    --------
    >>> import hntk
    >>> from experiments.runner.networks import name_of
    >>> name_of(hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.1, centred=False))
    'relu × 3, weight_std=1.41421, bias_std=0.1, un-centred'
    """
    names = [sigma.name for sigma in layers_of(net)]
    chain = f"{names[0]} × {len(names)}" if len(set(names)) == 1 else "-".join(names)
    return f"{chain}, {net.settings}" if isinstance(net, hntk.Architecture) else chain


def activation_names(net: Network) -> str:
    """Return the names of a network's activations, each once."""
    return "/".join(dict.fromkeys(sigma.name for sigma in layers_of(net)))


def declared_diagonal(coefficients: hntk.Coefficients) -> float:
    """Return κ_L² of the NTK; where it is infinite, the value that makes the equivalent's identity part τ_L²."""
    kappa_sq = float(coefficients.kappa_sq[-1])
    if np.isfinite(kappa_sq):
        return kappa_sq
    return float(coefficients.tau[-1] ** 2 + coefficients.tau[0] ** 2 * coefficients.beta[-1, 0])
