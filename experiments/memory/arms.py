"""Weight law, activations and widths of every arm of the memory experiment."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from math import ceil
from typing import Any

import jax
from omegaconf import OmegaConf

import hntk
from experiments.runner.config import ArmConfig, CompressConfig, Config
from experiments.runner.console import stage
from experiments.runner.errors import Skip
from experiments.runner.from_config import matched, way_of_matching
from experiments.runner.keys import data_digest
from experiments.runner.networks import activations
from hntk.activations.fingerprint import fingerprint
from hntk.networks.formula_bytes import storage_of
from hntk.networks.forward import LEAST_ZEROS

# Bytes of a file besides its arrays: names, shapes and other metadata.
HEADER = 2048
# Zeros of trained weights lie less evenly than random ones, so that they take some 5 % more of a file; and a margin.
UNEVEN = 1.06
# The matches of this process, by all that decides them.
_MATCHES: dict[str, hntk.Match] = {}


def arm_layers(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, widths: tuple[int, ...], law: hntk.WeightLaw
) -> Sequence[hntk.Activation]:
    """Return the arm's activations; the same match is solved for once a process."""
    layers = activations(cfg.net.activations)
    if arm.activations == "original":
        return layers
    if isinstance(arm.activations, str) and arm.activations != "paper":
        return [hntk.activation(arm.activations)] * len(layers)
    objective, method = way_of_matching(arm.activations, cfg.compress.objective, arm.layers)
    # the theory's match is the same at all widths
    drawn = (widths, law) if objective == "data" else None
    question = match_question(cfg.compress, layers, data, arm.activations, (objective, method), drawn)
    if question not in _MATCHES:
        title = f"matching: {arm.activations} levels, by {objective}; once for all seeds of this process"
        with stage(title) as tell:
            _MATCHES[question], _ = matched(
                cfg.compress, layers, data.tau0, data.x_train, data.y_train, levels=arm.activations,
                objective=objective, method=method, drawn=drawn, tell=tell,
            )  # fmt: skip
    return _MATCHES[question].activations


def match_question(
    options: CompressConfig,
    layers: Sequence[hntk.Activation],
    data: hntk.Dataset,
    levels: Any,
    way: tuple[str, str | None],
    drawn: tuple[tuple[int, ...], hntk.WeightLaw] | None = None,
) -> str:
    """Return all that decides a match, as a text."""
    settings = OmegaConf.to_container(options, resolve=True) if OmegaConf.is_config(options) else asdict(options)
    x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    law = None if drawn is None else [drawn[0], asdict(drawn[1])]
    parts = [settings, levels, way, law, data_digest(data), data.tau0, list(map(fingerprint, layers)), x64]
    return json.dumps(parts, sort_keys=True, default=str)


def weight_law(cfg: Config, arm: ArmConfig) -> hntk.WeightLaw:
    """Return the law of the arm's weights; for trained networks, a law whose weights take as many bytes."""
    if arm.law == "orthogonal":
        # More zeros would save no byte of orthogonal blocks.
        return hntk.WeightLaw("orthogonal", sparsity=0.5)
    trained = {"dense": "gaussian", "pruned": "pruned_gaussian", "finetuned": "pruned_gaussian", "ternary": "ternary"}
    return hntk.WeightLaw(trained[arm.training] if arm.training else arm.law, sparsity=float(cfg.compress.sparsity))


def widths(cfg: Config, arm: ArmConfig, inputs: int, classes: int) -> tuple[int, ...]:
    """Return the widest layers whose file fits the budget and that can be computed.

    They have the arm's proportions or else the original's, up to the largest widths that can be computed. With
    ``experiment.width`` set, the widest layer has that width whatever the budget.

    Raises
    ------
    Skip
        If not even one neuron a layer fits.
    ValueError
        If ``experiment.width`` is not positive.
    """
    law, shape = weight_law(cfg, arm), tuple(arm.proportions or cfg.net.widths)
    limits = _limits(cfg, arm, law, shape)

    def scaled(width: int) -> tuple[int, ...]:
        return tuple(max(1, min(limit, round(d * width / max(shape)))) for d, limit in zip(shape, limits, strict=True))

    if cfg.experiment.width is not None:
        if cfg.experiment.width < 1:
            raise ValueError(f"experiment.width must be positive or null, got {cfg.experiment.width}.")
        return scaled(cfg.experiment.width)

    def size(width: int) -> int:
        read: Any = arm.layers
        storage = storage_of(_placeholders(cfg, arm), scaled(width), inputs, law, classes, read)
        if arm.training == "ternary":
            fixed = whole_number_bytes(scaled(width), inputs, classes, [int(arm.activations)] * len(shape))
            assert storage.hidden_base3 is not None
            return min(storage.hidden_base3, ceil(UNEVEN * storage.hidden_smallest)) + fixed + HEADER
        return storage.smallest + 4 * inputs + HEADER

    budget = float(cfg.experiment.budget)
    most = max(-(-limit * max(shape) // d) for limit, d in zip(limits, shape, strict=True))
    widest = bisect_right(range(1, most + 1), budget, key=size)
    if widest == 0:
        raise Skip(f"not even one neuron a layer fits {budget:,.0f} bytes")
    return scaled(widest)


def whole_number_bytes(widths: Sequence[int], inputs: int, classes: int, levels: Sequence[int]) -> int:
    """Return the most bytes that a trained network of whole numbers takes besides its weights and names.

    Each neuron has a first threshold in 32 bits and gaps between the others in 16. The readout has 8 bits a weight, and
    32 an offset. Inputs that are no pixels have a centre in float32.

    Parameters
    ----------
    widths : sequence of int
        Width of each layer.
    inputs : int
        Dimension of a sample.
    classes : int
        Number of classes.
    levels : sequence of int
        Number of levels of each layer.

    Returns
    -------
    int
        Bytes.
    """
    thresholds = sum(d * (4 + 2 * (n - 2)) for d, n in zip(widths, levels, strict=True))
    return thresholds + 2 * sum(levels) + classes * (widths[-1] + 4) + 4 * inputs


def _limits(cfg: Config, arm: ArmConfig, law: hntk.WeightLaw, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the largest widths that can be computed; only those of orthogonal arms may leave the proportions."""
    settings = cfg.experiment
    if law.name == "orthogonal":
        return (settings.max_orthogonal_width,) * (len(shape) - 1) + (settings.max_width,)
    widest = settings.max_sparse_width if law.zeros >= LEAST_ZEROS else settings.max_width
    widest = settings.max_trained_width if arm.family == "trained" else widest
    return tuple(-(-d * widest // max(shape)) for d in shape)


def _placeholders(cfg: Config, arm: ArmConfig) -> Sequence[hntk.Activation]:
    """Return activations that take as many bytes as the arm's, without solving for them."""
    levels: Any = {"paper": 3, "sign": 2}.get(arm.activations, arm.activations)
    return activations(cfg.net.activations) if levels == "original" else _staircases(int(levels), len(cfg.net.widths))


@lru_cache(maxsize=8)
def _staircases(levels: int, depth: int) -> tuple[hntk.Activation, ...]:
    return tuple(hntk.staircase(list(range(levels - 1)), list(range(levels))) for _ in range(depth))
