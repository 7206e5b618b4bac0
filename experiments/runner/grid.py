"""Hydra's sweep over all combinations of values, without its long check before the first job.

Hydra composes the configuration of every job before it starts the first, and again for each job. This takes a tenth of
a second each, and minutes for a thousand jobs. A composition fails because of one value, hardly ever because of a
combination, so this sweeper tries every value in one configuration only. A combination that does not compose stops the
sweep when its turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from experiments.runner.console import progress

# Hydra 1.3 executes the modules of its plugins anew when it looks for them, and their classes change with that
Plugins.instance()
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf  # noqa: E402


@dataclass
class GridConfig(BasicSweeperConf):
    """The configuration that takes the place of Hydra's own basic sweeper."""

    _target_: str = "experiments.runner.grid.Grid"


class Grid(BasicSweeper):
    """All combinations of values, each value checked once."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose a few configurations that contain every value.

        Raises
        ------
        hydra.errors.HydraException
            If one does not compose.
        """
        chosen = each_value_once(batch)
        with progress("checking configurations", len(chosen)) as advance:
            for words in chosen:
                super().validate_batch_is_legal([words])
                advance()


def each_value_once(batch: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return a few command lines of a batch that together contain all its words.

    Examples
    --------
    >>> from experiments.runner.grid import each_value_once
    >>> each_value_once([["a=1", "b=1"], ["a=1", "b=2"], ["a=2", "b=1"], ["a=2", "b=2"]])
    [['a=1', 'b=1'], ['a=1', 'b=2'], ['a=2', 'b=1']]
    """
    chosen, seen = [], set()
    for words in batch:
        if not seen.issuperset(words):
            chosen.append(words)
            seen.update(words)
    return chosen


def register() -> None:
    """Make this the sweeper of every sweep that names no other."""
    Plugins.instance().register(Grid)
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=GridConfig, provider="hydra")
