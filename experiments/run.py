"""Run an experiment: ``python -m experiments.run +exp=NAME``; without a name, list what there is."""

from __future__ import annotations

import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from rich.markup import escape

from experiments.runner import catalog, composition, config, launching, tiny
from experiments.runner.console import CONSOLE, ERRORS
from experiments.runner.refusals import SettingError

# what Hydra answers without running anything
ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def main() -> None:
    """List the experiments, answer, or run one. What takes long to import waits until the settings are known good."""
    words = launching.as_sweep(sys.argv[1:])
    options = get_args_parser().parse_args(words)
    named = any(w.lstrip("+").startswith(("exp=", "experiment=")) for w in options.overrides)
    answers = any(getattr(options, name) for name in ANSWERS) or options.info is not None
    config.register()
    if not named and not answers and not options.experimental_rerun:
        _list()
        if words:
            _refuse("no experiment was named: add +exp=NAME.")
        return
    # a configuration from elsewhere is Hydra's to judge
    if not (options.config_path or options.config_dir or options.experimental_rerun):
        words, cfg = _checked(words, options, named)
        if cfg is not None and not answers:
            _quiet(cfg)
    if answers:
        _hydra(words, _nothing)
    else:
        _run(words)


def _checked(words: list[str], options: Namespace, named: bool) -> tuple[list[str], Any]:
    """The command line with what it implies, and what it configures; only if all jobs it asks for can be configured."""
    kept, cfg = list(words), None
    for word in options.overrides:
        kept.remove(word)
    try:
        settings, told = tiny.expanded(options.overrides)
        if named:
            cfg = composition.check(settings, multirun=options.multirun, config_name=options.config_name or "config")
    except SettingError as error:
        _refuse(str(error))
    if told:
        CONSOLE.print(f"[yellow]{escape(told)}[/]", soft_wrap=True)
    return [*settings, *kept], cfg


def _quiet(cfg: Any) -> None:
    """Keep a sweeper's own log from the terminal, which tells of every job already."""
    if "optuna" in cfg.hydra.sweeper._target_:
        import optuna.logging  # pyright: ignore[reportMissingImports]

        optuna.logging.set_verbosity(logging.WARNING)


def _refuse(why: str) -> NoReturn:
    ERRORS.print(f"\n[bold red]error[/] {escape(why)}", soft_wrap=True)
    raise SystemExit(2)


def _nothing(_: object) -> None:
    """What an answer runs."""


def _hydra(words: Sequence[str], task: object) -> None:
    import hydra

    sys.argv[1:] = words
    hydra.main(version_base="1.3", config_path=str(composition.CONF), config_name="config")(task)()  # type: ignore[arg-type]


def _run(words: Sequence[str]) -> None:
    asked = shlex.join(sys.argv[1:])
    # the task is of a module that workers can import
    from experiments.runner import jobs, sweep

    launching.register()
    try:
        _hydra(words, jobs.run)
    except KeyboardInterrupt:
        CONSOLE.print("\n[bold red]interrupted[/]; the same command goes on from here, if it is a sweep.")
        raise SystemExit(130) from None
    if sweep.CURRENT.finished is not None:
        command = f"python -m experiments.run {asked}"
        raise SystemExit(sweep.summarise(sweep.CURRENT.finished, command, sweep.CURRENT.config))


def _list() -> None:
    CONSOLE.print("Experiments (times on 2 CPU cores):\n")
    for entry in catalog.ENTRIES:
        CONSOLE.print(f"[bold]{entry.name}[/]  {entry.shows}; {entry.takes}", soft_wrap=True)
        CONSOLE.print(f"    {entry.command}\n", soft_wrap=True)
    CONSOLE.print("Add +debug=tiny for a run in seconds, and any setting of conf/ as name=value; -m sweeps over lists:")
    CONSOLE.print("    python -m experiments.run -m +exp=gmm compress.levels=2,3,4 seed=0,1", soft_wrap=True)


if __name__ == "__main__":
    main()
