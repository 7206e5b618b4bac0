"""Training of classifiers and regressors of whole numbers, from raw samples in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk._utils.arguments import (
    as_callback,
    as_choice,
    as_count,
    as_instance,
    as_key,
    as_nonnegative,
    as_path,
    as_positive,
    as_share,
    as_widths,
)
from hntk._utils.arrays import brief
from hntk._utils.memory import check_room
from hntk.activations.surrogates import SurrogateLike
from hntk.activations.surrogates import surrogate as as_surrogate
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import PooledPixels, Rounded
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.training_record import TrainingRecord
from hntk.readouts.training import Schedule, Trained
from hntk.training.folding import folded
from hntk.training.loop import train_members
from hntk.training.objective import Objective
from hntk.training.samples import TrainingData, training_data
from hntk.training.start_choice import Starts, starting_points
from hntk.training.starts import StartProblem
from hntk.training.teachers import TeacherSignal, teacher_signal

SCHEDULE = Schedule(epochs=60, batch=256, learning_rate=4e-3, patience=20, warmup=1.0)
MOST_LEVELS = 256
# Arrays of the size of the weights: two of weights, two moments, their gradient, and the same again after an epoch.
COPIES = 8
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

    Sums of each layer are standardised neuron by neuron, and compared with thresholds that are learned for each neuron
    and level, so that scales and biases cost nothing in the program; see :mod:`hntk.training.few_level_layers`. The
    network sees the same whole numbers in training as the program does, and the readout is rounded to 8 bits in
    training already.

    Parameters
    ----------
    x : (n, p) array
        Raw samples. Those of the type uint8 are pixels, which the program takes as they are; others are rounded to 8
        bits in one unit for all coordinates, so bring these to one size first.
    y : (n,) array of labels, or (n,) or (n, K) array of floating-point numbers
        Labels, for a classifier: whole numbers, booleans or text. Or targets, for a regressor.
    widths : int or sequence of int
        Number of neurons of each hidden layer.
    levels : int or sequence of int
        Number of levels of each layer's activation, from 2 to 256.
    weights : {"ternary"}
        Kind of the hidden weights: {0, ±1}.
    sparsity : float or sequence of float, optional
        Share of zeros among the weights of each layer, by magnitude. By default weights below .7 of the mean magnitude
        are 0.
    kilobytes : float, optional
        Size of the exported program, instead of widths.
    start : {"match", "uniform", "dense"}, list, Architecture, Classifier or model
        Where the training starts. ``"match"``: random weights, and the staircases of :func:`hntk.match` that keep the
        kernel of a ReLU network, with the calibrated surrogate as their derivative; a list of activations or an
        architecture of as many layers is another network whose kernel is kept. ``"uniform"``: random weights, and
        equidistant levels. ``"dense"``: a dense ReLU network of the same widths, which is trained for a quarter of the
        epochs, of which ``progress`` is told first, and then made ternary layer by layer, with thresholds and a readout
        that are fitted to it. Or a dense network that is made ternary: a classifier of hntk with ReLU-like activations,
        or a model that :func:`hntk.from_model` reads; it is given raw samples, which go through its normalisation.
    surrogate : str, Activation or Surrogate, optional
        Window of the backward pass at every threshold, a function of integral 1 in units of the thresholds' distance,
        see :func:`hntk.surrogate`. By default 1 up to half that distance: the clipped straight-through gradient.
    teacher : array, callable, classifier, model or "kernel", optional
        What is followed beside the labels: logits of shape (n, K) for the samples x, with classes in sorted order; a
        function of raw samples that gives them; a classifier of hntk or scikit-learn, or a model that
        :func:`hntk.from_model` reads, which is given raw samples; or ``"kernel"``, kernel ridge regression by the exact
        NTK of a ReLU network on at most 10,000 of the samples, without any training. Scores of classifiers are brought
        to logits by one factor, fitted on the validation samples. Where pixels are augmented, a teacher that JAX can
        trace is shown the augmented ones; with other teachers all augmentations of a sample share its own logits.
    distill : pair of float
        The teacher's share of the loss, and the temperature at which its logits are compared.
    augment : callable, optional
        Changes samples at random in every step, under ``jax.jit``; see :class:`hntk.Augmentation`. It maps (key, images
        of shape (batch, H, W) in float32 from 0 to 255) to such images. Of samples that are no pixels it maps (key,
        rows of whole numbers, their limits) to such rows.
    shape, pool : pair of int, optional
        Height and width of the image that a sample is, a square by default; and to which it is pooled, in the exported
        program too.
    schedule : Schedule, optional
        How long and how fast to train; by default 60 epochs in batches of 256 at a learning rate of .004, which
        rises over the first epoch, and a patience of 20.
    validation : float, (x, y) or None
        Share of every class that is held out for early stopping, the same samples for every key; or samples to use for
        it; or None to train on all samples for all epochs.
    key : jax.Array
        Random key of the start, the order of samples and the augmentation. An array of S keys gives S results, which
        are trained together, each as from its key alone up to rounding.
    checkpoint : path, optional
        File written after every epoch. Where it exists, from the same training, this one goes on from it and ends as
        it would have uninterrupted, bit for bit on the same machine.
    progress : callable, optional
        Called with an :class:`Epoch` after every epoch, or with a tuple of one a key.

    Returns
    -------
    IntegerClassifier or IntegerRegressor, or a tuple of them
        The trained program of whole numbers, from the epoch of the best validation accuracy.

    Raises
    ------
    TrainingError
        If the loss stops being finite. A checkpoint keeps the epoch before.
    ValueError
        If arguments do not fit, labels are missing, only one class occurs, or a checkpoint is of another training; the
        message gives the remedy.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=600, p=40, key=jax.random.key(0))
    >>> schedule = hntk.Schedule(epochs=5, batch=32, learning_rate=5e-3)
    >>> small = hntk.train(data.x, data.labels, [32], schedule=schedule, start="uniform", key=jax.random.key(1))
    >>> small.accuracy(data.x, data.labels) > 0.9
    True
    """
    if kilobytes is not None or widths is None:
        raise ValueError("give widths=, the number of neurons of each hidden layer, such as (128, 128).")
    keys, several = as_keys(key)
    problem = _problem(x, y, widths, levels, weights, sparsity, surrogate, shape, pool, schedule, validation)
    path = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    results = _trained(problem, start, teacher, distill, augment, keys, path, as_callback(progress))
    return results if several else results[0]


