"""The configurations that a command line asks for, checked before anything runs or takes long to import.

Hydra composes them once for every combination of config groups; single settings are then tried on what was composed,
so that a sweep of a thousand jobs is checked in the time of a few. What is wrong is told with the settings there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from experiments.choices import choices_of

CONF = Path(__file__).parents[1] / "conf"
# what OmegaConf calls types, in words
TYPES = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
# config groups whose options need an extra of the project
EXTRAS = ("hydra/launcher", "hydra/sweeper")


class SettingError(ValueError):
    """A command line that asks for what there is not; the message says what there is."""


class UnknownKeyError(SettingError):
    """The name of a setting that does not exist."""


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
    with _hydra():
        settings = {s.key: s for s in map(_setting, words)}
        first = _composed([s.words[0] for s in settings.values() if s.group], config_name)
        sweep = multirun or first.hydra.mode == RunMode.MULTIRUN
        plan: Any = (first.hydra.sweeper.get("params") or {}) if sweep else {}
        planned = {s.key: s for s in (_setting(f"{key}={value}") for key, value in plan.items())}
        settings = planned | settings
        if not sweep:
            _refuse_several(settings.values(), first)
        groups = [s for s in settings.values() if s.group]
        chosen: Any = None
        for combination in product(*(s.words for s in groups)):
            cfg = _composed(combination, config_name)
            _try_settings(cfg, [s for s in settings.values() if not s.group], _varied(groups, combination))
            chosen = chosen if chosen is not None else cfg
        return chosen


@contextmanager
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def _setting(word: str) -> Setting:
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        why = str(error).splitlines()[0]
        raise SettingError(f"{word}: {why}. A setting is NAME=VALUE, a list NAME=[VALUE,VALUE].") from error
    group = bool(_options(override.key_or_group)) and not isinstance(override.value(), dict)
    return Setting(override.get_key_element(), tuple(_values(override)), group)


def _values(override: Override) -> list[str]:
    """A word for every value; of an interval, for its ends."""
    key, value = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


def _options(group: str) -> list[str]:
    """Files of a config group that can be chosen."""
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    return [name for name in known if name != "schema"]


def _composed(words: Iterable[str], config_name: str) -> DictConfig:
    """The configuration that files of config groups make."""
    try:
        return compose(config_name, overrides=list(words), return_hydra_config=True)
    except MissingConfigException as error:
        raise SettingError(_missing(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        told = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
        raise SettingError(" ".join(" ".join(told).split())) from error


def _missing(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = [option for option in error.options or () if option != "schema"]
    if not options:
        return str(error)
    extra = " More come with the extra sweeps (make setup-sweeps)." if group in EXTRAS else ""
    near = _did_you_mean(name, options)
    return f"{group}={name}: there is no such {group.rpartition('/')[2]}.{near} There are {', '.join(options)}.{extra}"


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
    key = override.key_or_group
    adds = override.is_add() or override.is_force_add()
    try:
        if adds:
            _refuse_new(cfg, key, word, where)
        OmegaConf.update(cfg, key, override.value(), merge=True, force_add=adds)
    except (ConfigKeyError, ConfigAttributeError) as error:
        raise UnknownKeyError(_unknown(cfg, word, key, error) + where) from error
    except AssertionError as error:
        above = key.rpartition(".")[0]
        raise SettingError(f"{word}: {above} is empty. To fill it: '+{above}={{NAME:VALUE}}'.") from error
    except OmegaConfBaseException as error:
        raise SettingError(f"{word}: {_told(error)}{where}.") from error


def _told(error: OmegaConfBaseException) -> str:
    """Why a value does not fit."""
    text = str(error).splitlines()[0].rstrip(".")
    if "is not a ListConfig" in text:
        return "it must be a list, such as [1,2]"
    for name, meant in TYPES.items():
        if text.endswith(f"could not be converted to {name}"):
            return f"it must be {meant}"
    return text


def _refuse_new(cfg: DictConfig, key: str, word: str, where: str) -> None:
    """Refuse what ``+`` would add beside settings that are all declared."""
    at, parts = cfg, key.split(".")
    for i, part in enumerate(parts):
        kind = OmegaConf.get_type(at)
        if isinstance(kind, type) and part not in at and hasattr(kind, "__dataclass_fields__") | (at is cfg):
            raise UnknownKeyError(_no_key(cfg, word, ".".join(parts[:i]), part, at) + where)
        at = at[part] if OmegaConf.is_dict(at) and part in at else None
        if not OmegaConf.is_dict(at):
            return


def _unknown(cfg: DictConfig, word: str, key: str, error: OmegaConfBaseException) -> str:
    full = str(error.full_key or key)
    before, _, last = full.rpartition(".")
    parent = OmegaConf.select(cfg, before) if before else cfg
    return _no_key(cfg, word, before, last, parent)


def _no_key(cfg: DictConfig, word: str, before: str, last: str, parent: Any) -> str:
    """Message of a key that is not there."""
    names = [str(name) for name in parent if name != "hydra"] if OmegaConf.is_dict(parent) else []
    kind = "Config" if not before else getattr(OmegaConf.get_type(parent), "__name__", before)
    groups = [] if before else [*_groups(), *_leaves(cfg)]
    near = _did_you_mean(last, [*names, *groups], before)
    there = before or "A configuration"
    return f"{word}: Key '{last}' not in '{kind}'.{near} {there} has {', '.join(names)}."


def _groups() -> list[str]:
    """Config groups that a command line adds, such as exp."""
    return [f"+{name}" for name in GlobalHydra.instance().config_loader().list_groups("") if name not in ("hydra",)]


def _leaves(cfg: DictConfig) -> list[str]:
    return [f"{group}.{name}" for group in cfg if group != "hydra" and OmegaConf.is_dict(cfg.get(group))
            for name in cfg[group]]  # fmt: skip


def _did_you_mean(name: str, known: Sequence[str], before: str = "") -> str:
    """The nearest of the known names, by their last part."""
    by_last = {option.lstrip("+").rpartition(".")[2]: option for option in reversed(known)}
    near = get_close_matches(name, by_last, n=2)
    if not near:
        return ""
    full = [f"{before}.{by_last[n]}" if before else by_last[n] for n in near]
    return f" Did you mean {' or '.join(full)}?"


def _check_choices(cfg: DictConfig, where: str) -> None:
    """Refuse text outside a closed set."""
    for path, value, choices in _closed(cfg, ""):
        for text in _texts(value):
            if text not in choices:
                near = _did_you_mean(text, choices)
                raise SettingError(f"{path}={text}: it must be one of {', '.join(choices)}{where}.{near}")


def _closed(node: DictConfig, path: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Settings with a closed set of values: (name, value, set)."""
    kind = OmegaConf.get_type(node)
    declared = {f.name: f for f in fields(kind)} if hasattr(kind, "__dataclass_fields__") else {}
    for name in node:
        if name == "hydra" or OmegaConf.is_missing(node, name):
            continue
        value, full = node[name], f"{path}{name}"
        choices = choices_of(declared[name]) if name in declared else None
        if choices is not None:
            yield full, value, choices
        elif OmegaConf.is_dict(value):
            yield from _closed(value, f"{full}.")


