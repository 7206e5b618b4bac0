r"""Readout by gradient training: softmax cross-entropy on a network's features.

Features are brought to mean 0 and root mean square 1 over all neurons for training; the readout that is returned works
on the features as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from hntk._utils.arguments import as_instance, as_path, as_positive, as_reals, as_seed
from hntk._utils.float64 import float64
from hntk._utils.labels import as_labels
from hntk._utils.pytree import array_dataclass
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization, check_normalization
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics
from hntk.readouts.ridge import check_features, draw_validation
from hntk.readouts.training import Epoch, Samples, Schedule, Trained, train

RATES = (3e-2, 1e-2)


@array_dataclass(static=("validation_accuracy", "history", "learning_rate"))
class SoftmaxClassifier(Classifier):
    """A network with a readout trained by gradient steps.

    Attributes
    ----------
    validation_accuracy : at the epoch and learning rate that were kept.
    history : every epoch of the training that was kept.
    learning_rate : its learning rate.
    """

    validation_accuracy: float
    history: tuple[Epoch, ...]
    learning_rate: float


def fit_softmax(
    network: Network,
    x: object,
    labels: object = None,
    *,
    normalization: Normalization | None = None,
    features: object = None,
    schedule: Schedule | None = None,
    rates: Sequence[float] = RATES,
    validation_share: float = 0.1,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> SoftmaxClassifier:
    """Train a linear readout on the network's features with Adam.

    Parameters
    ----------
    network : any network.
    x : (n, p) training samples, or a :class:`hntk.Dataset`, whose training part is taken.
    labels : (n,) whole numbers, real numbers, booleans or text; by default the data set's own.
    normalization : what raw samples go through before they are like x, for the classifier to take those with
        ``raw=True``; by default the data set's own.
    features : (n, d) features of x, where they are at hand.
    schedule : of training; its learning rate is replaced by each of ``rates``.
    rates : learning rates to try; the best validation accuracy wins.
    validation_share : share of every class that is held out, for early stopping and this choice.
    seed : of the held-out part and of the order of samples.
    checkpoint : a file to resume an interrupted training from, see :func:`hntk.readouts.training.train`.
    progress : called after every epoch.

    Raises
    ------
    TrainingError
        If the loss stops being finite.
    ValueError
        If x, the labels, the features or the schedule do not fit, or only one class occurs.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.dense(["relu"], [256], data.x, key=jax.random.key(1))
    >>> schedule = hntk.Schedule(epochs=5, batch=32)
    >>> hntk.fit_softmax(net, data.x, data.labels, schedule=schedule).accuracy(data.x, data.labels) > 0.9
    True
    """
    as_instance(network, "network", Network, "a network, such as of hntk.dense")
    planned: Schedule = (
        Schedule() if schedule is None else as_instance(schedule, "schedule", Schedule, "a hntk.Schedule")
    )
    rates, seed = as_reals(rates, "rates", as_positive), as_seed(seed)
    checkpoint = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    x, labels, normalization = training_part(x, labels, normalization)
    check_normalization(normalization, network.inputs)
    inputs = network.check_inputs(x)
    classes, index = as_labels(labels, inputs.shape[0])
    f = np.asarray(network.features(inputs) if features is None else check_features(features, network, len(index)))
    held = draw_validation(index, validation_share, seed)
    # copies, which are scaled in place: features may be most of the memory there is
    kept, rest = f[~held], f[held]
    centre = kept.mean(axis=0, dtype=np.float64)
    for part in (kept, rest):
        part -= centre.astype(np.float32)
    size = float(np.sqrt(np.mean(np.square(kept), dtype=np.float64))) or 1.0
    for part in (kept, rest):
        part /= np.float32(size)
    samples = Samples(*(jnp.asarray(part) for part in (kept, index[~held], rest, index[held])))
    best, rate = _best(samples, classes.size, planned, rates, seed, checkpoint, progress)
    weights, offset = (np.asarray(part, np.float64) for part in best.parameters)
    return SoftmaxClassifier(
        network,
        classes,
        weights / size,
        offset - centre @ weights / size,
        best.validation,
        best.history,
        rate,
        statistics=DataStatistics.of(np.asarray(inputs), index),
        normalization=normalization,
    )


def cross_entropy(scores: Array, y: Array) -> Array:
    """Mean softmax cross-entropy of (batch, K) scores and class indices."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, y))


def _scores(parameters: tuple[Array, Array], x: Array) -> Array:
    return x @ parameters[0] + parameters[1]


def _loss(parameters: tuple[Array, Array], x: Array, y: Array) -> Array:
    return cross_entropy(_scores(parameters, x), y)


def _best(
    samples: Samples,
    classes: int,
    schedule: Schedule,
    rates: Sequence[float],
    seed: int,
    checkpoint: Path | None,
    progress: Callable[[Epoch], None] | None,
) -> tuple[Trained, float]:
    """The best training over the learning rates, in units of one neuron's share of the score."""
    width = samples.x.shape[1]
    start = (jnp.zeros((width, classes), jnp.float32), jnp.zeros(classes, jnp.float32))
    found = []
    with float64():
        key = jax.random.key(seed)  # of all its bits, whatever precision JAX is set to
    for rate in rates:
        plan = Schedule(
            schedule.epochs, schedule.batch, rate / np.sqrt(width), schedule.weight_decay, schedule.patience
        )
        path = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-{rate:g}{checkpoint.suffix}")
        done = train(_loss, _scores, start, samples, plan, key, checkpoint=path, progress=progress)
        found.append((done, float(rate)))
    return max(found, key=lambda pair: pair[0].validation)
