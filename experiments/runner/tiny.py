"""What ``+debug=tiny`` brings in: the tiny settings of the experiment that is named, and data where there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from experiments.runner import composition
from experiments.runner.refusals import SettingError, options

DATA, STAND_IN = "HNTK_DATA", "stand_in"


def expanded(words: Sequence[str]) -> tuple[list[str], str]:
    """What a command line means, with all that ``+debug=tiny`` implies written out.

    Tiny settings come after the experiment's own, in whatever order both were asked for, and before single settings,
    which win. Where the experiment needs a data set and no folder is named, ``data=stand_in`` is chosen.

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
    made = [*(w for w in words if w not in named["debug"]), *named["debug"]]
    with composition.hydra():
        if name in options("tiny"):
            made.append(f"+tiny={name}")
    return _with_data(made)


def _with_data(words: list[str]) -> tuple[list[str], str]:
    data = [w for w in words if w.partition("=")[0] == "data"]
    if any("," in w for w in data) or os.environ.get(DATA):
        return words, ""
    try:
        cfg = composition.check(words, multirun=True)
    except SettingError:
        # told by the check that follows
        return words, ""
    if cfg.data.kind != "dataset" or cfg.data.folder is not None or cfg.data.name == STAND_IN:
        return words, ""
    told = (
        f"No data folder is named (data.folder=PATH or the environment variable {DATA}): a small synthetic data set, "
        f"made on the spot, stands in for {cfg.data.name}."
    )
    return [*(w for w in words if w not in data), f"data={STAND_IN}"], told
