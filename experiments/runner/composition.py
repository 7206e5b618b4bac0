"""The check of a command line, before anything runs or takes long to import.

Hydra composes one configuration per combination of config groups; single settings are then tried on it, so that the
check of a thousand jobs takes as long as that of a few. A refusal names the settings there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from experiments.runner import catalog
from experiments.runner.config import CHOICES, NUMBERS
from experiments.runner.refusals import (
    SettingError,
    UnknownKeyError,
    check_use,
    did_you_mean,
    missing_option,
    options,
    unknown_key,
    wrong_value,
)

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class Setting:
    """One setting of a command line or of a sweep's plan.

    Attributes
    ----------
    key : str
        Name of the setting or of the config group.
    words : tuple of str
        One word of a command line for each of its values.
    group : bool
        Whether it chooses a file of a config group.
    """

    key: str
    words: tuple[str, ...]
    group: bool


def check(words: Sequence[str], *, multirun: bool = False, config_name: str = "config") -> DictConfig:
    """Check every job that a command line asks for, and return the configuration of the first.

    Parameters
    ----------
    words : sequence of str
        Settings, as they are given to Hydra.
    multirun : bool
        Whether the options ask for a sweep, as ``-m`` does.
    config_name : str
        The primary file of ``conf``.

    Returns
    -------
    DictConfig
        The configuration of the first job, Hydra's own included.

    Raises
    ------
    SettingError
        For unknown names, with the nearest known ones; for values of a wrong type or outside a closed set; for
        several values outside a sweep.
    """
    with hydra():
        settings = {s.key: s for s in map(_setting, words)}
        chosen = _chosen(settings, config_name)
        if multirun or _mode(words, chosen) == RunMode.MULTIRUN.name:
            plan = chosen.hydra.sweeper.get("params") or {}
            settings = {s.key: s for s in (_setting(f"{key}={value}") for key, value in plan.items())} | settings
        else:
            _refuse_several_values(settings.values(), chosen)
        return _checked(list(settings.values()), config_name)


def first(words: Sequence[str]) -> DictConfig:
    """Return the configuration of the first job of a command line, by the files of config groups that it chooses.

    Parameters
    ----------
    words : sequence of str
        Settings, as they are given to Hydra.

    Returns
    -------
    DictConfig
        The configuration, Hydra's own included.

    Raises
    ------
    SettingError
        For unknown names, and for values of a wrong type.
    """
    with hydra():
        settings = {s.key: s for s in map(_setting, words)}
        cfg = _chosen(settings, "config")
        for setting in settings.values():
            if not setting.group:
                _try_one(cfg, setting.words[0], "")
        return cfg


def _chosen(settings: Mapping[str, Setting], config_name: str) -> DictConfig:
    """Compose the first of the files of config groups that are chosen."""
    return _composed([s.words[0] for s in settings.values() if s.group], config_name)


def _checked(settings: Sequence[Setting], config_name: str) -> DictConfig:
    """Try all single settings in every combination of config groups."""
    groups = [s for s in settings if s.group]
    single = [s for s in settings if not s.group]
    configurations = []
    for combination in product(*(s.words for s in groups)):
        cfg = _composed(combination, config_name)
        _try_settings(cfg, single, _combination_label(groups, combination))
        configurations.append(cfg)
    return configurations[0]


def _mode(words: Sequence[str], cfg: DictConfig) -> str:
    """Return the name of Hydra's run mode: the last one on the command line, or else the configuration's."""
    modes = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("hydra.mode=")]
    mode = modes[-1] if modes else cfg.hydra.mode
    return getattr(mode, "name", str(mode))


def hydra() -> AbstractContextManager[None]:
    """Prepare Hydra to compose the files of ``conf``."""
    return initialize_config_dir(str(CONF), version_base="1.3")


def _setting(word: str) -> Setting:
    """Parse one word of a command line."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        why = str(error).splitlines()[0]
        raise SettingError(f"{word}: {why}. A setting is NAME=VALUE, a list NAME=[VALUE,VALUE].") from error
    group = bool(options(override.key_or_group)) and not isinstance(override.value(), dict)
    return Setting(override.get_key_element(), tuple(_values(override)), group)


def _values(override: Override) -> list[str]:
    """Return a word for every value, or for the two ends of an interval."""
    key, value = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


