"""Training of classifiers and regressors of whole numbers, from raw samples in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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
from hntk.activations.surrogates import Surrogate, SurrogateLike
from hntk.activations.surrogates import surrogate as as_surrogate
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.training_record import Candidate, TrainingRecord
from hntk.readouts.training import Schedule, Trained
from hntk.training.budget import folded_within, search
from hntk.training.designs import Freedom, cells, designs
from hntk.training.few_level_layers import FewLevelLayer, Parameters
from hntk.training.folding import folded
from hntk.training.loop import train_members
from hntk.training.objective import Objective
from hntk.training.samples import TrainingData, training_data
from hntk.training.sparse_weights import DENSITY_SCALE, own_layers, with_cuts
from hntk.training.start_choice import Starts, starting_points
from hntk.training.starts import StartProblem
from hntk.training.teachers import TeacherSignal, teacher_signal

SCHEDULE = Schedule(epochs=60, batch=256, learning_rate=4e-3, patience=20, warmup=1.0)
MOST_LEVELS = 256
# Levels of a layer unless they are given: of one with spaced thresholds in a budget, where levels cost no bytes, more.
LEVELS, BUDGET_LEVELS = 4, 8
# Hidden layers of a network that is chosen for a budget.
DEPTH = 2
# Arrays of the size of the weights: two of weights, two moments, their gradient, and the same again after an epoch.
COPIES = 8
Result = IntegerClassifier | IntegerRegressor


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training after an epoch, with the programs that it would end with now.

    Attributes
    ----------
    members : tuple of Trained
        Present parameters, validation and history of each key.
    fold : callable
        Makes programs of members.
    before : int
        Epochs that were spent on a dense network to start from.
    """

    members: tuple[Trained, ...]
    fold: Callable[[Sequence[Trained]], tuple[Result, ...]]
    before: int = 0

    @property
    def epoch(self) -> int:
        """The number of epochs so far, with those of a dense network to start from."""
        return self.before + len(self.members[0].history)

    def programs(self) -> tuple[Result, ...]:
        """Return the program of whole numbers of each key, folded from its present parameters."""
        return self.fold(self.members)


