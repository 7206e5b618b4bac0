"""Sweeps on many cores or machines that outlive the workers they lose.

Hydra's launchers give up a sweep when a worker dies, killed for its memory or with its machine. `Surviving` goes on:
jobs that were started and left no result are run again alone, so that no other job dies with them, and are marked as
failed if that does not help.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from experiments.runner import grid, states, stopping, sweep
from experiments.runner.console import CONSOLE
from experiments.runner.words import shown

MODE = "hydra.mode=MULTIRUN"
NAME = "experiments.runner.launching.Surviving"
# times that a job whose worker dies is run alone
ATTEMPTS = 2
# an experiment that has a file there is a sweep
SWEEPS = Path(__file__).parents[2] / "conf" / "sweep"


class Surviving(Launcher):
    """A launcher around another.

    Attributes
    ----------
    inner : configuration of the launcher that has the workers.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._launcher: Launcher | None = None
        self._folder = Path()
        self._queue: Path | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the inner launcher, and make it ready."""
        given: dict[str, Any] = {"hydra_context": hydra_context, "task_function": task_function}
        asked = copy.deepcopy(config)
        with read_write(asked.hydra), open_dict(asked.hydra):
            asked.hydra.launcher = config.hydra.launcher.inner
        self._launcher = Plugins.instance().instantiate_launcher(config=asked, **given)
        # what goes to workers names this launcher
        self._launcher.setup(config=config, **given)
        self._folder = Path(config.hydra.sweep.dir).absolute()
        queue = config.hydra.launcher.inner.get("submitit_folder")
        self._queue = None if queue is None else Path(str(queue)).parent

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; those that are done already are not repeated, so that a second try starts where one ended."""
        # workers elsewhere know nothing of this folder
        asked = [[*words, f"hydra.sweep.dir={_quoted(self._folder)}"] for words in job_overrides]
        while True:
            try:
                returns = self._inner_launch(asked, initial_job_idx)
            except Exception as error:
                stopping.check()
                lost = [i for i in range(len(asked)) if states.unfinished(self._folder / str(initial_job_idx + i))]
                if not lost and isinstance(error, sweep.expected()):
                    # such as a cluster that is not there
                    raise SystemExit(sweep.say_error(error)) from error
                if not lost:
                    raise
                CONSOLE.print(
                    f"[yellow]a worker was lost[/] ({shown(_told(error))}); run again, one by one, and then all that "
                    f"is left: {len(lost)} of {len(asked)} jobs",
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
                _checked(self._inner_launch([words], number))
                return
            except Exception as error:
                stopping.check()
                reason = f"its worker was lost {ATTEMPTS + 1} times ({_told(error)})"
        states.mark_failed(self._folder / str(number), reason)

    def _inner_launch(self, asked: Sequence[Sequence[str]], number: int) -> Sequence[JobReturn]:
        """Run jobs; told to end, take back what lies in a queue."""
        assert self._launcher is not None
        # a file system's clock may be coarser
        started = time.time() - 2
        try:
            if self.inner.get("ray") is not None:
                _connect(self.inner.ray.init)
            return self._launcher.launch(asked, number)
        except (KeyboardInterrupt, SystemExit):
            if self._queue is not None:
                stopping.cancel_queued(self._queue, started)
            # Ray makes exits of its own of what a signal raises
            stopping.check()
            raise


def _connect(options: DictConfig) -> None:
    """Join Ray before its launcher does, and take back the signals that Ray took: it would end with a C++ trace."""
    import ray  # pyright: ignore[reportMissingImports]

    if not ray.is_initialized():
        ray.init(**OmegaConf.to_container(options, resolve=True))  # type: ignore[arg-type]
        stopping.listen()


def _checked(returns: Sequence[JobReturn]) -> Sequence[JobReturn]:
    """What workers gave; an error that concerns all jobs, such as data that is not there, ends the sweep."""
    for given in returns:
        if given.status == JobStatus.FAILED and isinstance(given._return_value, sweep.expected()):
            raise SystemExit(sweep.say_error(given._return_value))
    return returns


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _quoted(path: Path) -> str:
    r"""A path as Hydra's grammar takes it, whatever it has: quotes, and the backslashes before them, escaped."""
    escaped = str(path).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def as_sweep(words: Sequence[str]) -> list[str]:
    """Return a command line that says whether it is a sweep: an experiment of conf/sweep is one by default.

    Hydra asks the command line and the primary configuration alone, before it composes an experiment's.
    """
    if any(word in ("-m", "--multirun") or word.lstrip("+").startswith("hydra.mode=") for word in words):
        return [*words]
    sweeps = {f"exp={path.stem}" for path in SWEEPS.glob("*.yaml")}
    # beside the experiment's name, as settings may not be parted by options
    return [part for word in words for part in ([word, MODE] if word.lstrip("+") in sweeps else [word])]


def register() -> None:
    """Make sweeper and launcher known to Hydra; workers import the classes from here."""
    plugins = Plugins.instance()
    plugins.register(Surviving)
    grid.register()
    ours = {NAME, grid.GridConfig._target_}
    # Hydra 1.3 asks for names in two packages besides, which 1.4 does not
    inside = getattr(plugins, "is_in_toplevel_plugins_module", None)
    if inside is not None:
        plugins.is_in_toplevel_plugins_module = lambda name: name in ours or inside(name)  # type: ignore[method-assign]
