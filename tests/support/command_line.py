"""Experiments, run by their command line in a process as a user runs them, or in this one, which takes less time."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from hydra import compose, initialize_config_dir

from experiments.runner import catalog
from experiments.runner.command_line import expand_tiny
from experiments.runner.record import Record
from tests.support.forking import run_forked

ROOT = Path(__file__).parents[2]


def started(*words: str, data: Path | None = None) -> subprocess.Popen[str]:
    """Start an experiment, without this process's environment variables of hntk and W&B."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *words],
        cwd=ROOT, env=_environment(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _environment(data: Path | None) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HNTK_", "WANDB_"))}
    return environment if data is None else environment | {"HNTK_DATA": str(data)}


def run(*words: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run an experiment to its end in a forked process, whether it succeeds or not."""
    status, out, err = run_forked(words, _environment(data), 500)
    return subprocess.CompletedProcess(words, status, out, err)


def done(*words: str, data: Path | None = None) -> str:
    """Return the output of an experiment that must succeed."""
    result = run(*words, data=data)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait until a condition holds, or the time is over."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv table."""
    with path.open() as file:
        return list(csv.DictReader(file))


def composed(*words: str) -> Any:
    """Return the configuration that the words of a command line ask for."""
    return deepcopy(_composed(words, os.environ.get("HNTK_DATA")))


@cache
def _composed(words: Sequence[str], _data: str | None) -> Any:
    """Compose a configuration, which also depends on whether the environment names a data folder."""
    catalog.register()
    settings, _ = expand_tiny(words)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=settings)


def run_here(folder: Path, *words: str) -> Record:
    """Run an experiment in this process, with its files in a folder."""
    cfg, record = composed(*words), Record(folder)
    folder.mkdir(parents=True, exist_ok=True)
    catalog.find(cfg.experiment.name).load().run(cfg, record)
    plt.close("all")
    return record
