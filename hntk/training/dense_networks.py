r"""Dense ReLU networks with standardised sums, to start from: what a few-level network is before anything is rounded.

A layer is $h' = \max(z - t, 0)$ with the standardised sums z of dense weights, one threshold t a neuron. Samples,
batches, augmentation and teacher are those of the few-level network that the training goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.readouts.training import Schedule
from hntk.training.dense_chains import DenseChain, DenseLayer, fitted_rows
from hntk.training.few_level_layers import Parameters
from hntk.training.forward_pass import SumStatistics
from hntk.training.loop import train_members
from hntk.training.objective import Objective
from hntk.training.starts import StartProblem, drawn_parameters


@dataclass(frozen=True)
class DenseObjective(Objective):
    """The objective of a dense network; ``layers`` is empty."""

    @classmethod
    def of(cls, objective: Objective) -> DenseObjective:
        """Return the objective of a dense network on the samples of another one."""
        settings: dict[str, Any] = {part.name: getattr(objective, part.name) for part in fields(objective)}
        settings["layers"] = ()
        return cls(**settings)

    def follow(self, parameters: Parameters, rate: Array) -> Parameters:
        """Return the parameters: dense weights have no cuts."""
        return parameters

    def settle(self, parameters: Parameters) -> Parameters:
        """Return the parameters: dense weights have no cuts."""
        return parameters

    def forward(
        self, parameters: Parameters, x: Array, statistics: Sequence[SumStatistics] | None = None
    ) -> tuple[Float[Array, "n K"], tuple[SumStatistics, ...]]:
        """Return scores and the statistics of each layer's sums, as :func:`forward_pass.forward` does."""
        used, h = [], x
        for number, part in enumerate(parameters["layers"]):
            sums = h @ part["weights"].T
            used.append(SumStatistics.of(sums) if statistics is None else statistics[number])
            h = jax.nn.relu((sums - used[-1].mean) / used[-1].deviation - part["thresholds"][:, 0])
        return h @ parameters["readout"].T + parameters["offset"], tuple(used)


def trained_chains(
    problem: StartProblem,
    keys: Array,
    objective: Objective,
    epochs: int,
    *,
    logits: Float[np.ndarray, "n K"] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
) -> tuple[DenseChain, ...]:
    """Train a dense network from every key, and return what it computes.

    Parameters
    ----------
    problem : StartProblem
        Samples, widths and schedule.
    keys : (S,) array of keys
        Random keys.
    objective : Objective
        Augmentation and teacher.
    epochs : int
        Number of epochs; the learning rate is the schedule's.
    logits : (n, K) array, optional
        A teacher's outputs for the training samples.
    checkpoint : Path, optional
        File to go on from.
    progress : callable, optional
        Called with every epoch.

    Returns
    -------
    tuple of DenseChain
        One a key, of the epoch that is kept.
    """
    drawn = [drawn_parameters(problem, [(0.0,)] * len(problem.widths), key) for key in keys]
    members = train_members(
        DenseObjective.of(objective),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn),
        problem.data,
        _schedule(problem.schedule, epochs),
        jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys),
        logits=logits,
        checkpoint=checkpoint,
        progress=progress,
    )
    whole = problem.data.training.whole[fitted_rows(problem.data)].astype(np.float64)
    return tuple(_chain(jax.tree.map(np.asarray, member.parameters), whole) for member in members)


def _schedule(schedule: Schedule, epochs: int) -> Schedule:
    return replace(schedule, epochs=epochs, warmup=min(schedule.warmup, epochs / 4))


def _chain(parameters: Parameters, x: Float[np.ndarray, "n p"]) -> DenseChain:
    """Return a trained network with the standardisation of some samples folded into its weights."""
    layers, h = [], x
    for part in parameters["layers"]:
        weights = part["weights"].astype(np.float64)
        sums = h @ weights.T
        deviation = sums.std(axis=0) + np.finfo(np.float32).eps
        layers.append(
            DenseLayer(weights / deviation[:, None], -sums.mean(axis=0) / deviation - part["thresholds"][:, 0], _relu)
        )
        h = layers[-1](h)[1]
    return DenseChain(x, tuple(layers), h @ parameters["readout"].T + parameters["offset"])


def _relu(t: np.ndarray) -> np.ndarray:
    return np.maximum(t, 0.0)
