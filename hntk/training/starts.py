"""Where a training starts: the levels of each layer, and first weights, thresholds and readout."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hntk.activations.surrogates import Surrogate
from hntk.readouts.training import Schedule
from hntk.training.few_level_layers import FewLevelLayer, Parameters
from hntk.training.samples import TrainingData


@dataclass(frozen=True, eq=False)
class StartProblem:
    """What a start may depend on.

    Attributes
    ----------
    data : TrainingData
        Training and validation samples.
    widths : tuple of int
        Width of each hidden layer.
    levels : tuple of int
        Number of levels of each hidden layer.
    sparsity : tuple of float or None
        Share of zero weights of each layer, or None.
    surrogate : Surrogate or None
        Window of the backward pass, or None for the usual one.
    schedule : Schedule
        How long and how fast the training goes on from the start.
    spaced : bool
        Whether the thresholds of a neuron are spaced equally.
    """

    data: TrainingData
    widths: tuple[int, ...]
    levels: tuple[int, ...]
    sparsity: tuple[float | None, ...]
    surrogate: Surrogate | None
    schedule: Schedule
    spaced: bool = False


class StartingPoint(NamedTuple):
    """Fixed descriptions of the layers, and the first parameters of :func:`forward_pass.forward`."""

    layers: tuple[FewLevelLayer, ...]
    parameters: Parameters


def uniform_start(problem: StartProblem, key: Array) -> StartingPoint:
    """Return equidistant levels 0, 1, …, N − 1 with thresholds at (k − ½) 2/(N − 1) deviations, and random weights.

    The staircase is ReLU, clipped at 2 deviations and rounded. Latent weights are normal with variance 1/fan-in.
    """
    return StartingPoint(uniform_layers(problem), drawn_parameters(problem, first_thresholds(problem), key))


def first_thresholds(problem: StartProblem) -> list[tuple[float, ...]]:
    """Return the numbers that a uniform start gives for the thresholds of a neuron of each layer."""
    numbers = spaced_uniform_thresholds if problem.spaced else uniform_thresholds
    return [numbers(n) for n in problem.levels]


def uniform_layers(problem: StartProblem) -> tuple[FewLevelLayer, ...]:
    """Return the layers of a uniform start."""
    return tuple(
        FewLevelLayer(tuple(range(n)), (uniform_spacing(n),) * (n - 1), share, problem.surrogate, spaced=problem.spaced)
        for n, share in zip(problem.levels, problem.sparsity, strict=True)
    )


def uniform_spacing(levels: int) -> float:
    """Return the distance of thresholds of a uniform start, in deviations of the sums."""
    return 2 / (levels - 1)


def uniform_thresholds(levels: int) -> tuple[float, ...]:
    """Return the thresholds (k − ½) s of a uniform start with the distance s, in deviations of the sums."""
    return tuple((k + 0.5) * uniform_spacing(levels) for k in range(levels - 1))


def spaced_uniform_thresholds(levels: int) -> tuple[float, ...]:
    """Return the smallest of these thresholds and the logarithm of their distance."""
    return uniform_thresholds(levels)[0], log(uniform_spacing(levels))


def drawn_parameters(problem: StartProblem, thresholds: list[tuple[float, ...]], key: Array) -> Parameters:
    """Return random latent weights and a random readout, with the same thresholds for all neurons of a layer."""
    *keys, last = jax.random.split(key, len(problem.widths) + 1)
    fan_in = (problem.data.inputs_width, *problem.widths)
    layers = [
        {
            "weights": jax.random.normal(own, (d, before), jnp.float32) / jnp.float32(sqrt(before)),
            "thresholds": jnp.tile(jnp.asarray(steps, jnp.float32), (d, 1)),
        }
        for own, d, before, steps in zip(keys, problem.widths, fan_in, thresholds, strict=False)
    ]
    outputs = problem.data.outputs
    # with standard normal weights over √d, Adam's steps would be too short for scores of confident classes
    readout = jax.random.normal(last, (outputs, problem.widths[-1]), jnp.float32) / jnp.float32(
        sqrt(problem.widths[-1])
    )
    return {"layers": layers, "readout": readout, "offset": jnp.zeros(outputs, jnp.float32)}
