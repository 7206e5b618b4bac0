"""The configurations that a command line asks for, checked before anything runs or takes long to import.

Hydra composes them once for every combination of config groups; single settings are then tried on what was composed,
so that a sweep of a thousand jobs is checked in the time of a few. What is wrong is told with the settings there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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

from experiments.runner.choices import choices_of
from experiments.runner.refusals import (
    SettingError,
    UnknownKeyError,
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
    key : its name, or that of a config group.
    words : as they are given to Hydra, one for each of its values.
    group : whether it chooses a file of a config group.
    """

    key: str
    words: tuple[str, ...]
    group: bool


def check(words: Sequence[str], *, multirun: bool = False, config_name: str = "config") -> DictConfig:
    """Check every job that a command line asks for; give the configuration of the first.

    Parameters
    ----------
    words : settings, as they are given to Hydra.
    multirun : whether a sweep was asked for, as by ``-m``.
    config_name : of the file in ``conf`` that everything begins with.

    Raises
    ------
    SettingError
        For unknown names, with the nearest that are known; for values of a wrong type or outside a closed set; for
        several values outside a sweep.
    """
    with hydra():
        settings = {s.key: s for s in map(_setting, words)}
        first = _composed([s.words[0] for s in settings.values() if s.group], config_name)
        sweep = multirun or _mode(words, first) == RunMode.MULTIRUN.name
        plan: Any = (first.hydra.sweeper.get("params") or {}) if sweep else {}
        settings = {s.key: s for s in (_setting(f"{key}={value}") for key, value in plan.items())} | settings
        if not sweep:
            _refuse_several(settings.values(), first)
        groups = [s for s in settings.values() if s.group]
        single = [s for s in settings.values() if not s.group]
        checked = []
        for combination in product(*(s.words for s in groups)):
            cfg = _composed(combination, config_name)
            _try_settings(cfg, single, _varied(groups, combination))
            checked.append(cfg)
        return checked[0]


def _mode(words: Sequence[str], cfg: DictConfig) -> str:
    """Whether Hydra runs one job or a sweep: what the command line says last, or else the configuration."""
    said = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("hydra.mode=")]
    mode = said[-1] if said else cfg.hydra.mode
    return getattr(mode, "name", str(mode))


def hydra() -> AbstractContextManager[None]:
    """Have Hydra ready to compose what lies in ``conf``."""
    return initialize_config_dir(str(CONF), version_base="1.3")


def _setting(word: str) -> Setting:
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        why = str(error).splitlines()[0]
        raise SettingError(f"{word}: {why}. A setting is NAME=VALUE, a list NAME=[VALUE,VALUE].") from error
    group = bool(options(override.key_or_group)) and not isinstance(override.value(), dict)
    return Setting(override.get_key_element(), tuple(_values(override)), group)


def _values(override: Override) -> list[str]:
    """A word for every value; of an interval, for its ends."""
    key, value = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


def _composed(words: Iterable[str], config_name: str) -> DictConfig:
    """The configuration that files of config groups make."""
    try:
        return compose(config_name, overrides=list(words), return_hydra_config=True)
    except MissingConfigException as error:
        raise SettingError(missing_option(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        told = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
        raise SettingError(" ".join(" ".join(told).split())) from error


def _refuse_several(settings: Iterable[Setting], cfg: DictConfig) -> None:
    for setting in settings:
        if len(setting.words) == 1:
            continue
        if not setting.group:
            _refuse_unknown(cfg, setting.words[0])
        values = ",".join(word.partition("=")[2] for word in setting.words)
        raise SettingError(
            f"{setting.key}={values}: these are {len(setting.words)} values. Add -m for a job with each of them"
            + ("." if setting.group else f", or write '{setting.key}=[{values}]' for one list.")
        )


def _refuse_unknown(cfg: DictConfig, word: str) -> None:
    """Refuse a name there is not, before its values are looked at."""
    try:
        _try_one(cfg, word, "")
    except UnknownKeyError:
        raise
    except SettingError:
        pass


def _varied(groups: Sequence[Setting], combination: Sequence[str]) -> str:
    """What tells a combination from others, for messages."""
    told = [word for setting, word in zip(groups, combination, strict=True) if len(setting.words) > 1]
    return f" (with {', '.join(told)})" if told else ""


def _try_settings(cfg: DictConfig, settings: Sequence[Setting], where: str) -> None:
    """Put every value of every setting in, the first at last."""
    for setting in settings:
        for word in reversed(setting.words):
            _try_one(cfg, word, where)
            if len(setting.words) > 1:
                _check_choices(cfg, where)
    _check_choices(cfg, where)


def _try_one(cfg: DictConfig, word: str, where: str) -> None:
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
    """Refuse what ``+`` would add beside settings that are all declared."""
    at: Any = cfg
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(at, DictConfig):
            return
        if part not in at:
            if at is cfg or is_dataclass(OmegaConf.get_type(at)):
                raise unknown_key(cfg, word, ".".join(parts[: i + 1]), where)
            return
        at = at[part]


def _check_choices(cfg: DictConfig, where: str) -> None:
    """Refuse text outside a closed set."""
    for path, value, choices in _closed(cfg, ""):
        for text in _texts(value):
            if text not in choices:
                near = did_you_mean(text, choices)
                raise SettingError(f"{path}={text}: it must be one of {', '.join(choices)}{where}.{near}")


def _closed(node: DictConfig, path: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Settings with a closed set of values: (name, value, set)."""
    kind = OmegaConf.get_type(node)
    declared = {f.name: f for f in fields(kind)} if kind is not None and is_dataclass(kind) else {}
    for name in map(str, node):
        if name == "hydra" or OmegaConf.is_missing(node, name):
            continue
        value, full = node[name], f"{path}{name}"
        choices = choices_of(declared[name]) if name in declared else None
        if choices is not None:
            yield full, value, choices
        elif isinstance(value, DictConfig):
            yield from _closed(value, f"{full}.")


def _texts(value: Any) -> list[str]:
    """Text in a value; of a mapping with parameters, its name."""
    if isinstance(value, str):
        return [value]
    if OmegaConf.is_list(value):
        return [text for item in value for text in _texts(item)]
    return _texts(value.get("name")) if isinstance(value, DictConfig) else []
