"""What this process knows of the sweep it runs, as Hydra tells it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from experiments.runner import states, stopping
from experiments.runner.console import CONSOLE

if TYPE_CHECKING:
    from experiments.runner.catalog import Entry


@dataclass
class _Sweep:
    """The sweep this process runs."""

    total: int | None = None
    started: float = 0.0
    finished: Path | None = None
    entry: Entry | None = None
    config: Any = None


CURRENT = _Sweep()


class Watch(Callback):
    """Learns from Hydra how many jobs there are, and where the sweep lies when all have run."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the jobs, where the sweeper is Hydra's own; from here on the sweep ends when it is told to."""
        stopping.listen()
        CURRENT.started, CURRENT.finished, sizes = time.perf_counter(), None, _sizes(config)
        CURRENT.total = prod(sizes.values()) if sizes else None
        told = {"total": CURRENT.total, "varied": [k for k, n in sizes.items() if n > 1], "started": time.time()}
        states.write(Path(config.hydra.sweep.dir) / states.SWEEP_FILE, told)
        if sizes:
            CONSOLE.print(
                f"{CURRENT.total} jobs; those of the same result run once, and what is done is not repeated.",
                soft_wrap=True,
            )

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Remember the folder, for the summary."""
        from experiments.runner import catalog

        CURRENT.finished, CURRENT.entry = Path(config.hydra.sweep.dir), catalog.find(config.experiment.name)
        CURRENT.config = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])


def _sizes(config: DictConfig) -> dict[str, int]:
    """How many values each setting takes; nothing for a sweeper with a grammar of its own."""
    params = config.hydra.sweeper.get("params") or {}
    words = [f"{k}={v}" for k, v in params.items()] + list(config.hydra.overrides.task)
    try:
        parsed = OverridesParser.create().parse_overrides(words)
        return {
            o.get_key_element(): len(list(o.sweep_string_iterator())) if o.is_sweep_override() else 1 for o in parsed
        }
    except Exception:  # whatever such a grammar makes of Hydra's parser
        return {}
