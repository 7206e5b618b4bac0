"""Training of classifiers and regressors of whole numbers, from raw samples in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk._utils.arguments import as_callback, as_choice, as_count, as_instance, as_key, as_path, as_share, as_widths
from hntk._utils.arrays import brief
from hntk.activations.surrogates import Surrogate, SurrogateLike, surrogate as as_surrogate
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.readouts.training import Schedule, Trained
from hntk.training.folding import folded
from hntk.training.loop import train_members
from hntk.training.objective import Objective
from hntk.training.samples import TrainingData, training_data
from hntk.training.stand_ins import IntegerRegressor, TrainingRecord
from hntk.training.starts import StartingPoint, StartProblem, starting_point

SCHEDULE = Schedule(epochs=60, batch=128, learning_rate=2e-3, patience=20, warmup=1.0)
MOST_LEVELS = 256
Result = IntegerClassifier | IntegerRegressor


def train(
    x: object,
    y: object,
    widths: int | Sequence[int] | None = None,
    *,
    levels: int | Sequence[int] = 4,
    weights: str = "ternary",
    sparsity: float | Sequence[float] | None = None,
    kilobytes: float | None = None,
    start: Any = "uniform",
    surrogate: SurrogateLike | None = None,
    teacher: Any = None,
    distill: tuple[float, float] = (0.5, 4.0),
    augment: Any = None,
    shape: tuple[int, int] | None = None,
    pool: tuple[int, int] | None = None,
    schedule: Schedule | None = None,
    validation: Any = 0.1,
    key: Array,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
) -> Any:
    """Train a network of ternary weights and activations of few levels, and return it in whole numbers.

    Parameters
    ----------
    x : (n, p) array
        Raw samples. Samples of the type uint8 are pixels, which the program takes as they are; others are rounded to
        8 bits in one unit for all coordinates.
    y : (n,) array of labels, or (n,) or (n, K) array of floating-point numbers
        Labels, for a classifier; or targets, for a regressor.

    Returns
    -------
    IntegerClassifier or IntegerRegressor, or a tuple of them
        The trained program of whole numbers.

    Raises
    ------
    TrainingError
        If the loss stops being finite.
    ValueError
        If arguments do not fit; the message gives the remedy.
    """
    schedule = SCHEDULE if schedule is None else as_instance(schedule, "schedule", Schedule, "a hntk.Schedule")
    keys, several = as_keys(key)
    as_choice(weights, "weights", ("ternary",))
    if widths is None:
        raise ValueError("give widths=, the number of neurons of each hidden layer, such as (128, 128).")
    given = as_widths(widths, len(widths) if isinstance(widths, Sequence) and not isinstance(widths, str) else 1)
    problem = StartProblem(
        training_data(x, y, shape=shape, pool=pool, validation=validation),
        given,
        _per_layer(levels, len(given), "levels", lambda v, name: as_count(v, name, 2, MOST_LEVELS)),
        _per_layer(sparsity, len(given), "sparsity", lambda v, name: None if v is None else as_share(v, name)),
        None if surrogate is None else as_surrogate(surrogate),
        schedule,
    )
    points = [starting_point(start, problem, member) for member in keys]
    objective = _objective(points[0], problem.data, augment, distill)
    trained = train_members(
        objective,
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(point.parameters for point in points)),
        problem.data,
        schedule,
        jax.vmap(lambda member: jax.random.fold_in(member, 1))(keys),
        checkpoint=None if checkpoint is None else as_path(checkpoint, "checkpoint"),
        progress=as_callback(progress),
    )
    results = tuple(_result(done, points[0], problem, start) for done in trained)
    return results if several else results[0]


def _result(done: Trained, point: StartingPoint, problem: StartProblem, start: Any) -> Result:
    data = problem.data
    best = [epoch.epoch for epoch in done.history if epoch.validation == done.validation]
    record = TrainingRecord(
        start if isinstance(start, str) else "model",
        len(done.history),
        best[0] if best else len(done.history),
        None if np.isnan(done.validation) else done.validation,
        len(data.training.targets),
        tuple(0.0 for _ in problem.widths),
    )
    return folded(done.parameters, point.layers, data, record)


def _objective(point: StartingPoint, data: TrainingData, augment: Any, distill: tuple[float, float]) -> Objective:
    live = augment is not None
    return Objective(
        point.layers,
        data.classes is not None,
        *distill,
        inputs=data.inputs if live else None,
        augment=augment,
        shape=data.shape if live else None,
    )


def as_keys(key: Any) -> tuple[Array, bool]:
    """Return an array of random keys, and whether several were given."""
    several = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 1
    if several and key.size:
        return key, True
    one = as_key(key)
    one = one if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(one)
    return one[None], False


def _per_layer(value: Any, depth: int, name: str, check: Callable[[Any, str], Any]) -> tuple[Any, ...]:
    """Return a setting of each layer, from one for all or one a layer."""
    if not isinstance(value, list | tuple | np.ndarray):
        return (check(value, name),) * depth
    if len(value) != depth:
        raise ValueError(f"{name} must be one number, or one for each of the {depth} layers; got {brief(value)}.")
    return tuple(check(part, f"every number of {name}") for part in value)