def _trained(
    problem: StartProblem,
    start: Any,
    teacher: Any,
    distill: Any,
    augment: Any,
    keys: Array,
    checkpoint: Path | None,
    progress: Callable[[Any], None] | None,
) -> tuple[Result, ...]:
    """Train from every key, and fold what is trained."""
    _check_room(problem, keys.size)
    signal = teacher_signal(teacher, problem.data, augmented=augment is not None)
    objective = _objective(problem.data, augment, signal, distill)
    starts = starting_points(
        start, problem, keys, objective, logits=signal.logits, checkpoint=checkpoint, progress=progress
    )
    layers = starts.points[0].layers
    trained = train_members(
        replace(objective, layers=layers),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(point.parameters for point in starts.points)),
        problem.data,
        starts.schedule,
        # The start has used the key itself.
        jax.vmap(lambda member: jax.random.fold_in(member, 1))(keys),
        logits=signal.logits,
        checkpoint=checkpoint,
        progress=progress,
    )
    records = (_record(done, problem, starts, augment, signal) for done in trained)
    return tuple(
        folded(done.parameters, layers, problem.data, record) for done, record in zip(trained, records, strict=True)
    )


def _record(
    done: Trained, problem: StartProblem, starts: Starts, augment: Any, signal: TeacherSignal
) -> TrainingRecord:
    """Return how a member was trained, as far as the program does not show it."""
    better = [epoch.epoch for epoch in done.history if epoch.validation == done.validation]
    return TrainingRecord(
        starts.name,
        starts.epochs + len(done.history),
        starts.epochs + (better[0] if better else len(done.history)),
        None,
        len(problem.data.training.targets),
        augmentation=None if augment is None else str(augment),
        teacher=signal.name,
    )


def _problem(
    x: object,
    y: object,
    widths: Any,
    levels: Any,
    weights: str,
    sparsity: Any,
    surrogate: SurrogateLike | None,
    shape: Any,
    pool: Any,
    schedule: Schedule | None,
    validation: Any,
) -> StartProblem:
    """Check the settings of a training and its samples."""
    as_choice(weights, "weights", ("ternary",))
    if schedule is not None:
        as_instance(schedule, "schedule", Schedule, "a hntk.Schedule")
    depth = len(widths) if isinstance(widths, list | tuple | np.ndarray) and np.ndim(widths) else 1
    given = as_widths(widths, max(1, depth))
    data = training_data(x, y, shape=shape, pool=pool, validation=validation)
    return StartProblem(
        data,
        given,
        _per_layer(levels, len(given), "levels", lambda value, name: as_count(value, name, 2, MOST_LEVELS)),
        _per_layer(
            sparsity, len(given), "sparsity", lambda value, name: None if value is None else as_share(value, name)
        ),
        None if surrogate is None else as_surrogate(surrogate),
        schedule or replace(SCHEDULE, batch=min(SCHEDULE.batch, len(data.training.targets))),
    )


def _check_room(problem: StartProblem, members: int) -> None:
    sizes = (problem.data.inputs_width, *problem.widths, problem.data.outputs)
    weights = sum(before * after for before, after in pairwise(sizes))
    check_room(4 * COPIES * members * weights, "Training these layers", "Give smaller widths=, or fewer keys at once.")


def _objective(data: TrainingData, augment: Any, signal: TeacherSignal, distill: Any) -> Objective:
    """Return what is minimised; raw samples take part in every step if they are augmented or shown to a teacher."""
    rounded = isinstance(data.inputs, Rounded)
    # Coordinates that were rounded are augmented as whole numbers, pixels before they are pooled.
    raw = signal.live is not None or (augment is not None and isinstance(data.inputs, PooledPixels))
    if rounded and augment is not None and signal.live is not None:
        raise ValueError("augmented samples that are no pixels have no raw form for a teacher: give it as logits.")
    weight, temperature = _distillation(distill)
    return Objective(
        (),
        data.classes is not None,
        weight,
        temperature,
        inputs=data.inputs if raw else None,
        augment=as_callback(augment, "augment"),
        teacher=signal.live,
        shape=data.shape,
        limits=(data.inputs.least, data.inputs.most) if rounded else None,
    )


def _distillation(distill: Any) -> tuple[float, float]:
    if not isinstance(distill, list | tuple) or len(distill) != 2:
        raise ValueError(f"distill must be a pair (weight, temperature), got {brief(distill)}.")
    weight = as_nonnegative(distill[0], "the weight of distill", "the teacher's share of the loss")
    if weight > 1:
        raise ValueError(f"the weight of distill must be at most 1, got {weight:g}.")
    return weight, as_positive(distill[1], "the temperature of distill")


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
