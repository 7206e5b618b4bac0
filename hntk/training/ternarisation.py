r"""Dense networks made ternary, layer by layer, without training.

A layer is given the levels q of the layers before, which are ternary already, while the dense network's own layer is
given h. Its pre-activations $a = Wh + b$ are fitted by a regression on q, whose coefficients are the latent weights; T
rounds them to {0, ±1}. A neuron's activation σ(a) is quantised uniformly, to $y_0 + \delta k$ for k = 0, …, N − 1, with
the step δ of least squares. The threshold of level k on the sum $(Tq)_i$ is the quantile that as many samples reach as
have $\sigma(a_i) \ge y_0 + (k - \frac12)\delta$. The readout is a regression of the dense scores on the last levels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk.training.dense_chains import DenseChain, fitted_rows
from hntk.training.few_level_layers import FewLevelLayer, threshold_values
from hntk.training.forward_pass import LEAST_VARIANCE
from hntk.training.sparse_weights import ternary_values
from hntk.training.starts import StartingPoint, StartProblem, uniform_spacing

# steps that are tried, in units of the root mean square of what is quantised
STEPS = np.geomspace(0.15, 3.0, 30)
# ridge of the regressions, in units of the mean variance of the levels
RIDGE = 0.01
# share of samples below which activations are at their lowest level, whatever they are
LOWEST = 0.02
# least distance of equally spaced thresholds
LEAST_DISTANCE = 0.02
# distance of a threshold that no sample reaches from the largest standardised sum
BEYOND = 0.3


def ternarised(chain: DenseChain, problem: StartProblem) -> StartingPoint:
    """Return the layers and parameters of a dense network made ternary.

    Parameters
    ----------
    chain : DenseChain
        The dense network on the samples :func:`fitted_rows`.
    problem : StartProblem
        Samples, widths, levels and sparsity.

    Returns
    -------
    StartingPoint
        Equidistant levels 0, …, N − 1; latent weights with rows of norm 1; thresholds, readout and offset.
    """
    q = problem.data.training.whole[fitted_rows(problem.data)].astype(np.float64)
    h, layers, parts = chain.inputs, [], []
    for number, (dense, levels, sparsity) in enumerate(
        zip(chain.layers, problem.levels, problem.sparsity, strict=True)
    ):
        sums, values = dense(h)
        weights = dense.weights if number == 0 else regression(q, sums)
        weights = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        z = standardised(q @ ternary_values(weights.astype(np.float32), sparsity).T.astype(np.float64))
        thresholds = fitted_thresholds(z, values, levels)
        windows = (uniform_spacing(levels),) * (levels - 1)
        stored = spaced_numbers(thresholds) if problem.spaced else thresholds
        layers.append(FewLevelLayer(tuple(range(levels)), windows, sparsity, problem.surrogate, spaced=problem.spaced))
        parts.append({"weights": jnp.asarray(weights, jnp.float32), "thresholds": jnp.asarray(stored, jnp.float32)})
        h, q = values, reached(z, threshold_values(stored, layers[-1]))
    readout = regression(q, chain.scores)
    offset = chain.scores.mean(axis=0) - readout @ q.mean(axis=0)
    scaled = readout / layers[-1].unit
    parameters = {
        "layers": parts,
        "readout": jnp.asarray(scaled, jnp.float32),
        "offset": jnp.asarray(offset, jnp.float32),
    }
    return StartingPoint(tuple(layers), parameters)


def reached(z: Float[np.ndarray, "n d"], thresholds: Float[np.ndarray, "d T"]) -> Float[np.ndarray, "n d"]:
    """Return how many thresholds each sum has reached."""
    levels = np.zeros(z.shape)
    for column in thresholds.T:
        levels += z >= column
    return levels


def standardised(sums: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return sums with mean 0 and deviation 1, as in training."""
    return (sums - sums.mean(axis=0)) / np.sqrt(sums.var(axis=0) + LEAST_VARIANCE)


def regression(q: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "K d"]:
    """Return the coefficients of a ridge regression of y on q with an intercept."""
    centred = q - q.mean(axis=0)
    covariance = centred.T @ centred / len(q)
    ridge = RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float32).tiny
    return np.linalg.solve(covariance + ridge * np.eye(len(covariance)), centred.T @ (y - y.mean(axis=0)) / len(q)).T


def fitted_thresholds(
    z: Float[np.ndarray, "n d"], values: Float[np.ndarray, "n d"], levels: int
) -> Float[np.ndarray, "d T"]:
    """Return thresholds on standardised sums that as many samples reach as have a value of each level.

    Parameters
    ----------
    z : (n, d) array
        Standardised sums of each neuron.
    values : (n, d) array
        The activations that levels stand for.
    levels : int
        Number N of levels.

    Returns
    -------
    (d, N − 1) array
        Thresholds of each neuron, ascending.
    """
    above = values - np.quantile(values, LOWEST, axis=0)
    step = fitted_steps(above, levels)
    ordered = np.sort(z, axis=0)
    ordered = np.concatenate([ordered, ordered[-1:] + BEYOND])
    # a neuron that is always at its lowest value never leaves its lowest level
    counts = [np.sum((above >= (k + 0.5) * step) & (step > 0), axis=0) for k in range(levels - 1)]
    return np.stack([ordered[len(z) - count, np.arange(z.shape[1])] for count in counts], axis=1)


def fitted_steps(values: Float[np.ndarray, "n d"], levels: int) -> Float[np.ndarray, " d"]:
    """Return the step of each column with which 0, δ, …, (N − 1) δ are nearest to the values in mean square."""
    size = np.sqrt(np.mean(np.square(values), axis=0))
    best, least = size.copy(), np.full(size.shape, np.inf)
    for factor in STEPS:
        step = np.maximum(factor * size, np.finfo(np.float64).tiny)
        rounded = step * np.clip(np.rint(values / step), 0, levels - 1)
        error = np.mean(np.square(values - rounded), axis=0)
        best, least = np.where(error < least, factor * size, best), np.minimum(error, least)
    return best


def spaced_numbers(thresholds: Float[np.ndarray, "d T"]) -> Float[np.ndarray, "d 2"]:
    """Return the first of equally spaced thresholds and the logarithm of their distance, by least squares.

    A distance is at least a fiftieth of a deviation of the sums.
    """
    count = thresholds.shape[1]
    place = np.arange(count) - (count - 1) / 2
    distance = np.maximum(thresholds @ place / max(np.sum(place**2), 1.0), LEAST_DISTANCE)
    distance = np.where(count == 1, 1.0, distance)
    return np.stack([thresholds.mean(axis=1) - distance * (count - 1) / 2, np.log(distance)], axis=1)
