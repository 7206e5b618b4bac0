"""The starts of a training by their names, or from a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.activations import Activation
from hntk.readouts.training import Schedule
from hntk.theory.architecture import Architecture
from hntk.training.dense_chains import chain_of_model
from hntk.training.dense_networks import trained_chains
from hntk.training.matched_start import matched_start
from hntk.training.objective import Objective
from hntk.training.starts import StartingPoint, StartProblem, uniform_start
from hntk.training.ternarisation import ternarised

# one over the share of the epochs for which the dense network of start="dense" is trained
DENSE_PARTS = 4


@dataclass(frozen=True, eq=False)
class Starts:
    """Where the members of a training start.

    Attributes
    ----------
    points : tuple of StartingPoint
        One a key.
    schedule : Schedule
        Schedule of the training from there.
    name : str
        What a record calls the start.
    epochs : int
        Epochs that were spent before.
    """

    points: tuple[StartingPoint, ...]
    schedule: Schedule
    name: str
    epochs: int = 0


def starting_points(
    start: Any,
    problem: StartProblem,
    keys: Array,
    objective: Objective,
    *,
    logits: Float[np.ndarray, "n K"] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
) -> Starts:
    """Return where members start.

    Parameters
    ----------
    start : str, list, Architecture, Classifier or model
        ``"match"``, the staircases of theory's match with ReLU layers; a list of activations or an architecture, the
        match with those; ``"uniform"``, equidistant levels; ``"dense"``, a dense network that is trained for a quarter
        of the schedule's epochs and made ternary, from which the rest of the epochs goes on; or a dense model, which is
        made ternary.
    problem : StartProblem
        Samples, widths, levels and schedule.
    keys : (S,) array of keys
        One a member.
    objective : Objective
        Augmentation and teacher of the training.
    logits : (n, K) array, optional
        A teacher's outputs for the training samples.
    checkpoint : Path, optional
        File of the training's checkpoint. That of a dense network has the same name and ``.dense`` at its end.
    progress : callable, optional
        Called with every epoch of a dense network.

    Returns
    -------
    Starts
        The starting points, and the schedule from there.

    Raises
    ------
    ValueError
        If there is no such start, or it does not fit the samples, widths or levels.
    """
    if isinstance(start, str) and start == "uniform":
        return Starts(tuple(uniform_start(problem, key) for key in keys), problem.schedule, start)
    if isinstance(start, str) and start == "dense":
        return _from_dense(problem, keys, objective, logits, checkpoint, progress)
    if _is_original(start):
        original = None if isinstance(start, str) else start
        first = matched_start(problem, keys[0], original)
        points = (first, *(matched_start(problem, key, original) for key in keys[1:]))
        return Starts(points, problem.schedule, "match")
    point = ternarised(chain_of_model(start, problem), problem)
    return Starts((point,) * len(keys), problem.schedule, "a model")


def _is_original(start: Any) -> bool:
    named = isinstance(start, str) and start == "match"
    return named or isinstance(start, list | tuple | Architecture | Activation)


def _from_dense(
    problem: StartProblem,
    keys: Array,
    objective: Objective,
    logits: Float[np.ndarray, "n K"] | None,
    checkpoint: Path | None,
    progress: Callable[[Any], None] | None,
) -> Starts:
    epochs = problem.schedule.epochs
    if epochs < 2:
        raise ValueError("start='dense' needs at least 2 epochs, of which a quarter is the dense network's: give more.")
    spent = max(1, epochs // DENSE_PARTS)
    path = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.dense")
    chains = trained_chains(
        problem, keys, objective, spent, logits=logits, checkpoint=path, progress=progress
    )  # fmt: skip
    points = tuple(ternarised(chain, problem) for chain in chains)
    return Starts(points, replace(problem.schedule, epochs=epochs - spent), "dense", spent)
