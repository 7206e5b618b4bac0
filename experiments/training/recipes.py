"""What the settings of an experiment ask of `hntk.train`: widths, schedule and augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from omegaconf import ListConfig

import hntk
from experiments.runner.config import Config
from experiments.training.settings import AUGMENTATIONS, FIXED, OTHERS, RECIPES, STRETCH, DataRecipe, Recipe

LEVELS = 8


def data_recipe(name: str) -> DataRecipe:
    """Return the recipe of a data set."""
    return RECIPES.get(name, OTHERS)


def plain(value: Any) -> Any:
    """Return a list of settings as a tuple; other values stay."""
    return tuple(value) if isinstance(value, list | tuple | ListConfig) else value


def recipe_within(networks: Sequence[Recipe], kilobytes: float) -> Recipe | None:
    """Return the largest network that is made for a budget; None if none is near it."""
    near = (r for r in networks if r.kilobytes <= kilobytes <= STRETCH * r.kilobytes)
    return max(near, key=lambda recipe: recipe.kilobytes, default=None)


def network_recipe(cfg: Config) -> Recipe | None:
    """Return the network that is made for the budget of the settings; None where they give widths, or none is near."""
    settings = cfg.experiment
    if settings.widths is not None or settings.kilobytes is None or settings.thresholds == "each":
        return None
    return recipe_within(data_recipe(cfg.data.name).networks, float(settings.kilobytes))


def network_options(cfg: Config, levels: Any = None) -> dict[str, Any]:
    """Return widths, levels, zeros and pooling, or the kilobytes from which the library takes widths.

    Parameters
    ----------
    cfg : Config
        The configuration.
    levels : int, optional
        Levels in place of the settings'.

    Returns
    -------
    dict
        Arguments of `hntk.train`.

    Raises
    ------
    ValueError
        If there are neither widths nor kilobytes.
    """
    settings = cfg.experiment
    chosen = levels or plain(settings.levels) or LEVELS
    options = {"levels": chosen, "widths": plain(settings.widths), "sparsity": plain(settings.sparsity)}
    options |= {"pool": plain(settings.pool), "thresholds": settings.thresholds}
    if options["widths"] is None:
        if settings.kilobytes is None:
            raise ValueError("give experiment.kilobytes=NUMBER, or experiment.widths=[NUMBER,NUMBER].")
        options["kilobytes"] = float(settings.kilobytes)
        recipe = network_recipe(cfg)
        if recipe is not None:
            made = {name: getattr(recipe, name) for name in ("widths", "sparsity", "pool")}
            options |= {name: value for name, value in made.items() if options[name] is None}
    if options["pool"] is not None and not any(options["pool"]):
        options["pool"] = None
    return options


def schedule_of(cfg: Config, samples: int, *, to_the_end: bool = False) -> hntk.Schedule:
    """Return how long and how fast to train.

    Parameters
    ----------
    cfg : Config
        The configuration.
    samples : int
        Number of training samples, which bounds a batch.
    to_the_end : bool
        Whether no training stops early, so that all have the same number of epochs.

    Returns
    -------
    hntk.Schedule
        The schedule.
    """
    recipe, network = data_recipe(cfg.data.name), network_recipe(cfg)
    names = [field.name for field in fields(hntk.Schedule)]
    given = {name: getattr(cfg.experiment, name) for name in names}
    chosen = {name: getattr(recipe, name) if value is None else value for name, value in given.items()}
    if network is not None and network.epochs is not None and given["epochs"] is None:
        chosen["epochs"] = network.epochs
    if to_the_end or chosen["patience"] is None:
        chosen["patience"] = chosen["epochs"]
    schedule = hntk.Schedule(**chosen)
    return replace(schedule, batch=min(schedule.batch, samples))


def augmentation_of(cfg: Config) -> hntk.Augmentation | None:
    """Return the augmentation that the settings name, or that of the data set."""
    name = None if cfg.experiment.augment == "auto" else cfg.experiment.augment
    return data_augmentation(cfg.data.name, name, float(cfg.experiment.strength))


def data_augmentation(data: str, name: str | None = None, strength: float = 1.0) -> hntk.Augmentation | None:
    """Return an augmentation by name, by default that of the data set; None if it leaves samples as they are."""
    numbers = AUGMENTATIONS[name or data_recipe(data).augment]
    scaled: dict[str, Any] = {key: value if key in FIXED else strength * value for key, value in numbers.items()}
    return hntk.Augmentation(**scaled) if scaled else None


def described(classifier: hntk.IntegerClassifier) -> list[str]:
    """Return widths, levels and shares of zeros of the layers, and what images are pooled to, as texts."""
    network = classifier.network
    shares = [getattr(weights, "zeros", np.nan) for weights in network.weights]
    return [
        "-".join(str(weights.shape[0]) for weights in network.weights),
        "-".join(str(len(set(steps.levels))) for steps in network.steps),
        "-".join(f"{share:.3f}" for share in shares),
        "×".join(map(str, getattr(network.inputs, "pooled", ()))),
    ]