def train(
    x: object,
    y: object,
    widths: int | Sequence[int] | None = None,
    *,
    levels: int | Sequence[int] | None = None,
    weights: str = "ternary",
    sparsity: float | Sequence[float] | None = None,
    thresholds: str | None = None,
    kilobytes: float | None = None,
    start: Any = "uniform",
    surrogate: SurrogateLike | None = None,
    teacher: Any = None,
    distill: tuple[float, float] = (0.5, 1.0),
    augment: Any = None,
    shape: tuple[int, int] | None = None,
    pool: tuple[int, int] | str | None = None,
    schedule: Schedule | None = None,
    validation: Any = 0.1,
    key: Array,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
    snapshot: Callable[[Snapshot], None] | None = None,
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
    widths : int or sequence of int, optional
        Number of neurons of each hidden layer. May be left out with ``kilobytes``.
    levels : int or sequence of int, optional
        Number of levels of each layer's activation, from 2 to 256; by default 4, or 8 with ``kilobytes`` and spaced
        thresholds, of which more take no more bytes.
    weights : {"ternary"}
        Kind of the hidden weights: {0, ±1}.
    sparsity : float or sequence of float, optional
        Share of zeros among the weights of each layer, by magnitude. By default weights below .7 of the mean magnitude
        are 0. With ``kilobytes`` these are the shares at the start; they change while the network is trained, so that
        the program fills its budget.
    thresholds : {"each", "spaced"}, optional
        What is learned of a neuron's thresholds: each of them; or the first and their distance, which take 3 bytes of
        the program for any number of levels. By default they are spaced if ``kilobytes`` is given and the start has
        equidistant levels.
    kilobytes : float, optional
        Largest size of the tables of the C program, :attr:`CProgram.table_bytes <hntk.deploy.c.CProgram>`, in thousand
        bytes. The result never takes more, and 99 % of it or more where possible: after every epoch, or some fifty
        times in a longer training, the density of all layers is scaled so that the program of the present weights fills
        it. See :mod:`hntk.training.byte_limit`. What is not given of widths, sparsity and pooling of images is chosen
        by short trainings with the first key of up to six networks that fill this budget, for three tenths of the
        epochs in all; the record of the training names them. See :mod:`hntk.training.budget`.
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
        program too. With ``kilobytes``, pooling is chosen by default or where it is ``"auto"``; give the image's own
        height and width for none.
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
        it would have uninterrupted, bit for bit on the same machine. With ``kilobytes``, the short trainings are
        repeated before.
    progress : callable, optional
        Called with an :class:`~hntk.readouts.checkpoints.Epoch` after every epoch, or with a tuple of one a key.
    snapshot : callable, optional
        Called after every epoch with a :class:`~hntk.training.few_level_training.Snapshot`, which gives the programs of
        the present parameters. It comes before the checkpoint of the epoch, so that a training that goes on from one
        has left no snapshot out.

    Returns
    -------
    IntegerClassifier or IntegerRegressor, or a tuple of them
        The trained program of whole numbers, from the last epoch whose validation accuracy is within a standard error
        of the best one; of a regressor from the epoch of the least error.

    Raises
    ------
    TrainingError
        If the loss stops being finite. A checkpoint keeps the epoch before.
    ValueError
        If arguments do not fit, labels are missing, only one class occurs, no network fits into so many kilobytes, or a
        checkpoint is of another training; the message gives the remedy.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=600, p=40, key=jax.random.key(0))
    >>> schedule = hntk.Schedule(epochs=5, batch=32, learning_rate=5e-3)
    >>> small = hntk.train(data.x, data.labels, [32], schedule=schedule, start="uniform", key=jax.random.key(1))
    >>> small.accuracy(data.x, data.labels) > 0.9
    True
    """
    keys, several = as_keys(key)
    as_choice(weights, "weights", ("ternary",))
    data_of = partial(training_data, x, y, shape=shape, validation=validation)
    freedom = _freedom(
        data_of, widths, levels, sparsity, surrogate, pool, schedule, thresholds, start, free=kilobytes is not None
    )
    signal = teacher_signal(teacher, freedom.problem.data, augmented=augment is not None)
    method = Method(start, signal, distill, augment)
    path, called = None if checkpoint is None else as_path(checkpoint, "checkpoint"), as_callback(progress)
    limit = _bytes(kilobytes)
    problem, candidates = _chosen(freedom, method, keys[0], limit)
    finish = partial(_programs, problem, method, candidates, limit)
    note = None if snapshot is None else partial(_note, as_callback(snapshot, "snapshot"), finish)
    results = finish(*_trained(problem, method, keys, limit, path, called, note))
    return results if several else results[0]


def _bytes(kilobytes: float | None) -> float | None:
    return None if kilobytes is None else 1000 * as_positive(kilobytes, "kilobytes", "the size of the program's tables")


def _chosen(
    freedom: Freedom, method: Method, key: Array, limit: float | None
) -> tuple[StartProblem, tuple[Candidate, ...]]:
    """Return what is trained, and the short trainings by which it was chosen for a limit of bytes."""
    if limit is None:
        return freedom.problem, ()
    return search(designs(freedom, limit), limit, partial(_short_training, method, key))


def _note(
    snapshot: Callable[[Snapshot], None],
    finish: Callable[[Starts, Sequence[Trained]], tuple[Result, ...]],
    starts: Starts,
    members: tuple[Trained, ...],
) -> None:
    snapshot(Snapshot(members, partial(finish, starts), starts.epochs))


def _programs(
    problem: StartProblem,
    method: Method,
    candidates: tuple[Candidate, ...],
    limit: float | None,
    starts: Starts,
    members: Sequence[Trained],
) -> tuple[Result, ...]:
    """Return the programs of some members, within a limit of bytes if there is one."""
    found = list[Result]()
    for done in members:
        layers = own_layers(done.parameters, starts.points[0].layers)
        record = replace(_record(done, problem, method, starts), candidates=candidates)
        if limit is None:
            found.append(folded(done.parameters, layers, problem.data, record))
        else:
            found.append(folded_within(done.parameters, layers, problem.data, record, limit)[0])
    return tuple(found)


class Method(NamedTuple):
    """How networks of any widths are trained: start, teacher, the teacher's share of the loss, and augmentation."""

    start: Any
    signal: TeacherSignal
    distill: Any
    augment: Any


def _trained(
    problem: StartProblem,
    method: Method,
    keys: Array,
    limit: float | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Any], None] | None = None,
    note: Callable[[Starts, tuple[Trained, ...]], None] | None = None,
) -> tuple[Starts, tuple[Trained, ...]]:
    """Train from every key, for a limit of bytes if there is one; return where that started and what was trained."""
    _check_room(problem, keys.size)
    objective = _objective(problem.data, method)
    starts = starting_points(
        method.start, problem, keys, objective, logits=method.signal.logits, checkpoint=checkpoint, progress=progress
    )
    scale = {} if limit is None else {DENSITY_SCALE: jnp.float32(1.0)}
    trained = train_members(
        replace(objective, layers=starts.points[0].layers),
        jax.tree.map(
            lambda *leaves: jnp.stack(leaves),
            *(with_cuts(point.parameters, point.layers) | scale for point in starts.points),
        ),
        problem.data,
        starts.schedule,
        # The start has used the key itself.
        jax.vmap(lambda member: jax.random.fold_in(member, 1))(keys),
        logits=method.signal.logits,
        limit=limit,
        checkpoint=checkpoint,
        progress=progress,
        snapshot=None if note is None else partial(note, starts),
    )
    return starts, trained


