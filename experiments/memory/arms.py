"""The arms of the memory experiment whose hidden layers are random: which law, which activations, how wide."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import jax
from omegaconf import OmegaConf

import hntk
from experiments.runner.config import ArmConfig, CompressConfig, Config
from experiments.runner.console import stage
from experiments.runner.errors import Skip
from experiments.runner.keys import data_digest
from experiments.runner.setting import activations, matched
from hntk.activations.fingerprint import fingerprint
from hntk.networks.formula_bytes import storage_of
from hntk.networks.forward import LEAST_ZEROS

# of the file besides arrays: names, shapes and what is not an array
HEADER = 2048
_MATCHES: dict[str, hntk.Match] = {}


def original_layers(cfg: Config) -> list[hntk.Activation]:
    """The dense network's activations."""
    return activations(cfg.net.activations)


def arm_layers(cfg: Config, arm: ArmConfig, data: hntk.Dataset) -> Sequence[hntk.Activation]:
    """The arm's activations; a match is solved for once a process."""
    layers = original_layers(cfg)
    if arm.activations == "original":
        return layers
    if isinstance(arm.activations, str) and arm.activations != "paper":
        return [hntk.activation(arm.activations)] * len(layers)
    objective = "theory" if arm.activations == "paper" else cfg.compress.objective
    question = match_question(cfg.compress, layers, data, arm.activations, objective)
    if question not in _MATCHES:
        _MATCHES[question] = _solve(cfg.compress, layers, data, arm.activations, objective)
    return _MATCHES[question].activations


def match_question(
    options: CompressConfig, layers: Sequence[hntk.Activation], data: hntk.Dataset, levels: Any, objective: str
) -> str:
    """Return all that decides a match, as a text that is the same for the same match."""
    asked = OmegaConf.to_container(options, resolve=True) if OmegaConf.is_config(options) else asdict(options)
    x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    told = [asked, levels, objective, data_digest(data), data.tau0, list(map(fingerprint, layers)), x64]
    return json.dumps(told, sort_keys=True, default=str)


def _solve(
    options: CompressConfig, layers: list[hntk.Activation], data: hntk.Dataset, levels: Any, objective: str
) -> hntk.Match:
    with stage(f"matching: {levels} levels, by {objective}; once for all jobs of this process") as tell:
        return matched(options, layers, data.tau0, data.x_train, levels, objective, tell)[0]


def weight_law(cfg: Config, arm: ArmConfig) -> hntk.WeightLaw:
    """The law of the arm's weights, or, for bytes alone, of those that training gives."""
    if arm.training == "ternary":
        # how many zeros training leaves is not known before: base 3 takes 1.6 bits whatever it is
        return hntk.WeightLaw("ternary", sparsity=1 / 3)
    trained = {"dense": "gaussian", "pruned": "pruned_gaussian", "finetuned": "pruned_gaussian"}
    return hntk.WeightLaw(trained[arm.training] if arm.training else arm.law, sparsity=float(cfg.compress.sparsity))


def widths(cfg: Config, arm: ArmConfig, inputs: int, classes: int) -> tuple[int, ...]:
    """The widest layers, in the proportions of the original's, whose file fits the budget and which can be computed.

    Where ``experiment.width`` says how wide they are to be, the budget has no say.

    Raises
    ------
    Skip
        If not even one neuron a layer fits.
    ValueError
        If the width that was asked for is not positive.
    """
    most = max(cfg.net.widths)
    law = weight_law(cfg, arm)
    limit = _widest(cfg, arm, law)
    shapes = tuple(cfg.net.widths)

    def scaled(width: int) -> tuple[int, ...]:
        return tuple(max(1, round(d * width / most)) for d in shapes)

    if cfg.experiment.width is not None:
        if cfg.experiment.width < 1:
            raise ValueError(f"experiment.width must be positive or null, got {cfg.experiment.width}.")
        return scaled(cfg.experiment.width)

    def size(width: int) -> int:
        staircases = _placeholders(cfg, arm)
        return storage_of(staircases, scaled(width), inputs, law, classes).smallest + 4 * inputs + HEADER

    budget = float(cfg.experiment.budget)
    widest = bisect_right(range(1, limit + 1), budget, key=size)
    if widest == 0:
        raise Skip(f"not even one neuron a layer fits {budget:,.0f} bytes")
    return scaled(widest)


def _widest(cfg: Config, arm: ArmConfig, law: hntk.WeightLaw) -> int:
    if arm.family == "trained":
        return cfg.experiment.max_trained_width
    return cfg.experiment.max_sparse_width if law.zeros >= LEAST_ZEROS else cfg.experiment.max_width


@lru_cache(maxsize=8)
def _table(levels: int, depth: int) -> tuple[hntk.Activation, ...]:
    return tuple(hntk.staircase(list(range(levels - 1)), list(range(levels))) for _ in range(depth))


def _placeholders(cfg: Config, arm: ArmConfig) -> Sequence[hntk.Activation]:
    """Activations of the arm's size: few-level ones are not solved for just to count their bytes."""
    depth = len(cfg.net.widths)
    levels: Any = {"paper": 3, "sign": 2}.get(arm.activations, arm.activations)
    return original_layers(cfg) if levels == "original" else _table(int(levels), depth)
