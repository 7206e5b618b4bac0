r"""Readout by ridge regression on a network's features.

With features $F$ (centred on the training data), one-hot targets $Y$ and ridge λ, the readout is $W = (F^\top F +
\lambda I)^{-1}F^\top Y$: the predictor of kernel regression with $FF^\top + \lambda I$, whose limit is the conjugate
kernel. A compressed network whose kernel carries an identity shift δ needs the ridge λ − δ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jax import Array
from jaxtyping import Float, Int
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from hntk._utils.arguments import as_callback, as_instance, as_positive, as_seed, as_share
from hntk._utils.arrays import check_result, real_array
from hntk._utils.labels import as_labels
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import check_rows
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization, check_normalization
from hntk.networks.classifier import Classifier
from hntk.networks.network import BATCH, Network
from hntk.networks.provenance import DataStatistics

GRID = np.logspace(-6, 2, 33)


@array_dataclass(static=("ridge", "validation"))
class RidgeClassifier(Classifier):
    """A network with a readout fitted by ridge regression.

    Attributes
    ----------
    ridge : λ that was used.
    validation : (λ, validation accuracy) pairs tried when the ridge was chosen; empty when it was given.
    """

    ridge: float
    validation: tuple[tuple[float, float], ...] = ()

    @property
    def validation_accuracy(self) -> float | None:
        """At the ridge that was chosen; None when it was given."""
        return dict(self.validation).get(self.ridge)


@dataclass(frozen=True)
class _Normal:
    """Sufficient statistics of a least-squares problem, in float64."""

    gram: Float[np.ndarray, "d d"]
    cross: Float[np.ndarray, "d K"]
    feature_sum: Float[np.ndarray, " d"]
    target_sum: Float[np.ndarray, " K"]
    count: int

    def plus(self, other: _Normal) -> _Normal:
        return _Normal(
            self.gram + other.gram,
            self.cross + other.cross,
            self.feature_sum + other.feature_sum,
            self.target_sum + other.target_sum,
            self.count + other.count,
        )


def fit_ridge(
    network: Network,
    x: object,
    labels: object = None,
    ridge: float | None = None,
    *,
    normalization: Normalization | None = None,
    features: object = None,
    validation_share: float = 0.1,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> RidgeClassifier:
    """Fit a linear readout on the network's features.

    Parameters
    ----------
    network : any drawn network.
    x : (n, p) training samples, or a :class:`hntk.Dataset`, whose training part is taken.
    labels : (n,) whole numbers, real numbers, booleans or text; by default the data set's own.
    ridge : λ > 0; None chooses it from ``GRID`` times the mean eigenvalue of FFᵀ, by accuracy on a validation part
        of the training data, and refits on all of it.
    normalization : what raw samples go through before they are like x, for the classifier to take those with
        ``raw=True``; by default the data set's own.
    features : (n, d) features of x, where they are at hand; by default they are computed a batch at a time and not
        kept.
    validation_share : size of that part.
    seed : of its choice.
    progress : called with the number of samples whose features are done, after each batch.

    Raises
    ------
    ValueError
        If x, the labels or the features do not fit, only one class occurs, or the ridge is not positive.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    >>> net = hntk.dense(["relu"], [256], data.x, key=jax.random.key(1))
    >>> hntk.fit_ridge(net, data.x, data.labels).accuracy(data.x, data.labels) > 0.9
    True
    """
    as_instance(network, "network", Network, "a network, such as of hntk.dense")
    x, labels, normalization = training_part(x, labels, normalization)
    check_normalization(normalization, network.inputs)
    samples, progress = network.check_inputs(x), as_callback(progress)
    classes, index = as_labels(labels, samples.shape[0])
    told = DataStatistics.of(np.asarray(samples), index)
    given = None if features is None else check_features(features, network, samples.shape[0])

    def batches(rows: np.ndarray) -> Iterator[Array | np.ndarray]:
        if given is None:
            return network.feature_batches(samples[rows])
        return (given[rows[start : start + BATCH]] for start in range(0, rows.size, BATCH))

    if ridge is not None:
        ridge = as_positive(ridge, "ridge", "None has it chosen")
        whole = _accumulate(batches(np.arange(index.size)), index, classes.size, progress)
        return replace(_finish(network, classes, told, whole, ridge), normalization=normalization)
    held = draw_validation(index, validation_share, seed)
    kept = np.flatnonzero(~held)
    fitted = _accumulate(batches(kept), index[kept], classes.size, progress)
    validation = np.concatenate([np.asarray(batch) for batch in batches(np.flatnonzero(held))])
    tried = _validate(fitted, validation, index[held])
    if progress is not None:
        progress(int(held.sum()))
    whole = fitted.plus(_statistics(validation, index[held], classes.size))
    # of equally good ridges the largest: it is the more stable
    best = max(tried, key=lambda pair: (pair[1], pair[0]))[0]
    return replace(_finish(network, classes, told, whole, best, tuple(tried)), normalization=normalization)


def check_features(features: object, network: Network, n: int) -> Float[np.ndarray, "n d"]:
    """Features that are the network's, by their shape.

    Raises
    ------
    ValueError
        If they are not (n, d_L), not finite or not numbers.
    """
    given = np.asarray(real_array(features, "features"))
    if given.shape != (n, network.widths[-1]):
        raise ValueError(
            f"features must have shape {(n, network.widths[-1])}, as network.features(x) gives; got {given.shape}."
        )
    # sums of whole numbers would overflow in the type they are of
    given = given.astype(np.result_type(given.dtype, np.float32), copy=False)
    check_rows(given, "features", given.dtype)
    return given


def draw_validation(index: Int[np.ndarray, " n"], share: float, seed: int) -> np.ndarray:
    """A random part of every class for validation; every class stays in both parts."""
    share = as_share(share, "validation_share")
    rng = np.random.default_rng(as_seed(seed))
    held = np.zeros(index.size, dtype=bool)
    for a in range(int(index.max()) + 1):
        members = rng.permutation(np.flatnonzero(index == a))
        if members.size < 2:
            raise ValueError(
                "choosing the ridge needs at least 2 samples of every class: give ridge= instead, or more samples."
            )
        held[members[: min(max(1, round(share * members.size)), members.size - 1)]] = True
    return held


def _accumulate(
    batches: Iterator[Array | np.ndarray], index: np.ndarray, classes: int, progress: Callable[[int], None] | None
) -> _Normal:
    total, start = None, 0
    for batch in batches:
        part = _statistics(np.asarray(batch), index[start : start + batch.shape[0]], classes)
        total = part if total is None else total.plus(part)
        start += batch.shape[0]
        if progress is not None:
            progress(batch.shape[0])
    assert total is not None
    return total


def _statistics(features: np.ndarray, index: np.ndarray, classes: int) -> _Normal:
    targets = np.eye(classes, dtype=np.float32)[index]
    return _Normal(
        (features.T @ features).astype(np.float64),
        (features.T @ targets).astype(np.float64),
        features.sum(axis=0, dtype=np.float64),
        targets.sum(axis=0, dtype=np.float64),
        len(features),
    )


def _centred(s: _Normal) -> tuple[np.ndarray, np.ndarray]:
    """FᵀF and FᵀY of centred features."""
    gram = s.gram - np.outer(s.feature_sum, s.feature_sum) / s.count
    return gram, s.cross - np.outer(s.feature_sum, s.target_sum) / s.count


def _validate(s: _Normal, features: np.ndarray, index: np.ndarray) -> list[tuple[float, float]]:
    """(λ, accuracy) over the grid from one eigendecomposition."""
    gram, cross = _centred(s)
    values, vectors = np.linalg.eigh(gram)
    values, cross = np.clip(values, 0.0, None), vectors.T @ cross
    rotated = features @ vectors.astype(np.float32)
    centre = (s.feature_sum / s.count) @ vectors
    tried = []
    for ridge in GRID * max(float(values.sum()) / s.count, np.finfo(float).tiny):
        weights = cross / (values[:, None] + ridge)
        scores = rotated @ weights.astype(np.float32) + (s.target_sum / s.count - centre @ weights)
        tried.append((float(ridge), float(np.mean(np.argmax(scores, axis=1) == index))))
    return tried


def _finish(
    network: Network,
    classes: np.ndarray,
    told: DataStatistics,
    s: _Normal,
    ridge: float,
    tried: tuple[tuple[float, float], ...] = (),
) -> RidgeClassifier:
    weights = _solved(*_centred(s), ridge)
    check_result(weights, "the readout")
    offset = s.target_sum / s.count - (s.feature_sum / s.count) @ weights
    return RidgeClassifier(network, classes, weights, offset, float(ridge), tried, statistics=told)


def _solved(gram: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
    """(FᵀF + λI)⁻¹FᵀY."""
    shifted = gram.copy()
    np.fill_diagonal(shifted, gram.diagonal() + ridge)
    try:
        return cho_solve(cho_factor(shifted, overwrite_a=True), cross)
    except LinAlgError:
        # a ridge below the rounding errors of FᵀF: directions that are nothing but those do not count
        values, vectors = np.linalg.eigh(gram)
        real = values > np.finfo(np.float32).eps * values[-1]
        return vectors[:, real] @ (vectors[:, real].T @ cross / (values[real, None] + ridge))
