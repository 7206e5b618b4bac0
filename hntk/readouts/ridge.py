r"""Readout by ridge regression on a network's features.

With features $F$ (centred on the training data), targets $Y$, which are one-hot rows for classes, and ridge λ, the
readout is $W = (F^\top F + \lambda I)^{-1}F^\top Y$: the predictor of kernel regression with $FF^\top + \lambda I$,
whose limit is the conjugate kernel. A compressed network whose kernel carries an identity shift δ needs the ridge
λ − δ.

Features of all layers side by side, $F = (F_1, …, F_L)$, have the kernel $FF^\top = K_1 + … + K_L$, the sum of the
conjugate kernels after 1, …, L layers. Their traces are about $n\tau_l^2$, which falls with depth for most activations:
the first layer weighs most, unless τ_l grows. A drawn kernel strays further from its limit with every layer, so that
the sum is nearer to its limit than K_L alone, and most so where activations have jumps.

Activations that are matched layer by layer (``method="layerwise"`` of :func:`hntk.match`) keep $α_1, α_2, α_3$ of every
K_l, hence the sum up to a multiple of the identity. The joint match, which is the default, keeps those of K_L alone,
and its first layers may be far from the original's: it suits readouts of the last layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.arguments import as_callback, as_positive, as_reals
from hntk._utils.arrays import check_result
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import take_rows
from hntk.data.normalization import Normalization
from hntk.networks.classifier import Classifier
from hntk.networks.network import BATCH, Network
from hntk.networks.read_layers import ReadLayers
from hntk.networks.regressor import Regressor
from hntk.readouts.fit_data import FitData
from hntk.readouts.kernel_ridge import solve_ridge
from hntk.readouts.ridge_path import ridge_path

# Ridges to choose from, in units of the mean eigenvalue of FFᵀ.
RIDGES = tuple(np.logspace(-6, 2, 33).tolist())


@array_dataclass(static=("ridge", "validation"))
class RidgeClassifier(Classifier):
    """A network with a readout fitted by ridge regression.

    Attributes
    ----------
    ridge : float
        Ridge λ that was used.
    validation : tuple of tuple of float
        Pairs (λ, validation accuracy) tried when the ridge was chosen; empty when it was given.
    """

    ridge: float
    validation: tuple[tuple[float, float], ...] = ()

    @property
    def validation_accuracy(self) -> float | None:
        """Validation accuracy at the ridge that was chosen; None when it was given."""
        return dict(self.validation).get(self.ridge)


@array_dataclass(static=("ridge", "validation"))
class RidgeRegressor(Regressor):
    """A network with a readout of real-valued targets, fitted by ridge regression.

    Attributes
    ----------
    ridge : float
        Ridge λ that was used.
    validation : tuple of tuple of float
        Pairs (λ, validation R²) tried when the ridge was chosen; empty when it was given.
    """

    ridge: float
    validation: tuple[tuple[float, float], ...] = ()

    @property
    def validation_r2(self) -> float | None:
        """Validation R², averaged over the targets, at the ridge that was chosen; None when it was given."""
        return dict(self.validation).get(self.ridge)


def fit_ridge(
    network: Network,
    x: object,
    labels: object = None,
    ridge: float | None = None,
    *,
    layers: ReadLayers = "last",
    normalization: Normalization | None = None,
    features: object = None,
    ridges: Sequence[float] = RIDGES,
    validation_share: float = 0.1,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> RidgeClassifier | RidgeRegressor:
    """Fit a linear readout of classes or of real-valued targets on the network's features by ridge regression.

    The type of the labels decides: floating-point numbers are targets of a regression, in one column or several, and
    whole numbers, booleans and text are classes. Targets are standardised inside, so that each counts the same in the
    choice of the ridge, which all share.

    Parameters
    ----------
    network : Network
        Any network.
    x : array of shape (n, p) or Dataset
        Training samples, or a :class:`hntk.Dataset`, whose training part is taken.
    labels : array of shape (n,), or of shape (n, K) for targets, optional
        Labels: whole numbers, booleans or text. Or targets: floating-point numbers; classes that are such numbers
        become labels by ``labels.astype(int)``. By default the data set's own.
    ridge : float, optional
        Ridge λ > 0. None chooses it on a validation part of the training data, by accuracy for classes and by R², the
        mean over the targets, for a regression, and refits on all of the data.
    layers : {"last", "all"}
        Whose features are read: the last layer's, h_L/√d_L, or those of all layers side by side. For all layers of a
        compressed network, match its activations with ``method="layerwise"``.
    normalization : Normalization, optional
        What raw samples go through before they are like x, for the classifier to take those with ``raw=True``; by
        default the data set's own.
    features : array of shape (n, d), optional
        Features of x as ``network.features(x, layers=layers)`` gives, where they are at hand; by default they are
        computed a batch at a time and not kept.
    ridges : sequence of float
        Ridges to choose from, in units of the mean eigenvalue of FFᵀ.
    validation_share : float
        Share of every class, or of all samples of a regression, in the validation part.
    seed : int
        Seed of the choice of the validation part.
    progress : callable, optional
        Called with the number of samples whose features are done, after each batch.

    Returns
    -------
    RidgeClassifier or RidgeRegressor
        The network with its readout: a regressor where the labels are floating-point numbers.

    Raises
    ------
    MemoryError
        If FᵀF does not fit into memory: its side is the number of features.
    TypeError
        If ``normalization`` is no :class:`hntk.Normalization`.
    ValueError
        If x, the labels or the features do not fit, only one class occurs, no target varies, a ridge is not positive,
        or ``layers`` is unknown.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    >>> net = hntk.dense(["relu"], [256], data.x, key=jax.random.key(1))
    >>> hntk.fit_ridge(net, data.x, data.labels).accuracy(data.x, data.labels) > 0.9
    True
    >>> hntk.fit_ridge(net, data.x, data.labels, layers="all").weights.shape
    (256, 2)

    The norm and the first coordinate of a sample, which are real numbers:

    >>> import numpy as np
    >>> y = np.stack([np.linalg.norm(data.x, axis=1), data.x[:, 0]], axis=1)
    >>> regressor = hntk.fit_ridge(net, data.x, y)
    >>> regressor.predict(data.x).shape, regressor.r2(data.x, y) > 0.8
    ((200, 2), True)
    """
    data, progress = FitData.of(network, x, labels, normalization, features, layers), as_callback(progress)
    _check_room(data.width)
    if ridge is not None:
        ridge = as_positive(ridge, "ridge", "None has it chosen")
        return _fitted(data, _normal_equations(data, np.arange(len(data.answers.values)), progress), ridge)
    ridges = as_reals(ridges, "ridges", as_positive)
    held = data.answers.draw_validation(validation_share, seed)
    fitted = _normal_equations(data, np.flatnonzero(~held), progress)
    rows = np.flatnonzero(held)
    validation = np.concatenate([np.asarray(batch) for batch in _batches(data, rows)])
    tried = _validate(data, fitted, ridges, validation, rows)
    if progress is not None:
        progress(rows.size)
    whole = fitted.plus(validation, data.targets(rows))
    # Of equally good ridges the largest is the most stable.
    best, _ = max(tried, key=lambda pair: (pair[1], pair[0]))
    return _fitted(data, whole, best, tuple(tried))


def _check_room(width: int) -> None:
    """Refuse more features than the Gram matrix and its factor have room for."""
    # FᵀF in float64, one batch's in float32 and float64, and eigenvectors or a Cholesky factor
    check_room(
        width**2 * 28,
        f"the Gram matrix of {width:,} features and its decomposition",
        "Read fewer features (layers='last', or narrower layers), or train with hntk.fit_softmax.",
    )


class _NormalEquations(NamedTuple):
    """Sums over samples that decide a least-squares problem, in float64."""

    gram: Float[np.ndarray, "d d"]
    cross: Float[np.ndarray, "d K"]
    feature_sum: Float[np.ndarray, " d"]
    target_sum: Float[np.ndarray, " K"]
    samples: int

    @staticmethod
    def of_none(d: int, k: int) -> _NormalEquations:
        """Return those of no sample."""
        return _NormalEquations(*(np.zeros(shape) for shape in ((d, d), (d, k), d, k)), samples=0)

    def plus(self, features: np.ndarray, targets: Float[np.ndarray, "n K"]) -> _NormalEquations:
        """Add those of a batch to these sums, which are overwritten."""
        # products are in the features' precision: a copy in float64 would take longer than they do
        np.add(self.gram, features.T @ features, out=self.gram)
        np.add(self.cross, features.T @ targets, out=self.cross)
        np.add(self.feature_sum, features.sum(axis=0, dtype=np.float64), out=self.feature_sum)
        np.add(self.target_sum, targets.sum(axis=0, dtype=np.float64), out=self.target_sum)
        return self._replace(samples=self.samples + len(features))

    def centred(self) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d K"]]:
        """Return FᵀF and FᵀY of centred features."""
        gram = np.outer(self.feature_sum, self.feature_sum)
        gram /= -self.samples
        gram += self.gram
        return gram, self.cross - np.outer(self.feature_sum, self.target_sum) / self.samples

    def offset(self, weights: Float[np.ndarray, "d K"]) -> Float[np.ndarray, " K"]:
        """Return the scores at feature 0, so that the mean score is the mean target."""
        return self.target_sum / self.samples - (self.feature_sum / self.samples) @ weights


def _batches(data: FitData, rows: Int[np.ndarray, " m"]) -> Iterator[Array | np.ndarray]:
    """Yield features of some samples."""
    if data.features is None:
        yield from data.network.feature_batches(take_rows(data.samples, rows), layers=data.layers)
        return
    for start in range(0, rows.size, BATCH):
        yield data.features[rows[start : start + BATCH]]


def _normal_equations(
    data: FitData, rows: Int[np.ndarray, " m"], progress: Callable[[int], None] | None
) -> _NormalEquations:
    """Sum over some samples, a batch at a time."""
    total = _NormalEquations.of_none(data.width, data.targets(rows[:1]).shape[1])
    for batch in _batches(data, rows):
        total = total.plus(np.asarray(batch), data.targets(rows[total.samples : total.samples + batch.shape[0]]))
        if progress is not None:
            progress(batch.shape[0])
    return total


def _validate(
    data: FitData,
    equations: _NormalEquations,
    ridges: Sequence[float],
    features: np.ndarray,
    rows: Int[np.ndarray, " m"],
) -> list[tuple[float, float]]:
    """Return (λ, accuracy or R²) on validation samples for every ridge."""
    mean, spread = data.scale
    gram, cross = equations.centred()
    unit = max(float(np.trace(gram)) / equations.samples, np.finfo(float).tiny)
    scaled = np.multiply(ridges, unit).tolist()
    tried = []
    for ridge, weights in zip(scaled, ridge_path(gram, cross, scaled), strict=True):
        scores = features @ weights.astype(np.float32) + equations.offset(weights)
        tried.append((ridge, data.answers.quality(scores * spread + mean, rows)))
    return tried


def _fitted(
    data: FitData, equations: _NormalEquations, ridge: float, tried: tuple[tuple[float, float], ...] = ()
) -> RidgeClassifier | RidgeRegressor:
    weights = solve_ridge(*equations.centred(), ridge, overwrite=True)
    check_result(weights, "the readout")
    offset, classes, described = equations.offset(weights), data.answers.classes, data.described()
    if classes is not None:
        return RidgeClassifier(data.network, classes, weights, offset, ridge, tried, **described)
    mean, spread = data.scale
    return RidgeRegressor(data.network, weights * spread, offset * spread + mean, ridge, tried, **described)