def _short_training(
    method: Method, key: Array, problem: StartProblem, rows: np.ndarray
) -> tuple[Parameters, tuple[FewLevelLayer, ...], TrainingRecord]:
    """Train a network from one key on some of the samples whose teacher's outputs are known."""
    known = method.signal.logits
    # A dense network's training would be a quarter of a short one.
    start = "uniform" if isinstance(method.start, str) and method.start == "dense" else method.start
    signal = method.signal._replace(logits=None if known is None else known[rows])
    method = method._replace(start=start, signal=signal)
    starts, (done,) = _trained(problem, method, key[None])
    return done.parameters, starts.points[0].layers, _record(done, problem, method, starts)


def _record(done: Trained, problem: StartProblem, method: Method, starts: Starts) -> TrainingRecord:
    """Return how a member was trained, as far as the program does not show it."""
    equal = [epoch.epoch for epoch in done.history if epoch.validation == done.validation]
    return TrainingRecord(
        starts.name,
        starts.epochs + len(done.history),
        starts.epochs + (equal[-1] if equal else len(done.history)),
        None,
        len(problem.data.training.targets),
        augmentation=None if method.augment is None else str(method.augment),
        teacher=method.signal.name,
    )


def _freedom(
    data_of: Callable[..., TrainingData],
    widths: Any,
    levels: Any,
    sparsity: Any,
    surrogate: SurrogateLike | None,
    pool: Any,
    schedule: Schedule | None,
    thresholds: str | None,
    start: Any,
    *,
    free: bool,
) -> Freedom:
    """Check the settings of a training and its samples, and return what is given of them and what is free."""
    if not free and widths is None:
        raise ValueError("give widths=, the number of neurons of each hidden layer, such as (128, 128), or kilobytes=.")
    automatic = isinstance(pool, str)
    if automatic and not (free and as_choice(pool, "pool", ("auto",))):
        raise ValueError('pool="auto" needs kilobytes=: give pool=(height, width), or None for no pooling.')
    if schedule is not None:
        as_instance(schedule, "schedule", Schedule, "a hntk.Schedule")
    sequences = [len(value) for value in (widths, levels, sparsity) if _is_sequence(value)]
    depth = sequences[0] if sequences and sequences[0] else 1 if widths is not None else DEPTH
    given = None if widths is None else as_widths(widths, depth)
    window = None if surrogate is None else as_surrogate(surrogate)
    spaced = _are_spaced(thresholds, start, window, free)
    usual = BUDGET_LEVELS if free and spaced else LEVELS
    levels = _per_layer(
        usual if levels is None else levels, depth, "levels", lambda v, name: as_count(v, name, 2, MOST_LEVELS)
    )
    shares = _per_layer(sparsity, depth, "sparsity", lambda v, name: None if v is None else as_share(v, name))
    if free and len({share is None for share in shares}) > 1:
        raise ValueError("with kilobytes=, give the sparsity of every layer or of none.")
    data = data_of(pool=None if automatic else pool)
    chosen = schedule or replace(SCHEDULE, batch=min(SCHEDULE.batch, len(data.training.targets)))
    problem = StartProblem(data, given or (1,) * depth, levels, shares, window, chosen, spaced)
    can_pool = (automatic or pool is None) and isinstance(data.inputs, Pixels) and data.shape is not None
    return Freedom(problem, partial(_pooled, data, data_of), given, None if None in shares else shares, can_pool)


def _pooled(data: TrainingData, data_of: Callable[..., TrainingData], share: float) -> TrainingData | None:
    """Return the samples with images pooled to about a share of the pixels a side, or None if they cannot be."""
    if share == 1:
        return data
    pool = None if data.shape is None else cells(data.shape, share)
    return None if pool is None else data_of(pool=pool)


def _are_spaced(thresholds: str | None, start: Any, surrogate: Surrogate | None, free: bool) -> bool:
    """Return whether the thresholds of a neuron are spaced equally."""
    possible = surrogate is None and not (isinstance(start, str) and start == "match")
    if thresholds is None:
        return free and possible
    spaced = as_choice(thresholds, "thresholds", ("each", "spaced")) == "spaced"
    if spaced and not possible:
        raise ValueError(
            "thresholds that are spaced equally need equidistant levels and no surrogate=: start from 'uniform' or a "
            "dense network, or give thresholds='each'."
        )
    return spaced


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0


def _check_room(problem: StartProblem, members: int) -> None:
    sizes = (problem.data.inputs_width, *problem.widths, problem.data.outputs)
    weights = sum(before * after for before, after in pairwise(sizes))
    check_room(4 * COPIES * members * weights, "Training these layers", "Give smaller widths=, or fewer keys at once.")


def _objective(data: TrainingData, method: Method) -> Objective:
    """Return what is minimised; raw samples take part in every step if they are augmented or shown to a teacher."""
    _, signal, distill, augment = method
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
    if not _is_sequence(value):
        return (check(value, name),) * depth
    if len(value) != depth:
        raise ValueError(f"{name} must be one number, or one for each of the {depth} layers; got {brief(value)}.")
    return tuple(check(part, f"every number of {name}") for part in value)
