"""Tests of the registration of experiments: names, settings and the configuration that +exp=NAME stands for."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from experiments.memory.settings import MemoryExperiment
from experiments.runner import catalog
from experiments.runner.experiment import Experiment


def test_names_are_unique_and_settings_lead_back_to_the_module_that_runs_them() -> None:
    names = [experiment.name for experiment in catalog.EXPERIMENTS]
    assert len(set(names)) == len(names)
    for experiment in catalog.EXPERIMENTS:
        # a run is found again by experiment.name of its configuration alone
        first = catalog.find(experiment.settings.name)  # type: ignore[attr-defined]
        assert (first.settings, first.module) == (experiment.settings, experiment.module)
        assert find_spec(experiment.module)


def test_an_unknown_name_is_answered_by_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown experiment 'gmn'; known are gmm, .*fetch\."):
        catalog.find("gmn")


def test_overrides_come_last_in_the_defaults_list() -> None:
    groups = {"override /hydra/sweeper": "optuna", "/arm": "dense"}
    experiment = Experiment(
        MemoryExperiment, "a toy", "no time", ("jobs.csv",), "toy", "data.folder=PATH", data="mnist", groups=groups,
        values={"seed": 1},
    )  # fmt: skip
    assert experiment.command == "python -m experiments.run +exp=toy data.folder=PATH"
    assert experiment.config == {
        "defaults": [
            {"/experiment": "memory"}, {"/arm": "dense"}, {"override /data": "mnist"},
            {"override /hydra/sweeper": "optuna"},
        ],
        "seed": 1,
    }  # fmt: skip
