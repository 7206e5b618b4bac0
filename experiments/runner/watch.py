"""What this process knows of the sweep that it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from experiments.runner import jobs, stopping
from experiments.runner.console import say


@dataclass(frozen=True)
class Sweep:
    """A sweep whose jobs have all run.

    Attributes
    ----------
    folder : Path
        The sweep's folder.
    config : Any
        The configuration that its jobs share.
    started : float
        When it began, by `time.perf_counter`.
    """

    folder: Path
    config: Any
    started: float


class Watch(Callback):
    """Hydra's callback that counts the jobs of a sweep before they run, and keeps its folder for the summary.

    Attributes
    ----------
    finished : Sweep or None
        The sweep of this process, once all its jobs have run; a class attribute, since Hydra makes the instance.
    """

    finished: Sweep | None = None

    def __init__(self) -> None:
        self._started = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the jobs, if the sweeper is Hydra's own, and have signals end the sweep cleanly from here on."""
        stopping.listen()
        self._started, Watch.finished = time.perf_counter(), None
        sizes = _values_per_setting(config)
        total = prod(sizes.values()) if sizes else None
        facts = {"total": total, "varied": [name for name, n in sizes.items() if n > 1], "started": time.time()}
        jobs.write(Path(config.hydra.sweep.dir) / jobs.SWEEP_FILE, facts)
        if sizes:
            say(f"{total} jobs; jobs with the same result run once, and finished ones are not repeated.")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Keep what the summary needs."""
        shared = OmegaConf.masked_copy(config, [str(group) for group in config if group != "hydra"])
        Watch.finished = Sweep(Path(config.hydra.sweep.dir), shared, self._started)


def _values_per_setting(config: DictConfig) -> dict[str, int]:
    """Return how many values each setting takes; empty for a sweeper with a grammar of its own."""
    params = config.hydra.sweeper.get("params") or {}
    words = [f"{name}={value}" for name, value in params.items()] + list(config.hydra.overrides.task)
    try:
        overrides = OverridesParser.create().parse_overrides(words)
        return {
            override.get_key_element(): len(list(override.sweep_string_iterator()))
            if override.is_sweep_override()
            else 1
            for override in overrides
        }
    except Exception:  # whatever such a grammar makes of Hydra's parser
        return {}
