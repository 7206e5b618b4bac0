"""Dense ReLU networks trained end to end: rivals of few-level networks, and their teachers.

They are trained by the loop of `hntk.train`, on the same whole numbers with the same augmentation, and seeds together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

import hntk
from hntk.networks.integer_inputs import Rounded
from hntk.readouts.training import Schedule, Trained
from hntk.training.dense_networks import DenseObjective
from hntk.training.few_level_layers import Parameters
from hntk.training.forward_pass import SumStatistics
from hntk.training.loop import train_members
from hntk.training.samples import TrainingData

Progress = Callable[[Any], None] | None


@dataclass(frozen=True)
class ReluObjective(DenseObjective):
    """The objective of a dense ReLU network without biases in hidden layers; ``layers`` is empty.

    Parameters are those of :func:`started`. Only ``weights`` and ``readout`` decay, as in few-level networks.
    """

    @classmethod
    def of_data(cls, data: TrainingData, augment: hntk.Augmentation | None = None) -> ReluObjective:
        """Return the objective of a classifier of some samples, varied by an augmentation."""
        limits = (data.inputs.least, data.inputs.most) if isinstance(data.inputs, Rounded) else None
        return cls((), True, augment=augment, shape=data.shape, limits=limits)

    def forward(
        self, parameters: Parameters, x: Array, statistics: Sequence[SumStatistics] | None = None
    ) -> tuple[Float[Array, "n K"], tuple[SumStatistics, ...]]:
        """Return scores; nothing is standardised, so that there are no statistics."""
        return relu_forward(parameters, x), ()


def relu_forward(parameters: Parameters, x: Array) -> Array:
    """Return the scores of a ReLU network for samples of whole numbers."""
    fixed = jax.lax.stop_gradient(parameters["input"])
    x = (x - fixed["centre"]) / fixed["size"]
    for layer in parameters["layers"]:
        x = jax.nn.relu(x @ weights_of(layer).T)
    return x @ parameters["readout"].T + parameters["offset"]


def weights_of(layer: dict[str, Array]) -> Array:
    """Return the weights of a layer, 0 where they were pruned."""
    return layer["weights"] * jax.lax.stop_gradient(layer["kept"]) if "kept" in layer else layer["weights"]


def scaled_input(whole: np.ndarray) -> dict[str, Array]:
    """Return the centre of some samples and the root mean square of their coordinates about it."""
    centre = whole.mean(axis=0, dtype=np.float64)
    size = sqrt(np.mean([np.mean(np.square(row - centre)) for row in whole]))
    return {"centre": jnp.asarray(centre, jnp.float32), "size": jnp.float32(size)}


def started(widths: Sequence[int], fixed: dict[str, Array], outputs: int, key: Array) -> Parameters:
    """Return initial parameters: He initialisation of the hidden layers, and a readout.

    Parameters
    ----------
    widths : sequence of int
        Width of each hidden layer.
    fixed : dict
        ``centre`` and ``size`` by which samples are brought to coordinates of root mean square 1; they are not trained.
    outputs : int
        Number of classes.
    key : jax.Array
        Random key.

    Returns
    -------
    dict
        Parameters of :func:`relu_forward`.
    """
    *keys, last = jax.random.split(key, len(widths) + 1)
    fan_in = (fixed["centre"].size, *widths)
    layers = [
        {"weights": jax.random.normal(own, (d, before), jnp.float32) * np.float32(sqrt(2 / before))}
        for own, d, before in zip(keys, widths, fan_in, strict=False)
    ]
    readout = jax.random.normal(last, (outputs, widths[-1]), jnp.float32) / np.float32(sqrt(widths[-1]))
    return {"input": fixed, "layers": layers, "readout": readout, "offset": jnp.zeros(outputs, jnp.float32)}


def train_relu(
    starts: Sequence[Parameters],
    data: TrainingData,
    schedule: Schedule,
    keys: Array,
    *,
    augment: hntk.Augmentation | None = None,
    checkpoint: Path | None = None,
    progress: Progress = None,
) -> tuple[Trained, ...]:
    """Train a dense network from every start together; see :func:`hntk.training.loop.train_members`."""
    return train_members(
        ReluObjective.of_data(data, augment),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts),
        data,
        replace(schedule, batch=min(schedule.batch, len(data.training.targets))),
        # the start has used the key itself
        jax.vmap(partial(jax.random.fold_in, data=1))(keys),
        checkpoint=checkpoint,
        progress=progress,
    )
