"""What a short command line implies: that an experiment is a sweep, and what ``+debug=tiny`` stands for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from experiments.runner import composition
from experiments.runner.refusals import SettingError, options

SWEEP = "hydra.mode=MULTIRUN"
# an experiment that has a file there is a sweep by default
SWEEPS = Path(__file__).parents[2] / "conf" / "sweep"
# the environment variable of the data folder, and the data set that stands in where there is none
DATA_FOLDER, STAND_IN = "HNTK_DATA", "stand_in"


def as_sweep(words: Sequence[str]) -> list[str]:
    """Return a command line that says whether it is a sweep.

    Hydra must know before it composes the configuration, so no file of a config group can say it.
    """
    if any(word in ("-m", "--multirun") or word.lstrip("+").startswith("hydra.mode=") for word in words):
        return [*words]
    sweeps = {f"exp={path.stem}" for path in SWEEPS.glob("*.yaml")}
    # right after the experiment's name, since options may not separate settings
    return [part for word in words for part in ([word, SWEEP] if word.lstrip("+") in sweeps else [word])]


def expand_tiny(words: Sequence[str]) -> tuple[list[str], str]:
    """Write out what ``+debug=tiny`` implies.

    The tiny settings come after the experiment's own, wherever ``+debug=tiny`` stands, and before single settings,
    which win. An experiment that needs a data set gets ``data=stand_in`` if no data folder is named.

    Parameters
    ----------
    words : sequence of str
        The settings of a command line.

    Returns
    -------
    list of str
        The settings for Hydra.
    str
        A message for the user; empty if there is nothing to say.

    Raises
    ------
    SettingError
        If several experiments are to be tiny at once.
    """
    given = {
        group: [w for w in words if w.lstrip("+").partition("=")[0] == group] for group in ("debug", "exp", "tiny")
    }
    if [w.partition("=")[2] for w in given["debug"]] != ["tiny"] or not given["exp"] or given["tiny"]:
        return list(words), ""
    name = given["exp"][-1].partition("=")[2]
    if "," in name:
        raise SettingError(f"+debug=tiny has settings for one experiment at a time, not for {name}: name one.")
    expanded = [*(w for w in words if w not in given["debug"]), *given["debug"]]
    with composition.hydra():
        if name in options("tiny"):
            expanded.append(f"+tiny={name}")
    return _with_data(expanded)


def _with_data(words: list[str]) -> tuple[list[str], str]:
    """Choose ``data=stand_in`` where an experiment needs a data set and no folder is named."""
    chosen = [w for w in words if w.partition("=")[0] == "data"]
    if any("," in w for w in chosen) or os.environ.get(DATA_FOLDER):
        return words, ""
    try:
        cfg = composition.first(words)
    except SettingError:
        return words, ""  # the check that follows reports it
    if cfg.data.kind != "dataset" or cfg.data.folder is not None or cfg.data.name == STAND_IN:
        return words, ""
    message = (
        f"No data folder is named (data.folder=PATH or the environment variable {DATA_FOLDER}): a small synthetic data "
        f"set, made on the spot, stands in for {cfg.data.name}."
    )
    return [*(w for w in words if w not in chosen), f"data={STAND_IN}"], message
