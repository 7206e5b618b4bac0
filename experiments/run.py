"""Run an experiment: ``python -m experiments.run +exp=NAME``; without a name, list the experiments."""

from __future__ import annotations

import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

try:
    from hydra._internal.utils import get_args_parser
    from rich.markup import escape

    from experiments.runner import catalog, command_line, composition, launching, summary, task
    from experiments.runner.console import CONSOLE, ERRORS, say
    from experiments.runner.refusals import SettingError
    from experiments.runner.watch import Watch
except ModuleNotFoundError as error:
    missing = (error.name or "more").split(".")[0]
    if missing in ("experiments", "hntk"):
        raise
    remedy = "make setup, or python -m pip install '.[experiments]'."
    raise SystemExit(f"error: experiments need {missing}: {remedy}") from error

# options that Hydra answers without running anything
ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def main() -> None:
    """List the experiments, answer a question, or run one; JAX is imported only once the settings are checked."""
    words = command_line.as_sweep(sys.argv[1:])
    options = get_args_parser().parse_args(words)
    named = any(word.lstrip("+").startswith(("exp=", "experiment=")) for word in options.overrides)
    answers = any(getattr(options, name) for name in ANSWERS) or options.info is not None
    catalog.register()
    if not named and not answers and not options.experimental_rerun:
        _list_experiments()
        if words:
            _refuse("no experiment was named: add +exp=NAME.")
        return
    # the check knows the files of conf; a configuration from elsewhere is left to Hydra
    if not (options.config_path or options.config_dir or options.experimental_rerun):
        words, cfg = _checked(words, options, named)
        if cfg is not None and not answers and "optuna" in cfg.hydra.sweeper._target_:
            import optuna.logging  # pyright: ignore[reportMissingImports]

            # every job has its line on the terminal already
            optuna.logging.set_verbosity(logging.WARNING)
    if answers:
        _call_hydra(words, lambda _: None)
    else:
        _run(words)


def _checked(words: list[str], options: Namespace, named: bool) -> tuple[list[str], Any]:
    """Check all jobs of a command line; return it with what it implies, and the configuration of the first job."""
    other_words, cfg = list(words), None
    for word in options.overrides:
        other_words.remove(word)
    try:
        settings, message = command_line.expand_tiny(options.overrides)
        if named:
            cfg = composition.check(settings, multirun=options.multirun, config_name=options.config_name or "config")
    except SettingError as error:
        _refuse(str(error))
    if message:
        say(f"[yellow]{escape(message)}[/]")
    return [*settings, *other_words], cfg


def _refuse(why: str) -> NoReturn:
    ERRORS.print(f"\n[bold red]error[/] {escape(why)}", soft_wrap=True)
    raise SystemExit(2)


def _call_hydra(words: Sequence[str], function: Callable[[Any], object]) -> None:
    import hydra

    sys.argv[1:] = words
    hydra.main(version_base="1.3", config_path=str(composition.CONF), config_name="config")(function)()


def _run(words: Sequence[str]) -> None:
    """Run an experiment or a sweep, and summarise a sweep."""
    command = f"python -m experiments.run {shlex.join(sys.argv[1:])}"
    launching.register()
    try:
        _call_hydra(words, task.run)
    except KeyboardInterrupt:
        CONSOLE.print("\n[bold red]interrupted[/]; if it was a sweep, the same command continues it.")
        raise SystemExit(130) from None
    if Watch.finished is not None:
        raise SystemExit(summary.summarise(Watch.finished, command))


def _list_experiments() -> None:
    CONSOLE.print("Experiments (times on 2 CPU cores):\n")
    for experiment in catalog.EXPERIMENTS:
        say(f"[bold]{experiment.name}[/]  {experiment.shows}; {experiment.takes}")
        say(f"    {experiment.command}\n")
    CONSOLE.print("Add +debug=tiny for a run in seconds, and any setting of conf/ as name=value; -m sweeps over lists:")
    say("    python -m experiments.run -m +exp=gmm compress.levels=2,3,4 seed=0,1")


if __name__ == "__main__":
    main()
