"""The sweeper over lists of values, for command lines that were checked."""

from __future__ import annotations

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins

# as Hydra's own configuration calls it
NAME = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"


class Grid(BasicSweeper):
    """Hydra's, which composes every job once to see whether it can be, and once more to run it.

    The first takes a minute for nine hundred jobs. `experiments.composition.check` has found what is wrong by then.
    """

    def validate_batch_is_legal(self, batch: object) -> None:
        """Take the jobs as they are."""


def register() -> None:
    """Have Hydra make this one where its own is asked for."""
    Plugins.instance().class_name_to_class[NAME] = Grid
