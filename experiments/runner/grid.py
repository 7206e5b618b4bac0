"""Hydra's own sweep over all combinations of values, whose first job starts at once.

Hydra composes the configurations of all jobs before it starts one, and again for each job: a tenth of a second each,
and minutes for a thousand jobs. Composition fails by a value, hardly ever by a combination of them, so that here every
value is tried in one configuration. A combination that does not compose stops the sweep when its turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from experiments.runner.console import progress

# Hydra 1.3 executes the modules of its plugins anew when it looks for them, after which their classes are others
Plugins.instance()
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf  # noqa: E402


@dataclass
class GridConfig(BasicSweeperConf):
    """Takes the place of Hydra's own, which all sweeps have that name no other."""

    _target_: str = "experiments.runner.grid.Grid"


class Grid(BasicSweeper):
    """All combinations of the values that were asked for, each value checked once."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose one configuration for every value.

        Raises
        ------
        hydra.errors.HydraException
            If one does not compose.
        """
        chosen = each_word_once(batch)
        with progress("checking configurations", len(chosen)) as advance:
            for words in chosen:
                super().validate_batch_is_legal([words])
                advance()


def each_word_once(batch: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return few lines that have all words of a batch.

    Examples
    --------
    >>> from experiments.runner.grid import each_word_once
    >>> each_word_once([["a=1", "b=1"], ["a=1", "b=2"], ["a=2", "b=1"], ["a=2", "b=2"]])
    [['a=1', 'b=1'], ['a=1', 'b=2'], ['a=2', 'b=1']]
    """
    chosen, seen = [], set()
    for words in batch:
        if not seen.issuperset(words):
            chosen.append(words)
            seen.update(words)
    return chosen


def register() -> None:
    """Make the sweeper known to Hydra, as the one of every sweep that names no other."""
    Plugins.instance().register(Grid)
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=GridConfig, provider="hydra")
