"""The description of an experiment: the one place where an experiment is registered.

To add an experiment to a study, for instance to ``kernels``, touch two files:

1. write ``experiments/kernels/NAME.py`` with a function ``run(cfg, record)``;
2. in ``experiments/kernels/settings.py`` declare its settings as a dataclass and append an `Experiment` to
   ``EXPERIMENTS``. Where it passes ``kernels.engine`` on, or takes any network, say so there. Otherwise such settings
   are refused.

``python -m experiments.run`` then lists it, ``+exp=NAME`` runs it, and ``+debug=tiny`` shortens it. The tests run it
with its tiny settings, and ask for a check in ``tests/experiments/test_tiny.py``. An experiment that is a sweep by
default has its values in ``conf/sweep/NAME.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

# why most experiments have no use for an engine, or for the scales of a network
NO_KERNELS = "it computes no kernels"
NO_NETWORK = "it does not read the network's scales"


@dataclass(frozen=True)
class Experiment:
    """One experiment of the command line.

    Attributes
    ----------
    settings : type
        The dataclass of what ``experiment.SETTING=VALUE`` may set; its ``name`` is that of the module that runs it.
    shows : str
        What there is to see.
    takes : str
        How long it takes on 2 CPU cores.
    leaves : tuple of str
        Patterns of the tables and figures that every run leaves in its folder (of a sweep, in the sweep's folder).
    name : str
        The name in ``+exp=NAME``; by default that of the settings.
    arguments : str
        What else the command line needs, such as ``data.folder=PATH``.
    data : str
        The file of ``conf/data`` that it uses by default.
    groups : mapping
        Further entries of Hydra's defaults list.
    values : mapping
        Values that differ from those of ``conf``, nested by config group.
    tiny : mapping
        Values that ``+debug=tiny`` sets, so that a run takes seconds.
    native_only : str
        Why ``kernels.engine`` must be native; empty where the experiment passes the engine on.
    plain_only : str
        Why ``net`` must describe a plain network, one of ``runner.config.PLAIN_NET``; empty where any network does.
    """

    settings: Any
    shows: str
    takes: str
    leaves: tuple[str, ...]
    name: str = ""
    arguments: str = ""
    data: str = "gmm"
    groups: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    native_only: str = NO_KERNELS
    plain_only: str = NO_NETWORK

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.settings.name)

    @property
    def module(self) -> str:
        """The module that runs it, beside the settings.

        It has ``run(cfg, record)``, and may have four more functions for sweeps: ``identity(cfg)``, the settings that
        decide a job's result; ``data_read(cfg)``, the data set that it reads; ``objectives(metrics)``, what a sweeper
        optimises; ``gather(jobs, record, command)``, the summary of all jobs.
        """
        return f"{self.settings.__module__.rpartition('.')[0]}.{self.settings.name}"

    @property
    def command(self) -> str:
        """The command line that runs it."""
        return f"python -m experiments.run +exp={self.name} {self.arguments}".rstrip()

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that ``+exp=NAME`` stands for, as Hydra reads it."""
        chosen = {"/experiment": self.settings.name, "override /data": self.data, **self.groups}
        # Hydra wants overrides at the end of a defaults list
        ordered = sorted(chosen.items(), key=lambda entry: entry[0].startswith("override"))
        return {"defaults": [{group: name} for group, name in ordered], **self.values}

    def load(self) -> ModuleType:
        """Import the module that runs it, and with it JAX."""
        return import_module(self.module)