def _texts(value: Any) -> list[str]:
    """Text in a value; of a mapping with parameters, its name."""
    if isinstance(value, str):
        return [value]
    if OmegaConf.is_list(value):
        return [text for item in value for text in _texts(item)]
    return _texts(value.get("name")) if OmegaConf.is_dict(value) else []


# tiny runs


def expanded(words: Sequence[str]) -> tuple[list[str], str]:
    """What a command line means: ``+debug=tiny`` brings in the tiny settings of the experiment that is named.

    They come after the experiment's own, in whatever order both were asked for, and before single settings, which win.
    Where the experiment needs a data set and no folder is named, ``data=stand_in`` is chosen.

    Returns
    -------
    The settings for Hydra, and what to tell of them; empty where there is nothing to tell.

    Raises
    ------
    SettingError
        If several experiments are to be tiny at once.
    """
    named = {key: [w for w in words if w.lstrip("+").partition("=")[0] == key] for key in ("debug", "exp", "tiny")}
    if [w.partition("=")[2] for w in named["debug"]] != ["tiny"] or not named["exp"] or named["tiny"]:
        return list(words), ""
    name = named["exp"][-1].partition("=")[2]
    if "," in name:
        raise SettingError(f"+debug=tiny has settings for one experiment at a time, not for {name}: name one.")
    rest = [w for w in words if w not in named["debug"]]
    made = [*rest, *named["debug"]]
    with _hydra():
        if name in _options("tiny"):
            made.append(f"+tiny={name}")
    return _with_data(made)


def _with_data(words: list[str]) -> tuple[list[str], str]:
    data = [w for w in words if w.partition("=")[0] == "data"]
    if any("," in w for w in data) or os.environ.get("HNTK_DATA"):
        return words, ""
    try:
        cfg = check(words, multirun=True)
    except SettingError:
        # told by the check that follows
        return words, ""
    if cfg.data.kind != "dataset" or cfg.data.folder is not None or cfg.data.name == "stand_in":
        return words, ""
    told = (
        "No data folder is named (data.folder=PATH or the environment variable HNTK_DATA): a small synthetic data set, "
        f"made on the spot, stands in for {cfg.data.name}."
    )
    return [*(w for w in words if w not in data), "data=stand_in"], told
