"""Run an experiment: ``python -m experiments.run +exp=NAME``; without a name, list what there is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import hydra
import jax
import matplotlib as mpl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.markup import escape

import hntk
from experiments import catalog, config, sweep, tracking
from experiments.console import CONSOLE
from experiments.record import Record

config.register()
# errors whose message says all there is to say
EXPECTED = (ValueError, OSError, ImportError, hntk.TrainingError, sweep.Skip)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def _job(cfg: config.Config) -> None:
    jax.config.update("jax_enable_x64", True)
    mpl.use("Agg")
    entry = catalog.find(cfg.experiment.name)
    try:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            sweep.run_job(cfg, entry)
        else:
            _alone(cfg, entry)
    except EXPECTED as error:
        CONSOLE.print(f"\n[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(1) from error


def _alone(cfg: config.Config, entry: catalog.Entry) -> None:
    record = Record(Path(HydraConfig.get().runtime.output_dir))
    record.start(cfg)
    CONSOLE.print(f"[bold]{entry.name}[/]: {entry.shows}")
    try:
        entry.load()(cfg, record)
    except EXPECTED:
        CONSOLE.print(f"[dim]configuration kept in {record.folder}[/]", soft_wrap=True)
        raise
    tracking.mirror(cfg, record)
    CONSOLE.print(f"\nEverything is in [bold]{record.folder}[/]", soft_wrap=True)


def main() -> None:
    """List the experiments, or run one."""
    words = sys.argv[1:]
    named = any(w.lstrip("+").startswith(("exp=", "experiment=")) for w in words)
    if not named and not any(w.startswith("-") and w not in ("-m", "--multirun") for w in words):
        _list()
        if words:
            CONSOLE.print("\n[bold red]error[/] no experiment was named: add +exp=NAME", soft_wrap=True)
            raise SystemExit(2)
        return
    try:
        _job()
    except KeyboardInterrupt:
        CONSOLE.print("\n[bold red]interrupted[/]; the same command goes on from here, if it is a sweep.")
        raise SystemExit(130) from None
    if sweep.CURRENT.finished is not None:
        command = f"python -m experiments.run {shlex.join(words)}"
        raise SystemExit(sweep.summarise(sweep.CURRENT.finished, command, sweep.CURRENT.config))


def _list() -> None:
    CONSOLE.print("Experiments (times on 2 CPU cores):\n")
    for entry in catalog.ENTRIES:
        CONSOLE.print(f"[bold]{entry.name}[/]  {entry.shows}; {entry.takes}", soft_wrap=True)
        CONSOLE.print(f"    {entry.command}\n", soft_wrap=True)
    CONSOLE.print("Add +debug=tiny for a run in seconds, and any setting of conf/ as name=value; -m sweeps over lists:")
    CONSOLE.print("    python -m experiments.run -m +exp=gmm compress.levels=2,3,4 seed=0,1", soft_wrap=True)


if __name__ == "__main__":
    main()
