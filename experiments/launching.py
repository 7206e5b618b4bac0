"""Sweeps on many cores or machines that outlive the workers they lose.

Hydra's launchers give up a sweep when a worker dies, killed for its memory or with its machine. `Surviving` goes on:
jobs that were started and left no result are run again alone, so that no other job dies with them, and are marked as
failed if that does not help.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from experiments import sweep
from experiments.console import CONSOLE

# Hydra takes plugins by names in this namespace alone
NAME = "hydra_plugins.hntk.Surviving"
# times that a job whose worker dies is run alone
ATTEMPTS = 2


class Surviving(Launcher):
    """A launcher around another.

    Attributes
    ----------
    inner : the launcher that has the workers.
    """

    def __init__(self, inner: Launcher) -> None:
        self.inner = inner
        self._folder = Path()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the inner launcher ready."""
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._folder = Path(config.hydra.sweep.dir).absolute()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; those that are done already are not repeated, so that a second try starts where one ended."""
        # workers elsewhere know nothing of this folder
        asked = [[*words, f"hydra.sweep.dir={_quoted(self._folder)}"] for words in job_overrides]
        while True:
            try:
                returns = self.inner.launch(asked, initial_job_idx)
            except Exception as error:
                lost = [i for i in range(len(asked)) if sweep.unfinished(self._folder / str(initial_job_idx + i))]
                if not lost:
                    raise
                CONSOLE.print(
                    f"[yellow]a worker was lost[/] ({_told(error)}); run again, one by one, and then all that is "
                    f"left: {len(lost)} of {len(asked)} jobs",
                    soft_wrap=True,
                )
                for i in lost:
                    self._alone(asked[i], initial_job_idx + i)
            else:
                return _checked(returns)

    def _alone(self, words: Sequence[str], number: int) -> None:
        """Run one job, which has a result or a mark afterwards."""
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                _checked(self.inner.launch([words], number))
                return
            except Exception as error:
                reason = f"its worker was lost {ATTEMPTS + 1} times ({_told(error)})"
        sweep.mark_failed(self._folder / str(number), reason)


def _checked(returns: Sequence[JobReturn]) -> Sequence[JobReturn]:
    """What workers gave; an error that concerns all jobs, such as data that is not there, ends the sweep."""
    for given in returns:
        if given.status == JobStatus.FAILED and isinstance(given._return_value, sweep.EXPECTED):
            raise SystemExit(sweep.say_error(given._return_value))
    return returns


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _quoted(path: Path) -> str:
    r"""A path as Hydra's grammar takes it, whatever it has: quotes, and the backslashes before them, escaped."""
    escaped = str(path).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def register() -> None:
    """Make the launcher known to Hydra; workers import the class from here."""
    Plugins.instance().class_name_to_class[NAME] = Surviving
