"""Run an experiment: ``python -m experiments.run +exp=NAME``; without a name, list what there is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import hydra

from experiments import catalog, config, jobs, launching, sweep
from experiments.console import CONSOLE

CONF = Path(__file__).parents[1] / "conf"
config.register()
launching.register()
# the task is of a module that workers can import
_job = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(jobs.run)


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
    sys.argv[1:] = launching.as_sweep(words)
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
