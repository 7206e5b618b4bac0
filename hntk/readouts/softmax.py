r"""Readout by gradient training: softmax cross-entropy on a network's features.

Features are brought to mean 0 and root mean square 1 over all neurons for training; the readout that is returned works
on the features as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Bool, Float

from hntk._utils.arguments import as_instance, as_path, as_positive, as_reals, as_seed
from hntk._utils.float64 import float64
from hntk._utils.pytree import array_dataclass
from hntk.data.normalization import Normalization
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network
from hntk.networks.read_layers import ReadLayers
from hntk.readouts.fit_data import FitData
from hntk.readouts.training import Epoch, Samples, Schedule, Trained, train

# Learning rates to choose from, in units of one neuron's share of the score.
RATES = (3e-2, 1e-2)


@array_dataclass(static=("validation_accuracy", "history", "learning_rate"))
class SoftmaxClassifier(Classifier):
    """A network with a readout trained by gradient steps.

    Attributes
    ----------
    validation_accuracy : float
        Accuracy on the validation part at the epoch and learning rate that were kept.
    history : tuple of Epoch
        Every epoch of the training that was kept.
    learning_rate : float
        Its learning rate, one of ``rates``.
    """

    validation_accuracy: float
    history: tuple[Epoch, ...]
    learning_rate: float


def fit_softmax(
    network: Network,
    x: object,
    labels: object = None,
    *,
    layers: ReadLayers = "last",
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
    network : Network
        Any network.
    x : array of shape (n, p) or Dataset
        Training samples, or a :class:`hntk.Dataset`, whose training part is taken.
    labels : array of shape (n,), optional
        Whole numbers, booleans or text; by default the data set's own. Floating-point numbers are targets of a
        regression, which :func:`hntk.fit_ridge` fits.
    layers : {"last", "all"}
        Whose features are read: the last layer's, h_L/√d_L, or those of all layers side by side. For all layers of a
        compressed network, match its activations with ``method="layerwise"``.
    normalization : Normalization, optional
        What raw samples go through before they are like x, for the classifier to take those with ``raw=True``; by
        default the data set's own.
    features : array of shape (n, d), optional
        Features of x as ``network.features(x, layers=layers)`` gives, where they are at hand.
    schedule : Schedule, optional
        How long to train; its learning rate is replaced by each of ``rates``.
    rates : sequence of float
        Learning rates to try; the best validation accuracy wins. They count for features of root mean square 1, and
        are divided by the square root of the number of features.
    validation_share : float
        Share of every class that is held out, for early stopping and the choice of the rate.
    seed : int
        Seed of the held-out part and of the order of samples.
    checkpoint : path, optional
        File written after every epoch, from which an interrupted training goes on. Each rate has a file of its own,
        with the rate in its name.
    progress : callable, optional
        Called with an :class:`~hntk.readouts.checkpoints.Epoch` after every epoch.

    Returns
    -------
    SoftmaxClassifier
        The network with its readout.

    Raises
    ------
    TrainingError
        If the loss stops being finite.
    TypeError
        If ``normalization`` is no :class:`hntk.Normalization`.
    ValueError
        If x, the labels, the features or the schedule do not fit, only one class occurs, labels are floating-point
        numbers, or ``layers`` is unknown.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.dense(["relu"], [256], data.x, key=jax.random.key(1))
    >>> schedule = hntk.Schedule(epochs=5, batch=32)
    >>> hntk.fit_softmax(net, data.x, data.labels, schedule=schedule).accuracy(data.x, data.labels) > 0.9
    True
    """
    if schedule is None:
        schedule = Schedule()
    as_instance(schedule, "schedule", Schedule, "a hntk.Schedule")
    rates, seed = as_reals(rates, "rates", as_positive), as_seed(seed)
    checkpoint = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    data = FitData.of(network, x, labels, normalization, features, layers)
    if data.answers.classes is None:
        raise ValueError(
            "labels are floating-point numbers, targets of a regression, and the softmax loss takes classes: fit them "
            "with hntk.fit_ridge; for classes give whole numbers, labels.astype(int), or text."
        )
    held = data.answers.draw_validation(validation_share, seed)
    samples, centre, size = _standardised(data, held)
    best, rate = _best(samples, data.answers.outputs, schedule, rates, seed, checkpoint, progress)
    weights, offset = (np.asarray(part, np.float64) for part in best.parameters)
    return SoftmaxClassifier(
        data.network,
        data.answers.classes,
        weights / size,
        offset - centre @ weights / size,
        best.validation,
        best.history,
        rate,
        **data.described(),
    )


def cross_entropy(scores: Array, y: Array) -> Array:
    """Return the mean softmax cross-entropy of (batch, K) scores and class indices."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, y))


def _standardised(data: FitData, held: Bool[np.ndarray, " n"]) -> tuple[Samples, Float[np.ndarray, " d"], float]:
    """Return features of mean 0 and root mean square 1 on the training part, and the two numbers they had."""
    features = data.features
    if features is None:
        features = np.asarray(data.network.features(data.samples, layers=data.layers))
    # Copies, which are scaled in place: features may be most of the memory there is.
    training, validation = features[~held], features[held]
    centre = training.mean(axis=0, dtype=np.float64)
    for part in (training, validation):
        part -= centre.astype(np.float32)
    size = float(np.sqrt(np.mean(np.square(training), dtype=np.float64))) or 1.0
    for part in (training, validation):
        part /= np.float32(size)
    y, y_held = data.answers.values[~held], data.answers.values[held]
    return Samples(*map(jnp.asarray, (training, y, validation, y_held))), centre, size


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
    """Train at every learning rate, and return the best by validation accuracy with its rate."""
    width = samples.x.shape[1]
    start = (jnp.zeros((width, classes), jnp.float32), jnp.zeros(classes, jnp.float32))
    with float64():
        key = jax.random.key(seed)  # All bits of the seed count, whatever precision JAX is set to.
    trained = []
    for rate in rates:
        planned = replace(schedule, learning_rate=rate / np.sqrt(width))
        path = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-{rate:g}{checkpoint.suffix}")
        done = train(_loss, _scores, start, samples, planned, key, checkpoint=path, progress=progress)
        trained.append((done, float(rate)))
    return max(trained, key=lambda pair: pair[0].validation)
