"""The function that Hydra calls for every run and every job of a sweep, in this process or in a worker's."""

from __future__ import annotations

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from experiments.runner import catalog, launching, sweep, tracking
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, shown
from experiments.runner.errors import expected, print_error
from experiments.runner.experiment import Experiment
from experiments.runner.record import Record
from experiments.runner.refusals import check_use


def run(cfg: Config) -> tuple[float, ...] | None:
    """Run the experiment that the configuration names.

    Returns
    -------
    tuple of float or None
        For a job of a sweep, what a sweeper is to optimise.

    Raises
    ------
    SystemExit
        After an error whose message was printed. In a worker, the error is left to the launcher to print.
    """
    # late, as both take seconds and a worker sets the environment before it calls this
    import jax
    import matplotlib as mpl

    jax.config.update("jax_enable_x64", True)
    mpl.use("Agg")
    hydra = HydraConfig.get()
    experiment = catalog.find(cfg.experiment.name)
    try:
        # for configurations that no command line was checked for
        check_use(cfg, experiment)
        if hydra.mode == RunMode.MULTIRUN:
            # a worker may have started elsewhere; relative paths refer to where the sweep was started
            os.chdir(hydra.runtime.cwd)
            return sweep.run_job(cfg, experiment)
        _run_alone(cfg, experiment)
    except expected() as error:
        if hydra.launcher["_target_"] == launching.TARGET and hydra.mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(print_error(error)) from error
    return None


def _run_alone(cfg: Config, experiment: Experiment) -> None:
    """Run an experiment outside a sweep."""
    runtime = HydraConfig.get().runtime
    record = Record(Path(runtime.output_dir))
    record.start(cfg)
    # the settings do not tell experiments apart that share them, but +exp=NAME does
    named = catalog.find(runtime.choices.get("exp", experiment.name))
    CONSOLE.print(f"[bold]{named.name}[/]: {named.shows}")
    try:
        experiment.load().run(cfg, record)
    except expected():
        say(f"[dim]configuration kept in {shown(record.folder)}[/]")
        raise
    tracking.mirror(cfg, record)
    say(f"\nEverything is in [bold]{shown(record.folder)}[/]")
