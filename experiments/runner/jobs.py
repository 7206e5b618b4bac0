"""What Hydra calls for every run and every job of a sweep, in this process or in a worker's."""

from __future__ import annotations

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from experiments.runner import catalog, launching, sweep
from experiments.runner.catalog import Entry
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE
from experiments.runner.record import Record
from experiments.runner.words import shown


def run(cfg: Config) -> tuple[float, ...] | None:
    """Run the experiment that was named; of a sweep's job, return what a sweeper is to optimise.

    Raises
    ------
    SystemExit
        After an error that was said; a worker leaves it to the launcher to say it.
    """
    # both take their time, and whoever asks in vain need not wait for them
    import jax
    import matplotlib as mpl

    jax.config.update("jax_enable_x64", True)
    mpl.use("Agg")
    hydra = HydraConfig.get()
    entry = catalog.find(cfg.experiment.name)
    try:
        if hydra.mode == RunMode.MULTIRUN:
            # a worker may have started elsewhere, and paths are meant from where the sweep was
            os.chdir(hydra.runtime.cwd)
            return sweep.run_job(cfg, entry)
        _alone(cfg, entry)
    except sweep.expected() as error:
        if hydra.launcher["_target_"] == launching.NAME and hydra.mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(sweep.say_error(error)) from error
    return None


def _alone(cfg: Config, entry: Entry) -> None:
    from experiments.runner import tracking

    record = Record(Path(HydraConfig.get().runtime.output_dir))
    record.start(cfg)
    CONSOLE.print(f"[bold]{entry.name}[/]: {entry.shows}")
    try:
        entry.load()(cfg, record)
    except sweep.expected():
        CONSOLE.print(f"[dim]configuration kept in {shown(record.folder)}[/]", soft_wrap=True)
        raise
    tracking.mirror(cfg, record)
    CONSOLE.print(f"\nEverything is in [bold]{shown(record.folder)}[/]", soft_wrap=True)
