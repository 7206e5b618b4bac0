"""Hydra's plugins of this project: a sweeper that starts at once, and a launcher that survives the loss of workers.

Hydra's own sweeper composes the configuration of every job before it starts the first, and again for each job: minutes
for a thousand jobs. `Grid` leaves this out, as the command line's check has tried every value already. A combination of
values that does not compose stops the sweep when its turn comes.

Hydra's launchers give up a sweep when a worker dies, killed for its memory or with its machine. `Surviving` continues:
it runs the jobs that were started and left no result again, alone, so that they cannot take other jobs with them, and
marks them as failed if that does not help.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from experiments.runner import stopping
from experiments.runner.console import say, shown
from experiments.runner.errors import expected, print_error
from experiments.runner.jobs import mark_failed, unfinished

# Hydra 1.3 executes the modules of its plugins anew when it looks for them, and their classes change with that
Plugins.instance()
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf  # noqa: E402

# the name by which conf/hydra/launcher refers to the launcher
TARGET = "experiments.runner.launching.Surviving"
# how often a job whose worker died is run alone
ATTEMPTS = 2
# seconds by which a file system's clock may be behind
CLOCK_TOLERANCE = 2


@dataclass
class GridConfig(BasicSweeperConf):
    """The configuration that takes the place of Hydra's own basic sweeper."""

    _target_: str = "experiments.runner.launching.Grid"


class Grid(BasicSweeper):
    """All combinations of values, without a check before the first job."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Check nothing."""


class Surviving(Launcher):
    """A launcher that wraps another.

    Attributes
    ----------
    inner : Any
        Configuration of the launcher that starts the workers.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._launcher: Launcher | None = None
        self._folder = Path()
        self._queue: Path | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the inner launcher and set it up."""
        arguments: dict[str, Any] = {"hydra_context": hydra_context, "task_function": task_function}
        inner_config = copy.deepcopy(config)
        with read_write(inner_config.hydra), open_dict(inner_config.hydra):
            inner_config.hydra.launcher = config.hydra.launcher.inner
        self._launcher = Plugins.instance().instantiate_launcher(config=inner_config, **arguments)
        # the configuration that workers get names this launcher
        self._launcher.setup(config=config, **arguments)
        self._folder = Path(config.hydra.sweep.dir).absolute()
        queue = config.hydra.launcher.inner.get("submitit_folder")
        self._queue = None if queue is None else Path(str(queue)).parent

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; after a lost worker, run all again: finished jobs are not repeated."""
        # workers on other machines do not know this folder
        jobs = [[*words, f"hydra.sweep.dir={_quoted(self._folder)}"] for words in job_overrides]
        while True:
            try:
                returns = self._launch_inner(jobs, initial_job_idx)
            except Exception as error:
                stopping.check()
                self._run_lost(jobs, initial_job_idx, error)
            else:
                return _checked(returns)

    def _run_lost(self, jobs: Sequence[Sequence[str]], first_number: int, error: Exception) -> None:
        """Run the jobs that a lost worker left without a result, one by one.

        Raises
        ------
        SystemExit
            If no job was lost and the message of the error is enough, such as for a cluster that is not there.
        """
        lost = [i for i in range(len(jobs)) if unfinished(self._folder / str(first_number + i))]
        if not lost and isinstance(error, expected()):
            raise SystemExit(print_error(error)) from error
        if not lost:
            raise error
        say(
            f"[yellow]a worker was lost[/] ({shown(_first_line(error))}); {len(lost)} of {len(jobs)} jobs are run "
            "again one by one, then those that remain"
        )
        for i in lost:
            self._run_alone(jobs[i], first_number + i)

    def _run_alone(self, words: Sequence[str], number: int) -> None:
        """Run one job, which has a result or a mark afterwards."""
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                _checked(self._launch_inner([words], number))
                return
            except Exception as error:
                stopping.check()
                reason = f"its worker was lost {ATTEMPTS + 1} times ({_first_line(error)})"
        mark_failed(self._folder / str(number), reason)

    def _launch_inner(self, jobs: Sequence[Sequence[str]], first_number: int) -> Sequence[JobReturn]:
        """Run jobs by the inner launcher; on a signal, cancel those in a queue."""
        assert self._launcher is not None
        started = time.time() - CLOCK_TOLERANCE
        try:
            if self.inner.get("ray") is not None:
                _connect_ray(self.inner.ray.init)
            return self._launcher.launch(jobs, first_number)
        except (KeyboardInterrupt, SystemExit):
            if self._queue is not None:
                stopping.cancel_queued(self._queue, started)
            # Ray turns the exception of a signal into an exit of its own
            stopping.check()
            raise


def _connect_ray(options: DictConfig) -> None:
    """Join Ray before its launcher does, and take the signals back from it: on a signal Ray prints a C++ trace."""
    import ray  # pyright: ignore[reportMissingImports]

    if not ray.is_initialized():
        ray.init(**OmegaConf.to_container(options, resolve=True))  # type: ignore[arg-type]
        stopping.listen()


def _checked(returns: Sequence[JobReturn]) -> Sequence[JobReturn]:
    """Return what the workers returned; an error that concerns all jobs, such as missing data, ends the sweep."""
    for returned in returns:
        if returned.status == JobStatus.FAILED and isinstance(returned._return_value, expected()):
            raise SystemExit(print_error(returned._return_value))
    return returns


def _first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _quoted(path: Path) -> str:
    r"""Quote a path for Hydra's grammar: its quotes, and the backslashes before them, are escaped."""
    escaped = str(path).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def register() -> None:
    """Make sweeper and launcher known to Hydra; workers import the classes from here."""
    plugins = Plugins.instance()
    plugins.register(Surviving)
    plugins.register(Grid)
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=GridConfig, provider="hydra")
    ours = {TARGET, GridConfig._target_}
    # Hydra 1.3 accepts plugins of its own packages alone; Hydra 1.4 does not check
    is_plugin = getattr(plugins, "is_in_toplevel_plugins_module", None)
    if is_plugin is not None:
        plugins.is_in_toplevel_plugins_module = lambda name: name in ours or is_plugin(name)  # type: ignore[method-assign]
