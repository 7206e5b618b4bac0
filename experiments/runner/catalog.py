"""All experiments, collected from the studies, and their registration with Hydra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hydra.core.config_store import ConfigStore

from experiments.runner import config
from experiments.runner.experiment import Experiment

# the packages of `experiments` that hold studies, in the order in which the experiments are listed
STUDIES = ("kernels", "asymptotics", "memory", "training", "shipping", "benchmarks", "fetch")
# imported by name, as the studies stand above this package
EXPERIMENTS: tuple[Experiment, ...] = tuple(
    experiment for study in STUDIES for experiment in import_module(f"experiments.{study}.settings").EXPERIMENTS
)
GROUPS = {
    "data": config.DataConfig,
    "net": config.NetConfig,
    "kernels": config.KernelsConfig,
    "compress": config.CompressConfig,
    "arm": config.ArmConfig,
    "wandb": config.WandbConfig,
}


class _Shared(dict[str, Any]):
    """What is registered with Hydra, which reads it alone, and would copy all of it for every configuration."""

    def __deepcopy__(self, _: dict) -> _Shared:
        return self


def find(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises
    ------
    ValueError
        If no experiment has the name; the message lists those there are.
    """
    for experiment in EXPERIMENTS:
        if experiment.name == name:
            return experiment
    raise ValueError(f"unknown experiment {name!r}; known are {', '.join(e.name for e in EXPERIMENTS)}.")


def register() -> None:
    """Make settings and experiments known to Hydra: ``+exp=NAME``, ``+tiny=NAME`` and the types of all settings."""
    store = ConfigStore.instance()
    store.repo = _Shared(store.repo)
    store.store(name="schema", node=config.Config)
    for group, settings in GROUPS.items():
        store.store(group=group, name="schema", node=settings)
    for experiment in EXPERIMENTS:
        # two experiments may share their settings, which then bear the name of the first
        store.store(group="experiment", name=experiment.settings.name, node=experiment.settings)
        store.store(group="exp", name=experiment.name, node=experiment.config, package="_global_")
        store.store(group="tiny", name=experiment.name, node=dict(experiment.tiny), package="_global_")