def _composed(words: Iterable[str], config_name: str) -> DictConfig:
    """Compose a configuration from files of config groups."""
    try:
        return compose(config_name, overrides=list(words), return_hydra_config=True)
    except MissingConfigException as error:
        raise SettingError(missing_option(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        messages = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
        raise SettingError(" ".join(" ".join(messages).split())) from error


def _refuse_several_values(settings: Iterable[Setting], cfg: DictConfig) -> None:
    """Refuse settings with several values where one job is to run."""
    for setting in settings:
        if len(setting.words) == 1:
            continue
        if not setting.group:
            try:
                _try_one(cfg, setting.words[0], "")
            except UnknownKeyError:
                raise
            except SettingError:
                pass  # the number of values is wrong in any case
        values = ",".join(word.partition("=")[2] for word in setting.words)
        raise SettingError(
            f"{setting.key}={values}: these are {len(setting.words)} values. Add -m for a job with each of them"
            + ("." if setting.group else f", or write '{setting.key}=[{values}]' for one list.")
        )


def _combination_label(groups: Sequence[Setting], combination: Sequence[str]) -> str:
    """Return the part of a message that says which combination of several it concerns."""
    chosen = [word for setting, word in zip(groups, combination, strict=True) if len(setting.words) > 1]
    return f" (with {', '.join(chosen)})" if chosen else ""


def _try_settings(cfg: DictConfig, settings: Sequence[Setting], where: str) -> None:
    """Set every value of every setting, the first value last so that it stays."""
    for setting in settings:
        for word in reversed(setting.words):
            _try_one(cfg, word, where)
            if len(setting.words) > 1:
                _check_values(cfg, where)
    _check_values(cfg, where)


def _try_one(cfg: DictConfig, word: str, where: str) -> None:
    """Set one value, as Hydra would."""
    override = OverridesParser.create().parse_override(word)
    if override.is_delete():
        return
    key, adds = override.key_or_group, override.is_add() or override.is_force_add()
    try:
        if adds:
            _refuse_new(cfg, key, word, where)
        OmegaConf.update(cfg, key, override.value(), merge=True, force_add=adds)
    except (ConfigKeyError, ConfigAttributeError) as error:
        raise unknown_key(cfg, word, str(error.full_key or key), where) from error
    except OmegaConfBaseException as error:
        raise SettingError(f"{word}: {wrong_value(error)}{where}.") from error
    except AssertionError as error:
        above = key.rpartition(".")[0]
        raise SettingError(f"{word}: {above} is empty. To fill it: '+{above}={{NAME:VALUE}}'.") from error


def _refuse_new(cfg: DictConfig, key: str, word: str, where: str) -> None:
    """Refuse a name that ``+`` would add to a group whose settings are all declared."""
    node: Any = cfg
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            return
        if part not in node:
            if node is cfg or is_dataclass(OmegaConf.get_type(node)):
                raise unknown_key(cfg, word, ".".join(parts[: i + 1]), where)
            return
        node = node[part]


def _check_values(cfg: DictConfig, where: str) -> None:
    """Refuse values outside a closed set, texts where numbers belong, and settings that the experiment would ignore."""
    for path, value, declared in _declared_settings(cfg, ""):
        choices: tuple[str, ...] = declared.get(CHOICES, ())
        for text in _texts(value) if choices else ():
            if text not in choices:
                near = did_you_mean(text, choices)
                raise SettingError(f"{path}={text}: it must be one of {', '.join(choices)}{where}.{near}")
        if NUMBERS in declared and not _are_numbers(value):
            raise SettingError(f"{path}={value}: it must be a number, or a list of numbers such as [1.4,1]{where}.")
    name = OmegaConf.select(cfg, "experiment.name")
    if name is not None:
        check_use(cfg, catalog.find(name), where)


def _are_numbers(value: Any) -> bool:
    values = value if OmegaConf.is_list(value) else [value]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _declared_settings(node: DictConfig, path: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Yield the settings whose declaration says what their values may be: (full name, value, metadata)."""
    kind = OmegaConf.get_type(node)
    declared = {f.name: f for f in fields(kind)} if kind is not None and is_dataclass(kind) else {}
    for name in map(str, node):
        if name == "hydra" or OmegaConf.is_missing(node, name):
            continue
        value, full = node[name], f"{path}{name}"
        metadata = declared[name].metadata if name in declared else {}
        if metadata:
            yield full, value, metadata
        elif isinstance(value, DictConfig):
            yield from _declared_settings(value, f"{full}.")


def _texts(value: Any) -> list[str]:
    """Return the texts of a value: of a list, of its items; of a mapping, of its name."""
    if isinstance(value, str):
        return [value]
    if OmegaConf.is_list(value):
        return [text for item in value for text in _texts(item)]
    return _texts(value.get("name")) if isinstance(value, DictConfig) else []
