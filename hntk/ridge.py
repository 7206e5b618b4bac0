r"""Readout by ridge regression on a network's features.

With features $F$ (centred on the training data), one-hot targets $Y$ and ridge λ, the readout is $W = (F^\top F +
\lambda I)^{-1}F^\top Y$: the predictor of kernel regression with $FF^\top + \lambda I$, whose limit is the conjugate
kernel. A compressed network whose kernel carries an identity shift δ needs the ridge λ − δ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from hntk.checks import as_labels
from hntk.network import Network

GRID = np.logspace(-6, 2, 33)


@dataclass(frozen=True)
class RidgeClassifier:
    """A network with a readout fitted by ridge regression.

    Attributes
    ----------
    network : gives the features.
    classes : (K,) labels in the order of the scores.
    weights : (d, K) readout.
    offset : (K,) scores at feature 0.
    ridge : λ that was used.
    validation : (λ, validation accuracy) pairs tried when the ridge was chosen; empty when it was given.
    """

    network: Network
    classes: np.ndarray
    weights: Float[np.ndarray, "d K"]
    offset: Float[np.ndarray, " K"]
    ridge: float
    validation: tuple[tuple[float, float], ...] = ()

    def scores(self, x: object) -> Float[np.ndarray, "n K"]:
        """One score per class, in the order of ``classes``; the largest wins.

        Raises
        ------
        ValueError
            If x does not fit the network.
        """
        readout = self.weights.astype(np.float32)
        return np.concatenate([np.asarray(f) @ readout for f in self.network.feature_batches(x)]) + self.offset

    def predict(self, x: object) -> np.ndarray:
        """Predicted labels, (n,)."""
        return self.classes[np.argmax(self.scores(x), axis=1)]

    def accuracy(self, x: object, labels: object) -> float:
        """Share of samples whose label is predicted."""
        predicted = self.predict(x)
        given = np.asarray(labels)
        if given.shape != predicted.shape:
            raise ValueError(f"labels must have shape {predicted.shape}, one per row of x; got {given.shape}.")
        return float(np.mean(predicted == given))


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
    labels: object,
    ridge: float | None = None,
    *,
    validation_share: float = 0.1,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> RidgeClassifier:
    """Fit a linear readout on the network's features.

    Parameters
    ----------
    network : any drawn network.
    x : (n, p) training samples.
    labels : (n,) labels of any kind.
    ridge : λ > 0; None chooses it from ``GRID`` times the mean eigenvalue of FFᵀ, by accuracy on a validation part
        of the training data, and refits on all of it.
    validation_share : size of that part.
    seed : of its choice.
    progress : called with the number of samples whose features are done, after each batch.

    Raises
    ------
    ValueError
        If x or the labels do not fit, only one class occurs, or the ridge is not positive.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    >>> net = hntk.dense(["relu"], [256], data.x, key=jax.random.key(1))
    >>> hntk.fit_ridge(net, data.x, data.labels).accuracy(data.x, data.labels) > 0.9
    True
    """
    samples = network.check_inputs(x)
    classes, index = as_labels(labels, samples.shape[0])
    if ridge is not None:
        if not (np.isfinite(ridge) and ridge > 0):
            raise ValueError(f"ridge must be a positive finite number, or None to have it chosen; got {ridge!r}.")
        whole = _accumulate(network, samples, index, classes.size, progress)
        return _finish(network, classes, whole, ridge)
    held = _held_out(index, validation_share, seed)
    kept = np.flatnonzero(~held)
    fitted = _accumulate(network, samples[kept], index[kept], classes.size, progress)
    features = np.asarray(network.features(samples[held]))
    tried = _validate(fitted, features, index[held])
    if progress is not None:
        progress(int(held.sum()))
    whole = fitted.plus(_statistics(features, index[held], classes.size))
    # of equally good ridges the largest: it is the more stable
    best = max(tried, key=lambda pair: (pair[1], pair[0]))[0]
    return _finish(network, classes, whole, best, tuple(tried))


def _held_out(index: Int[np.ndarray, " n"], share: float, seed: int) -> np.ndarray:
    """A random part of every class for validation; every class stays in both parts."""
    if not 0 < share < 1:
        raise ValueError(f"validation_share must lie strictly between 0 and 1, got {share!r}.")
    rng = np.random.default_rng(seed)
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
    network: Network, x: Array, index: np.ndarray, classes: int, progress: Callable[[int], None] | None
) -> _Normal:
    total, start = None, 0
    for batch in network.feature_batches(x):
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


def _centred(s: _Normal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the centred FᵀF, and its centred FᵀY in that basis."""
    gram = s.gram - np.outer(s.feature_sum, s.feature_sum) / s.count
    cross = s.cross - np.outer(s.feature_sum, s.target_sum) / s.count
    values, vectors = np.linalg.eigh(gram)
    return np.clip(values, 0.0, None), vectors, vectors.T @ cross


def _validate(s: _Normal, features: np.ndarray, index: np.ndarray) -> list[tuple[float, float]]:
    """(λ, accuracy) over the grid from one eigendecomposition."""
    values, vectors, cross = _centred(s)
    rotated = features @ vectors.astype(np.float32)
    centre = (s.feature_sum / s.count) @ vectors
    tried = []
    for ridge in GRID * max(float(values.sum()) / s.count, np.finfo(float).tiny):
        weights = cross / (values[:, None] + ridge)
        scores = rotated @ weights.astype(np.float32) + (s.target_sum / s.count - centre @ weights)
        tried.append((float(ridge), float(np.mean(np.argmax(scores, axis=1) == index))))
    return tried


def _finish(
    network: Network, classes: np.ndarray, s: _Normal, ridge: float, tried: tuple[tuple[float, float], ...] = ()
) -> RidgeClassifier:
    values, vectors, cross = _centred(s)
    weights = vectors @ (cross / (values[:, None] + ridge))
    offset = s.target_sum / s.count - (s.feature_sum / s.count) @ weights
    return RidgeClassifier(network, classes, weights, offset, float(ridge), tried)
