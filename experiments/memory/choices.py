"""How trained networks are trained: seeds, epochs, and the ways of which the best by validation accuracy is taken.

Every arm is trained in the same ways, so that none has regularisation or learning rates that another lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from experiments.runner.config import Config
from experiments.training.recipes import data_recipe
from hntk.readouts.training import Schedule


class Choice(NamedTuple):
    """One way to train: what the data's augmentation is multiplied by, weight decay, and learning rate."""

    strength: float
    weight_decay: float
    learning_rate: float


@dataclass(frozen=True)
class Tried:
    """What is tried for the networks of some seeds: every choice, for so many epochs.

    Attributes
    ----------
    seeds : tuple of int
        Seeds of initial weights, of the order of samples and of their variations; they are trained together.
    epochs : int
        Epochs of each training.
    choices : tuple of Choice
        Ways to train.
    checkpoints : bool
        Whether every training keeps what it needs to go on after an interruption.
    """

    seeds: tuple[int, ...]
    epochs: int
    choices: tuple[Choice, ...]
    checkpoints: bool = True

    @classmethod
    def of(cls, cfg: Config) -> Tried:
        """Return what the settings ask for.

        Raises
        ------
        ValueError
            If there are no seeds, or nothing to choose from.
        """
        settings = cfg.experiment
        decays = [data_recipe(cfg.data.name).weight_decay] if settings.weight_decays is None else settings.weight_decays
        grid = {"strengths": settings.strengths, "weight_decays": decays, "learning_rates": settings.learning_rates}
        for name, values in grid.items():
            if not len(values):
                raise ValueError(f"experiment.{name} is empty: give at least one number to choose from.")
        choices = tuple(Choice(*map(float, numbers)) for numbers in product(*grid.values()))
        return cls(seeds_of(cfg), int(settings.epochs), choices, bool(settings.checkpoints))

    def schedule(self, data: str, choice: Choice, samples: int) -> Schedule:
        """Return the schedule of a choice: all epochs, with batches and the slow beginning of the data's recipe."""
        recipe = data_recipe(data)
        return Schedule(
            epochs=self.epochs, batch=min(recipe.batch, samples), learning_rate=choice.learning_rate,
            weight_decay=choice.weight_decay, warmup=min(recipe.warmup, self.epochs / 4), patience=self.epochs,
        )  # fmt: skip


def seeds_of(cfg: Config) -> tuple[int, ...]:
    """Return the seeds of a job.

    Raises
    ------
    ValueError
        If there are none.
    """
    if cfg.experiment.seeds < 1:
        raise ValueError(f"experiment.seeds must be at least 1, got {cfg.experiment.seeds}.")
    return tuple(range(int(cfg.seed), int(cfg.seed) + int(cfg.experiment.seeds)))
