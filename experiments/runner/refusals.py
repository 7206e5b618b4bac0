"""What a refused setting is told: what is wrong, the nearest names that are known, and what there is."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# what OmegaConf calls types, in words
TYPES = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
# config groups whose options need an extra of the project
EXTRAS = ("hydra/launcher", "hydra/sweeper")


class SettingError(ValueError):
    """A command line that asks for what there is not; the message says what there is."""


class UnknownKeyError(SettingError):
    """The name of a setting that does not exist."""


def options(group: str) -> list[str]:
    """Files of a config group that can be chosen; nothing where there is no such group."""
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    return [name for name in known if name != "schema"]


def missing_option(error: MissingConfigException) -> str:
    """Message of a file that a config group does not have."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    known = [option for option in error.options or () if option != "schema"]
    if not known:
        return str(error)
    extra = " More come with the extra sweeps (make setup-sweeps)." if group in EXTRAS else ""
    near = did_you_mean(name, known)
    return f"{group}={name}: there is no such {group.rpartition('/')[2]}.{near} There are {', '.join(known)}.{extra}"


def wrong_value(error: OmegaConfBaseException) -> str:
    """Why a value does not fit."""
    text = str(error).splitlines()[0].rstrip(".")
    if "is not a ListConfig" in text:
        return "it must be a list, such as [1,2]"
    if "is not a valid bool" in text:
        return "it must be true or false"
    for name, meant in TYPES.items():
        if text.endswith(f"could not be converted to {name}"):
            return f"it must be {meant}"
    return text


def unknown_key(cfg: DictConfig, word: str, path: str, where: str) -> UnknownKeyError:
    """Of a key that is not there.

    Parameters
    ----------
    cfg : the configuration.
    word : what was typed.
    path : the full name of the key, whose last part is the unknown one.
    where : in which of a sweep's jobs, if not in all.
    """
    before, _, last = path.rpartition(".")
    parent = OmegaConf.select(cfg, before) if before else cfg
    names = [str(name) for name in parent if name != "hydra"] if isinstance(parent, DictConfig) else []
    kind = getattr(OmegaConf.get_type(parent), "__name__", before) if before else "Config"
    elsewhere = [] if before else [*_groups(), *_leaves(cfg)]
    near = did_you_mean(last, [*names, *elsewhere], before)
    there = before or "A configuration"
    return UnknownKeyError(f"{word}: Key '{last}' not in '{kind}'{where}.{near} {there} has {', '.join(names)}.")


def _groups() -> list[str]:
    """Config groups that a command line adds, such as exp."""
    return [f"+{name}" for name in GlobalHydra.instance().config_loader().list_groups("") if name != "hydra"]


def _leaves(cfg: DictConfig) -> list[str]:
    """Settings by their full names."""
    groups = [str(group) for group in cfg if group != "hydra" and isinstance(cfg.get(group), DictConfig)]
    return [f"{group}.{name}" for group in groups for name in cfg[group]]


def did_you_mean(name: str, known: Sequence[str], before: str = "") -> str:
    """The nearest of the known names, by their last part."""
    by_last = {option.lstrip("+").rpartition(".")[2]: option for option in reversed(known)}
    near = get_close_matches(name, by_last, n=2)
    if not near:
        return ""
    full = [f"{before}.{by_last[n]}" if before else by_last[n] for n in near]
    return f" Did you mean {' or '.join(full)}?"
