"""Messages of refused settings: what is wrong, the nearest known names, and all names there are."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.runner.config import PLAIN_NET
from experiments.runner.experiment import Experiment

# what a value must be, by OmegaConf's name of the type
TYPES = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
# config groups some of whose options come with an extra of the project
EXTRAS = ("hydra/launcher", "hydra/sweeper")


class SettingError(ValueError):
    """A setting that cannot be used; the message says which can."""


class UnknownKeyError(SettingError):
    """The name of a setting that does not exist."""


def options(group: str) -> list[str]:
    """Return what can be chosen in a config group; nothing if there is no such group."""
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    return [name for name in known if name != "schema"]


def missing_option(error: MissingConfigException) -> str:
    """Return the message for an option that a config group does not have."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    known = [option for option in error.options or () if option != "schema"]
    if not known:
        return str(error)
    extra = " More come with the extra sweeps (make setup-sweeps)." if group in EXTRAS else ""
    near = did_you_mean(name, known)
    return f"{group}={name}: there is no such {group.rpartition('/')[2]}.{near} There are {', '.join(known)}.{extra}"


def wrong_value(error: OmegaConfBaseException) -> str:
    """Return why a value does not fit its setting."""
    text = str(error).splitlines()[0].rstrip(".")
    if "is not a ListConfig" in text:
        return "it must be a list, such as [1,2]"
    if "is not a valid bool" in text:
        return "it must be true or false"
    for name, description in TYPES.items():
        if text.endswith(f"could not be converted to {name}"):
            return f"it must be {description}"
    return text


def unknown_key(cfg: DictConfig, word: str, path: str, where: str) -> UnknownKeyError:
    """Return the error for a setting that does not exist.

    Parameters
    ----------
    cfg : DictConfig
        The configuration.
    word : str
        The word of the command line.
    path : str
        Full name of the setting; its last part is unknown.
    where : str
        Which of a sweep's jobs it concerns, if not all.

    Returns
    -------
    UnknownKeyError
        The error, to be raised.
    """
    before, _, last = path.rpartition(".")
    parent = OmegaConf.select(cfg, before) if before else cfg
    names = [str(name) for name in parent if name != "hydra"] if isinstance(parent, DictConfig) else []
    kind = getattr(OmegaConf.get_type(parent), "__name__", before) if before else "Config"
    elsewhere = [] if before else [*_groups(), *_leaves(cfg)]
    near = did_you_mean(last, [*names, *elsewhere], before)
    owner = before or "A configuration"
    return UnknownKeyError(f"{word}: Key '{last}' not in '{kind}'{where}.{near} {owner} has {', '.join(names)}.")


def _groups() -> list[str]:
    """Return the config groups that a command line adds, such as +exp."""
    return [f"+{name}" for name in GlobalHydra.instance().config_loader().list_groups("") if name != "hydra"]


def _leaves(cfg: DictConfig) -> list[str]:
    """Return the full names of all settings within groups."""
    groups = [str(group) for group in cfg if group != "hydra" and isinstance(cfg.get(group), DictConfig)]
    return [f"{group}.{name}" for group in groups for name in cfg[group]]


def check_use(cfg: Any, experiment: Experiment, where: str = "") -> None:
    """Refuse an engine or a network that the experiment would ignore.

    Parameters
    ----------
    cfg : Config
        The configuration.
    experiment : Experiment
        The experiment that it is for.
    where : str
        Which of a sweep's jobs it concerns, if not all.

    Raises
    ------
    SettingError
        If there is one; the message says why.
    """
    if experiment.native_only and cfg.kernels.engine != "native":
        raise SettingError(
            f"kernels.engine={cfg.kernels.engine}: +exp={experiment.name} takes the native engine alone, as "
            f"{experiment.native_only}{where}."
        )
    scales = [
        f"net.{name}={_text(cfg.net[name])}" for name, plain in PLAIN_NET.items() if not _is(cfg.net[name], plain)
    ]
    if experiment.plain_only and scales:
        raise SettingError(
            f"{', '.join(scales)}: +exp={experiment.name} takes plain networks alone (centred, with unit weights and "
            f"nothing else), as {experiment.plain_only}{where}. net=relu3 is one."
        )


def _is(value: Any, plain: Any) -> bool:
    """Return whether a scale, or each of a list, has the value of a plain network."""
    return all(v == plain for v in value) if OmegaConf.is_list(value) else value == plain


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if OmegaConf.is_list(value):
        return f"[{','.join(map(_text, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def did_you_mean(name: str, known: Sequence[str], before: str = "") -> str:
    """Return a question with the nearest known names, compared by their last part; empty if none is near."""
    by_last = {option.lstrip("+").rpartition(".")[2]: option for option in reversed(known)}
    near = get_close_matches(name, by_last, n=2)
    if not near:
        return ""
    full = [f"{before}.{by_last[n]}" if before else by_last[n] for n in near]
    return f" Did you mean {' or '.join(full)}?"
